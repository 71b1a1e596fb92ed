package fsm

import (
	"slices"

	"parley/mimi"
	"parley/mls"
)

// A room may depend on a parent (room-policy-03 §5): its participants are some of the parent's, and who leaves the parent has to leave it.
// The two may be in different slots, so the dependant keeps a copy of who is in the parent, which the parent's slot tells it:
//
//	the dependant is created, and says so to the parent (DependsOn)
//	the parent notes it, and tells who is in its list (ParentParticipants), the last piece says that this is all
//	from then on it tells who comes and goes, until it is destroyed, and all have gone
//	the dependant is destroyed, and says so (DependsNoMore)
//
// The copy is a little behind and right in the end. Nobody joins the dependant whom the copy does not have, or before there is one;
// whoever is in the dependant and not in the copy has to leave (departure.go), and no more so if the user comes back before that was done.
// A parent that is not there, or has its dependants, tells that nobody is in it.

const (
	EffectDependsOn          EffectKind = 15
	EffectDependsNoMore      EffectKind = 16
	EffectParentParticipants EffectKind = 17
)

// DependantsMax bounds the rooms that depend on one, each of which is told whatever changes in its list.
const DependantsMax = 1000

// parentUsersMax bounds the users of one ParentParticipants, so that any effect fits an entry.
const parentUsersMax = 500

// DependsOn tells a room that another depends on it.
type DependsOn struct{ Parent, Dependant mimi.RoomURI }

// DependsNoMore tells it that the other is destroyed.
type DependsNoMore struct{ Parent, Dependant mimi.RoomURI }

// ParentParticipants tells a dependant who has come into its parent's list, and who has left it.
type ParentParticipants struct {
	Dependant    mimi.RoomURI
	Joined, Left []mimi.UserURI
	Whole        bool // with what was told before, Joined is the whole list
}

func (e DependsOn) Slot() SlotID         { return SlotOfRoom(e.Parent) }
func (DependsOn) effectKind() EffectKind { return EffectDependsOn }

func (e DependsNoMore) Slot() SlotID         { return SlotOfRoom(e.Parent) }
func (DependsNoMore) effectKind() EffectKind { return EffectDependsNoMore }

func (e ParentParticipants) Slot() SlotID         { return SlotOfRoom(e.Dependant) }
func (ParentParticipants) effectKind() EffectKind { return EffectParentParticipants }

// Dependence is on which room another depends.
//
//	struct {
//	    opaque parent<V>;
//	    uint8 known; // 0 or 1
//	} Dependence;
type Dependence struct {
	Parent mimi.RoomURI
	Known  bool // the parent has told who is in it
}

func (d Dependence) appendTo(w *mls.Writer) {
	d.Parent.AppendTo(w)
	w.Bool(d.Known)
}

func readDependence(r *mls.Reader) Dependence {
	return Dependence{Parent: mimi.ReadRoomURI(r, "parent"), Known: r.Bool("known")}
}

// ReadDependence returns on which room another depends; false for one that depends on none, was created before FormatBulk, or is no more.
func ReadDependence(r Reader, room mimi.RoomURI) (Dependence, bool, error) {
	return readRecord(r, dependenceKey(room), "dependence", readDependence)
}

// ReadInParent reports whether a user is in the room on which another depends, as far as that has told.
func ReadInParent(r Reader, dependant mimi.RoomURI, user mimi.UserURI) (bool, error) {
	_, found, err := readRecord(r, parentUserKey(dependant, user), "user of a parent", readParentUser)
	return found, err
}

// ReadDependants returns the rooms that depend on one, in no meaningful but a stable order.
func ReadDependants(r Reader, parent mimi.RoomURI) (rooms []mimi.RoomURI, err error) {
	err = scanRecords(r, roomKey(keyDependant, parent), "dependant", readUserRoom, func(_ []byte, room mimi.RoomURI) (bool, error) {
		rooms = append(rooms, room)
		return true, nil
	})
	return rooms, err
}

