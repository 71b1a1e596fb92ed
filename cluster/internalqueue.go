package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"parley/fsm"
	"parley/mimi"
)

const (
	carriedMax      = 100             // effects of one command
	carriedBytesMax = 128 << 10       // likewise
	carryTimeout    = 5 * time.Second // for one command, at the other shard or at this one
)

// carrier brings what the slots of a shard have posted for other slots to the shards that own those. Every replica knows which slots
// may have something; the leader carries. What it remembers is only where to look: the queues are in the state, and what is carried
// twice, by this leader or by one before it, is recognised.
type carrier struct {
	replica *replica
	waiting *outboxIndex  // under the one destination that has no name
	woken   chan struct{} // capacity 1
	stopped chan struct{}
}

func newCarrier(r *replica) *carrier {
	return &carrier{replica: r, waiting: newOutboxIndex(), woken: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// posted takes note of slots that have posted something, and wakes the carrier.
func (c *carrier) posted(slots []fsm.SlotID) {
	refs := make([]fsm.OutboxRef, len(slots))
	for i, slot := range slots {
		refs[i].Slot = slot
	}
	c.waiting.add(refs, nil)
	c.wake()
}

// wake makes the carrier look if it may have something to carry.
func (c *carrier) wake() {
	if len(c.waiting.destinations()) == 0 {
		return
	}
	select {
	case c.woken <- struct{}{}:
	default: // it will look anyway
	}
}

// recall finds the slots that have something to carry.
func (c *carrier) recall(view fsm.Reader, owned []fsm.SlotID) error {
	var slots []fsm.SlotID
	for _, slot := range owned {
		err := fsm.InternalQueues(view, slot, func(q fsm.InternalQueue) (bool, error) {
			if q.Waiting > 0 {
				slots = append(slots, slot)
			}
			return q.Waiting == 0, nil
		})
		if err != nil {
			return err
		}
	}
	c.posted(slots)
	return nil
}

// run carries while this node leads the shard. What could not be carried stays for the next time that the carrier is woken.
func (c *carrier) run(ctx context.Context) {
	defer close(c.stopped)
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.woken:
		}
		if !c.replica.leads() {
			continue
		}
		more, err := c.carry(ctx)
		if err != nil && ctx.Err() == nil {
			c.replica.node.log.Info("effects for other slots will be carried again", "shard", c.replica.shard, "error", err)
		}
		if more && err == nil {
			c.wake()
		}
	}
}

// carry takes one batch from the front of each queue to its slot. more says that something is left.
func (c *carrier) carry(ctx context.Context) (more bool, err error) {
	batches, more, err := c.batches()
	if err != nil {
		return false, err
	}
	// One after another for each shard: what is for a shard that does not answer does not stand before what is for the others.
	byShard := make(map[fsm.ShardID][]fsm.ReceiveInternal)
	for _, batch := range batches {
		shard, _ := c.replica.node.servingSlot(batch.At)
		byShard[shard.ID] = append(byShard[shard.ID], batch)
	}
	failed := make(chan error, len(byShard))
	var wait sync.WaitGroup
	for _, batches := range byShard {
		wait.Go(func() {
			for _, batch := range batches {
				if err := c.deliver(ctx, batch); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wait.Wait()
	close(failed)
	for failure := range failed {
		err = errors.Join(err, failure)
	}
	return more, err
}

// batches reads the front of every queue. A queue is always carried from its front, so whatever was dropped before has happened.
func (c *carrier) batches() (batches []fsm.ReceiveInternal, more bool, err error) {
	mark := c.waiting.mark() // before the view, see outboxIndex.emptied
	named := c.waiting.slots(mimi.Provider{})
	view, err := c.replica.view()
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	slots, err := c.replica.servedBy(view).of(named) // of a slot that is on its way the next shard carries
	if err != nil {
		return nil, false, err
	}
	for _, slot := range slots {
		before := len(batches)
		err := fsm.InternalQueues(view, slot, func(q fsm.InternalQueue) (bool, error) {
			if q.Waiting == 0 {
				return true, nil
			}
			batch, err := front(view, q)
			batches = append(batches, batch)
			more = more || uint64(len(batch.Effects)) < q.Waiting
			return true, err
		})
		if err != nil {
			return nil, false, err
		}
		if len(batches) == before {
			c.waiting.emptied(mimi.Provider{}, slot, mark)
		}
	}
	return batches, more, nil
}

// front is what one command carries of a queue, at least one effect.
func front(view fsm.Reader, q fsm.InternalQueue) (fsm.ReceiveInternal, error) {
	batch := fsm.ReceiveInternal{At: q.To, From: q.From}
	bytes := 0
	err := fsm.ReadInternal(view, q.From, q.To, func(item fsm.InternalItem) (bool, error) {
		bytes += len(fsm.EncodeEffect(item.Effect))
		if len(batch.Effects) > 0 && bytes > carriedBytesMax {
			return false, nil
		}
		if len(batch.Effects) == 0 {
			batch.First = item.Sequence
		}
		batch.Effects = append(batch.Effects, item.Effect)
		return len(batch.Effects) < carriedMax, nil
	})
	return batch, err
}

// deliver brings a batch to its slot and drops from the queue what the slot says it has. If this node goes in between, the next leader
// finds the batch in the queue and the slot skips it.
func (c *carrier) deliver(ctx context.Context, batch fsm.ReceiveInternal) error {
	ctx, cancel := context.WithTimeout(ctx, carryTimeout)
	defer cancel()
	outcome, _, err := c.replica.node.Propose(ctx, batch)
	if err != nil {
		return fmt.Errorf("slot %d to %d: %w", batch.From, batch.At, err)
	}
	received, ok := outcome.(fsm.Received)
	if !ok || received.Next < batch.First {
		return fmt.Errorf("slot %d to %d from %d on: %#v", batch.From, batch.At, batch.First, outcome)
	}
	drop := fsm.DropInternal{At: batch.From, To: batch.At, Next: received.Next}
	if reply := c.replica.node.proposeHere(ctx, c.replica.shard, drop); reply.code != answerOutcome || reply.outcome != (fsm.Done{}) {
		return fmt.Errorf("%T: answer %d, %#v", drop, reply.code, reply.outcome)
	}
	return nil
}
