package cluster

import (
	"fmt"
	"sync"
	"time"

	"parley/storage"
)

// lentState keeps the view of a group's state that was sent to another replica and not to its end. Who was cut off asks again, and is
// given the same state: all that came of it before counts, however busy the shard is, and what has changed since comes from the log,
// which is held meanwhile. The zero value is ready. Safe for concurrent use.
type lentState struct {
	mu      sync.Mutex
	current *lentView // nil: the next one to ask gets the state as it is then
	closed  bool      // nothing is kept any more
}

// lentView is a view that several may read.
type lentView struct {
	*storage.View
	users  int         // guarded by lentState.mu
	expiry *time.Timer // ends it when nobody has come back; nil while somebody reads
}

// borrow gives the view that is kept, or one of the present state where that is too old or there is none. The caller gives it back.
func (l *lentState) borrow(state *storage.GroupState, atLeast uint64) (_ *lentView, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil && (l.current.Applied() < atLeast || !readable(l.current.View)) {
		if err := l.forget(); err != nil {
			return nil, err
		}
	}
	v := l.current
	if v == nil {
		view, err := state.View()
		if err != nil {
			return nil, err
		}
		v = &lentView{View: view}
		l.current = v
	}
	v.users++
	if v.expiry != nil {
		v.expiry.Stop()
		v.expiry = nil
	}
	return v, nil
}

// readable reports whether a view is still one of the group's state, which may have been replaced.
func readable(view *storage.View) bool {
	_, err := view.Get([]byte{0})
	return err == nil
}

// giveBack ends one use of a view. It is kept for holdAfter, unless all of it was sent. failed hears of an error then.
func (l *lentState) giveBack(v *lentView, sent bool, failed func(error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	v.users--
	if v == l.current && (sent || l.closed) {
		l.current = nil
	}
	switch {
	case v.users > 0:
		return nil
	case v != l.current:
		return v.Close()
	}
	v.expiry = time.AfterFunc(holdAfter, func() {
		if err := l.expire(v); err != nil {
			failed(fmt.Errorf("close a view: %w", err))
		}
	})
	return nil
}

func (l *lentState) expire(v *lentView) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v != l.current || v.users > 0 {
		return nil
	}
	return l.forget()
}

// drop keeps nothing of the present view for others than those who read it: the log that it goes on with is not held any more.
func (l *lentState) drop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.forget()
}

// close is drop for good.
func (l *lentState) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.forget()
}

// forget lets the view go, which is closed when its last reader has given it back. The caller holds mu.
func (l *lentState) forget() (err error) {
	v := l.current
	if v == nil {
		return nil
	}
	l.current = nil
	if v.expiry != nil {
		v.expiry.Stop()
	}
	if v.users == 0 {
		err = v.Close()
	}
	return err
}
