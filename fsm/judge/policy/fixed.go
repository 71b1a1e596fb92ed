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
