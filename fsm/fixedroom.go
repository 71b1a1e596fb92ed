package fsm

import (
	"crypto/sha256"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// Of the rooms of fixed membership there is one for a set of participants (room-policy-03 §5), from FormatBulk on. The slot that the set
// falls into says for which room the set is reserved, before the room is created in its own slot. That is a hint with a number, no more:
// whether the room has the set, its own slot knows. So nothing has to be released when a room ends, and a room that never came to be is
// in nobody's way:
//
//	whoever wants a set reserves it at the set's slot
//	it is reserved for another room: that room's slot is asked to forgo it
//	  the room has the set: the end
//	  else it takes note that it must not take the set by the number that was reserved, and the set is reserved anew, with the next one
//	the room is created with the number; its slot refuses one that it was made to forgo

const (
	KindReserveMembers CommandKind = 68
	KindForgoMembers   CommandKind = 69

	OutcomeMembersReserved OutcomeKind = 68
	OutcomeMembersHeld     OutcomeKind = 69
)

// MemberSet is a set of participants: SHA-256 over their URIs in order, each as opaque<V>.
type MemberSet [hashBytes]byte

// MemberSetOf is that of users, in whatever order they are.
func MemberSetOf(users []mimi.UserURI) MemberSet {
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = u.String()
	}
	slices.Sort(names)
	var w mls.Writer
	for _, name := range slices.Compact(names) {
		w.Opaque([]byte(name))
	}
	return sha256.Sum256(w.Bytes())
}

func memberSetOf(participants []Participant) MemberSet {
	users := make([]mimi.UserURI, len(participants))
	for i, p := range participants {
		users[i] = p.User
	}
	return MemberSetOf(users)
}

// SlotOfMembers returns the slot that knows for which room a set of participants is reserved.
func SlotOfMembers(set MemberSet) SlotID { return slotOf("members " + string(set[:])) }

// ReserveMembers says that a set of participants is to be a room's. Instead is the number under which it was reserved for another room
// that had to forgo it; 0 where nobody was asked. The answer is MembersReserved.
type ReserveMembers struct {
	Set     MemberSet
	Room    mimi.RoomURI
	Instead uint64
}

// ForgoMembers says that a room does not have a set, and must not take it by a number up to this one. It was found out in the epoch whose
// GroupContext has the hash, or while there was no such room.
type ForgoMembers struct {
	Room             mimi.RoomURI
	Set              MemberSet
	Number           uint64
	GroupContextHash [32]byte // zero where there was no room, or none any more
}

// MembersReserved says for which room a set is reserved: the one that was asked for, or another one. Numbers of a set rise.
type MembersReserved struct {
	Room   mimi.RoomURI
	Number uint64
}

// MembersHeld says that a room has the set of participants. Its name is told to who takes part in it.
type MembersHeld struct{ Room mimi.RoomURI }

func (c ReserveMembers) Slot() SlotID    { return SlotOfMembers(c.Set) }
func (ReserveMembers) Lane() Lane        { return Exclusive }
func (ReserveMembers) kind() CommandKind { return KindReserveMembers }

func (c ForgoMembers) Slot() SlotID    { return SlotOfRoom(c.Room) }
func (ForgoMembers) Lane() Lane        { return Exclusive }
func (ForgoMembers) kind() CommandKind { return KindForgoMembers }

func (MembersReserved) outcomeKind() OutcomeKind { return OutcomeMembersReserved }
func (MembersHeld) outcomeKind() OutcomeKind     { return OutcomeMembersHeld }

func membersRoomKey(set MemberSet) key { return newKey(SlotOfMembers(set), keyMembersRoom).raw(set[:]) }

func heldMembersKey(room mimi.RoomURI) key { return roomKey(keyHeldMembers, room).raw([]byte{0}) }

func forgoneMembersKey(room mimi.RoomURI, set MemberSet) key {
	return roomKey(keyHeldMembers, room).raw([]byte{1}).raw(set[:])
}

// ReadHeldMembers returns the set of participants with which a room of fixed membership was created; false where it was created without a
// reservation, or is no more. That its membership is fixed still, its policy says.
func ReadHeldMembers(r Reader, room mimi.RoomURI) (MemberSet, bool, error) {
	return readRecord(r, heldMembersKey(room), "set of participants", func(r *mls.Reader) MemberSet { return readHash(r, "set") })
}

