package fsm

import "parley/mls"

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
