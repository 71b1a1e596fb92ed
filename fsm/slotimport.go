package fsm

import (
	"bytes"
	"crypto/sha256"
)

// The target's side of a move. What comes stands in the slot's own range of keys from the first page on, where nothing looks for it: each
// command of the slot is refused while the shard does not own it, and sweeps go by what the shard notes of the slot, which is written when
// the slot is activated.

// importSlotPage takes a page that follows on what is in. Of two drivers who number different pages alike one is refused.
func (t *tx) importSlotPage(c ImportSlotPage) Outcome {
	m, refused := t.moveOf(c.At, c.Move)
	if refused != nil {
		return refused
	}
	if c.Format > t.format {
		return FormatNotReached{Needs: c.Format, Has: t.format}
	}
	came := m.came
	switch {
	case m.Move == c.Move && m.Stage != SlotImporting:
		return m.refuse("the move is over here, or the shard is its source")
	case m.Move < c.Move && t.owns(c.At):
		return m.refuse("the slot is here")
	case m.Move < c.Move:
		came = SlotImport{From: c.From}
	}
	page := sha256.Sum256(EncodeCommand(c))
	switch {
	case c.Sequence > came.Sequence+1:
		return PageTaken{came.Sequence}
	case c.Sequence == came.Sequence && c.Sequence > 0 && page == came.Page:
		return PageTaken{came.Sequence}
	case c.Sequence <= came.Sequence:
		return m.refuse("another page of this number, or a later one, is in")
	case c.From != came.From:
		return m.refuse("the slot comes from another shard")
	case c.Index < came.Index || bytes.Compare(c.Through, came.Through) < 0 || came.Whole && !c.Whole, came.Complete && !c.Complete:
		return m.refuse("the page was read before one that is in")
	}
	a := arrival{t: t, slot: c.At, part: came.Part, had: came.Part.Offset, stored: came.Part.Offset}
	for _, record := range c.Records {
		if !a.take(record) {
			return m.refuse("a part of a value does not follow on the one before, or the value is not what its hash says")
		}
	}
	if m.Move < c.Move {
		t.dropImport(c.At, m)
	}
	a.write()
	t.setSlotMove(c.At, slotMoveRecord{SlotMove: SlotMove{c.Move, SlotImporting}, came: SlotImport{
		From: c.From, Sequence: c.Sequence, Index: c.Index, Format: c.Format, Through: c.Through, Whole: c.Whole, Complete: c.Complete, Page: page, Part: a.part,
		Records: came.Records + uint64(len(c.Records)), Bytes: came.Bytes + a.bytes,
	}})
	return PageTaken{c.Sequence}
}

// owns reports whether the slot is here, frozen or not.
func (t *tx) owns(slot SlotID) bool {
	o, found := t.ownership(slot)
	return found && o.Here
}

// dropImport deletes what has come of a slot with the last move, if anything has.
func (t *tx) dropImport(slot SlotID, m slotMoveRecord) {
	if m.Stage == SlotImporting {
		t.dropSlot(slot)
		t.deletePrefix(slotPartKey(slot))
	}
}

// dropSlotImport ends an import, or keeps one from beginning.
func (t *tx) dropSlotImport(c DropSlotImport) Outcome {
	m, refused := t.moveOf(c.At, c.Move)
	if refused != nil {
		return refused
	}
	switch {
	case m.Move == c.Move && m.Stage == SlotDropped:
		return Done{}
	case m.Move == c.Move && m.Stage != SlotImporting:
		return m.refuse("the slot has come, or the shard is the source of this move")
	case t.owns(c.At):
		return m.refuse("the slot is here")
	}
	t.dropImport(c.At, m)
	t.endMove(c.At, c.Move, SlotDropped)
	return Done{}
}
