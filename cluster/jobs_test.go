package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"parley/fsm/meta"
)

// tally is a kind of job that counts to a number: each step marks the next one that is not marked yet. Its marks are what a real job finds
// in the cluster.
type tally struct {
	node *Node // that carries it out

	*tallyMarks
}

// tallyMarks are the same for all nodes of a test.
type tallyMarks struct {
	until int
	stop  func(ctx context.Context, node *Node, at int) error // before a number is marked

	mu     sync.Mutex
	marked []int    // how often each number was marked
	by     []string // which node marked it first
	undone bool
}

func newTally(until int) *tallyMarks {
	return &tallyMarks{until: until, marked: make([]int, until), by: make([]string, until)}
}

func (k tally) step(ctx context.Context, job meta.Job) (jobProgress, error) {
	at := k.next()
	if at < k.until {
		k.node.reached(fmt.Sprintf("tally.%d", at))
		if k.stop != nil {
			if err := k.stop(ctx, k.node, at); err != nil {
				return jobProgress{}, err
			}
		}
		if ctx.Err() != nil {
			return jobProgress{}, ctx.Err()
		}
		k.mu.Lock()
		k.marked[at]++
		k.by[at] = k.node.id
		k.mu.Unlock()
		at++
	}
	return jobProgress{
		done: at == k.until, text: fmt.Sprintf("counted to %d", at), units: uint64(at), unitsTotal: uint64(k.until), cursor: job.Step + 1,
	}, nil
}

func (k tally) next() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	for at, times := range k.marked {
		if times == 0 {
			return at
		}
	}
	return k.until
}

func (k tally) cancel(context.Context, meta.Job) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.undone = true
	return true, nil
}

// tallying gives every node of a cluster the kind "tally".
func (m *tallyMarks) tallying(config *Config) {
	config.jobs = map[string]jobKind{"tally": {runner: &tallyOf{marks: m}, area: "tally"}}
}

// tallyOf finds the node that it runs on, which is not there yet when the kinds are named.
type tallyOf struct {
	marks *tallyMarks
	node  atomic.Pointer[Node]
}

func (k *tallyOf) step(ctx context.Context, job meta.Job) (jobProgress, error) {
	node := k.node.Load()
	if node == nil {
		return jobProgress{}, errors.New("the node has just been opened") // it is tried again
	}
	return tally{node, k.marks}.step(ctx, job)
}

func (k *tallyOf) cancel(ctx context.Context, job meta.Job) (bool, error) {
	return tally{k.node.Load(), k.marks}.cancel(ctx, job)
}

func tallyCluster(t *testing.T, marks *tallyMarks) *testCluster {
	t.Helper()
	c := threeNodes(t, marks.tallying)
	for _, n := range c.nodes {
		n.jobs.kinds["tally"].runner.(*tallyOf).node.Store(n)
	}
	return c
}

// any is some node that runs.
func (c *testCluster) any() *Node {
	for _, n := range c.nodes {
		return n
	}
	c.t.Fatal("no node runs")
	return nil
}

// metaLeader waits until one node leads the meta group and has settled.
func (c *testCluster) metaLeader() (found *Node) {
	c.t.Helper()
	eventually(c.t, "somebody leads the meta group", func() bool {
		for _, n := range c.nodes {
			if n.leadsMeta() {
				found = n
			}
		}
		return found != nil
	})
	return found
}

// awaitJob waits until every node that runs sees a job in a state.
func (c *testCluster) awaitJob(id uint64, state meta.JobState) (job meta.Job) {
	c.t.Helper()
	for name, n := range c.nodes {
		eventually(c.t, fmt.Sprintf("%s sees job %d %s", name, id, state), func() bool {
			var err error
			if job, _, err = n.Job(id); err != nil {
				c.t.Fatal(err)
			}
			return job.State == state
		})
	}
	return job
}

