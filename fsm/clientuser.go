package fsm

import (
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
	k := clientUserKey(room, client)
	if t.has(k) {
		return true
	}
	if !t.changeLoad(room, func(l *roomLoad) { l.clients++ }) {
		return false
	}
	t.set(k, record(user.AppendTo))
	return true
}
