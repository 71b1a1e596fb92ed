package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"parley/fsm/meta"
)

const (
	jobLookInterval   = time.Second
	jobReportInterval = time.Second      // how far a job is is written down this often at most
	jobChangeMax      = 10 * time.Second // for one command; then it is looked anew
	jobRestFirst      = 50 * time.Millisecond
	jobRestMost       = time.Second      // between looks of a step that waits
	jobRetryMost      = 10 * time.Second // after errors
)

// jobFrame carries jobs out on the node that leads the meta group. It remembers nothing that matters: a job is what the log says, and the
// next leader goes on with it.
type jobFrame struct {
	node  *Node
	kinds map[string]jobKind
	ended chan struct{} // capacity 1: a job's goroutine has come to its end

	mu   sync.Mutex
	hand map[uint64]jobInHand
	wait sync.WaitGroup // for all of them
}

// jobInHand is a job that is being carried out here, by a goroutine of its own.
type jobInHand struct {
	state  meta.JobState // in which it was taken up
	cancel context.CancelFunc
}

func newJobFrame(n *Node) *jobFrame {
	f := &jobFrame{node: n, kinds: n.jobKinds(), ended: make(chan struct{}, 1), hand: make(map[uint64]jobInHand)}
	maps.Copy(f.kinds, n.config.jobs)
	return f
}

// run looks until the node's life ends, and waits for all that it began.
func (f *jobFrame) run() {
	defer f.wait.Wait()
	ticker := time.NewTicker(jobLookInterval)
	defer ticker.Stop()
	for {
		_, changed := f.node.meta.watch()
		if err := f.look(); err != nil && f.node.life.Err() == nil {
			f.node.log.Warn("the jobs cannot be read; it will be tried again", "error", err)
		}
		select {
		case <-f.node.life.Done():
			return
		case <-changed:
		case <-f.ended:
		case <-ticker.C:
		}
	}
}

