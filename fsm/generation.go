package fsm

import (
	"encoding/binary"

	"parley/mls"
)

// A cluster that was restored from a backup, or recovered from the replicas that were left of it, has lost the end of its history: Commits that
// its peers have seen, KeyPackages that were handed out, numbers that were given away. It goes on in a new generation, and each slot
// mistrusts what it has from before:
//
//	a room is stale until a member's GroupInfo has brought it forward (stale.go, fastforward.go)
//	single-use KeyPackages of before are given to nobody (renewal.go), nor taken in again (upload.go)
//	numbers begin above all that the lost part can have given: of outboxes, leases, inboxes of clients (sequences here)
//	internal queues begin anew with what is in front of them (internal.go)
//	a creation says that it knows of the generation: its request may have been accepted before (room.go)
//
// Nothing of that waits for a pass over the state. A slot has one record of its generation, written when the shard begins it, and what is of
// an older one is known by its own: a room's head and a user's record say in which generation they were last made good. They are compared when they
// are touched, so there is no moment at which something of before counts as new, however many records there are. A pass behind that, by the
// notes that sweeps follow, only tells: the owners of KeyPackages that they have to upload, and the provider which rooms are stale.

const (
	KindBeginGeneration CommandKind = 90
	KindFastForwardRoom CommandKind = 91
	KindSalvage         CommandKind = 92

	OutcomeRoomStale       OutcomeKind = 90
	OutcomeOtherGeneration OutcomeKind = 91
)

// Generation numbers the histories of a cluster. It rises each time that a part of a history is lost for good.
type Generation uint64

// FirstGeneration is a new cluster's.
const FirstGeneration Generation = 1

// BeginGeneration begins a generation in a shard, and is the first that its log decides in it. The same again, or an older one, changes
// nothing. A shard that it finds in an older format is raised to FormatResize: only programs that know both replicate a generation after the first.
type BeginGeneration struct {
	Generation Generation // above FirstGeneration
	// EndedMillis is by when the history that is lost had ended for certain, in milliseconds since 1970; 0 for now. Single-use KeyPackages that
	// were valid by then are not taken in, for they may have been handed out in it.
	EndedMillis uint64
	// Slots settles whose slots are of which two shards, or none, know that they have them: each shard was brought back from a moment of its own.
	Slots []SlotRuling
}

// SlotRuling says whose a slot is.
type SlotRuling struct {
	Slot       SlotID
	Shard      ShardID
	Generation uint64 // of the slot's ownership, above all that a shard knows of it
}

func (BeginGeneration) Slot() SlotID      { return ShardLevel }
func (BeginGeneration) Lane() Lane        { return Exclusive }
func (BeginGeneration) kind() CommandKind { return KindBeginGeneration }

//	struct {
//	    uint64 generation;
//	    uint64 ended_millis;
//	    SlotRuling slots<V>;
//	} BeginGeneration;
//
//	struct {
//	    uint16 slot;
//	    uint32 shard;
//	    uint64 generation;
//	} SlotRuling;
func (c BeginGeneration) appendTo(w *mls.Writer) {
	w.Uint64(uint64(c.Generation))
	w.Uint64(c.EndedMillis)
	appendList(w, c.Slots, func(w *mls.Writer, s SlotRuling) {
		w.Uint16(uint16(s.Slot))
		w.Uint32(uint32(s.Shard))
		w.Uint64(s.Generation)
	})
}

func readBeginGeneration(r *mls.Reader) BeginGeneration {
	return BeginGeneration{
		Generation: Generation(r.Uint64("generation")), EndedMillis: r.Uint64("ended_millis"),
		Slots: readList(r, "slots", func(r *mls.Reader) SlotRuling {
			return SlotRuling{Slot: SlotID(r.Uint16("slot")), Shard: ShardID(r.Uint32("shard")), Generation: r.Uint64("generation")}
		}),
	}
}

// ReadGeneration returns the generation that a shard has begun last. What it serves may be older, slot by slot, where slots have come to it.
func ReadGeneration(r Reader) (Generation, error) {
	g, found, err := readRecord(r, shardKey(keyGeneration), "generation", readSlotGenerationRecord)
	if !found {
		g.generation = FirstGeneration
	}
	return g.generation, err
}

