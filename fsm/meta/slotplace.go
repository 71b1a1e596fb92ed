package meta

import (
	"cmp"
	"slices"

	"parley/fsm"
	"parley/mls"
)

// Slots are born in their shard's range, and move from there one by one. The map says where each is, and which are on their way; whose a slot
// really is the shards' own states say. All of this is of fsm.FormatResize.

// SlotPlace is where a slot is.
type SlotPlace struct {
	Slot       fsm.SlotID
	Shard      fsm.ShardID
	Generation uint64 // of the slot, as the shard counts it: it rises each time the slot changes hands
}

// SlotMove is a slot that is on its way from one shard to another.
type SlotMove struct {
	Slot fsm.SlotID
	Move uint64 // the map's version that began it: no two moves of a slot have the same, and a later one has a higher
	From fsm.ShardID
	To   fsm.ShardID
}

// SlotMoved is what became of a move.
type SlotMoved struct {
	Slot fsm.SlotID
	Move uint64
	// Generation is that under which the shard that it went to serves the slot; 0: the move was cancelled, and the slot stays where it was.
	Generation uint64
}

// BeginMoves lets slots be moved to a shard, all or none, by the drive that package cluster has for it. A slot that is on its way there, or is
// there, stays so. It is refused where a slot is on its way to another shard.
type BeginMoves struct {
	Slots []fsm.SlotID // ascending
	To    fsm.ShardID
}

// EndMoves says what became of moves: of those that were carried out where the slots are now. What the map knows already it hears again
// without a change.
type EndMoves struct{ Moves []SlotMoved } // by slot

// RetireShard ends a shard that owns nothing, and that nothing is on its way to. Its number is not used again.
type RetireShard struct{ ID fsm.ShardID }

func (BeginMoves) kind() commandKind  { return kindBeginMoves }
func (EndMoves) kind() commandKind    { return kindEndMoves }
func (RetireShard) kind() commandKind { return kindRetireShard }

// needsResize refuses what older programs do not know.
func (t *tx) needsResize() (refusal Outcome) {
	if t.m.settings.Format < fsm.FormatResize {
		return refuse("the cluster has to be raised to format %d first", fsm.FormatResize)
	}
	return nil
}

func (c BeginMoves) apply(t *tx) Outcome {
	if refusal := t.needsResize(); refusal != nil {
		return refusal
	}
	to, found := t.m.Shard(c.To)
	switch {
	case !found || to.State != ShardActive:
		return refuse("shard %d is no active one", c.To)
	case len(c.Slots) == 0 || !ascending(c.Slots, func(s fsm.SlotID) fsm.SlotID { return s }):
		return refuse("the slots are not in order")
	}
	moves := slices.Clone(t.m.moves)
	for _, slot := range c.Slots {
		under, moving := t.m.MoveOf(slot)
		place, placed := t.m.PlaceOfSlot(slot)
		switch {
		case !placed:
			return refuse("slot %d is in no shard", slot)
		case moving && under.To != c.To:
			return refuse("slot %d is on its way to shard %d, in move %d", slot, under.To, under.Move)
		case moving, place.Shard == c.To:
			continue
		}
		moves = append(moves, SlotMove{Slot: slot, Move: t.next(), From: place.Shard, To: c.To})
	}
	if len(moves) == len(t.m.moves) {
		return t.unchanged()
	}
	t.setMoves(moves)
	return t.changed()
}

func (c EndMoves) apply(t *tx) Outcome {
	if refusal := t.needsResize(); refusal != nil {
		return refusal
	}
	if len(c.Moves) == 0 || !ascending(c.Moves, func(m SlotMoved) fsm.SlotID { return m.Slot }) {
		return refuse("the slots are not in order")
	}
	places, moves := slices.Clone(t.m.places), slices.Clone(t.m.moves)
	for _, ended := range c.Moves {
		at, moving := slices.BinarySearchFunc(moves, ended.Slot, bySlotOfMove)
		place, _ := t.m.PlaceOfSlot(ended.Slot)
		switch {
		case moving && moves[at].Move == ended.Move && ended.Generation > place.Generation:
			places = placed(places, SlotPlace{Slot: ended.Slot, Shard: moves[at].To, Generation: ended.Generation})
			moves = slices.Delete(moves, at, at+1)
		case moving && moves[at].Move == ended.Move && ended.Generation == 0:
			moves = slices.Delete(moves, at, at+1)
		case moving && moves[at].Move == ended.Move, ended.Generation > place.Generation:
			return refuse("slot %d is in generation %d, and in no move %d that brings it generation %d", ended.Slot, place.Generation, ended.Move, ended.Generation)
		}
	}
	if len(moves) == len(t.m.moves) {
		return t.unchanged()
	}
	t.setMoves(moves)
	t.setPlaces(places)
	return t.changed()
}

func (c RetireShard) apply(t *tx) Outcome {
	if refusal := t.needsResize(); refusal != nil {
		return refusal
	}
	s, found := t.m.Shard(c.ID)
	switch {
	case !found:
		return refuse("shard %d does not exist", c.ID)
	case s.State == ShardRetired:
		return t.unchanged()
	}
	if owned := t.m.SlotsOf(c.ID); len(owned) > 0 {
		return refuse("shard %d has %d slots, of which %d is the first; move them away", c.ID, len(owned), owned[0])
	}
	for _, m := range t.m.moves {
		if m.To == c.ID {
			return refuse("slot %d is on its way to shard %d, in move %d", m.Slot, c.ID, m.Move)
		}
	}
	s.State, s.Replicas = ShardRetired, nil
	t.set(shardKey(s.ID), s.appendTo)
	return t.changed()
}

