package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/meta"
)

// errJobFailed ends a job: whoever carries it out wraps it with what is wrong for good.
var errJobFailed = errors.New("the job cannot be done")

// jobRunner carries out one kind of job. step does the next thing and tells how far the job is; it is called again until it says done, on
// another node after a crash, possibly by two nodes at once: so each step is decided by what it finds, and can be repeated. The context
// ends when the job is paused or cancelled, or the node does not lead the meta group any more.
type jobRunner interface {
	// step does the next thing. An error that wraps errJobFailed ends the job; after any other it is called again, later each time. A step
	// that finds that it has to wait returns the progress as it was, and is called again soon.
	step(ctx context.Context, job meta.Job) (jobProgress, error)

	// cancel brings what was begun to an end, by steps likewise.
	cancel(ctx context.Context, job meta.Job) (done bool, err error)
}

// jobProgress is how far a job is. The texts are for people, the cursor for the runner itself: it finds it as the job's Step, on whatever
// node goes on, or an earlier one where it was not recorded.
type jobProgress struct {
	done                                 bool
	text                                 string
	units, unitsTotal, bytes, bytesTotal uint64
	cursor                               uint64
}

// jobKind is a kind of job that this program can carry out.
type jobKind struct {
	runner jobRunner
	area   string // what no other live job may be about; empty: any may run beside it
}

// The areas that jobs keep from each other.
const areaPlacement = "placement" // which node has which replica, which shard which slots

// JobRequest is a job that somebody wants.
type JobRequest struct {
	Kind string
	Area string // what no other live job may be about; empty: what its kind says
	Spec []byte // in a form of its kind
	Key  string // the same again is the same job, as long as it is kept; empty: another request
	By   string
	// Planned keeps it until SteerJob begins it.
	Planned bool
}

// Jobs are all jobs that the cluster keeps, the oldest first, as this node knows them.
func (n *Node) Jobs() (jobs []meta.Job, err error) {
	err = n.viewMeta(func(r fsm.Reader) error {
		jobs, err = meta.ReadJobs(r)
		return err
	})
	return jobs, err
}

// Job is one of them; found is false where this node knows none, or none any more.
func (n *Node) Job(id uint64) (job meta.Job, found bool, err error) {
	err = n.viewMeta(func(r fsm.Reader) error {
		job, found, err = meta.ReadJob(r, id)
		return err
	})
	return job, found, err
}

// FindJob is Job for an ID that was told somewhere else: where this node has not heard of it yet, it first hears all that the meta group had
// decided when it was asked. Its errors are those of Change.
func (n *Node) FindJob(ctx context.Context, id uint64) (job meta.Job, found bool, err error) {
	behind := false
	err = n.viewMeta(func(r fsm.Reader) error {
		if job, found, err = meta.ReadJob(r, id); found || err != nil {
			return err
		}
		known, err := meta.ReadMap(r)
		if err == nil {
			behind = known.Initialised() && known.Version() < id
		}
		return err
	})
	if !behind {
		return job, found, err
	}
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return meta.Job{}, false, err
	}
	defer done()
	if err := n.hearMap(ctx); err != nil {
		return meta.Job{}, false, err
	}
	return n.Job(id)
}

// StartJob begins a job, or keeps its plan, and returns it. Whoever leads the meta group carries it out, from there on also without the
// caller. A live job of the same kind that does the same is that job. The errors are those of Change.
func (n *Node) StartJob(ctx context.Context, r JobRequest) (meta.Job, error) {
	kind, known := n.jobs.kinds[r.Kind]
	if !known {
		return meta.Job{}, &RefusedError{fmt.Sprintf("this program knows no jobs of kind %q", r.Kind)}
	}
	if err := n.resizeRefusal(); err != nil {
		return meta.Job{}, err
	}
	if r.Key == "" {
		r.Key = rand.Text()
	}
	command := meta.PutJob{Kind: r.Kind, Area: cmp.Or(r.Area, kind.area), Spec: r.Spec, Key: r.Key, By: r.By, Planned: r.Planned}
	if err := n.Change(ctx, command); err != nil {
		return meta.Job{}, err
	}
	jobs, err := n.Jobs()
	if err != nil {
		return meta.Job{}, err
	}
	for _, same := range []func(meta.Job) bool{
		func(j meta.Job) bool { return j.Key == r.Key },
		func(j meta.Job) bool { return j.Kind == r.Kind && slices.Equal(j.Spec, r.Spec) },
	} {
		for _, j := range slices.Backward(jobs) {
			if same(j) {
				return j, nil
			}
		}
	}
	return meta.Job{}, fmt.Errorf("%w: the job was taken, and is not kept any more", fsm.ErrUnknownOutcome)
}

// SteerJob makes a wish of a job, and returns the job as it is then. It may be repeated. The errors are those of Change.
func (n *Node) SteerJob(ctx context.Context, id uint64, wish meta.JobWish) (meta.Job, error) {
	if err := n.resizeRefusal(); err != nil {
		return meta.Job{}, err
	}
	if err := n.Change(ctx, meta.SteerJob{ID: id, Wish: wish}); err != nil {
		return meta.Job{}, err
	}
	job, _, err := n.Job(id)
	return job, err
}

// CancelJob asks for a job to be brought to an end. What it has done stays, unless its kind says otherwise.
func (n *Node) CancelJob(ctx context.Context, id uint64) (meta.Job, error) {
	return n.SteerJob(ctx, id, meta.WishCancel)
}

// resizeRefusal refuses what a node of an older program would not know; nil where it may be proposed.
func (n *Node) resizeRefusal() error {
	if settings := n.Settings(); n.Map().Initialised() && settings.Format < fsm.FormatResize {
		return &RefusedError{fmt.Sprintf("the cluster is of format %d, and jobs are of format %d", settings.Format, fsm.FormatResize)}
	}
	return nil
}

// reached tells a test which step comes next.
func (n *Node) reached(point string) {
	if n.config.Reached != nil {
		n.config.Reached(point)
	}
}
