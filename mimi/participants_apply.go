package mimi

import (
	"fmt"

	"parley/mls"
)

// Validate checks a list that came whole, with the room's first GroupContext: no user stands twice, and none has the role 0.
// The error is a *mls.InvalidError.
func (d ParticipantListData) Validate() error {
	_, err := ParticipantListUpdate{Added: d.Participants}.Apply(ParticipantListData{})
	return err
}

// Apply makes the participant list that an update asks for; it is ApplyAll with one update.
func (u ParticipantListUpdate) Apply(current ParticipantListData) (ParticipantListData, error) {
	return ApplyAll(current, []ParticipantListUpdate{u})
}

// ApplyAll makes the participant list that a Commit with these updates, in their order, asks for (mimi-protocol-06 §7.5).
// Indices are places in current whatever the updates before do. First all roles change, then all removed users go, and then
// all added ones are appended. The error is a *mls.InvalidError: an index is out of range or repeated, a user is both removed
// and changed, added twice or already there, or gets the role 0, which stands for those who are not in the list. Current is
// left alone.
func ApplyAll(current ParticipantListData, updates []ParticipantListUpdate) (ParticipantListData, error) {
	work := participantWork{
		roles:   make([]uint32, len(current.Participants)),
		touched: make([]bool, len(current.Participants)),
		removed: make([]bool, len(current.Participants)),
		present: make(map[UserURI]bool, len(current.Participants)),
	}
	for i, p := range current.Participants {
		work.roles[i] = p.Role
		work.present[p.User] = true
	}
	for _, u := range updates {
		if err := work.take(u); err != nil {
			return ParticipantListData{}, err
		}
	}
	result := make([]UserRolePair, 0, len(current.Participants)+len(work.added))
	for i, p := range current.Participants {
		if !work.removed[i] {
			p.Role = work.roles[i]
			result = append(result, p)
		}
	}
	return ParticipantListData{append(result, work.added...)}, nil
}

// participantWork gathers what the updates of one Commit do to a list; its slices go by place in the list.
type participantWork struct {
	roles   []uint32
	touched []bool // named by an update
	removed []bool
	present map[UserURI]bool // in the list at the epoch's start, or added
	added   []UserRolePair
}

func (w *participantWork) take(u ParticipantListUpdate) error {
	for _, change := range u.ChangedRoles {
		if err := w.touch(change.Index); err != nil {
			return err
		}
		if err := checkAssignedRole(change.Role); err != nil {
			return err
		}
		w.roles[change.Index] = change.Role
	}
	for _, index := range u.Removed {
		if err := w.touch(index); err != nil {
			return err
		}
		w.removed[index] = true
	}
	for _, p := range u.Added {
		if w.present[p.User] {
			return invalidParticipants("%s is added and already in the list", p.User)
		}
		if err := checkAssignedRole(p.Role); err != nil {
			return err
		}
		w.present[p.User] = true
		w.added = append(w.added, p)
	}
	return nil
}

func (w *participantWork) touch(index uint32) error {
	if uint64(index) >= uint64(len(w.touched)) {
		return invalidParticipants("there is no participant %d in a list of %d", index, len(w.touched))
	}
	if w.touched[index] {
		return invalidParticipants("participant %d is named twice", index)
	}
	w.touched[index] = true
	return nil
}

func checkAssignedRole(role uint32) error {
	if role == RoleNone {
		return invalidParticipants("role %d cannot be assigned", RoleNone)
	}
	return nil
}

func invalidParticipants(format string, args ...any) error {
	return &mls.InvalidError{Section: "mimi-protocol-06 §7.5", Reason: fmt.Sprintf(format, args...)}
}
