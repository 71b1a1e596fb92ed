package fsm

import (
	"encoding/binary"

	"parley/mls"
)

// Ownership says whose a slot is, in the words of the shard that is asked.
type Ownership struct {
	Shard      ShardID
	Generation uint64 // rises each time the slot changes hands
	Here       bool   // false: the slot has gone to Shard
}

//	struct {
//	    uint32 shard;
//	    uint64 generation;
//	    uint8 here;
//	} Ownership;
func (o Ownership) appendTo(w *mls.Writer) {
	w.Uint32(uint32(o.Shard))
	w.Uint64(o.Generation)
	w.Bool(o.Here)
}

func readOwnership(r *mls.Reader) Ownership {
	return Ownership{Shard: ShardID(r.Uint32("shard")), Generation: r.Uint64("generation"), Here: r.Bool("here")}
}

// ReadShard returns the birth record of the shard; false before it.
func ReadShard(r Reader) (OwnSlots, bool, error) {
	return readRecord(r, shardKey(keyShard), "shard", readOwnSlots)
}

// ReadOwnership returns what the shard knows of a slot; false where it never had it.
func ReadOwnership(r Reader, slot SlotID) (Ownership, bool, error) {
	return readRecord(r, ownershipKey(slot), "ownership", readOwnership)
}

// VisitOwnedSlots visits the slots that the shard owns, in order.
func VisitOwnedSlots(r Reader, visit func(SlotID, Ownership) (more bool, err error)) error {
	return scanRecords(r, shardKey(keyOwnership), "ownership", readOwnership, func(rest []byte, o Ownership) (bool, error) {
		if !o.Here {
			return true, nil
		}
		return visit(SlotID(binary.BigEndian.Uint16(rest)), o)
	})
}

func ownershipKey(slot SlotID) key { return shardKey(keyOwnership).uint16(uint16(slot)) }

// ownSlots is a shard's birth, from FormatResize on also with no slot: then First is 1 and Last 0. The same again changes nothing; another birth is refused, for slots then move by their own way.
func (t *tx) ownSlots(c OwnSlots) Outcome {
	empty := t.format >= FormatResize && c.First == 1 && c.Last == 0
	if c.First > c.Last && !empty || c.Last >= SlotCount {
		return NotAllowed{Reason: "the range of slots is not valid"}
	}
	born, found := get(t, ReadShard)
	if found {
		if born != c {
			return NotAllowed{Reason: "the shard has its slots already"}
		}
		return Done{}
	}
	t.set(shardKey(keyShard), record(c.appendTo))
	owned := record(Ownership{Shard: c.Shard, Generation: c.Generation, Here: true}.appendTo)
	for slot := c.First; slot <= c.Last; slot++ {
		t.set(ownershipKey(slot), owned)
	}
	return Done{}
}

// moved answers for a slot that is not served here. A shard that has no settings yet does not serve its slots: it knows neither
// its limits nor its own domains.
func (t *tx) moved(slot SlotID) (MovedTo, bool) {
	o, found := t.ownership(slot)
	switch {
	case !found || o.Here && (len(t.settings.Domains) == 0 || t.frozen(slot)):
		return MovedTo{}, true
	case !o.Here:
		if m := t.slotMove(slot); m.Stage == SlotImporting {
			return MovedTo{}, true
		}
		return MovedTo{Shard: o.Shard, Generation: o.Generation}, true
	default:
		return MovedTo{}, false
	}
}

func (t *tx) ownership(slot SlotID) (Ownership, bool) {
	return get(t, func(r Reader) (Ownership, bool, error) { return ReadOwnership(r, slot) })
}

// servedSlots lists what the shard may change without being asked to by a command of the slot: the slots that it has, but for those that
// are frozen, which catch up when they are thawed or activated.
func (t *tx) servedSlots() (slots []SlotID) {
	t.check(VisitOwnedSlots(t.store, func(slot SlotID, _ Ownership) (bool, error) {
		if !t.frozen(slot) {
			slots = append(slots, slot)
		}
		return true, nil
	}))
	return slots
}
