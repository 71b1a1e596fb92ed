package policy

import (
	"slices"

	"parley/mimi"
)

// checkAdd is for a client that is added (room-policy-03 §8.1.1). One's own takes canAddOwnClient. Another's takes
// canAddParticipant for the role that its user has or gets, also where the user is in the list already: its clients may come in a
// later Commit than its entry (mimi-protocol-06 §5.3), or again after they were kicked.
func (p *Policy) checkAdd(a Actor, user mimi.UserURI, after *Policy) error {
	switch {
	case !p.hasRoles:
		return nil
	case p.Banned(user) || after != nil && after.Banned(user):
		return refuse("%s is banned, and may have no client in the group", user)
	case a.User == user && p.Participates(user):
		return p.may(a, mimi.CanAddOwnClient)
	case a.User == user:
		return p.checkProposedJoin(a, after)
	}
	if err := p.may(a, mimi.CanAddParticipant); err != nil {
		return err
	}
	role := p.roleOf(user)
	if after != nil {
		role = after.roleOf(user)
	}
	if role != mimi.RoleNone && !a.role.MayChange(mimi.RoleNone, role) {
		return p.cannotChange(a, mimi.RoleNone, role)
	}
	return nil
}

// checkProposedJoin is for who has proposed its own client from outside without being a participant, and is listed by somebody else:
// with a role with which it could have joined by itself.
func (p *Policy) checkProposedJoin(a Actor, after *Policy) error {
	if len(a.rights) == 0 {
		return refuse("%s is not a participant", a.User)
	}
	if after == nil || !after.Participates(a.User) {
		return nil // the Commit is refused for a client without a participant
	}
	role := after.roleOf(a.User)
	if !slices.ContainsFunc(a.rights, func(r Right) bool { return slices.Contains(r.Roles, role) }) {
		return refuse("%s may not join with the role %d", a.User, role)
	}
	return nil
}

// checkRemove is for a client that is taken out (room-policy-03 §8.1.2). Where its user leaves the list or is banned in the same Commit
// the client has to go, and whoever may do that may have it done: that is looked at where the list changes. Otherwise one's own takes
// canRemoveOwnClient, but for rooms of fixed membership, whose participants may always take their clients out, and another's canKick.
func (p *Policy) checkRemove(a Actor, user mimi.UserURI, after *Policy) error {
	switch {
	case !p.hasRoles || a.Hub:
		return nil
	case after != nil && (!after.Participates(user) || after.Banned(user)):
		return nil
	case a.speaksFor(user):
		return p.checkRemoveOwn(a, user, after == nil)
	case a.can(mimi.CanKick):
		return nil
	case after == nil && p.mayTakeOut(a, p.roleOf(user)):
		return nil
	default:
		return refuse("to remove another user's client takes canKick, which the role %d (%s) does not have, or that the user leaves the participant_list or is banned in the same Commit", a.role.Index, a.role.Name)
	}
}

// checkRemoveOwn is for one's own client. Alone tells that it is not yet known what stands beside the Proposal.
func (p *Policy) checkRemoveOwn(a Actor, user mimi.UserURI, alone bool) error {
	switch {
	case a.external(), p.Banned(user), p.base.FixedMembership: // a provider for its users; see CheckSender for the banned
		return nil
	case alone && a.can(mimi.CanRemoveSelf) && a.role.MayChange(p.roleOf(user), mimi.RoleNone):
		return nil
	default:
		return p.may(a, mimi.CanRemoveOwnClient)
	}
}

// mayTakeOut reports whether an actor may propose what makes a client of a user in this role go.
func (p *Policy) mayTakeOut(a Actor, role uint32) bool {
	return a.can(mimi.CanRemoveParticipant) && a.role.MayChange(role, mimi.RoleNone) ||
		a.can(mimi.CanBan) && p.role(mimi.RoleBanned).Banned() && a.role.MayChange(role, mimi.RoleBanned)
}
