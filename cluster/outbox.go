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

const headsBytesMax = 8 << 20 // bodies of one answer of Heads

// wakeOutbox tells OutboxChanged's reader.
func (n *Node) wakeOutbox() {
	select {
	case n.outboxChanged <- struct{}{}:
	default: // one is waiting already
	}
}

// OutboxChanged receives after items have been added on this node, or leadership of a shard has changed. Changes that come
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

// Waiting lists the destinations, without the local provider, for which something may wait on the shards that this node leads.
func (n *Node) Waiting() []mimi.Provider {
	local := n.localDestination()
	var all []mimi.Provider
	for _, r := range n.led() {
		for _, destination := range r.outbox.destinations() {
			if destination != local {
				all = append(all, destination)
			}
		}
	}
	slices.SortFunc(all, mimi.Provider.Compare)
	return slices.Compact(all)
}

// Heads returns, for the shards that this node leads, the first waiting items of rooms that are not busy, in order per room, as many as
// the page allows. An item stays waiting until it is acknowledged.
func (n *Node) Heads(ctx context.Context, destination mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) ([]fsm.OutboxItem, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if page.Bytes == 0 || page.Bytes > headsBytesMax {
		page.Bytes = headsBytesMax
	}
	var heads headsSoFar
	for _, r := range n.led() {
		if heads.full(page) || ctx.Err() != nil {
			break
		}
		if err := r.heads(&heads, destination, busy, page); err != nil {
			return nil, fmt.Errorf("outbox of shard %d: %w", r.shard, err)
		}
	}
	return heads.items, nil
}

// headsSoFar is a page under way.
type headsSoFar struct {
	items []fsm.OutboxItem
	rooms int
	bytes int
}

func (h *headsSoFar) full(page fsm.OutboxPage) bool {
	return h.rooms >= page.Rooms || h.bytes >= page.Bytes
}

func (r *replica) heads(heads *headsSoFar, destination mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) (err error) {
	slots := r.outbox.slots(destination) // before the view, see outboxIndex.emptied
	view, err := r.view()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	for _, at := range r.turn(slots) {
		// However many items of a busy room stand in front, those of other rooms are found: a peer that refuses one room must not
		// hold up the rest.
		seen := make(map[mimi.RoomURI]int)
		looked := false
		err := fsm.ReadOutbox(view, at.slot, destination, 0, func(item fsm.OutboxItem) (bool, error) {
			looked = true
			if seen[item.Room] < page.PerRoom && !busy(item.Room) {
				if seen[item.Room] == 0 {
					heads.rooms++
				}
				heads.items = append(heads.items, item)
				heads.bytes += len(item.Body)
			}
			seen[item.Room]++
			return !heads.full(page), nil
		})
		if err != nil {
			return err
		}
		if !looked {
			r.outbox.emptied(destination, at)
		}
		if heads.full(page) {
			break
		}
	}
	return nil
}

// turn begins each time with another slot, so that the first ones do not always go before the others.
func (r *replica) turn(slots []waitingSlot) []waitingSlot {
	if len(slots) == 0 {
		return nil
	}
	first := int(r.turns.Add(1) % uint64(len(slots)))
	return slices.Concat(slots[first:], slots[:first])
}

// Backlog counts what waits for each destination on the shards that this node leads.
func (n *Node) Backlog(ctx context.Context) (map[mimi.Provider]uint64, error) {
	_, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	backlog := make(map[mimi.Provider]uint64)
	for _, r := range n.led() {
		if err := r.count(backlog); err != nil {
			return nil, err
		}
	}
	return backlog, nil
}

func (r *replica) count(backlog map[mimi.Provider]uint64) (err error) {
	view, err := r.view()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	for _, destination := range r.outbox.destinations() {
		for _, at := range r.outbox.slots(destination) {
			position, err := fsm.ReadOutboxPosition(view, at.slot, destination)
			if err != nil {
				return err
			}
			if position.Waiting > 0 {
				backlog[destination] += position.Waiting
			}
		}
	}
	return nil
}
