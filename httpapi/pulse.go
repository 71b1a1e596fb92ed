package httpapi

import (
	"context"
	"sync"
)

// Pulse passes a coalesced wake-up on to everybody who waits: the outbox's channel has one reader, but deliveries and every
// waiting inbox reader want to hear of it. Safe for concurrent use.
type Pulse struct {
	source <-chan struct{}

	mu   sync.Mutex
	next chan struct{} // closed at the next beat; under mu
}

// NewPulse takes over the source. Run must be running for it to beat.
func NewPulse(source <-chan struct{}) *Pulse {
	return &Pulse{source: source, next: make(chan struct{})}
}

// Run beats until the context ends or the source is closed.
func (p *Pulse) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-p.source:
			if !open {
				return
			}
			p.mu.Lock()
			close(p.next)
			p.next = make(chan struct{})
			p.mu.Unlock()
		}
	}
}

// Next is closed at the next beat. Take it before looking at what the beat tells of, so that none is missed between.
func (p *Pulse) Next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}
