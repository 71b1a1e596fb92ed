package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
)

// wakeOutbox tells OutboxChanged's reader.
func (n *Node) wakeOutbox() {
	select {
	case n.outboxChanged <- struct{}{}:
	default: // one is waiting already
	}
}

// OutboxChanged receives after items have been added on this node, or what it delivers has changed. Changes that come
// faster than they are received are one. It is meant for one reader.
func (n *Node) OutboxChanged() <-chan struct{} { return n.outboxChanged }

// led are the replicas that take themselves for leaders, by shard.
func (n *Node) led() []*replica {
	n.mu.Lock()
	defer n.mu.Unlock()
	var led []*replica
	for _, r := range n.replicas {
		if r.leads() {
			led = append(led, r)
		}
	}
	slices.SortFunc(led, func(a, b *replica) int { return cmp.Compare(a.shard, b.shard) })
	return led
}

func (n *Node) localDestination() mimi.Provider {
	if domains := n.Settings().Domains; len(domains) > 0 {
		return domains[0]
	}
	return mimi.Provider{}
}

// Waiting lists the destinations, without the local provider, for which something may wait that this node is appointed to deliver,
// but for peers that are paused.
func (n *Node) Waiting() []mimi.Provider {
	local, current := n.localDestination(), n.Map()
	var all []mimi.Provider
	for _, r := range n.replicasHere() {
		delivers := n.appointed.current(r)
		if delivers == 0 {
			continue
		}
		for _, destination := range r.outbox.destinations() {
			if destination != local && delivers.has(lotOf(destination)) && !current.Paused(destination) {
				all = append(all, destination)
			}
		}
	}
	slices.SortFunc(all, mimi.Provider.Compare)
	return slices.Compact(all)
}

// Backlog sums up what waits for each destination on the shards that this node leads, and what was given up there. What a shard of an
// older format has is counted in items alone.
func (n *Node) Backlog(ctx context.Context) (map[mimi.Provider]fsm.OutboxBacklog, error) {
	_, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	backlog := make(map[mimi.Provider]fsm.OutboxBacklog)
	for _, r := range n.led() {
		if err := r.count(backlog); err != nil {
			return nil, fmt.Errorf("backlog of shard %d: %w", r.shard, err)
		}
	}
	return backlog, nil
}

// count adds what waits in the replica's outboxes, at the cost of a read for each that may hold something.
func (r *replica) count(backlog map[mimi.Provider]fsm.OutboxBacklog) (err error) {
	view, err := r.view()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	for _, destination := range r.outbox.destinations() {
		sum := backlog[destination]
		for _, slot := range r.outbox.slots(destination) {
			position, err := fsm.ReadOutboxPosition(view, slot, destination)
			if err != nil {
				return err
			}
			position.Dropped = 0 // of all outboxes, those that are empty too, below
			sum.Add(position)
		}
		if sum.Items > 0 {
			backlog[destination] = sum
		}
	}
	for destination, items := range r.outbox.droppedItems() {
		sum := backlog[destination]
		sum.Dropped += items
		backlog[destination] = sum
	}
	return nil
}

// noteDropped counts items that were given up, and tells of them where this node leads, that items were given up: a destination will not get them, and nobody else tells the operator.
func (r *replica) noteDropped(drops []fsm.OutboxDrop) {
	for _, d := range drops {
		r.outbox.addDropped(fsm.OutboxRef{Slot: d.Slot, Destination: d.Destination}, d.Gap.Items)
		if r.leads() {
			r.node.log.Error("ALARM: items that a destination had not taken in time were dropped; the room's stream says where the gap is",
				"shard", r.shard, "destination", d.Destination, "room", d.Room, "items", d.Gap.Items, "firstMillis", d.Gap.FirstMillis, "lastMillis", d.Gap.LastMillis)
		}
	}
}