// look takes up what is to be done, and lets go of what is not to be any more.
func (f *jobFrame) look() error {
	wanted := make(map[uint64]meta.Job)
	if f.node.leadsMeta() {
		jobs, err := f.node.Jobs()
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if j.State == meta.JobRunning || j.State == meta.JobCancelling {
				wanted[j.ID] = j
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, has := range f.hand {
		if has.state != wanted[id].State {
			has.cancel() // it is taken up again, as it is wanted now, when its goroutine is gone
		}
	}
	for id, j := range wanted {
		if _, taken := f.hand[id]; !taken {
			f.takeUp(j)
		}
	}
	return nil
}

// leadsMeta reports whether this node leads the meta group and knows all that was decided before its term.
func (n *Node) leadsMeta() bool {
	g := n.meta.started.Load()
	return g != nil && g.leads() && n.meta.settled.Load() == g.raft.CurrentTerm()
}

// takeUp is called with mu held.
func (f *jobFrame) takeUp(j meta.Job) {
	ctx, cancel := context.WithCancel(f.node.life)
	f.hand[j.ID] = jobInHand{j.State, cancel}
	f.wait.Go(func() {
		(&jobCourse{frame: f, job: j, rest: jobRestFirst, retry: jobRestFirst}).run(ctx)
		cancel()
		f.mu.Lock()
		delete(f.hand, j.ID)
		f.mu.Unlock()
		select {
		case f.ended <- struct{}{}:
		default: // run will look anyway
		}
	})
}

// jobCourse is the carrying out of one job in one state. It belongs to its goroutine.
type jobCourse struct {
	frame    *jobFrame
	job      meta.Job         // as the log has it
	now      meta.JobProgress // how far it is by now
	reported time.Duration    // Monotonic, when that was written down last; 0: never
	rest     time.Duration    // before the next look, where a step waits
	retry    time.Duration    // before the next attempt, after an error
}

func (c *jobCourse) run(ctx context.Context) {
	n := c.frame.node
	kind, known := c.frame.kinds[c.job.Kind]
	if !known {
		n.log.Error("a job is of a kind that this program does not know; a newer one has to carry it out", "job", c.job.ID, "kind", c.job.Kind)
		<-ctx.Done()
		return
	}
	c.now = c.job.JobProgress
	for ctx.Err() == nil && n.leadsMeta() {
		end, pause, err := c.advance(ctx, kind.runner)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			n.log.Info("a job waits, and will be tried again", "job", c.job.ID, "kind", c.job.Kind, "error", err)
		}
		if end != 0 {
			err = c.end(ctx, end, err)
		} else if err == nil || n.config.Clock.Monotonic()-c.reported >= jobReportInterval {
			err = c.report(ctx)
		}
		if gone := c.again(err); gone {
			return
		}
		waitFor(ctx, pause)
	}
}

// advance takes one step. end is what the job comes to, 0 where it goes on.
func (c *jobCourse) advance(ctx context.Context, runner jobRunner) (end meta.JobState, pause time.Duration, err error) {
	job := c.job
	job.JobProgress = c.now
	before := c.now
	if job.State == meta.JobCancelling {
		var done bool
		if done, err = runner.cancel(ctx, job); done && err == nil {
			end = meta.JobCancelled
		}
	} else {
		var p jobProgress
		if p, err = runner.step(ctx, job); err == nil {
			c.now = meta.JobProgress{
				Step: p.cursor, Text: cutText(p.text), UnitsDone: p.units, UnitsTotal: p.unitsTotal, BytesDone: p.bytes, BytesTotal: p.bytesTotal,
			}
			if p.done {
				end = meta.JobDone
			}
		}
	}
	switch {
	case errors.Is(err, errJobFailed):
		return meta.JobFailed, 0, err
	case err != nil:
		c.now.Text = cutText("waits: " + err.Error())
		c.retry = min(2*c.retry, jobRetryMost)
		return 0, c.retry, err
	case end == 0 && c.now == before:
		c.rest = min(2*c.rest, jobRestMost)
		return 0, c.rest, nil
	}
	c.rest, c.retry = jobRestFirst, jobRestFirst
	return end, 0, nil
}

// report writes down how far the job is, where that has changed and is not too soon.
func (c *jobCourse) report(ctx context.Context) error {
	now := c.frame.node.config.Clock.Monotonic()
	if c.now == c.job.JobProgress || c.reported != 0 && now-c.reported < jobReportInterval {
		return nil
	}
	c.reported = now
	c.frame.node.reached("job.report")
	ctx, cancel := context.WithTimeout(ctx, jobChangeMax)
	defer cancel()
	return c.frame.node.change(ctx, meta.ReportJob{ID: c.job.ID, Revision: c.job.Revision, Progress: c.now})
}

// end writes down what the job came to, for the audit log too.
func (c *jobCourse) end(ctx context.Context, state meta.JobState, cause error) error {
	n := c.frame.node
	command := meta.EndJob{ID: c.job.ID, Revision: c.job.Revision, State: state, Progress: c.now}
	if state == meta.JobFailed {
		command.Error = cutText(cause.Error())
	}
	operator := &meta.Operator{
		By: c.job.By, Verb: "job end", Key: sha256.Sum256(fmt.Appendf(nil, "the end of job %d at revision %d: %s", c.job.ID, c.job.Revision, state)),
	}
	operator.Says(fmt.Sprintf("job %d (%s): %s %s", c.job.ID, c.job.Kind, state, command.Error))
	n.reached("job.end")
	n.log.Info("a job comes to its end", "job", c.job.ID, "kind", c.job.Kind, "state", state, "error", command.Error)
	ctx, cancel := context.WithTimeout(meta.WithOperator(ctx, operator), jobChangeMax)
	defer cancel()
	return n.change(ctx, command)
}

// again reads the job after each step, and reports whether there is no more to do for this course.
func (c *jobCourse) again(err error) (gone bool) {
	n := c.frame.node
	job, found, readErr := n.Job(c.job.ID)
	if err = errors.Join(err, readErr); err != nil && n.life.Err() == nil {
		n.log.Debug("how far a job is could not be written down", "job", c.job.ID, "error", err)
	}
	if readErr != nil {
		return false
	}
	if !found || job.State != c.job.State {
		return true
	}
	c.job = job
	return false
}

func cutText(text string) string { return text[:min(len(text), meta.JobTextBytesMax)] }

// waitFor waits, less where the context ends before.
func waitFor(ctx context.Context, pause time.Duration) {
	if pause == 0 {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
