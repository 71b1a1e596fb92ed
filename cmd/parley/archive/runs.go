package archive

import (
	"context"
	"errors"
	"sync"
	"time"

	"parley/cluster"
	"parley/ops/backup"
)

const (
	// newsMax is how long a question waits for news.
	newsMax = time.Second
	// askedWithin is how long something goes on without being asked for: whoever drives it may have gone, or been told to stop.
	askedWithin = time.Minute
)

// runs are long actions that go on for as long as somebody asks how far they are. Safe for concurrent use.
type runs struct {
	life context.Context
	end  context.CancelFunc
	wait sync.WaitGroup

	mu     sync.Mutex
	closed bool
	all    map[string]*run // by name; until somebody was told what it came to
}

func newRuns() *runs {
	a := &runs{all: make(map[string]*run)}
	a.life, a.end = context.WithCancel(context.Background())
	return a
}

// stop ends one, and waits for it.
func (a *runs) stop(name string) {
	a.mu.Lock()
	r := a.all[name]
	a.mu.Unlock()
	if r != nil {
		r.cancel()
		<-r.ended
	}
}

// close ends all, and waits for them.
func (a *runs) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.end()
	a.wait.Wait()
}

var errClosed = errors.New("the archive is closing")

// ask tells how far something is, and begins it where it does not go on. It waits a little for its end.
func (a *runs) ask(ctx context.Context, name string, do func(context.Context, backup.Progress) error) (cluster.ArchiveProgress, error) {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return cluster.ArchiveProgress{}, errClosed
	}
	r := a.all[name]
	if r == nil {
		r = newRun(a.life)
		a.all[name] = r
		a.wait.Go(func() { r.do(do) })
	}
	a.mu.Unlock()
	p, ended, err := r.news(ctx)
	if ended {
		a.mu.Lock() // until now whoever asks hears what it came to
		if a.all[name] == r {
			delete(a.all, name)
		}
		a.mu.Unlock()
	}
	return p, err
}

// run is one backup or restore that goes on.
type run struct {
	ctx     context.Context
	cancel  context.CancelFunc
	patient *time.Timer   // ends it when nobody asks
	ended   chan struct{} // closed when err is set
	err     error

	mu  sync.Mutex
	now cluster.ArchiveProgress
}

func newRun(life context.Context) *run {
	r := &run{ended: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(life)
	r.patient = time.AfterFunc(askedWithin, r.cancel)
	return r
}

func (r *run) do(do func(context.Context, backup.Progress) error) {
	r.err = do(r.ctx, r)
	r.patient.Stop()
	r.cancel()
	close(r.ended)
}

// news waits a little for the end.
func (r *run) news(ctx context.Context) (now cluster.ArchiveProgress, ended bool, err error) {
	r.patient.Reset(askedWithin)
	timer := time.NewTimer(newsMax)
	defer timer.Stop()
	select {
	case <-r.ended:
	case <-ctx.Done():
	case <-timer.C:
	}
	r.mu.Lock()
	now = r.now
	r.mu.Unlock()
	select {
	case <-r.ended:
		now.Done = r.err == nil
		return now, true, r.err
	default:
		return now, false, nil
	}
}

func (r *run) set(change func(*cluster.ArchiveProgress)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.now)
}

// Step implements backup.Progress.
func (r *run) Step(text string) { r.set(func(p *cluster.ArchiveProgress) { p.Text = text }) }

// Units implements backup.Progress.
func (r *run) Units(done, total uint64) {
	r.set(func(p *cluster.ArchiveProgress) { p.Units, p.UnitsTotal = done, total })
}

// Bytes implements backup.Progress.
func (r *run) Bytes(done, total uint64) {
	r.set(func(p *cluster.ArchiveProgress) { p.Bytes, p.BytesTotal = done, total })
}
