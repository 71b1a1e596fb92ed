package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// The slot of a member's name knows the rooms in which the name has windows, hosted here or followed, as their slots have told it: a little
// late, and right in the end.

const (
	EffectWindowOpened  EffectKind = 20
	EffectWindowsClosed EffectKind = 21
	EffectMemberLost    EffectKind = 22
	EffectEndWindows    EffectKind = 23
)

// WindowOpened tells the slot of a name of a room in which the name has a window from now on.
type WindowOpened struct {
	Name MemberName
	Room mimi.RoomURI
}

// WindowsClosed tells it of a room in which the name has none any more.
type WindowsClosed struct {
	Name MemberName
	Room mimi.RoomURI
}

// MemberLost tells the slot of a client's name that the client is lost, or its user deleted.
type MemberLost struct{ Name MemberName }

// EndWindows tells a room that nobody comes for the windows of a name any more.
type EndWindows struct {
	Room mimi.RoomURI
	Name MemberName
}

func (e WindowOpened) Slot() SlotID  { return SlotOfMember(e.Name) }
func (e WindowsClosed) Slot() SlotID { return SlotOfMember(e.Name) }
func (e MemberLost) Slot() SlotID    { return SlotOfMember(e.Name) }
func (e EndWindows) Slot() SlotID    { return SlotOfRoom(e.Room) }

func (WindowOpened) effectKind() EffectKind  { return EffectWindowOpened }
func (WindowsClosed) effectKind() EffectKind { return EffectWindowsClosed }
func (MemberLost) effectKind() EffectKind    { return EffectMemberLost }
func (EndWindows) effectKind() EffectKind    { return EffectEndWindows }

//	struct {
//	    opaque name<V>;
//	    opaque room<V>;
//	} WindowOpened, WindowsClosed;
func (e WindowOpened) appendTo(w *mls.Writer) {
	appendText(w, e.Name)
	e.Room.AppendTo(w)
}

func (e WindowsClosed) appendTo(w *mls.Writer) { WindowOpened(e).appendTo(w) }

func readWindowOpened(r *mls.Reader) WindowOpened {
	return WindowOpened{Name: readText[MemberName](r, "name"), Room: mimi.ReadRoomURI(r, "room")}
}

// struct { opaque name<V>; } MemberLost;
func (e MemberLost) appendTo(w *mls.Writer) { appendText(w, e.Name) }

//	struct {
//	    opaque room<V>;
//	    opaque name<V>;
//	} EndWindows;
func (e EndWindows) appendTo(w *mls.Writer) {
	e.Room.AppendTo(w)
	appendText(w, e.Name)
}

func readEndWindows(r *mls.Reader) EndWindows {
	return EndWindows{Room: mimi.ReadRoomURI(r, "room"), Name: readText[MemberName](r, "name")}
}

func memberRoomsKey(name MemberName) key {
	return newKey(SlotOfMember(name), keyRoster).raw([]byte{memberRooms}).hashed(string(name))
}

func memberDepartedKey(name MemberName) key {
	return newKey(SlotOfMember(name), keyRoster).raw([]byte{memberDeparted}).hashed(string(name))
}

func memberRoomKey(name MemberName, room mimi.RoomURI) key {
	return memberRoomsKey(name).hashed(room.String())
}

// VisitMemberRooms visits the rooms in which a name has windows, as its slot has heard, in order of their hashes and behind one; the zero
// hash is before all.
func VisitMemberRooms(r Reader, name MemberName, after RoomHash, visit func(mimi.RoomURI) (more bool, err error)) error {
	prefix := memberRoomsKey(name)
	lower := successor(prefix.raw(after[:]))
	return scanRange(r, prefix, lower, prefix.end(), "room of a member", readUserRoom, func(_ []byte, room mimi.RoomURI) (bool, error) {
		return visit(room)
	})
}

// takeOpened makes a note of a room in which a name has a window. If its client is lost, the room hears of that.
func (t *tx) takeOpened(e WindowOpened) {
	if t.has(memberDepartedKey(e.Name)) {
		t.post(SlotOfMember(e.Name), EndWindows{Room: e.Room, Name: e.Name})
		return
	}
	t.set(memberRoomKey(e.Name, e.Room), record(e.Room.AppendTo))
}

func (t *tx) takeClosed(e WindowsClosed) { t.delete(memberRoomKey(e.Name, e.Room)) }

// takeLost tells all rooms of a name that its client is lost, and those that it may yet come into.
func (t *tx) takeLost(e MemberLost) {
	t.set(memberDepartedKey(e.Name), record(func(w *mls.Writer) { appendText(w, e.Name) }))
	var rooms []mimi.RoomURI
	t.check(VisitMemberRooms(t.store, e.Name, RoomHash{}, func(room mimi.RoomURI) (bool, error) {
		rooms = append(rooms, room)
		return true, nil
	}))
	for _, room := range rooms {
		t.post(SlotOfMember(e.Name), EndWindows{Room: room, Name: e.Name})
	}
}

// endWindowsOf drops the windows of a name. What was only in them goes when it has waited long enough.
func (t *tx) endWindowsOf(e EndWindows) {
	room := HashOfRoom(e.Room)
	l, found := t.clientLog(room)
	if !found {
		return
	}
	for _, v := range t.windowsOf(room, e.Name) {
		if v.until == 0 {
			l.open--
			if v.leaf != unknownLeaf {
				t.delete(leafWindowKey(room, v.leaf))
			}
		}
		t.dropWindow(l, v)
	}
	t.keepWhileNeeded(l)
}

// loseMembers tells the slots of names that their clients are lost. Those of a user that is deleted are the clients of its inventory,
// and all that go by the user's own name.
func (t *tx) loseMembers(c RecordDeparture) {
	if !t.clientInboxes() || !t.isLocal(c.User.Provider()) {
		return
	}
	from := SlotOfUser(c.User)
	if !c.Client.IsZero() {
		t.post(from, MemberLost{Name: NameOfClient(c.Client)})
		return
	}
	t.post(from, MemberLost{Name: NameOfUser(c.User)})
	for _, client := range t.clientsToClaim(ClaimKeyPackages{User: c.User}) {
		t.post(from, MemberLost{Name: NameOfClient(client.record.client)})
	}
}
