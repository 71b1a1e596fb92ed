package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"parley/storage"
)

// To compare replicas of which none stands still, each of them has to be looked at as of one index. A view of a state shows whatever was
// applied when it was opened, and batches are applied as Raft happens to deliver them. So a replica is told of an index in advance, its
// vantage: it cuts the batch there and opens a view between the two parts. The log knows nothing of it, and what is decided is the same.

const (
	// vantagesMax is how many a group keeps at a time.
	vantagesMax = 4
	// vantageLasts is how long one is kept for who asked for it: an open view holds back the reclaiming of disk space.
	vantageLasts = 2 * time.Minute
)

// errNoVantage: the index was passed before a view could be opened, in a state that came whole from another replica, or nobody had asked.
var errNoVantage = errors.New("the replica has passed that index without a view of it")

// vantages are the indexes at which a group's state is to be looked at, and the views that were opened there. The zero value is ready.
// Safe for concurrent use.
type vantages struct {
	waiting atomic.Int32 // how many have no view yet; read for each batch

	mu     sync.Mutex
	kept   map[uint64]*vantage
	closed bool
}

// vantage is one of them. Guarded by vantages.mu.
type vantage struct {
	view   *storage.View // nil until the index is reached
	err    error         // why it could not be opened
	expiry *time.Timer
}

// add keeps an index. The caller holds machine.mu and has seen that it is not passed. Asking for one that is kept changes nothing.
func (v *vantages) add(index uint64, failed func(error)) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.closed:
		return errors.New("the replica is closing")
	case v.kept[index] != nil:
		return nil
	case len(v.kept) == vantagesMax:
		return errors.New("the replica is being looked at by too many at once")
	}
	if v.kept == nil {
		v.kept = make(map[uint64]*vantage)
	}
	one := &vantage{}
	one.expiry = time.AfterFunc(vantageLasts, func() {
		if err := v.expire(index, one); err != nil {
			failed(fmt.Errorf("close a view: %w", err))
		}
	})
	v.kept[index] = one
	v.waiting.Add(1)
	return nil
}

// next is the first index that is waited for, if it is no later than one that is about to be applied.
func (v *vantages) next(last uint64) (index uint64, found bool) {
	if v.waiting.Load() == 0 {
		return 0, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for at, one := range v.kept {
		if one.view == nil && one.err == nil && at <= last && (!found || at < index) {
			index, found = at, true
		}
	}
	return index, found
}

// open gives an index its view, which shows exactly what was applied up to it: the caller holds machine.mu, and has applied entries up
// to applied. Where that is more, a whole state has come meanwhile, and there is none to show.
func (v *vantages) open(index, applied uint64, state *storage.GroupState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one := v.kept[index]
	if one == nil || one.view != nil || one.err != nil {
		return
	}
	if one.err = errNoVantage; applied <= index {
		one.view, one.err = state.View()
	}
	v.waiting.Add(-1)
}

// take waits until the replica has applied an index, and gives its view away. The caller closes it.
func (v *vantages) take(ctx context.Context, applied *appliedIndex, index uint64) (*storage.View, error) {
	if err := applied.wait(ctx, index); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	one := v.kept[index]
	if one == nil {
		return nil, errNoVantage
	}
	v.forget(index, one)
	switch {
	case one.err != nil:
		return nil, one.err
	case one.view == nil:
		return nil, errNoVantage
	}
	return one.view, nil
}

// forget takes one out of those that are kept. The caller holds mu.
func (v *vantages) forget(index uint64, one *vantage) {
	one.expiry.Stop()
	delete(v.kept, index)
	if one.view == nil && one.err == nil {
		v.waiting.Add(-1)
	}
}

func (v *vantages) expire(index uint64, one *vantage) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.dismiss(index, one)
}

// drop lets an index go that nobody wants any more. One that is not kept is no error.
func (v *vantages) drop(index uint64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.dismiss(index, v.kept[index])
}

// dismiss lets one go with its view, if it is still kept. The caller holds mu.
func (v *vantages) dismiss(index uint64, one *vantage) error {
	if one == nil || v.kept[index] != one {
		return nil
	}
	v.forget(index, one)
	if one.view == nil {
		return nil
	}
	return one.view.Close()
}

// begin takes some, again after a close.
func (v *vantages) begin() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = false
}

// close lets all of them go, and takes no more.
func (v *vantages) close() (err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	for index, one := range v.kept {
		v.forget(index, one)
		if one.view != nil {
			err = errors.Join(err, one.view.Close())
		}
	}
	return err
}

// look asks for a view at an index, and answers how far the replica has applied its log: where that is more, the view will not come.
func (m *machine) look(index uint64) (applied uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed {
		return 0, errStopped
	}
	applied = m.applied.current()
	if applied > index {
		return applied, nil
	}
	if err := m.vantages.add(index, m.fatal); err != nil {
		return applied, err
	}
	if applied == index {
		m.vantages.open(index, applied, m.state)
	}
	return applied, nil
}