func (c *testCluster) startJob(via *Node, r JobRequest) meta.Job {
	c.t.Helper()
	job, err := via.StartJob(c.context(), r)
	if err != nil {
		c.t.Fatal(err)
	}
	return job
}

func TestJobIsCarriedOut(t *testing.T) {
	t.Parallel()
	marks := newTally(5)
	c := tallyCluster(t, marks)
	ctx := c.context()
	job := c.startJob(c.any(), JobRequest{Kind: "tally", Spec: []byte("to five"), By: "alice", Key: "k"})
	if job.ID == 0 || job.By != "alice" || string(job.Spec) != "to five" {
		t.Errorf("it began as %+v", job)
	}
	done := c.awaitJob(job.ID, meta.JobDone)
	if done.UnitsDone != 5 || done.UnitsTotal != 5 || done.Text != "counted to 5" || done.CreatedMillis == 0 || done.UpdatedMillis < done.CreatedMillis {
		t.Errorf("it ended as %+v", done)
	}
	again, err := c.any().StartJob(ctx, JobRequest{Kind: "tally", Spec: []byte("to five"), Key: "k"})
	if err != nil || again.ID != job.ID {
		t.Errorf("its key again: %d, %v", again.ID, err)
	}
	for at, times := range marks.marked {
		if times != 1 {
			t.Errorf("%d was counted %d times", at, times)
		}
	}
	if _, err := c.any().StartJob(ctx, JobRequest{Kind: "other"}); !isRefusal(err, "knows no jobs of kind") {
		t.Errorf("another kind: %v", err)
	}
	if _, err := c.any().CancelJob(ctx, job.ID); !isRefusal(err, "is done") {
		t.Errorf("cancelled after its end: %v", err)
	}
	eventually(t, "its end is in the audit log", func() bool {
		entries, err := c.any().Audit(0, 10)
		return err == nil && len(entries) == 1 && entries[0].By == "alice" && strings.Contains(entries[0].What, "(tally): done")
	})
}

// TestJobIsFoundByNodesThatHaveNotHeardOfIt: a command that waits for a job asks a node that was away when the job began.
func TestJobIsFoundByNodesThatHaveNotHeardOfIt(t *testing.T) {
	t.Parallel()
	c := tallyCluster(t, newTally(2))
	c.awaitVoters() // two of three are a majority
	away := c.metaLeader().id
	c.stop(away)
	job := c.startJob(c.any(), JobRequest{Kind: "tally", Spec: []byte("to two")})
	c.awaitJob(job.ID, meta.JobDone)
	n := c.start(away)
	if found, is, err := n.FindJob(c.context(), job.ID); err != nil || !is || found.State != meta.JobDone {
		t.Errorf("it is found: %t, as %+v, %v", is, found, err)
	}
	if _, is, err := n.FindJob(c.context(), job.ID+1_000_000); err != nil || is {
		t.Errorf("a job that there is not is found: %t, %v", is, err)
	}
}

func isRefusal(err error, about string) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && strings.Contains(refused.Reason, about)
}

// Whoever leads the meta group dies before each of the steps in turn. The next one goes on.
func TestJobOutlivesMetaLeaders(t *testing.T) {
	t.Parallel()
	const until = 3
	marks := newTally(until)
	reached, over, died := make(chan *Node), make(chan struct{}), make(map[int]bool)
	marks.stop = func(ctx context.Context, node *Node, at int) error {
		marks.mu.Lock()
		first := !died[at]
		marks.mu.Unlock()
		if !first {
			return nil
		}
		select {
		case reached <- node:
			marks.mu.Lock()
			died[at] = true
			marks.mu.Unlock()
			<-ctx.Done()
		case <-over:
			return nil
		case <-ctx.Done(): // it leads no more by itself
		}
		return ctx.Err()
	}
	c := tallyCluster(t, marks)
	job := c.startJob(c.any(), JobRequest{Kind: "tally"})
	for range until {
		dead := (<-reached).id
		c.stop(dead)
		c.start(dead).jobs.kinds["tally"].runner.(*tallyOf).node.Store(c.nodes[dead])
	}
	close(over)
	if done := c.awaitJob(job.ID, meta.JobDone); done.UnitsDone != until {
		t.Errorf("it ended as %+v", done)
	}
	for at, times := range marks.marked {
		if times != 1 {
			t.Errorf("%d was counted %d times", at, times)
		}
	}
}

