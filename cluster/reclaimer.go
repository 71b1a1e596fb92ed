package cluster

import (
	"context"
	"errors"
	"sync/atomic"
)

const (
	reclaimBytesMin = 64 << 20 // of items that have gone late, before it is worth while
	reclaimShareMin = 4        // a quarter of what the replica takes of the disk: so what is rewritten is at most a few times what has gone
)

// reclaimer gives disk back when much has gone from the outboxes that had waited there for long, as for a peer that was dead: that is in
// the lowest tables of the state engine by then, and would stay there until later writes move it. What is acknowledged soon goes by
// itself. It is of this node's disk alone, whoever leads.
type reclaimer struct {
	replica *replica
	freed   atomic.Uint64 // bytes since the last time
	woken   chan struct{} // capacity 1
	stopped chan struct{}
}

func newReclaimer(r *replica) *reclaimer {
	return &reclaimer{replica: r, woken: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// gone takes note of bytes that have gone late.
func (c *reclaimer) gone(bytes uint64) {
	if c.freed.Add(bytes) < reclaimBytesMin {
		return
	}
	select {
	case c.woken <- struct{}{}:
	default: // it will look anyway
	}
}

func (c *reclaimer) run(ctx context.Context) {
	defer close(c.stopped)
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.woken:
		}
		if err := c.reclaim(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			c.replica.node.log.Warn("the disk of what has gone was not reclaimed; it will be with what goes next", "shard", c.replica.shard, "error", err)
		}
	}
}

// reclaim rewrites the replica's tables if enough has gone.
func (c *reclaimer) reclaim(ctx context.Context) error {
	state := c.replica.machine.state
	before, err := state.DiskBytes()
	if err != nil {
		return err
	}
	freed := c.freed.Load()
	if freed < reclaimBytesMin || freed < before/reclaimShareMin {
		return nil
	}
	c.freed.Add(-freed)
	if err := state.Reclaim(ctx); err != nil {
		return err
	}
	after, err := state.DiskBytes()
	if err != nil {
		return err
	}
	c.replica.node.log.Info("the disk of what has gone from outboxes was reclaimed", "shard", c.replica.shard, "bytesBefore", before, "bytesAfter", after)
	return nil
}
