package mimi

import (
	"parley/mls"
)

// UserRolePair is an entry of a room's participant list (mimi-protocol-06 §7.5).
//
//	struct {
//	    opaque user<V>;
//	    uint32 role_index;
//	} UserRolePair;
type UserRolePair struct {
	User UserURI
	Role uint32 // a role_index of the room's RoleData

	userSpelling spelling
}

// ParticipantListData is the data of the participant_list component (mimi-protocol-06 §7.5). The order matters: updates name
// users by their place. It is part of the GroupContext, so its bytes are the members', a URI's spelling included.
//
//	struct {
//	    UserRolePair participants<V>;
//	} ParticipantListData;
type ParticipantListData struct {
	Participants []UserRolePair
}

func ReadUserRolePair(r *mls.Reader) UserRolePair {
	var p UserRolePair
	p.User, p.userSpelling = readSpelled(r, "user", ParseUserURI, false)
	p.Role = r.Uint32("role_index")
	return p
}

func (p UserRolePair) AppendTo(w *mls.Writer) {
	p.userSpelling.appendTo(w, p.User.String())
	w.Uint32(p.Role)
}

func ReadParticipantListData(r *mls.Reader) ParticipantListData {
	return ParticipantListData{mls.ReadList(r, "participants", ReadUserRolePair)}
}

func ParseParticipantListData(b []byte) (ParticipantListData, error) {
	return mls.Parse("ParticipantListData", b, ReadParticipantListData)
}

func (d ParticipantListData) AppendTo(w *mls.Writer) { mls.AppendList(w, d.Participants) }

func (d ParticipantListData) Marshal() []byte { return marshal(d) }

// Find returns a user's entry.
func (d ParticipantListData) Find(user UserURI) (UserRolePair, bool) {
	for _, p := range d.Participants {
		if p.User == user {
			return p, true
		}
	}
	return UserRolePair{}, false
}

// UserIndexRolePair gives another role to the user at a place of the list.
//
//	struct {
//	    uint32 user_index;
//	    uint32 role_index;
//	} UserindexRolePair;
type UserIndexRolePair struct {
	Index uint32
	Role  uint32
}

// ParticipantListUpdate is the update of an AppDataUpdate Proposal for participant_list (mimi-protocol-06 §7.5). Indices are
// places in the list as it was when the epoch began.
//
//	struct {
//	    UserindexRolePair changedRoleParticipants<V>;
//	    uint32 removedIndices<V>;
//	    UserRolePair addedParticipants<V>;
//	} ParticipantListUpdate;
type ParticipantListUpdate struct {
	ChangedRoles []UserIndexRolePair
	Removed      []uint32
	Added        []UserRolePair
}

func ReadUserIndexRolePair(r *mls.Reader) UserIndexRolePair {
	return UserIndexRolePair{Index: r.Uint32("user_index"), Role: r.Uint32("role_index")}
}

func (p UserIndexRolePair) AppendTo(w *mls.Writer) {
	w.Uint32(p.Index)
	w.Uint32(p.Role)
}

func ReadParticipantListUpdate(r *mls.Reader) ParticipantListUpdate {
	return ParticipantListUpdate{
		ChangedRoles: mls.ReadList(r, "changedRoleParticipants", ReadUserIndexRolePair),
		Removed:      readUint32s(r, "removedIndices"),
		Added:        mls.ReadList(r, "addedParticipants", ReadUserRolePair),
	}
}

func ParseParticipantListUpdate(b []byte) (ParticipantListUpdate, error) {
	return mls.Parse("ParticipantListUpdate", b, ReadParticipantListUpdate)
}

func (u ParticipantListUpdate) AppendTo(w *mls.Writer) {
	mls.AppendList(w, u.ChangedRoles)
	appendUint32s(w, u.Removed)
	mls.AppendList(w, u.Added)
}

func (u ParticipantListUpdate) Marshal() []byte { return marshal(u) }
