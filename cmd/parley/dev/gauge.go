package dev

import (
	"context"
	"fmt"
	"time"
)

// gauge shows once a second how the load goes.
type gauge struct {
	*exchange
	last reading
}

// reading is what the book says at a moment, of both providers together.
type reading struct {
	accepted, delivered, acknowledged int // of all receivers
	recent                            latencies
}

// run shows a line a second until the context ends.
func (g *gauge) run(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			g.line()
		case <-ctx.Done():
			return
		}
	}
}

func (g *gauge) line() {
	now := g.book.read()
	g.show.note("%5.1f s  accepted %6d/s  delivered %6d/s  acknowledged %6d/s  backlog %6d  p50 %7s  p99 %7s",
		time.Since(g.begun).Seconds(), now.accepted-g.last.accepted, now.delivered-g.last.delivered, now.acknowledged-g.last.acknowledged,
		now.accepted-now.delivered, now.recent.text(50), now.recent.text(99))
	g.last = now
}

// read sums the traffic up, and forgets its recent latencies.
func (b *book) read() (r reading) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for hub := range b.between {
		for to := range b.between[hub] {
			t := &b.between[hub][to]
			r.accepted += t.accepted
			r.delivered += t.delivered
			r.acknowledged += t.acknowledged
			r.recent.merge(&t.recent)
			t.recent = latencies{}
		}
	}
	return r
}

func (r reading) String() string {
	return fmt.Sprintf("accepted %d, delivered %d, acknowledged %d", r.accepted, r.delivered, r.acknowledged)
}
