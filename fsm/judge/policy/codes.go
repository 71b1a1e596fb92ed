package policy

import (
	"parley/mimi"
)

// Joining codes are the hub's, and room-policy-03 §8.7 only reserves the names of who may make and end them. So a code gives no more
// than its maker could: a role that exists, that is not "banned", and to which the maker's role may bring somebody who is no
// participant, as for canAddParticipant (§8.1.1).

// CheckCreateCode refuses who may not make a joining code that gives a role; and a code that nobody could use. The error is a
// *Refusal.
func (p *Policy) CheckCreateCode(user mimi.UserURI, role uint32) error {
	if !p.hasRoles {
		return refuse("the room has no roles_list, and nobody can join it by a code")
	}
	if err := p.holds(user, mimi.CanCreateJoinCode); err != nil {
		return err
	}
	switch own := p.role(p.roleOf(user)); {
	case !p.role(mimi.RoleNone).Can(mimi.CanUseJoinCode):
		return refuse("nobody could use the code: role 0 does not have canUseJoinCode")
	case !p.assigns(role):
		return refuse("nobody who joins can be given the role %d", role)
	case !own.MayChange(mimi.RoleNone, role):
		return refuse("the role %d (%s) may not give the role %d to new participants", own.Index, own.Name, role)
	}
	return nil
}

// CheckDeleteCode refuses who may not end a joining code of a maker: the maker may, while it is a participant, and whoever has
// canDeleteJoinCode. The error is a *Refusal.
func (p *Policy) CheckDeleteCode(user, maker mimi.UserURI) error {
	if user == maker && p.Participates(user) && !p.Banned(user) {
		return nil
	}
	return p.holds(user, mimi.CanDeleteJoinCode)
}

// holds refuses who is not a participant with a capability.
func (p *Policy) holds(user mimi.UserURI, c mimi.Capability) error {
	role := p.role(p.roleOf(user))
	switch {
	case !p.Participates(user):
		return refuse("%s is not a participant", user)
	case p.Banned(user):
		return refuse("%s is banned", user)
	case !role.Can(c):
		return p.lacks(role, c)
	}
	return nil
}