func TestJobIsPausedAndCancelled(t *testing.T) {
	t.Parallel()
	marks := newTally(3)
	inStep, goOn := make(chan struct{}, 10), make(chan struct{})
	marks.stop = func(ctx context.Context, _ *Node, at int) error {
		inStep <- struct{}{}
		select {
		case <-goOn:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	c := tallyCluster(t, marks)
	ctx := c.context()
	job := c.startJob(c.any(), JobRequest{Kind: "tally", Spec: []byte("a")})
	<-inStep
	same, err := c.any().StartJob(ctx, JobRequest{Kind: "tally", Spec: []byte("a")})
	if err != nil || same.ID != job.ID {
		t.Errorf("the same again while it runs: %d, %v", same.ID, err)
	}
	if _, err := c.any().StartJob(ctx, JobRequest{Kind: "tally", Spec: []byte("b")}); !isRefusal(err, "only one job at a time") || !meta.JobInTheWay(err.Error()) {
		t.Errorf("another of its area: %v", err)
	}
	if _, err := c.any().SteerJob(ctx, job.ID, meta.WishPause); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody carries it out", func() bool {
		for _, n := range c.nodes {
			n.jobs.mu.Lock()
			hands := len(n.jobs.hand)
			n.jobs.mu.Unlock()
			if hands > 0 {
				return false
			}
		}
		return true
	})
	if _, err := c.any().SteerJob(ctx, job.ID, meta.WishGoOn); err != nil {
		t.Fatal(err)
	}
	<-inStep
	goOn <- struct{}{}
	<-inStep
	if _, err := c.any().CancelJob(ctx, job.ID); err != nil {
		t.Fatal(err)
	}
	c.awaitJob(job.ID, meta.JobCancelled)
	if !marks.undone || marks.marked[0] != 1 || marks.marked[1] != 0 {
		t.Errorf("counted %v, undone %v", marks.marked, marks.undone)
	}
}

func TestJobFailsAndJobTriesAgain(t *testing.T) {
	t.Parallel()
	marks := newTally(2)
	var tries atomic.Int64
	marks.stop = func(_ context.Context, _ *Node, at int) error {
		if at == 0 {
			if tries.Add(1) < 3 {
				return errors.New("the disk is busy")
			}
			return nil
		}
		return fmt.Errorf("%w: there is no %d", errJobFailed, at)
	}
	c := tallyCluster(t, marks)
	job := c.awaitJob(c.startJob(c.any(), JobRequest{Kind: "tally"}).ID, meta.JobFailed)
	if tries.Load() < 3 || marks.marked[0] != 1 || !strings.Contains(job.Error, "there is no 1") || job.UnitsDone != 1 {
		t.Errorf("after %d tries: %+v", tries.Load(), job)
	}
}

// A plan is kept until somebody begins it.
func TestPlannedJobWaits(t *testing.T) {
	t.Parallel()
	marks := newTally(1)
	c := tallyCluster(t, marks)
	job := c.startJob(c.any(), JobRequest{Kind: "tally", Planned: true})
	if job.State != meta.JobPlanned {
		t.Fatalf("it began as %s", job.State)
	}
	if begun, err := c.any().SteerJob(c.context(), job.ID, meta.WishBegin); err != nil || !begun.State.Live() && begun.State != meta.JobDone {
		t.Errorf("begun: %+v, %v", begun, err)
	}
	c.awaitJob(job.ID, meta.JobDone)
}
