package fsm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"parley/mls"
)

// While a slot is on its way out its shard keeps, beside the slot's data, a mark for each key that has changed since the export began, with
// the index of the last change. What a page carries of a key is its value as of the page's view; a mark whose index is not above that of
// the view has been carried with it, and any later change has set it anew.

// slotBytes is the length of the slot's number, with which its keys begin.
const slotBytes = 2

// newSlotKey is a slot's key from what stands behind the slot's number.
func newSlotKey(slot SlotID, rest []byte) key { return key{byte(slot >> 8), byte(slot)}.raw(rest) }

func slotMarkKey(slot SlotID, rest []byte) key {
	return shardKey(keySlotMark).uint16(uint16(slot)).raw(rest)
}

// visitSlotMarks visits the marks of a slot up to a key, to the end where last is empty, in order of the keys, which are valid during the visit.
func visitSlotMarks(r Reader, slot SlotID, last []byte, visit func(rest []byte, index uint64) (more bool, err error)) error {
	prefix := slotMarkKey(slot, nil)
	upper := prefix.end()
	if len(last) > 0 {
		upper = successor(slotMarkKey(slot, last))
	}
	return scanRange(r, prefix, prefix, upper, "mark of a slot", func(r *mls.Reader) uint64 { return r.Uint64("index") }, visit)
}

// markedSlots are those of a shard that are on their way out, in one record, so that an entry learns with one look that there are none.
type markedSlots struct {
	slots []markedSlot // in order
	keys  map[string]bool
}

// markedSlot is a slot whose changes are marked, or, where it is frozen, must not happen.
type markedSlot struct {
	slot   SlotID
	frozen bool
}

//	struct {
//	    MarkedSlot slots<V>;
//	} MarkedSlots;
//
//	struct {
//	    uint16 slot;
//	    uint8 frozen;
//	} MarkedSlot;
func appendMarkedSlots(w *mls.Writer, slots []markedSlot) {
	appendList(w, slots, func(w *mls.Writer, m markedSlot) {
		w.Uint16(uint16(m.slot))
		w.Bool(m.frozen)
	})
}

func readMarkedSlots(r *mls.Reader) []markedSlot {
	return readList(r, "slots", func(r *mls.Reader) markedSlot {
		return markedSlot{slot: SlotID(r.Uint16("slot")), frozen: r.Bool("frozen")}
	})
}

// marked are those of the shard as of this place in the entry.
func (t *tx) marked() *markedSlots {
	if t.marking != nil {
		return t.marking
	}
	t.marking = &markedSlots{}
	if t.format >= FormatResize {
		t.marking.slots, _ = get(t, func(r Reader) ([]markedSlot, bool, error) {
			return readRecord(r, shardKey(keyMarkedSlots), "slots on their way out", readMarkedSlots)
		})
		if len(t.marking.slots) > 0 {
			t.marking.keys = make(map[string]bool)
		}
	}
	return t.marking
}

func (m *markedSlots) find(slot SlotID) (at int, found bool) {
	return slices.BinarySearchFunc(m.slots, slot, func(m markedSlot, slot SlotID) int { return int(m.slot) - int(slot) })
}

// frozen reports whether a slot that is here must not change.
func (t *tx) frozen(slot SlotID) bool {
	m := t.marked()
	at, found := m.find(slot)
	return found && m.slots[at].frozen
}

// setMarked makes changes of a slot be marked from here on, or be a fault.
func (t *tx) setMarked(slot SlotID, frozen bool) {
	m := t.marked()
	at, found := m.find(slot)
	if !found {
		m.slots = slices.Insert(m.slots, at, markedSlot{slot: slot})
	}
	m.slots[at].frozen = frozen
	t.writeMarked()
}

// unmark ends it, and drops the marks.
func (t *tx) unmark(slot SlotID) {
	m := t.marked()
	if at, found := m.find(slot); found {
		m.slots = slices.Delete(m.slots, at, at+1)
		t.writeMarked()
		t.deletePrefix(slotMarkKey(slot, nil))
	}
}

func (t *tx) writeMarked() {
	m := t.marking
	m.keys = make(map[string]bool) // marks may be set again
	if len(m.slots) == 0 {
		t.delete(shardKey(keyMarkedSlots))
		return
	}
	t.set(shardKey(keyMarkedSlots), record(func(w *mls.Writer) { appendMarkedSlots(w, m.slots) }))
}

// mark notes that a key changes, where its slot is on its way out.
func (t *tx) mark(k key) {
	if slot := SlotID(binary.BigEndian.Uint16(k)); slot != ShardLevel && t.marks(slot) {
		t.markKey(slot, k[slotBytes:])
	}
}

// marks reports whether changes of a slot are marked. Where nothing may change it, something is wrong that would make two shards
// differ in what they take for one slot.
func (t *tx) marks(slot SlotID) bool {
	m := t.marked()
	if len(m.slots) == 0 {
		return false
	}
	at, found := m.find(slot)
	if found && m.slots[at].frozen {
		panic(fmt.Sprintf("fsm: entry %d changes slot %d, which is frozen", t.index, slot))
	}
	return found
}

func (t *tx) markKey(slot SlotID, rest []byte) {
	k := slotMarkKey(slot, rest)
	if t.marking.keys[string(k)] {
		return
	}
	t.marking.keys[string(k)] = true
	t.set(k, record(func(w *mls.Writer) { w.Uint64(t.index) }))
}

// markRange notes it of all keys of a range that are there.
func (t *tx) markRange(lower, end key) {
	slot := SlotID(binary.BigEndian.Uint16(lower))
	if slot == ShardLevel || !t.marks(slot) {
		return
	}
	var keys [][]byte
	t.check(t.store.Scan(lower, end, func(k, _ []byte) (bool, error) {
		keys = append(keys, bytes.Clone(k[slotBytes:]))
		return true, nil
	}))
	for _, k := range keys {
		t.markKey(slot, k)
	}
}

// dropSlotMarks forgets what was carried.
func (t *tx) dropSlotMarks(c DropSlotMarks) Outcome {
	m, refused := t.moveOf(c.At, c.Move)
	if refused != nil {
		return refused
	}
	if m.Move != c.Move || m.Stage != SlotExporting && m.Stage != SlotFrozen {
		return m.refuse("there is no export of this move")
	}
	var carried [][]byte
	t.check(visitSlotMarks(t.store, c.At, c.Last, func(rest []byte, index uint64) (bool, error) {
		if index <= c.Through {
			carried = append(carried, bytes.Clone(rest))
		}
		return true, nil
	}))
	for _, rest := range carried {
		k := slotMarkKey(c.At, rest)
		t.delete(k)
		delete(t.marked().keys, string(k))
	}
	return Done{}
}
