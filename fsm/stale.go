package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// RoomStale is a status that no head has: that of an open room which is of a generation before its slot's. Its group has gone on in a part of
// the history that is lost, for all that is known. So it takes no Commit, Proposal or message, lends no GroupInfo and makes no joining code,
// until a member's GroupInfo says where the group is (FastForwardRoom), or it is begun anew (ContinueRoom) or destroyed. What waits in its
// outboxes goes out, and a Commit that it had accepted is still accepted when it comes again.
const RoomStale RoomStatus = 4

// StaleRoom answers what is asked of a stale room.
type StaleRoom struct {
	Generation  Generation // in which it has to be brought forward
	Epoch       mls.Epoch  // the last that is known
	SinceMillis uint64     // hub time
}

// OtherGeneration answers the creation of a room that does not say which generation it is made for, or another one than the slot's: what was
// created in the part of the history that is lost would come into being a second time, at an epoch that its group has left.
type OtherGeneration struct{ Current Generation }

func (StaleRoom) outcomeKind() OutcomeKind       { return OutcomeRoomStale }
func (OtherGeneration) outcomeKind() OutcomeKind { return OutcomeOtherGeneration }

// Reason says so to whoever asked.
func (StaleRoom) Reason() string {
	return "the hub has lost a part of its history, and waits to be told by a member of the group where that is now"
}

// Reason says so to whoever asked.
func (OtherGeneration) Reason() string {
	return "the hub has lost a part of its history, in which the room may have been created: look whether it was, and say with the request for which generation it is"
}

//	struct {
//	    uint64 generation;
//	    uint64 epoch;
//	    uint64 since_millis;
//	} StaleRoom;
func (o StaleRoom) appendTo(w *mls.Writer) {
	w.Uint64(uint64(o.Generation))
	w.Uint64(uint64(o.Epoch))
	w.Uint64(o.SinceMillis)
}

func readStaleRoom(r *mls.Reader) StaleRoom {
	return StaleRoom{Generation: Generation(r.Uint64("generation")), Epoch: mls.Epoch(r.Uint64("epoch")), SinceMillis: r.Uint64("since_millis")}
}

// struct { uint64 current; } OtherGeneration;
func (o OtherGeneration) appendTo(w *mls.Writer) { w.Uint64(uint64(o.Current)) }

func readOtherGeneration(r *mls.Reader) OtherGeneration {
	return OtherGeneration{Generation(r.Uint64("current"))}
}

// staleIn says whether a head is of an open room that its slot mistrusts.
func (h roomHead) staleIn(g slotGeneration) bool {
	return h.status == RoomOpen && h.trusted() < g.generation
}

// trusted is the generation in which the room was last made good.
func (h roomHead) trusted() Generation { return max(h.generation, FirstGeneration) }

func (t *tx) isStale(head roomHead) bool {
	return head.staleIn(t.slotGeneration(SlotOfRoom(head.room)))
}

// refuseStale is the answer of a stale room; nil of any other.
func (t *tx) refuseStale(head roomHead) Outcome {
	if !t.isStale(head) {
		return nil
	}
	g := t.slotGeneration(SlotOfRoom(head.room))
	return StaleRoom{Generation: g.generation, Epoch: head.epoch, SinceMillis: g.beganMillis}
}

// refuseOtherGeneration holds a creation to the slot's generation; nil where it is made for that.
func (t *tx) refuseOtherGeneration(c CreateRoom) Outcome {
	current := t.slotGeneration(SlotOfRoom(c.Room)).generation
	if current == FirstGeneration || c.Generation == current {
		return nil
	}
	return OtherGeneration{current}
}

// ReadStaleRoom returns what a stale room answers; false for a room that is not stale.
func ReadStaleRoom(r Reader, room mimi.RoomURI) (StaleRoom, bool, error) {
	head, found, err := readHead(r, room)
	if err != nil || !found {
		return StaleRoom{}, false, err
	}
	g, err := readSlotGeneration(r, SlotOfRoom(room))
	if err != nil || !head.staleIn(g) {
		return StaleRoom{}, false, err
	}
	return StaleRoom{Generation: g.generation, Epoch: head.epoch, SinceMillis: g.beganMillis}, true, nil
}

// A stale room stands in a list from when the slot's pass has come to it until it is stale no more, so that whoever looks for those that are left
// does not look at all rooms.

func staleKey(room mimi.RoomURI) key { return roomKey(keyStaleRoom, room) }

// struct { opaque room<V>; } ListedRoom;
func (t *tx) listStale(room mimi.RoomURI) { t.set(staleKey(room), record(room.AppendTo)) }

func (t *tx) unlistStale(room mimi.RoomURI) { t.delete(staleKey(room)) }

// StaleRooms visits the stale rooms of a slot that its pass has come to, from behind one on, in a stable order. whole says that it has come to all.
func StaleRooms(r Reader, slot SlotID, behind mimi.RoomURI, visit func(mimi.RoomURI, StaleRoom) (more bool, err error)) (whole bool, err error) {
	g, err := readSlotGeneration(r, slot)
	if err != nil || g.generation == FirstGeneration {
		return err == nil, err
	}
	prefix := newKey(slot, keyStaleRoom)
	lower := prefix
	if !behind.IsZero() {
		lower = staleKey(behind).raw([]byte{0})
	}
	err = scanRange(r, prefix, lower, prefix.end(), "stale room", readUserRoom, func(_ []byte, room mimi.RoomURI) (bool, error) {
		stale, yes, err := ReadStaleRoom(r, room)
		if err != nil || !yes {
			return err == nil, err
		}
		return visit(room, stale)
	})
	return g.stage == renewalDone, err
}

// CountStaleRooms is how many stale rooms of a slot its pass has come to. whole says that it has come to all.
func CountStaleRooms(r Reader, slot SlotID) (rooms uint64, whole bool, err error) {
	g, err := readSlotGeneration(r, slot)
	if err != nil || g.generation == FirstGeneration {
		return 0, err == nil, err
	}
	prefix := newKey(slot, keyStaleRoom)
	err = r.Scan(prefix, prefix.end(), func(_, _ []byte) (bool, error) {
		rooms++
		return true, nil
	})
	return rooms, g.stage == renewalDone, err
}
