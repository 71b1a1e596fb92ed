package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// A user's slot knows the rooms of this hub that the user is in, whoever's user it is. The rooms' slots tell it, in order for each
// room: so what it knows is a little behind, and right in the end.

// ReadRoomsOf returns the rooms of this hub in whose lists a user is, as its slot has heard, in no meaningful but a stable order.
func ReadRoomsOf(r Reader, user mimi.UserURI) (rooms []mimi.RoomURI, err error) {
	err = scanRecords(r, userKey(keyUserRoom, user), "room of a user", readUserRoom, func(_ []byte, room mimi.RoomURI) (bool, error) {
		rooms = append(rooms, room)
		return true, nil
	})
	return rooms, err
}

// struct { opaque room<V>; } UserRoom;
func readUserRoom(r *mls.Reader) mimi.RoomURI { return mimi.ReadRoomURI(r, "room") }

func userRoomKey(user mimi.UserURI, room mimi.RoomURI) key {
	return userKey(keyUserRoom, user).hashed(room.String())
}

func (t *tx) roomsOf(user mimi.UserURI) []mimi.RoomURI {
	rooms, err := ReadRoomsOf(t.store, user)
	t.check(err)
	return rooms
}

// tellUsers tells the slots of users that they have come into a room's list or left it. A room that is older than this tells it of
// all its users with the first Commit that it takes.
func (t *tx) tellUsers(head *roomHead, before, after []Participant) {
	if t.format < FormatExclusive {
		return
	}
	if !head.told {
		head.told, before = true, nil
	}
	from := SlotOfRoom(head.room)
	for _, p := range missingFrom(before, after) {
		t.post(from, RoomLeft{User: p.User, Room: head.room})
	}
	for _, p := range missingFrom(after, before) {
		t.post(from, RoomJoined{User: p.User, Room: head.room})
	}
}

// missingFrom lists those of one list that another does not have, each user once.
func missingFrom(list, other []Participant) (missing []Participant) {
	seen := make(map[mimi.UserURI]bool, len(other))
	for _, p := range other {
		seen[p.User] = true
	}
	for _, p := range list {
		if !seen[p.User] {
			seen[p.User] = true
			missing = append(missing, p)
		}
	}
	return missing
}

// takeJoined makes a note of a room that a user is in. If the user is gone, or clients of it are for whom there may still be claimed
// KeyPackages, the room hears of that.
func (t *tx) takeJoined(e RoomJoined) {
	t.set(userRoomKey(e.User, e.Room), record(e.Room.AppendTo))
	d := t.departed(e.User)
	if d.millis != 0 {
		t.post(SlotOfUser(e.User), Departed{Room: e.Room, Who: Departing{User: e.User}, Millis: d.millis})
		return
	}
	if d.clients == 0 {
		return
	}
	for _, c := range t.departedClients(e.User) {
		if millisAfter(addUpTo(c.millis/1000, t.settings.KeyPackageLifetimeMax)) > t.now {
			t.post(SlotOfUser(e.User), Departed{Room: e.Room, Who: Departing{User: e.User, Client: c.client}, Millis: c.millis})
		}
	}
}

func (t *tx) departedClients(user mimi.UserURI) (clients []departedClient) {
	prefix := userKey(keyDeparted, user)
	behind := prefix.raw([]byte{0}) // the user's own record has the prefix for its key
	t.check(scanRange(t.store, prefix, behind, prefix.end(), "departed client", readDepartedClient, func(_ []byte, c departedClient) (bool, error) {
		clients = append(clients, c)
		return true, nil
	}))
	return clients
}

func (t *tx) takeLeft(e RoomLeft) { t.delete(userRoomKey(e.User, e.Room)) }
