package fsm

import (
	"bytes"
	"crypto/sha256"

	"parley/mls"
)

// A value that is too large for a page comes in parts. They wait among what is the shard's own, so that the slot holds whole values alone.

func slotPartKey(slot SlotID) key { return shardKey(keySlotPart).uint16(uint16(slot)) }

func readSlotPart(r *mls.Reader) []byte { return r.Opaque("bytes") }

// arrival is a page that is being taken in. It writes nothing before all of the page has been looked at.
type arrival struct {
	t      *tx
	slot   SlotID
	values []SlotRecord // to be written, no parts
	bytes  uint64       // of all keys and values

	part   SlotPart // the value that has come in part, as SlotImport has it
	had    uint32   // how much of such a value lay in the state before
	stored uint32   // how much of this one does
	fresh  []byte   // what this page has of it behind that
}

// take looks at one record, and reports whether it may come here.
func (a *arrival) take(record SlotRecord) bool {
	a.bytes += uint64(len(record.key()))
	switch r := record.(type) {
	case SlotPart:
		a.bytes += uint64(len(r.Bytes))
		return a.takePart(r)
	case SlotValue:
		a.bytes += uint64(len(r.Value))
	}
	if bytes.Equal(record.key(), a.part.Key) {
		a.forget() // the key has changed since
	}
	a.values = append(a.values, record)
	return true
}

func (a *arrival) forget() { a.part, a.stored, a.fresh = SlotPart{}, 0, nil }

func (a *arrival) takePart(r SlotPart) bool {
	if r.Offset == 0 {
		a.forget()
		a.part = SlotPart{Key: r.Key, Total: r.Total, Hash: r.Hash}
	}
	if !bytes.Equal(r.Key, a.part.Key) || r.Offset != a.part.Offset || r.Total != a.part.Total || r.Hash != a.part.Hash {
		return false
	}
	a.fresh = append(a.fresh, r.Bytes...)
	a.part.Offset += uint32(len(r.Bytes))
	if a.part.Offset < a.part.Total {
		return true
	}
	value := append(a.storedPart(), a.fresh...)
	if sha256.Sum256(value) != r.Hash {
		return false
	}
	a.forget()
	a.values = append(a.values, SlotValue{Key: r.Key, Value: value})
	return true
}

// storedPart joins what has come in earlier pages.
func (a *arrival) storedPart() (value []byte) {
	if a.stored == 0 {
		return nil
	}
	a.t.check(scanRecords(a.t.store, slotPartKey(a.slot), "part of a value", readSlotPart, func(_ []byte, part []byte) (bool, error) {
		value = append(value, part...)
		return true, nil
	}))
	return value
}

func (a *arrival) write() {
	if a.had > 0 && a.stored == 0 {
		a.t.deletePrefix(slotPartKey(a.slot))
	}
	for _, v := range a.values {
		k := newSlotKey(a.slot, v.key())
		if v, there := v.(SlotValue); there {
			a.t.set(k, v.Value)
		} else {
			a.t.delete(k)
		}
	}
	if len(a.fresh) > 0 {
		a.t.set(slotPartKey(a.slot).uint32(a.stored), record(func(w *mls.Writer) { w.Opaque(a.fresh) }))
	}
}