// struct { opaque user<V>; } ParentUser;
func readParentUser(r *mls.Reader) mimi.UserURI { return mimi.ReadUserURI(r, "user") }

func dependenceKey(dependant mimi.RoomURI) key {
	return roomKey(keyDependence, dependant).raw([]byte{0})
}

func parentUserKey(dependant mimi.RoomURI, user mimi.UserURI) key {
	return roomKey(keyDependence, dependant).raw([]byte{1}).user(user)
}

func dependantKey(parent, dependant mimi.RoomURI) key {
	return roomKey(keyDependant, parent).hashed(dependant.String())
}

func (t *tx) dependence(room mimi.RoomURI) (Dependence, bool) {
	return get(t, func(r Reader) (Dependence, bool, error) { return ReadDependence(r, room) })
}

// depend makes a room depend on its parent, if it has one and does not yet.
func (t *tx) depend(c CreateRoom) {
	if c.Parent.IsZero() || t.has(dependenceKey(c.Room)) {
		return
	}
	t.set(dependenceKey(c.Room), record(Dependence{Parent: c.Parent}.appendTo))
	t.post(SlotOfRoom(c.Room), DependsOn{Parent: c.Parent, Dependant: c.Room})
}

// refuseOtherParent holds the group that follows in a room to the parent that the room has; nil where that is the same, or none yet.
func (t *tx) refuseOtherParent(c CreateRoom) Outcome {
	if d, depends := t.dependence(c.Room); depends && d.Parent != c.Parent {
		return NotAllowed{Reason: "a room that depends on another depends on the same one until its end"}
	}
	return nil
}

// takeDependsOn notes a dependant, and tells it who is in the list.
func (t *tx) takeDependsOn(e DependsOn) {
	head, found := t.head(e.Parent)
	if !found || head.status == RoomDestroyed || t.countKeys(roomKey(keyDependant, e.Parent)) >= DependantsMax {
		t.post(SlotOfRoom(e.Parent), ParentParticipants{Dependant: e.Dependant, Whole: true})
		return
	}
	t.set(dependantKey(e.Parent, e.Dependant), record(e.Dependant.AppendTo))
	pieces := parentPieces(e.Dependant, t.participants(e.Parent), nil)
	if len(pieces) == 0 {
		pieces = []ParentParticipants{{Dependant: e.Dependant}}
	}
	pieces[len(pieces)-1].Whole = true
	for _, piece := range pieces {
		t.post(SlotOfRoom(e.Parent), piece)
	}
}

func (t *tx) takeDependsNoMore(e DependsNoMore) { t.delete(dependantKey(e.Parent, e.Dependant)) }

// tellDependants tells those that depend on a room who has come into its list or left it. In a shard of a format before FormatBulk none do.
func (t *tx) tellDependants(parent mimi.RoomURI, before, after []Participant) {
	joined, left := missingFrom(after, before), missingFrom(before, after)
	if len(joined)+len(left) == 0 {
		return
	}
	dependants, err := ReadDependants(t.store, parent)
	t.check(err)
	for _, dependant := range dependants {
		for _, piece := range parentPieces(dependant, joined, left) {
			t.post(SlotOfRoom(parent), piece)
		}
	}
}

func parentPieces(dependant mimi.RoomURI, joined, left []Participant) (pieces []ParentParticipants) {
	for users := range slices.Chunk(usersOf(left), parentUsersMax) {
		pieces = append(pieces, ParentParticipants{Dependant: dependant, Left: users})
	}
	for users := range slices.Chunk(usersOf(joined), parentUsersMax) {
		pieces = append(pieces, ParentParticipants{Dependant: dependant, Joined: users})
	}
	return pieces
}

func usersOf(participants []Participant) []mimi.UserURI {
	users := make([]mimi.UserURI, len(participants))
	for i, p := range participants {
		users[i] = p.User
	}
	return users
}

