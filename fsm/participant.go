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
//	    select (version) {
//	        case 1: struct {};
//	        case 2: uint32 role; // as in the list; from FormatExclusive on
//	    };
//	} Membership;
type membership struct {
	user    mimi.UserURI
	since   mls.Epoch
	role    uint32
	hasRole bool // false in the first layout
}

// membershipVersion is the last layout of a membership.
const membershipVersion = 2

func (m membership) encoded() []byte {
	version := uint8(recordVersion)
	if m.hasRole {
		version = 2
	}
	return encode(version, func(w *mls.Writer) {
		m.user.AppendTo(w)
		w.Uint64(uint64(m.since))
		if m.hasRole {
			w.Uint32(m.role)
		}
	})
}

func readMembership(r *mls.Reader, version uint8) membership {
	m := membership{user: mimi.ReadUserURI(r, "user"), since: mls.Epoch(r.Uint64("since"))}
	if version >= 2 {
		m.role, m.hasRole = r.Uint32("role"), true
	}
	return m
}

func readMember(r Reader, room mimi.RoomURI, user mimi.UserURI) (membership, bool, error) {
	return readRecordUpTo(r, memberKey(room, user), "membership", membershipVersion, readMembership)
}

func (t *tx) membership(room mimi.RoomURI, user mimi.UserURI) (membership, bool) {
	return get(t, func(r Reader) (membership, bool, error) { return readMember(r, room, user) })
}

// ReadParticipantSince returns the epoch since which a user has been a participant; false where it is none now.
func ReadParticipantSince(r Reader, room mimi.RoomURI, user mimi.UserURI) (mls.Epoch, bool, error) {
	m, found, err := readMember(r, room, user)
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

// setMembership writes a membership in the layout of the shard's format.
func (t *tx) setMembership(room mimi.RoomURI, m membership) {
	m.hasRole = t.format >= FormatExclusive
	t.set(memberKey(room, m.user), m.encoded())
}

// setParticipants replaces the list. Who stays keeps the epoch of joining; who leaves is forgotten, so that one who comes back
// may send only to the epochs since then.
func (t *tx) setParticipants(room mimi.RoomURI, epoch mls.Epoch, before, list []Participant) {
	k := roomKey(keyParticipants, room)
	was := make(map[mimi.UserURI]uint32, len(before))
	for _, p := range before {
		was[p.User] = p.Role
	}
	is := make(map[mimi.UserURI]bool, len(list))
	for _, p := range list {
		if is[p.User] {
			continue
		}
		is[p.User] = true
		if role, stays := was[p.User]; !stays {
			t.setMembership(room, membership{user: p.User, since: epoch, role: p.Role})
		} else if role != p.Role {
			m, _ := t.membership(room, p.User)
			m.role = p.Role
			t.setMembership(room, m)
		}
	}
	for _, p := range before {
		if !is[p.User] {
			t.delete(memberKey(room, p.User))
		}
	}
	t.set(k, record(func(w *mls.Writer) { appendList(w, list, appendParticipant) }))
}
