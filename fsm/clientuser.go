package fsm

import (
	"slices"

	"parley/mimi"
	"parley/mls"
)

// ReadClientUser returns whose client a client is, as a room learnt it: from its creation or from a recorded claim; false where the
// room does not know the client. The mapping lasts as long as the room, since every Commit of the client rests on it.
func ReadClientUser(r Reader, room mimi.RoomURI, client mimi.ClientURI) (mimi.UserURI, bool, error) {
	return readRecord(r, clientUserKey(room, client), "client's user", readClientUser)
}

// struct { opaque user<V>; } ClientUser;
func readClientUser(r *mls.Reader) mimi.UserURI { return mimi.ReadUserURI(r, "user") }

func clientUserKey(room mimi.RoomURI, client mimi.ClientURI) key {
	return roomKey(keyClientUser, room).hashed(client.String())
}

// mapClient remembers whose client a client is. The first mapping stands, so that a later claim cannot make one user's client
// another's. false where the room has known as many clients as it may.
func (t *tx) mapClient(room mimi.RoomURI, client mimi.ClientURI, user mimi.UserURI) bool {
	return t.mapClients(room, []ClientOfUser{{Client: client, User: user}})
}

// mapClients is mapClient for several: all of them, or none where the room would come to know too many.
func (t *tx) mapClients(room mimi.RoomURI, clients []ClientOfUser) bool {
	var fresh []ClientOfUser
	for _, c := range clients {
		again := slices.ContainsFunc(fresh, func(f ClientOfUser) bool { return f.Client == c.Client })
		if !again && !t.has(clientUserKey(room, c.Client)) {
			fresh = append(fresh, c)
		}
	}
	if len(fresh) == 0 {
		return true
	}
	if !t.changeLoad(room, func(l *roomLoad) { l.clients += uint32(len(fresh)) }) {
		return false
	}
	for _, c := range fresh {
		t.set(clientUserKey(room, c.Client), record(c.User.AppendTo))
	}
	return true
}
