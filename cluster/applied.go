package cluster

import (
	"context"
	"sync"
)

// appliedIndex is how far a replica has applied its log, and wakes those who wait for more.
type appliedIndex struct {
	mu    sync.Mutex
	index uint64
	moved chan struct{} // closed at the next advance; nil while nobody waits
}

// advance raises the index. A lower one changes nothing.
func (a *appliedIndex) advance(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if index <= a.index {
		return
	}
	a.index = index
	if a.moved != nil {
		close(a.moved)
		a.moved = nil
	}
}

// forget goes back to nothing, for a replica that begins anew.
func (a *appliedIndex) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index = 0
}

func (a *appliedIndex) current() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.index
}

// wait returns once the index is reached, or with the context's error.
func (a *appliedIndex) wait(ctx context.Context, index uint64) error {
	for {
		moved, reached := a.watch(index)
		if reached {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *appliedIndex) watch(index uint64) (moved <-chan struct{}, reached bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.index >= index {
		return nil, true
	}
	if a.moved == nil {
		a.moved = make(chan struct{})
	}
	return a.moved, false
}
