package fsm

import "slices"

// The source's side of a move.

// slotMove is the last move of a slot that the shard has heard of; zero where it has heard of none.
func (t *tx) slotMove(slot SlotID) slotMoveRecord {
	m, _ := get(t, func(r Reader) (slotMoveRecord, bool, error) { return readSlotMove(r, slot) })
	return m
}

func (t *tx) setSlotMove(slot SlotID, m slotMoveRecord) {
	t.set(slotMoveKey(slot), record(m.appendTo))
}

// endMove notes that a move has ended here, in one of the stages in which one has.
func (t *tx) endMove(slot SlotID, move uint64, stage SlotStage) {
	t.setSlotMove(slot, slotMoveRecord{SlotMove: SlotMove{move, stage}})
}

func (m slotMoveRecord) refuse(reason string) Outcome {
	return MoveRefused{Move: m.Move, Stage: m.Stage, Reason: reason}
}

// moveOf is what the shard knows of a slot's moves, and why a command of a move cannot be for it: it is of no slot, of no move, or of
// one that is over.
func (t *tx) moveOf(slot SlotID, move uint64) (m slotMoveRecord, refused Outcome) {
	if slot >= SlotCount || move == 0 {
		return m, NotAllowed{Reason: "the slot or the number of the move is not valid"}
	}
	m = t.slotMove(slot)
	if move < m.Move {
		return m, m.refuse("the shard knows a later move of the slot")
	}
	return m, nil
}

// beginSlotExport begins to mark. An export of a lower move that has not frozen the slot ends with it: it cannot have been activated.
func (t *tx) beginSlotExport(c BeginSlotExport) Outcome {
	m, refused := t.moveOf(c.At, c.Move)
	if refused != nil {
		return refused
	}
	if m.Move == c.Move {
		if (m.Stage == SlotExporting || m.Stage == SlotFrozen) && m.export.To == c.To {
			return Done{}
		}
		return m.refuse("the move is another one, or over")
	}
	if m.Stage == SlotFrozen || m.Stage == SlotImporting {
		return m.refuse("the slot is in an earlier move, which has to end first")
	}
	if moved, gone := t.moved(c.At); gone {
		return moved
	}
	if o, _ := t.ownership(c.At); o.Shard == c.To {
		return NotAllowed{Reason: "the slot is in that shard"}
	}
	t.unmark(c.At)
	t.setMarked(c.At, false)
	t.setSlotMove(c.At, slotMoveRecord{
		SlotMove: SlotMove{c.Move, SlotExporting}, export: SlotExport{To: c.To, Since: t.index},
	})
	return Done{}
}

// freezeSlot stops the slot. What commands before this one in the entry have for its outboxes is written first, and it is not due for
// sweeps any more.
func (t *tx) freezeSlot(c FreezeSlot) Outcome {
	m, refused := t.moveOf(c.At, c.Move)
	switch {
	case refused != nil:
		return refused
	case m.Move == c.Move && m.Stage == SlotFrozen:
		return Done{}
	case m.Move != c.Move || m.Stage != SlotExporting:
		return m.refuse("there is no export of this move")
	}
	t.cutOutboxOf(c.At)
	t.clearDue(c.At)
	t.setMarked(c.At, true)
	m.Stage = SlotFrozen
	m.export.FrozenIndex, m.export.Clock, m.export.IndexBase, m.export.Settings = t.index, t.now, t.incarnation(), t.settingsVersion
	t.setSlotMove(c.At, m)
	t.leave(c.At)
	return Done{}
}

// thawSlot ends an export, or keeps one from beginning.
func (t *tx) thawSlot(c ThawSlot) Outcome {
	m, refused := t.moveOf(c.At, c.Move)
	if refused != nil {
		return refused
	}
	if m.Move == c.Move {
		switch m.Stage {
		case SlotThawed:
			return Done{}
		case SlotExporting, SlotFrozen:
		default:
			return m.refuse("the shard is not the source of this move, or the slot has gone")
		}
	} else if m.Stage == SlotFrozen || m.Stage == SlotImporting {
		return m.refuse("the slot is in an earlier move, which has to end first")
	}
	t.unmark(c.At)
	t.endMove(c.At, c.Move, SlotThawed)
	if m.Stage == SlotFrozen {
		t.catchUp(c.At)
		t.arrive(c.At)
	}
	return Done{}
}

// releaseSlot gives the slot to the shard that has activated it.
func (t *tx) releaseSlot(c ReleaseSlot) Outcome {
	m, refused := t.moveOf(c.At, c.Move)
	if refused != nil {
		return refused
	}
	o, _ := t.ownership(c.At)
	if m.Move == c.Move && m.Stage == SlotReleased && o == (Ownership{Shard: c.To, Generation: c.Generation}) {
		return Done{}
	}
	switch {
	case m.Move != c.Move || m.Stage != SlotFrozen:
		return m.refuse("the slot is not frozen for this move")
	case m.export.To != c.To:
		return m.refuse("the slot is on its way to another shard")
	case c.Generation <= o.Generation:
		return m.refuse("the generation of the slot does not rise")
	}
	t.unmark(c.At)
	t.dropSlot(c.At)
	t.setOwnership(c.At, Ownership{Shard: c.To, Generation: c.Generation})
	t.endMove(c.At, c.Move, SlotReleased)
	t.leave(c.At)
	return Done{}
}

// settleMove ends a move that is under way, as one that has brought the slot here or has not.
func (t *tx) settleMove(slot SlotID, here bool) {
	m := t.slotMove(slot)
	switch m.Stage {
	case SlotExporting, SlotFrozen:
		t.unmark(slot)
		t.endMove(slot, m.Move, map[bool]SlotStage{true: SlotThawed, false: SlotReleased}[here])
	case SlotImporting:
		if !m.came.Complete {
			t.dropImport(slot, m) // part of a slot is none: its records would not fit together
		}
		t.endMove(slot, m.Move, map[bool]SlotStage{true: SlotActivated, false: SlotDropped}[here])
		if here { // what the source would have said is not known
			t.incarnateAbove(t.lastIncarnation(slot))
		}
	}
}

// dropSlot deletes all of a slot.
func (t *tx) dropSlot(slot SlotID) {
	t.clearDue(slot)
	delete(t.generations, slot)
	lower, upper := slotRange(slot)
	t.deleteRange(lower, upper)
}

// catchUp does for a slot that is served from here on what the shard has done meanwhile for those that were.
func (t *tx) catchUp(slot SlotID) {
	delete(t.generations, slot)
	if !t.clientInboxes() {
		t.dropClientInboxesOf(slot)
	}
	t.enterGeneration(slot)
	t.renewDue(slot)
}

// arrive and leave note that the shard serves a slot from this entry on, or does not.
func (t *tx) arrive(slot SlotID) {
	t.gone = slices.DeleteFunc(t.gone, func(s SlotID) bool { return s == slot })
	if !slices.Contains(t.arrived, slot) {
		t.arrived = append(t.arrived, slot)
	}
}

func (t *tx) leave(slot SlotID) {
	t.arrived = slices.DeleteFunc(t.arrived, func(s SlotID) bool { return s == slot })
	if !slices.Contains(t.gone, slot) {
		t.gone = append(t.gone, slot)
	}
}
