package cluster

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"parley/fsm"
)

// What a replica keeps in memory of its slots, so that nobody has to search all of them, goes with a slot that is frozen or goes, and is read
// from the state of one that comes or is thawed. Whoever takes a slot from there looks once more whether his view serves it: the view may be
// another than that of which he was told.

// slotChanges are slots that have come and gone in a batch of entries, with what was the last of both. They belong to the batch's owner.
type slotChanges struct{ came, gone map[fsm.SlotID]bool }

// note takes what an entry has done.
func (c *slotChanges) note(result fsm.Result) {
	if len(result.Arrived)+len(result.Gone) == 0 {
		return
	}
	if c.came == nil {
		c.came, c.gone = make(map[fsm.SlotID]bool), make(map[fsm.SlotID]bool)
	}
	for _, slot := range result.Gone {
		c.gone[slot] = true
		delete(c.came, slot)
	}
	for _, slot := range result.Arrived {
		c.came[slot] = true
	}
}

// lastGone is when a replica last lost a slot. Safe for concurrent use. The zero value is never.
type lastGone struct {
	mu sync.Mutex
	at time.Time
}

func (g *lastGone) now() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.at = time.Now()
}

// within reports whether a slot has gone in the time before now.
func (g *lastGone) within(d time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.at.IsZero() && time.Since(g.at) < d
}

// slotsChanged brings what is in memory up to a batch that is in the state.
func (r *replica) slotsChanged(changes slotChanges) error {
	if len(changes.gone) > 0 {
		r.outbox.forgetSlots(changes.gone)
		r.queues.forgetSlots(changes.gone)
		r.carrier.waiting.forgetSlots(changes.gone)
		r.usher.forgetSlots(changes.gone)
		r.goneAt.now()
	}
	if len(changes.came)+len(changes.gone) == 0 {
		return nil
	}
	view, err := r.view()
	if err != nil {
		return err
	}
	slots := slices.Sorted(maps.Keys(changes.came))
	if err = r.recallSlots(view, slots); err == nil {
		err = r.usher.recallSlots(view, slots)
	}
	if err == nil {
		err = r.tellNode(view, changes)
	}
	r.node.wakeOutbox()
	return errors.Join(err, view.Close())
}

// tellNode lets the node know where slots are that have come or gone: its map may say so later.
func (r *replica) tellNode(view fsm.Reader, changes slotChanges) error {
	for _, slots := range []map[fsm.SlotID]bool{changes.came, changes.gone} {
		for slot := range slots {
			owned, found, err := fsm.ReadOwnership(view, slot)
			if err != nil {
				return err
			}
			if found {
				r.node.heedMoved(slot, fsm.MovedTo{Shard: owned.Shard, Generation: owned.Generation})
			}
		}
	}
	return nil
}

// recallSlots takes from the state what is kept in memory of slots that are the replica's.
func (r *replica) recallSlots(view fsm.Reader, owned []fsm.SlotID) error {
	if err := r.recallOutboxes(view, owned); err != nil {
		return err
	}
	if err := r.recallQueues(view, owned); err != nil {
		return err
	}
	return r.carrier.recall(view, owned)
}

// forgetOthers forgets what is kept in memory of slots other than those that are the replica's, which the state that it had before may have had.
func (r *replica) forgetOthers(owned []fsm.SlotID) {
	gone := make(map[fsm.SlotID]bool)
	for slot := range fsm.SlotID(fsm.SlotCount) {
		if _, own := slices.BinarySearch(owned, slot); !own {
			gone[slot] = true
		}
	}
	r.outbox.forgetSlots(gone)
	r.queues.forgetSlots(gone)
	r.carrier.waiting.forgetSlots(gone)
}

// served tells which slots a view of a replica serves. It belongs to one goroutine.
type served struct {
	replica *replica
	view    fsm.Reader
	known   map[fsm.SlotID]bool
	// left is set once it has denied a slot: of that, what the index names is left out.
	left bool
}

func (r *replica) servedBy(view fsm.Reader) *served {
	return &served{replica: r, view: view, known: make(map[fsm.SlotID]bool)}
}

// has reports whether a slot is served.
func (s *served) has(slot fsm.SlotID) (bool, error) {
	if here, known := s.known[slot]; known {
		return here, nil
	}
	here, _, err := s.replica.serves(s.view, slot)
	if err != nil {
		return false, err
	}
	s.known[slot] = here
	s.left = s.left || !here
	return here, nil
}

// of leaves those of some slots that are served.
func (s *served) of(slots []fsm.SlotID) (here []fsm.SlotID, err error) {
	for _, slot := range slots {
		if has, err := s.has(slot); err != nil {
			return nil, err
		} else if has {
			here = append(here, slot)
		}
	}
	return here, nil
}
