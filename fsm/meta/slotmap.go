package meta

import (
	"fmt"
	"slices"

	"parley/fsm"
)

// What a map says of slots.

// PlaceOfSlot is where a slot is, whatever the state of the shard; false before the shards are placed.
func (m *Map) PlaceOfSlot(slot fsm.SlotID) (SlotPlace, bool) {
	if int(slot) >= len(m.ownerOf) || m.ownerOf[slot] == 0 {
		return SlotPlace{}, false
	}
	if at, moved := slices.BinarySearchFunc(m.places, slot, bySlotOfPlace); moved {
		return m.places[at], true
	}
	s := m.shards[m.ownerOf[slot]-1]
	return SlotPlace{Slot: slot, Shard: s.ID, Generation: s.Generation}, true
}

// ShardOfSlot finds the shard that a slot is in, whatever its state.
func (m *Map) ShardOfSlot(slot fsm.SlotID) (Shard, bool) {
	if int(slot) >= len(m.ownerOf) || m.ownerOf[slot] == 0 {
		return Shard{}, false
	}
	return m.shards[m.ownerOf[slot]-1], true
}

// SlotsOf lists the slots that are in a shard, in order.
func (m *Map) SlotsOf(id fsm.ShardID) (slots []fsm.SlotID) {
	for slot, owner := range m.ownerOf {
		if owner > 0 && m.shards[owner-1].ID == id {
			slots = append(slots, fsm.SlotID(slot))
		}
	}
	return slots
}

// SlotCounts says how many slots each shard has; a shard that has none is not in it.
func (m *Map) SlotCounts() map[fsm.ShardID]int {
	counts := make(map[fsm.ShardID]int)
	for _, owner := range m.ownerOf {
		if owner > 0 {
			counts[m.shards[owner-1].ID]++
		}
	}
	return counts
}

// Moves are the slots that are on their way, by slot.
func (m *Map) Moves() []SlotMove { return m.moves }

// MoveOf is the move that a slot is in; false where it is in none.
func (m *Map) MoveOf(slot fsm.SlotID) (SlotMove, bool) {
	at, moving := slices.BinarySearchFunc(m.moves, slot, bySlotOfMove)
	if !moving {
		return SlotMove{}, false
	}
	return m.moves[at], true
}

// ActiveShards are those that serve, by ID.
func (m *Map) ActiveShards() []Shard {
	return slices.DeleteFunc(slices.Clone(m.shards), func(s Shard) bool { return s.State != ShardActive })
}

// own derives which shard each slot is in: that of its birth, unless it has moved.
func (m *Map) own() {
	m.ownerOf = make([]uint16, fsm.SlotCount)
	for i, s := range m.shards {
		for slot := s.First; !s.bornEmpty() && slot <= s.Last; slot++ {
			m.ownerOf[slot] = uint16(i + 1)
		}
	}
	for _, p := range m.places {
		i, found := slices.BinarySearchFunc(m.shards, p.Shard, func(s Shard, id fsm.ShardID) int { return int(s.ID) - int(id) })
		if found {
			m.ownerOf[p.Slot] = uint16(i + 1)
		}
	}
}

// checkSlots looks for what cannot be.
func (m *Map) checkSlots() error {
	if !ascending(m.places, func(p SlotPlace) fsm.SlotID { return p.Slot }) || !ascending(m.moves, func(s SlotMove) fsm.SlotID { return s.Slot }) {
		return fmt.Errorf("places or moves of slots are out of order")
	}
	for _, p := range m.places {
		s, found := m.Shard(p.Shard)
		if !found || s.State == ShardRetired || p.Generation == 0 {
			return fmt.Errorf("slot %d is in shard %d, generation %d, which cannot be", p.Slot, p.Shard, p.Generation)
		}
	}
	for slot, owner := range m.ownerOf {
		if owner > 0 && m.shards[owner-1].State == ShardRetired {
			return fmt.Errorf("slot %d is in shard %d, which is retired", slot, m.shards[owner-1].ID)
		}
	}
	for _, move := range m.moves {
		place, _ := m.PlaceOfSlot(move.Slot)
		to, found := m.Shard(move.To)
		if place.Shard != move.From || move.From == move.To || !found || to.State != ShardActive || move.Move == 0 || move.Move > m.version {
			return fmt.Errorf("slot %d is in shard %d, and in a move %d from shard %d to %d", move.Slot, place.Shard, move.Move, move.From, move.To)
		}
	}
	return nil
}
