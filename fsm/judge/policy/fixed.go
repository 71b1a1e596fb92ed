package policy

import "parley/mimi"

// Fixed reports whether the room is of fixed membership (room-policy-03 §5): nobody joins or leaves its participant list.
func (p *Policy) Fixed() bool { return p.base.FixedMembership }

// Users are the participants, banned ones among them.
func (p *Policy) Users() []mimi.UserURI {
	users := make([]mimi.UserURI, len(p.list))
	for i, entry := range p.list {
		users[i] = entry.User
	}
	return users
}

// Parent is the room on which this one depends (room-policy-03 §5); false for one that depends on none.
func (p *Policy) Parent() (parent mimi.RoomURI, depends bool) {
	if !p.base.ParentDependent {
		return parent, false
	}
	parent, err := mimi.ParseRoomURI(p.base.ParentRooms[0]) // ReadBaseRoomPolicy took one that can be read
	return parent, err == nil
}