// takeParentParticipants keeps a dependant's copy of its parent's list, and has those leave the dependant who are not in it.
func (t *tx) takeParentParticipants(e ParentParticipants) {
	head, found := t.head(e.Dependant)
	d, depends := t.dependence(e.Dependant)
	if !found || !depends {
		return
	}
	for _, user := range e.Left {
		t.delete(parentUserKey(e.Dependant, user))
	}
	for _, user := range e.Joined {
		t.set(parentUserKey(e.Dependant, user), record(user.AppendTo))
		t.stayWithParent(&head, user)
	}
	head.departures += uint64(len(e.Left)) // a Commit that adds one of them was judged with the list of before
	outside := e.Left
	if e.Whole {
		d.Known = true
		t.set(dependenceKey(e.Dependant), record(d.appendTo))
		outside = usersOf(t.participants(e.Dependant))
	}
	for _, user := range outside {
		t.leaveWithParent(&head, user)
	}
	t.setHead(head)
	t.noteDeparting(head)
}

// holdToParent has newcomers of a dependant leave it again who are not in its parent. Commits were judged with the copy that counts here,
// and bring none; it is for what comes otherwise.
func (t *tx) holdToParent(head *roomHead, before, after []Participant) {
	if d, depends := t.dependence(head.room); !depends || !d.Known {
		return
	}
	for _, p := range missingFrom(after, before) {
		t.leaveWithParent(head, p.User)
	}
	t.noteDeparting(*head)
}

// leaveWithParent makes a note of a user who is in a dependant and not in its parent; the caller writes the head. Of one who was deleted
// there is a note that says more.
func (t *tx) leaveWithParent(head *roomHead, user mimi.UserURI) {
	if t.has(parentUserKey(head.room, user)) {
		return
	}
	_, noted := t.departure(head.room, Departing{User: user})
	if _, in := t.membership(head.room, user); noted || !in {
		return
	}
	t.setDeparture(head.room, Departure{Who: Departing{User: user}, Millis: t.now, Cause: LeftParent})
	head.departures++
	head.departing++
}

// stayWithParent takes that note back. What the hub has proposed already in this epoch stays proposed.
func (t *tx) stayWithParent(head *roomHead, user mimi.UserURI) {
	who := Departing{User: user}
	if d, noted := t.departure(head.room, who); noted && d.Cause == LeftParent {
		t.delete(departureKey(head.room, who))
		head.departures++
		head.departing--
	}
}

// dependNoMore tells the parent of a room that it is no more.
func (t *tx) dependNoMore(room mimi.RoomURI) {
	if d, depends := t.dependence(room); depends {
		t.post(SlotOfRoom(room), DependsNoMore{Parent: d.Parent, Dependant: room})
	}
}

//	struct {
//	    opaque parent<V>;
//	    opaque dependant<V>;
//	} DependsOn, DependsNoMore;
func (e DependsOn) appendTo(w *mls.Writer) {
	e.Parent.AppendTo(w)
	e.Dependant.AppendTo(w)
}

func (e DependsNoMore) appendTo(w *mls.Writer) { DependsOn(e).appendTo(w) }

func readDependsOn(r *mls.Reader) DependsOn {
	return DependsOn{Parent: mimi.ReadRoomURI(r, "parent"), Dependant: mimi.ReadRoomURI(r, "dependant")}
}

//	struct {
//	    opaque dependant<V>;
//	    opaque joined<V><V>;
//	    opaque left<V><V>;
//	    uint8 whole; // 0 or 1
//	} ParentParticipants;
func (e ParentParticipants) appendTo(w *mls.Writer) {
	e.Dependant.AppendTo(w)
	appendUser := func(w *mls.Writer, u mimi.UserURI) { u.AppendTo(w) }
	appendList(w, e.Joined, appendUser)
	appendList(w, e.Left, appendUser)
	w.Bool(e.Whole)
}

func readParentParticipants(r *mls.Reader) ParentParticipants {
	readUser := func(r *mls.Reader) mimi.UserURI { return mimi.ReadUserURI(r, "user") }
	return ParentParticipants{
		Dependant: mimi.ReadRoomURI(r, "dependant"), Joined: readList(r, "joined", readUser), Left: readList(r, "left", readUser),
		Whole: r.Bool("whole"),
	}
}
