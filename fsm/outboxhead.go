package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// OutboxPosition sums an outbox up. From FormatBulk on it says all that is here; what an older format has left behind counts in Bytes,
// Rooms and Handshakes only as far as it has been indexed.
type OutboxPosition struct {
	Destination  mimi.Provider
	Next         uint64 // the sequence of the next item
	Waiting      uint64 // items that no acknowledgement has removed, gaps included
	Bytes        uint64 // of them, as they are stored
	Rooms        uint64 // that they are of
	Handshakes   uint64 // of Waiting, those with a Commit, Proposals or a Welcome
	First        uint64 // the sequence of the first of Waiting; Next where there is none
	OldestMillis uint64 // hub time of the first; 0 where there is none
	Dropped      uint64 // items that were given up because nobody took them in time, ever

	version    uint8  // of the layout that it was read from; 0 for an outbox that never was
	unindexed  uint64 // items from here on, and below indexed, are of an older format, and in no room's record yet
	indexed    uint64
	kept       uint64 // below stand only gaps, of what was dropped
	lookMillis uint64 // when a sweep looks at the outbox, by the one note that stands for it; 0: none stands
}

// outboxHeadVersion is the last layout of a head. The first is that of formats before FormatBulk.
const outboxHeadVersion = 2

// Indexed reports whether all that waits is in the records of rooms (OutboxRooms). Where it is not, ReadOutbox alone shows all, until
// sweeps have indexed what is left.
func (p OutboxPosition) Indexed() bool { return p.unindexed >= p.indexed }

// Urgent reports whether handshakes wait. What an older format has left behind counts as some: what is older goes first.
func (p OutboxPosition) Urgent() bool { return p.Waiting > 0 && (p.Handshakes > 0 || !p.Indexed()) }

//	struct {
//	    opaque destination<V>;
//	    uint64 next;
//	    uint64 waiting;
//	    select (version) {
//	        case 1: struct {};
//	        case 2: OutboxSums sums;
//	    };
//	} OutboxPosition;
//
//	struct {
//	    uint64 bytes;
//	    uint64 rooms;
//	    uint64 handshakes;
//	    uint64 first;
//	    uint64 oldest_millis;
//	    uint64 dropped;
//	    uint64 unindexed;
//	    uint64 indexed;
//	    uint64 kept;
//	    uint64 look_millis;
//	} OutboxSums;
func (p OutboxPosition) record(version uint8) []byte {
	return encode(version, func(w *mls.Writer) {
		p.Destination.AppendTo(w)
		w.Uint64(p.Next)
		w.Uint64(p.Waiting)
		if version < 2 {
			return
		}
		for _, n := range []uint64{
			p.Bytes, p.Rooms, p.Handshakes, p.First, p.OldestMillis, p.Dropped, p.unindexed, p.indexed, p.kept, p.lookMillis,
		} {
			w.Uint64(n)
		}
	})
}

func readOutboxPosition(r *mls.Reader, version uint8) OutboxPosition {
	p := OutboxPosition{Destination: mimi.ReadProvider(r, "destination"), Next: r.Uint64("next"), Waiting: r.Uint64("waiting"), version: version}
	if version < 2 {
		p.indexed = p.Next
		return p
	}
	p.Bytes, p.Rooms, p.Handshakes = r.Uint64("bytes"), r.Uint64("rooms"), r.Uint64("handshakes")
	p.First, p.OldestMillis, p.Dropped = r.Uint64("first"), r.Uint64("oldest_millis"), r.Uint64("dropped")
	p.unindexed, p.indexed = r.Uint64("unindexed"), r.Uint64("indexed")
	p.kept, p.lookMillis = r.Uint64("kept"), r.Uint64("look_millis")
	return p
}

// OutboxPositions visits the outboxes that a slot has ever had, empty ones included.
func OutboxPositions(r Reader, slot SlotID, visit func(OutboxPosition) (more bool, err error)) error {
	prefix := newKey(slot, keyOutboxHead)
	return scanRangeUpTo(r, prefix, prefix, prefix.end(), "outbox", outboxHeadVersion, readOutboxPosition, func(_ []byte, p OutboxPosition) (bool, error) {
		return visit(p)
	})
}

// ReadOutboxPosition returns one outbox; of an outbox that never was, Next is 1.
func ReadOutboxPosition(r Reader, slot SlotID, destination mimi.Provider) (OutboxPosition, error) {
	p, found, err := readRecordUpTo(r, outboxHeadKey(slot, destination), "outbox", outboxHeadVersion, readOutboxPosition)
	if !found {
		p = OutboxPosition{Destination: destination, Next: 1, First: 1}
	}
	return p, err
}

// OutboxBacklog is what waits for a destination, over as many slots as were added.
type OutboxBacklog struct {
	Items        uint64
	Bytes        uint64 // as they are stored
	Rooms        uint64
	Handshakes   uint64
	OldestMillis uint64 // hub time of the oldest item; 0 where none waits
	Dropped      uint64 // items that were given up because nobody took them in time, ever
}

// Add takes one slot's outbox in, whose slot is not in yet.
func (b *OutboxBacklog) Add(p OutboxPosition) {
	b.Merge(OutboxBacklog{Items: p.Waiting, Bytes: p.Bytes, Rooms: p.Rooms, Handshakes: p.Handshakes, OldestMillis: p.OldestMillis, Dropped: p.Dropped})
}

// Merge takes in what was added up elsewhere, of other slots.
func (b *OutboxBacklog) Merge(other OutboxBacklog) {
	b.Items += other.Items
	b.Bytes += other.Bytes
	b.Rooms += other.Rooms
	b.Handshakes += other.Handshakes
	b.Dropped += other.Dropped
	if other.OldestMillis > 0 && (b.OldestMillis == 0 || other.OldestMillis < b.OldestMillis) {
		b.OldestMillis = other.OldestMillis
	}
}
