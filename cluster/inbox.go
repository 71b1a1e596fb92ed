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
	inboxBytesMax = 8 << 20 // bodies of one shard's page of the inbox, which travels in one answer
	inboxItemsMax = 1000    // of one shard's page
)

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
