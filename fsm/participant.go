package fsm

import (
	"parley/mimi"
	"parley/mls"
)

func readParticipants(r *mls.Reader) []Participant {
	return readList(r, "participants", readParticipant)
}

// membership stands for one participant, so that a message's sender is found without reading the whole list.
//
//	struct {
//	    opaque user<V>;
//	    uint64 since; // the epoch of the Commit's outcome that added the user, or of the room's creation
//	} Membership;
type membership struct {
	user  mimi.UserURI
	since mls.Epoch
}

func (m membership) appendTo(w *mls.Writer) {
	m.user.AppendTo(w)
	w.Uint64(uint64(m.since))
}

func readMembership(r *mls.Reader) membership {
	return membership{user: mimi.ReadUserURI(r, "user"), since: mls.Epoch(r.Uint64("since"))}
}

// ReadParticipantSince returns the epoch since which a user has been a participant; false where it is none now.
func ReadParticipantSince(r Reader, room mimi.RoomURI, user mimi.UserURI) (mls.Epoch, bool, error) {
	m, found, err := readRecord(r, memberKey(room, user), "membership", readMembership)
	return m.since, found, err
}

func memberKey(room mimi.RoomURI, user mimi.UserURI) key { return roomKey(keyMember, room).user(user) }

func (t *tx) participantSince(room mimi.RoomURI, user mimi.UserURI) (mls.Epoch, bool) {
	return get(t, func(r Reader) (mls.Epoch, bool, error) { return ReadParticipantSince(r, room, user) })
}

// participants is the present list.
func (t *tx) participants(room mimi.RoomURI) []Participant {
	list, _ := get(t, func(r Reader) ([]Participant, bool, error) {
		return readRecord(r, roomKey(keyParticipants, room), "participants", readParticipants)
	})
	return list
}

// setParticipants replaces the list. Who stays keeps the epoch of joining; who leaves is forgotten, so that one who comes back
// may send only to the epochs since then.
func (t *tx) setParticipants(room mimi.RoomURI, epoch mls.Epoch, before, list []Participant) {
	k := roomKey(keyParticipants, room)
	was := make(map[mimi.UserURI]bool, len(before))
	for _, p := range before {
		was[p.User] = true
	}
	is := make(map[mimi.UserURI]bool, len(list))
	for _, p := range list {
		if is[p.User] {
			continue
		}
		is[p.User] = true
		if !was[p.User] {
			t.set(memberKey(room, p.User), record(membership{p.User, epoch}.appendTo))
		}
	}
	for _, p := range before {
		if !is[p.User] {
			t.delete(memberKey(room, p.User))
		}
	}
	t.set(k, record(func(w *mls.Writer) { appendList(w, list, appendParticipant) }))
}
