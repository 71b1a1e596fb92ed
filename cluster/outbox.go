package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

const (
	headsBytesMax = 8 << 20 // bodies of one answer of Heads
	inboxBytesMax = 8 << 20 // bodies of one shard's page of the inbox, which travels in one answer
	inboxItemsMax = 1000    // of one shard's page
)

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

// Inbox returns the items for the local provider that are not acknowledged, over all shards, oldest first and in order per
// room, at most max. Each shard is read at its leader, where an acknowledgement is seen as soon as it is answered, or else at
// this node. A shard that cannot be read is left out, unless there is nothing from the others either.
func (n *Node) Inbox(ctx context.Context, max int) ([]fsm.OutboxItem, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	destination := n.localDestination()
	if destination.IsZero() {
		return nil, nil
	}
	shards := n.Map().Shards()
	pages := make([][]fsm.OutboxItem, len(shards))
	failed := make([]error, len(shards))
	var wait sync.WaitGroup
	for i, shard := range shards {
		if shard.State == meta.ShardActive {
			wait.Go(func() { pages[i], failed[i] = n.inboxOf(ctx, shard, destination, max) })
		}
	}
	wait.Wait()
	items := slices.Concat(pages...)
	if err := errors.Join(failed...); err != nil && len(items) == 0 {
		return nil, fmt.Errorf("%w: inbox: %w", fsm.ErrNotProposed, err)
	}
	// Within a shard hub time does not fall, so this keeps each room's order.
	slices.SortStableFunc(items, func(a, b fsm.OutboxItem) int { return cmp.Compare(a.Millis, b.Millis) })
	return items[:min(max, len(items))], nil
}

func (n *Node) inboxOf(ctx context.Context, shard meta.Shard, destination mimi.Provider, max int) ([]fsm.OutboxItem, error) {
	local := n.replica(shard.ID)
	if local != nil && local.leads() {
		return local.page(destination, max)
	}
	items, err := n.fetchInbox(ctx, shard, destination, max)
	if err != nil && local != nil {
		return local.page(destination, max)
	}
	return items, err
}

// page reads the first items of an outbox's slots.
func (r *replica) page(destination mimi.Provider, max int) (items []fsm.OutboxItem, err error) {
	slots := r.outbox.slots(destination)
	view, err := r.view()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	bytes := 0
	for _, at := range slots {
		found := false
		err := fsm.ReadOutbox(view, at.slot, destination, 0, func(item fsm.OutboxItem) (bool, error) {
			found = true
			if len(items) > 0 && bytes+len(item.Body) > inboxBytesMax {
				return false, nil
			}
			bytes += len(item.Body)
			items = append(items, item)
			return len(items) < max, nil
		})
		if err != nil {
			return nil, err
		}
		if !found {
			r.outbox.emptied(destination, at)
		}
		if len(items) >= max || bytes >= inboxBytesMax {
			break
		}
	}
	return items, nil
}

// fetchInbox asks a node that has the shard, its leader if it is known:
//
//	struct { uint8 version; uint32 shard; opaque destination<V>; uint32 max; } InboxRequest;
//	struct { OutboxItem items<V>; } InboxAnswer; // in the layout of the request's version
func (n *Node) fetchInbox(ctx context.Context, shard meta.Shard, destination mimi.Provider, max int) ([]fsm.OutboxItem, error) {
	target := n.leaderOf(shard.ID)
	if target == "" || target == n.id {
		others := slices.DeleteFunc(slices.Clone(shard.Replicas), func(id string) bool { return id == n.id })
		if len(others) == 0 {
			return nil, fmt.Errorf("shard %d has no leader", shard.ID)
		}
		target = others[0]
	}
	// A node of an older program knows no notes, and there are none before every node runs one that does.
	version := uint8(1)
	if n.Settings().Format >= fsm.FormatExclusive {
		version = fsm.ItemVersion
	}
	var w mls.Writer
	w.Uint8(version)
	w.Uint32(uint32(shard.ID))
	destination.AppendTo(&w)
	w.Uint32(uint32(min(max, inboxItemsMax)))
	raw, _, err := n.call(ctx, target, methodInbox, w.Bytes())
	if err != nil {
		return nil, err
	}
	r := mls.NewReader("InboxAnswer", raw)
	items := mls.ReadList(r, "items", func(r *mls.Reader) fsm.OutboxItem { return fsm.ReadOutboxItem(r, version) })
	return items, r.Close()
}

func (n *Node) serveInbox(_ context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("InboxRequest", payload)
	version := r.Uint8("version")
	if version == 0 || version > fsm.ItemVersion {
		r.Fail("version", "is not known")
	}
	shard := fsm.ShardID(r.Uint32("shard"))
	destination := mimi.ReadProvider(r, "destination")
	max := int(r.Uint32("max"))
	if err := r.Close(); err != nil {
		return nil, err
	}
	replica := n.replica(shard)
	if replica == nil {
		return nil, fmt.Errorf("shard %d is not here", shard)
	}
	items, err := replica.page(destination, min(max, inboxItemsMax))
	if err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Vector(func(w *mls.Writer) {
		for _, item := range items {
			item.AppendTo(w, version)
		}
	})
	return w.Bytes(), nil
}
