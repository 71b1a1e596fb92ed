package clustertest

import "sync"

// endings are goroutines under way that may be waited for while others begin, which a sync.WaitGroup does not allow when none is under way.
// The zero value has none.
type endings struct {
	mu    sync.Mutex
	count int
	none  chan struct{} // closed when count falls to 0; nil while it is 0
}

// Go runs f in a goroutine of its own.
func (e *endings) Go(f func()) {
	e.mu.Lock()
	if e.count++; e.none == nil {
		e.none = make(chan struct{})
	}
	e.mu.Unlock()
	go func() {
		defer e.ended()
		f()
	}()
}

func (e *endings) ended() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.count--; e.count == 0 {
		close(e.none)
		e.none = nil
	}
}

// Wait returns at a moment at which none is under way.
func (e *endings) Wait() {
	e.mu.Lock()
	none := e.none
	e.mu.Unlock()
	if none != nil {
		<-none
	}
}
