package cluster

import (
	"context"
	"errors"
	"sync"

	"parley/fsm"
	"parley/fsm/meta"
)

// A slot has one shard at any index of any log, and the shards' own states say which. What a node goes by is the map, which may be behind:
// then the shard that has lost the slot says where it is, and the node goes by that until its map says so too. Whoever has asked a shard that
// does not serve the slot has learnt nothing else: neither a *no*, behind however many fences, nor how things stand.

// whereabouts are slots that have moved on further than this node's map says. Safe for concurrent use. The zero value is ready.
type whereabouts struct {
	mu      sync.Mutex
	told    map[fsm.SlotID]meta.SlotPlace
	changed chan struct{} // closed at the next news; nil while nobody waits
}

// note takes what a shard has said of a slot that is in a place by the map. It reports whether that was news.
func (w *whereabouts) note(mapped meta.SlotPlace, to fsm.MovedTo) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to.Shard == 0 || to.Generation <= mapped.Generation || to.Generation <= w.told[mapped.Slot].Generation {
		return false
	}
	if w.told == nil {
		w.told = make(map[fsm.SlotID]meta.SlotPlace)
	}
	w.told[mapped.Slot] = meta.SlotPlace{Slot: mapped.Slot, Shard: to.Shard, Generation: to.Generation}
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
	return true
}

// of is the place of a slot that is in one by the map.
func (w *whereabouts) of(mapped meta.SlotPlace) meta.SlotPlace {
	w.mu.Lock()
	defer w.mu.Unlock()
	told, known := w.told[mapped.Slot]
	switch {
	case !known:
		return mapped
	case told.Generation <= mapped.Generation:
		delete(w.told, mapped.Slot) // the map has caught up
		return mapped
	default:
		return told
	}
}

// watch returns a channel that is closed when there is news.
func (w *whereabouts) watch() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed
}

// placeOf is where a slot is, and in which generation, as far as this node knows; false before the shards are placed.
func (n *Node) placeOf(slot fsm.SlotID) (meta.SlotPlace, bool) {
	mapped, placed := n.Map().PlaceOfSlot(slot)
	if !placed {
		return meta.SlotPlace{}, false
	}
	return n.whereabouts.of(mapped), true
}

// servingSlot is the active shard that a slot is in, as far as this node knows.
func (n *Node) servingSlot(slot fsm.SlotID) (meta.Shard, bool) {
	current := n.Map()
	mapped, placed := current.PlaceOfSlot(slot)
	if !placed {
		return meta.Shard{}, false
	}
	for _, place := range []meta.SlotPlace{n.whereabouts.of(mapped), mapped} { // of a shard that is newer than its map the node can ask nobody
		if shard, found := current.Shard(place.Shard); found && shard.State == meta.ShardActive {
			return shard, true
		}
	}
	return meta.Shard{}, false
}

// heedMoved takes note of what a shard has said of a slot that it does not serve, and reports whether that was news.
func (n *Node) heedMoved(slot fsm.SlotID, to fsm.MovedTo) bool {
	mapped, placed := n.Map().PlaceOfSlot(slot)
	return placed && n.whereabouts.note(mapped, to)
}

// hasLeft reports whether a shard need not be asked any more: a slot has left it, as far as this node knows, or the shard is retired. A slot that is none is
// where the shard is.
func (n *Node) hasLeft(shard fsm.ShardID, slot fsm.SlotID) bool {
	if known, found := n.Map().Shard(shard); found && known.State == meta.ShardRetired {
		return true
	}
	if slot >= fsm.SlotCount {
		return false
	}
	serving, found := n.servingSlot(slot)
	return found && serving.ID != shard
}

// awaitPlace waits for a slot to be served: until the map has changed, there is other news, or a pause is over.
func (n *Node) awaitPlace(ctx context.Context, pause *backoff) error {
	_, mapped := n.meta.watch()
	told := n.whereabouts.watch()
	return pause.waitFor(ctx, func(ctx context.Context) error {
		select {
		case <-mapped:
		case <-told:
		case <-ctx.Done():
		}
		return nil
	})
}

// serves reports whether a view of a replica shows a slot that the shard serves, and if not, what it has to say of it. A view in which the
// slot is of an earlier generation than the node knows of, is one of before it went and came back: that it serves the slot is not so any more.
func (r *replica) serves(view fsm.Reader, slot fsm.SlotID) (serves bool, to fsm.MovedTo, err error) {
	to, elsewhere, err := fsm.Elsewhere(view, slot)
	if err != nil || elsewhere {
		return false, to, err
	}
	owned, _, err := fsm.ReadOwnership(view, slot)
	known, _ := r.node.placeOf(slot)
	return owned.Generation >= known.Generation, fsm.MovedTo{}, err
}

// elsewhere is what a view of a replica has to say of a slot that it does not serve; serves is true where it does. One that follows may only
// be behind, if it has no news: then it is errBehind, and the leader knows.
func (r *replica) elsewhere(view fsm.Reader, slot fsm.SlotID) (to fsm.MovedTo, serves bool, err error) {
	serves, to, err = r.serves(view, slot)
	switch {
	case err != nil || serves:
		return fsm.MovedTo{}, serves, err
	case r.node.heedMoved(slot, to) || r.leads():
		return to, false, nil
	default:
		return fsm.MovedTo{}, false, errBehind
	}
}

// errSlotGone: the slot has left the shard since the command was decided that is to be completed from its state.
var errSlotGone = errors.New("the slot has left the shard")

// holds reports whether a view of a replica has what is to be read of a slot behind a decision: it serves the slot, or has it frozen.
func holds(view fsm.Reader, slot fsm.SlotID) (bool, error) {
	if slot >= fsm.SlotCount {
		return true, nil
	}
	if _, elsewhere, err := fsm.Elsewhere(view, slot); err != nil || !elsewhere {
		return err == nil, err
	}
	export, leaving, err := fsm.ReadSlotExport(view, slot)
	return leaving && export.Frozen, err
}