// slotGeneration is in which generation a slot is, and how far the pass is that tells of it. It goes where the slot goes. The shard has one as well,
// from which slots that come to it later begin.
//
//	struct {
//	    uint64 generation;
//	    uint64 began_millis; // hub time
//	    uint64 ended_millis; // by when what is lost had ended
//	    uint8 stage;         // RenewalStage
//	    opaque behind<V>;    // the rest of the key that the pass has come to
//	} SlotGeneration;
type slotGeneration struct {
	generation  Generation
	beganMillis uint64
	endedMillis uint64
	stage       renewalStage
	behind      []byte
}

func (g slotGeneration) appendTo(w *mls.Writer) {
	w.Uint64(uint64(g.generation))
	w.Uint64(g.beganMillis)
	w.Uint64(g.endedMillis)
	w.Uint8(uint8(g.stage))
	w.Opaque(g.behind)
}

func readSlotGenerationRecord(r *mls.Reader) slotGeneration {
	return slotGeneration{
		generation: Generation(r.Uint64("generation")), beganMillis: r.Uint64("began_millis"), endedMillis: r.Uint64("ended_millis"),
		stage: renewalStage(r.Uint8("stage")), behind: r.Opaque("behind"),
	}
}

func slotGenerationKey(slot SlotID) key { return newKey(slot, keySlotGeneration) }

func readSlotGeneration(r Reader, slot SlotID) (slotGeneration, error) {
	g, found, err := readRecord(r, slotGenerationKey(slot), "generation of a slot", readSlotGenerationRecord)
	if !found {
		g.generation = FirstGeneration
	}
	return g, err
}

// ReadSlotGeneration returns the generation of a slot.
func ReadSlotGeneration(r Reader, slot SlotID) (Generation, error) {
	g, err := readSlotGeneration(r, slot)
	return g.generation, err
}

// slotGeneration is a slot's, read once for each entry.
func (t *tx) slotGeneration(slot SlotID) slotGeneration {
	if g, known := t.generations[slot]; known {
		return g
	}
	g, err := readSlotGeneration(t.store, slot)
	t.check(err)
	t.generations[slot] = g
	return g
}

func (t *tx) setSlotGeneration(slot SlotID, g slotGeneration) {
	t.generations[slot] = g
	t.set(slotGenerationKey(slot), record(g.appendTo))
}

// generationBits leaves to each generation more numbers than it can give away, and generations enough below the 53 bits that every JSON
// reader keeps exactly.
const generationBits = 40

// sequences is above every number that a generation before has counted up to, and below all of the next one.
func (g Generation) sequences() uint64 { return uint64(g-FirstGeneration) << generationBits }

// Above is a number that none which the generations before have given away is above: for those that others count, too.
func (g Generation) Above() uint64 { return g.sequences() }

// beginGeneration costs a record for each slot that the shard has, however much is in them.
func (t *tx) beginGeneration(c BeginGeneration) Outcome {
	had, err := ReadGeneration(t.store)
	t.check(err)
	if c.Generation <= had {
		return Done{}
	}
	t.raiseFormat(FormatResize)
	self, born := get(t, ReadShard)
	if !born {
		return NotAllowed{Reason: "the shard has no slots yet"}
	}
	for _, s := range c.Slots {
		t.ruleSlot(self.Shard, s)
	}
	began := slotGeneration{generation: c.Generation, beganMillis: t.now, endedMillis: c.EndedMillis}
	if began.endedMillis == 0 {
		began.endedMillis = t.now
	}
	t.set(shardKey(keyGeneration), record(began.appendTo))
	t.incarnateAbove(c.Generation.sequences())
	for _, slot := range t.servedSlots() { // a frozen one begins it when it is served again
		t.beginSlot(slot, began)
	}
	return Done{}
}

// ruleSlot gives a slot to the shard, which has it already or begins it with nothing, or takes it away with all that is in it. A move of it that
// was under way is over; what came with it counts where the slot had come complete.
func (t *tx) ruleSlot(self ShardID, s SlotRuling) {
	if s.Slot >= SlotCount {
		return
	}
	here := s.Shard == self
	t.settleMove(s.Slot, here)
	t.setOwnership(s.Slot, Ownership{Shard: s.Shard, Generation: s.Generation, Here: here})
	if here {
		t.catchUp(s.Slot)
		t.arrive(s.Slot)
	} else {
		t.dropSlot(s.Slot)
		t.leave(s.Slot)
	}
}

// slot is that of a key.
func (k key) slot() SlotID { return SlotID(binary.BigEndian.Uint16(k)) }