// ascending reports whether things are in order of their slots, each slot once and within its bounds.
func ascending[T any](list []T, slot func(T) fsm.SlotID) bool {
	for i, v := range list {
		if slot(v) >= fsm.SlotCount || i > 0 && slot(list[i-1]) >= slot(v) {
			return false
		}
	}
	return true
}

func bySlotOfMove(m SlotMove, slot fsm.SlotID) int   { return cmp.Compare(m.Slot, slot) }
func bySlotOfPlace(p SlotPlace, slot fsm.SlotID) int { return cmp.Compare(p.Slot, slot) }

// placed is a list of places with one more, or another.
func placed(places []SlotPlace, p SlotPlace) []SlotPlace {
	at, known := slices.BinarySearchFunc(places, p.Slot, bySlotOfPlace)
	if known {
		places[at] = p
		return places
	}
	return slices.Insert(places, at, p)
}

// All places are one record, and all moves another: both are read whenever the map is, and four thousand records of their own would be most
// of what that costs.

func (t *tx) setPlaces(places []SlotPlace) {
	t.set(newKey(keySlotPlaces), func(w *mls.Writer) { appendVector(w, places) })
}

func (t *tx) setMoves(moves []SlotMove) {
	slices.SortFunc(moves, func(a, b SlotMove) int { return cmp.Compare(a.Slot, b.Slot) })
	t.set(newKey(keySlotMoves), func(w *mls.Writer) { appendVector(w, moves) })
}

// readSlots reads where slots are that have left the shard of their birth, and which are on their way.
func (m *Map) readSlots(r fsm.Reader) (err error) {
	if m.places, _, err = readOne(r, newKey(keySlotPlaces), "places of slots", func(r *mls.Reader) []SlotPlace {
		return mls.ReadList(r, "places", readSlotPlace)
	}); err != nil {
		return err
	}
	m.moves, _, err = readOne(r, newKey(keySlotMoves), "moves of slots", func(r *mls.Reader) []SlotMove {
		return mls.ReadList(r, "moves", readSlotMove)
	})
	return err
}

func appendVector[T interface{ appendTo(*mls.Writer) }](w *mls.Writer, list []T) {
	w.Vector(func(w *mls.Writer) {
		for _, v := range list {
			v.appendTo(w)
		}
	})
}

//	struct {
//	    uint16 slot;
//	    uint32 shard;
//	    uint64 generation;
//	} SlotPlace;
//
// struct { SlotPlace places<V>; } SlotPlaces; // by slot
func (p SlotPlace) appendTo(w *mls.Writer) {
	w.Uint16(uint16(p.Slot))
	w.Uint32(uint32(p.Shard))
	w.Uint64(p.Generation)
}

func readSlotPlace(r *mls.Reader) SlotPlace {
	return SlotPlace{Slot: readSlot(r), Shard: fsm.ShardID(r.Uint32("shard")), Generation: r.Uint64("generation")}
}

//	struct {
//	    uint16 slot;
//	    uint64 move;
//	    uint32 from;
//	    uint32 to;
//	} SlotMove;
//
// struct { SlotMove moves<V>; } SlotMoves; // by slot
func (m SlotMove) appendTo(w *mls.Writer) {
	w.Uint16(uint16(m.Slot))
	w.Uint64(m.Move)
	w.Uint32(uint32(m.From))
	w.Uint32(uint32(m.To))
}

func readSlotMove(r *mls.Reader) SlotMove {
	return SlotMove{Slot: readSlot(r), Move: r.Uint64("move"), From: fsm.ShardID(r.Uint32("from")), To: fsm.ShardID(r.Uint32("to"))}
}

//	struct {
//	    uint16 slot;
//	    uint64 move;
//	    uint64 generation;
//	} SlotMoved;
func (m SlotMoved) appendTo(w *mls.Writer) {
	w.Uint16(uint16(m.Slot))
	w.Uint64(m.Move)
	w.Uint64(m.Generation)
}

func readSlotMoved(r *mls.Reader) SlotMoved {
	return SlotMoved{Slot: readSlot(r), Move: r.Uint64("move"), Generation: r.Uint64("generation")}
}

func readSlot(r *mls.Reader) fsm.SlotID { return fsm.SlotID(r.Uint16("slot")) }

//	struct {
//	    uint16 slots<V>;
//	    uint32 to;
//	} BeginMoves;
func (c BeginMoves) appendTo(w *mls.Writer) {
	w.Vector(func(w *mls.Writer) {
		for _, slot := range c.Slots {
			w.Uint16(uint16(slot))
		}
	})
	w.Uint32(uint32(c.To))
}

// struct { SlotMoved moves<V>; } EndMoves;
func (c EndMoves) appendTo(w *mls.Writer) { appendVector(w, c.Moves) }

// struct { uint32 id; } RetireShard;
func (c RetireShard) appendTo(w *mls.Writer) { w.Uint32(uint32(c.ID)) }

// readSlotCommand reads the commands that move slots; nil for any other.
func readSlotCommand(r *mls.Reader, kind commandKind) Command {
	switch kind {
	case kindBeginMoves:
		return BeginMoves{Slots: mls.ReadList(r, "slots", readSlot), To: fsm.ShardID(r.Uint32("to"))}
	case kindEndMoves:
		return EndMoves{Moves: mls.ReadList(r, "moves", readSlotMoved)}
	case kindRetireShard:
		return RetireShard{ID: fsm.ShardID(r.Uint32("id"))}
	default:
		return nil
	}
}
