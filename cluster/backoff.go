package cluster

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 5 * time.Millisecond
	// backoffMost is what a request may lose by not being told at once that a shard has a new leader.
	backoffMost = 100 * time.Millisecond
)

// backoff spaces retries: a doubling wait with jitter, so that callers who failed together do not come back together.
// The zero value is ready.
type backoff struct{ next time.Duration }

// wait returns after the pause, or earlier with the context's error.
func (b *backoff) wait(ctx context.Context) error {
	return b.waitFor(ctx, func(pause context.Context) error {
		<-pause.Done()
		return pause.Err()
	})
}

// waitFor returns once an event has come, or after the pause, or earlier with the context's error. The event's context ends with the
// pause.
func (b *backoff) waitFor(ctx context.Context, event func(context.Context) error) error {
	b.next = min(max(backoffFirst, 2*b.next), backoffMost)
	pause, cancel := context.WithTimeout(ctx, b.next/2+rand.N(b.next))
	defer cancel()
	_ = event(pause) // that it has not come is no failure
	return ctx.Err()
}
