package fsm

import "parley/mls"

// An incarnation of a room is told from any other by a number that is the index of the entry that made it, plus the shard's base. Indexes of
// two logs have nothing to do with each other; the base rises with each slot that comes, so that no number is used again for a room
// that came with it.

func readIncarnationBase(r *mls.Reader) uint64 { return r.Uint64("base") }

func (t *tx) incarnationBase() uint64 {
	base, _ := get(t, func(r Reader) (uint64, bool, error) {
		return readRecord(r, shardKey(keyIncarnationBase), "base of incarnations", readIncarnationBase)
	})
	return base
}

// ReadIncarnationsUsed returns a number that no incarnation of a room is above which the shard has given, as of its applied index.
func ReadIncarnationsUsed(r Reader, applied uint64) (uint64, error) {
	base, _, err := readRecord(r, shardKey(keyIncarnationBase), "base of incarnations", readIncarnationBase)
	return applied + base, err
}

// incarnation is that of a room which this entry makes or continues. It rises from entry to entry.
func (t *tx) incarnation() uint64 { return t.index + t.incarnationBase() }

// incarnateAbove makes all incarnations from here on be above one.
func (t *tx) incarnateAbove(used uint64) {
	if t.incarnation() <= used {
		t.set(shardKey(keyIncarnationBase), record(func(w *mls.Writer) { w.Uint64(used + 1 - t.index) }))
	}
}

// lastIncarnation is the highest of a slot's rooms.
func (t *tx) lastIncarnation(slot SlotID) (last uint64) {
	rooms := newKey(slot, keyRoom)
	t.check(scanRangeUpTo(t.store, rooms, rooms, rooms.end(), "room", roomHeadVersion, readRoomHead, func(_ []byte, head roomHead) (bool, error) {
		last = max(last, head.incarnation)
		return true, nil
	}))
	return last
}

func (t *tx) setOwnership(slot SlotID, o Ownership) { t.set(ownershipKey(slot), record(o.appendTo)) }

// activateSlot makes a slot that has come be served. A format above that of its last page needs nothing of it yet: what a later format
// makes of older records when a shard is raised to it has to be done here as well.
func (t *tx) activateSlot(c ActivateSlot) Outcome {
	m, refused := t.moveOf(c.At, c.Move)
	if refused != nil {
		return refused
	}
	shard, born := get(t, ReadShard)
	o, _ := t.ownership(c.At)
	here := Ownership{Shard: shard.Shard, Generation: c.Generation, Here: true}
	if m.Move == c.Move && m.Stage == SlotActivated && o == here {
		return Done{}
	}
	switch {
	case m.Move != c.Move || m.Stage != SlotImporting:
		return m.refuse("there is no import of this move")
	case m.came.Sequence != c.Sequence:
		return m.refuse("another page is the last that is in")
	case !m.came.Whole || len(m.came.Part.Key) > 0:
		return m.refuse("the slot has not come whole")
	case !born:
		return m.refuse("the shard is not born")
	case c.Generation <= o.Generation:
		return m.refuse("the generation of the slot does not rise")
	case c.Settings > t.settingsVersion:
		return m.refuse("the shard does not have the settings yet that are in force for the slot")
	}
	if c.Clock > t.now {
		t.now = c.Clock
		t.setClock(t.now)
	}
	t.incarnateAbove(c.IndexBase)
	t.setOwnership(c.At, here)
	t.endMove(c.At, c.Move, SlotActivated)
	t.catchUp(c.At)
	t.arrive(c.At)
	return Done{}
}
