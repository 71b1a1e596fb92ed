package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
)

// slotsVerifier knows where a shard's slots are, and holds what is kept of moves to that.
type slotsVerifier struct {
	r     Reader
	owned map[SlotID]bool // as far as it was asked
	moves map[SlotID]slotMoveRecord
	parts map[SlotID]uint32 // bytes
}

func newSlotsVerifier(r Reader) (*slotsVerifier, error) {
	v := &slotsVerifier{r: r, owned: map[SlotID]bool{}, moves: map[SlotID]slotMoveRecord{}, parts: map[SlotID]uint32{}}
	err := VisitSlotMoves(r, func(slot SlotID, _ SlotMove) (bool, error) {
		m, _, err := readSlotMove(r, slot)
		v.moves[slot] = m
		return true, err
	})
	return v, err
}

func (v *slotsVerifier) owns(slot SlotID) (bool, error) {
	owned, known := v.owned[slot]
	if known {
		return owned, nil
	}
	o, found, err := ReadOwnership(v.r, slot)
	v.owned[slot] = found && o.Here
	return v.owned[slot], err
}

// visit looks at one key, and reports whether it is of a slot of which only some may be here, so that nothing else can be said of it.
func (v *slotsVerifier) visit(k, value []byte) (coming bool, err error) {
	slot := SlotID(binary.BigEndian.Uint16(k))
	if slot == ShardLevel {
		return false, v.visitShard(k, value)
	}
	owned, err := v.owns(slot)
	switch {
	case err != nil || owned:
		return false, err
	case v.moves[slot].Stage == SlotImporting:
		return true, nil
	default:
		return false, fmt.Errorf("slot %d is not of the shard, and something of it is here", slot)
	}
}

func (v *slotsVerifier) visitShard(k, value []byte) error {
	rest := k[keyPrefixBytes:]
	switch keyKind(k[2]) {
	case keySlotDue:
		slot := SlotID(binary.BigEndian.Uint16(rest))
		if owned, err := v.owns(slot); err != nil || !owned || v.frozen(slot) {
			return errors.Join(err, fmt.Errorf("slot %d, which must not be swept, is due", slot))
		}
	case keySlotMark:
		slot := SlotID(binary.BigEndian.Uint16(rest))
		if m := v.moves[slot]; m.Stage != SlotExporting && m.Stage != SlotFrozen {
			return fmt.Errorf("slot %d has marks and is not on its way out", slot)
		}
	case keySlotPart:
		part, err := decode("part of a value", bytes.Clone(value), readSlotPart)
		if err != nil {
			return err
		}
		v.parts[SlotID(binary.BigEndian.Uint16(rest))] += uint32(len(part))
	}
	return nil
}

func (v *slotsVerifier) frozen(slot SlotID) bool { return v.moves[slot].Stage == SlotFrozen }

// verify says what is wrong when all keys have been looked at.
func (v *slotsVerifier) verify() error {
	marked, _, err := readRecord(v.r, shardKey(keyMarkedSlots), "slots on their way out", readMarkedSlots)
	if err != nil {
		return err
	}
	listed := map[SlotID]bool{}
	for _, m := range marked {
		listed[m.slot] = m.frozen
	}
	leaving, coming := map[SlotID]bool{}, map[SlotID]uint32{}
	for slot, m := range v.moves {
		owned, err := v.owns(slot)
		if err != nil {
			return err
		}
		switch m.Stage {
		case SlotExporting, SlotFrozen:
			leaving[slot] = m.Stage == SlotFrozen
			if !owned {
				return fmt.Errorf("slot %d is on its way out, and not here", slot)
			}
		case SlotImporting:
			if owned {
				return fmt.Errorf("slot %d comes, and is here", slot)
			}
			if m.came.Part.Offset > 0 {
				coming[slot] = m.came.Part.Offset
			}
		}
	}
	if !maps.Equal(listed, leaving) {
		return fmt.Errorf("changes of slots are marked as of %v, and their moves say %v", listed, leaving)
	}
	if !maps.Equal(coming, v.parts) {
		return fmt.Errorf("values that come are here as far as %v, and their moves say %v", v.parts, coming)
	}
	return nil
}
