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
	b.next = min(max(backoffFirst, 2*b.next), backoffMost)
	timer := time.NewTimer(b.next/2 + rand.N(b.next))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