func (t *tx) reserveMembers(c ReserveMembers) Outcome {
	is, taken := get(t, func(r Reader) (MembersReserved, bool, error) {
		return readRecord(r, membersRoomKey(c.Set), "room of a set of participants", readMembersReserved)
	})
	if taken && (is.Room == c.Room || is.Number != c.Instead) {
		return is
	}
	is = MembersReserved{Room: c.Room, Number: max(is.Number, t.slotGeneration(SlotOfMembers(c.Set)).generation.sequences()) + 1}
	t.set(membersRoomKey(c.Set), record(is.appendTo))
	return is
}

// forgoneMillis is how long a room remembers what it had to forgo: longer than any command can be under way that was judged before.
const forgoneMillis = day

// forgoneMembers is what a room must not take.
//
//	struct {
//	    uint64 forget_millis;
//	    uint64 number; // and those before
//	} ForgoneMembers;
type forgoneMembers struct{ forgetMillis, number uint64 }

func (f forgoneMembers) appendTo(w *mls.Writer) {
	w.Uint64(f.forgetMillis)
	w.Uint64(f.number)
}

func readForgoneMembers(r *mls.Reader) forgoneMembers {
	return forgoneMembers{forgetMillis: r.Uint64("forget_millis"), number: r.Uint64("number")}
}

func (t *tx) forgone(room mimi.RoomURI, set MemberSet) uint64 {
	f, _ := get(t, func(r Reader) (forgoneMembers, bool, error) {
		return readRecord(r, forgoneMembersKey(room, set), "forgone set of participants", readForgoneMembers)
	})
	return f.number
}

func (t *tx) forgoMembers(c ForgoMembers) Outcome {
	var hash [32]byte
	if head, found := t.head(c.Room); found && head.status != RoomDestroyed {
		hash = head.contextHash
	}
	if hash != c.GroupContextHash {
		return ReadSetChanged{Index: t.index}
	}
	k := forgoneMembersKey(c.Room, c.Set)
	f := forgoneMembers{addUpTo(t.now, forgoneMillis), max(c.Number, t.forgone(c.Room, c.Set))}
	t.set(k, record(f.appendTo))
	t.expireAt(k, f.forgetMillis)
	return Done{}
}

// takeMembers gives a new room of fixed membership its set of participants; nil where it may have it. A room without a number is not of
// fixed membership, or of before the format.
func (t *tx) takeMembers(c CreateRoom) Outcome {
	if c.Members == 0 {
		return nil
	}
	set := memberSetOf(c.Facts.Participants)
	if t.forgone(c.Room, set) >= c.Members {
		return NotAllowed{Reason: "the participants were promised to another room of fixed membership meanwhile; ask again"}
	}
	t.set(heldMembersKey(c.Room), record(func(w *mls.Writer) { w.Fixed(set[:]) }))
	return nil
}

//	struct {
//	    opaque set[32];
//	    opaque room<V>;
//	    uint64 instead;
//	} ReserveMembers;
func (c ReserveMembers) appendTo(w *mls.Writer) {
	w.Fixed(c.Set[:])
	c.Room.AppendTo(w)
	w.Uint64(c.Instead)
}

func readReserveMembers(r *mls.Reader) ReserveMembers {
	return ReserveMembers{Set: readHash(r, "set"), Room: mimi.ReadRoomURI(r, "room"), Instead: r.Uint64("instead")}
}

//	struct {
//	    opaque room<V>;
//	    opaque set[32];
//	    uint64 number;
//	    opaque group_context_hash[32];
//	} ForgoMembers;
func (c ForgoMembers) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	w.Fixed(c.Set[:])
	w.Uint64(c.Number)
	w.Fixed(c.GroupContextHash[:])
}

func readForgoMembers(r *mls.Reader) ForgoMembers {
	return ForgoMembers{
		Room: mimi.ReadRoomURI(r, "room"), Set: readHash(r, "set"), Number: r.Uint64("number"), GroupContextHash: readHash(r, "group_context_hash"),
	}
}

//	struct {
//	    opaque room<V>;
//	    uint64 number;
//	} MembersReserved;
func (o MembersReserved) appendTo(w *mls.Writer) {
	o.Room.AppendTo(w)
	w.Uint64(o.Number)
}

func readMembersReserved(r *mls.Reader) MembersReserved {
	return MembersReserved{Room: mimi.ReadRoomURI(r, "room"), Number: r.Uint64("number")}
}

// struct { opaque room<V>; } MembersHeld; // empty: it is not told
func (o MembersHeld) appendTo(w *mls.Writer) { o.Room.AppendTo(w) }

func readMembersHeld(r *mls.Reader) MembersHeld {
	return MembersHeld{Room: mimi.ReadOptionalRoomURI(r, "room")}
}
