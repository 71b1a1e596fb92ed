package policy

import (
	"parley/mimi"
	"parley/mls"
)

// checkList is for an update of the participant list: each of its changes is authorized separately (mimi-protocol-06 §7.5,
// room-policy-03 §8.1). That it can be applied is looked at elsewhere; places beyond the list are passed over here.
func (p *Policy) checkList(a Actor, operation mls.AppDataOperation) error {
	content, ok := operation.(mls.ComponentUpdate)
	if !ok {
		return refuse("the participant_list cannot be removed")
	}
	update, err := mimi.ParseParticipantListUpdate(content.Update)
	if err != nil {
		return err
	}
	if p.base.FixedMembership && (len(update.Added) > 0 || len(update.Removed) > 0 && !a.Hub) {
		return refuse("the room is of fixed membership: nobody joins or leaves its participant_list")
	}
	if !p.hasRoles {
		return nil
	}
	for _, change := range update.ChangedRoles {
		if int64(change.Index) < int64(len(p.list)) {
			if err := p.checkRoleChange(a, p.list[change.Index], change.Role); err != nil {
				return err
			}
		}
	}
	for _, index := range update.Removed {
		if int64(index) < int64(len(p.list)) {
			if err := p.checkDeparture(a, p.list[index]); err != nil {
				return err
			}
		}
	}
	for _, added := range update.Added {
		if err := p.checkAddition(a, added.Role); err != nil {
			return err
		}
	}
	return nil
}

// checkRoleChange is canChangeOwnRole, canBan, canUnBan and canChangeUserRole.
func (p *Policy) checkRoleChange(a Actor, who mimi.UserRolePair, to uint32) error {
	if !p.defined(to) {
		return refuse("the role %d is not defined in the roles_list", to)
	}
	if a.User == who.User {
		return p.may(a, mimi.CanChangeOwnRole) // to which role, CheckOwnRole says
	}
	ban, unban := p.role(to).Banned(), p.role(who.Role).Banned()
	switch {
	case ban && a.can(mimi.CanBan), unban && a.can(mimi.CanUnBan), a.can(mimi.CanChangeUserRole):
		if !a.role.MayChange(who.Role, to) {
			return p.cannotChange(a, who.Role, to)
		}
		return nil
	case ban:
		return p.lacks(a.role, mimi.CanBan)
	case unban:
		return p.lacks(a.role, mimi.CanUnBan)
	default:
		return p.lacks(a.role, mimi.CanChangeUserRole)
	}
}

// CheckOwnRole is for a participant that changes its own role: to the first that its credential is preauthorized for
// (room-policy-03 §8.1.3). Other changes are none of its business. The error is a *Refusal.
func (p *Policy) CheckOwnRole(user mimi.UserURI, credential mls.Credential, proposal mls.Proposal) error {
	update, ok := listUpdate(proposal)
	if !ok || !p.hasRoles {
		return nil
	}
	for _, change := range update.ChangedRoles {
		if int64(change.Index) >= int64(len(p.list)) || p.list[change.Index].User != user {
			continue
		}
		if role, matches := p.preauthorized(User(user, credential)); !matches || role != change.Role {
			return refuse("%s may change its own role only to the first for which its credential is preauthorized, and that is not the role %d", user, change.Role)
		}
	}
	return nil
}

func listUpdate(proposal mls.Proposal) (mimi.ParticipantListUpdate, bool) {
	p, ok := proposal.(mls.AppDataUpdate)
	if !ok || p.Component != mimi.ComponentParticipantList {
		return mimi.ParticipantListUpdate{}, false
	}
	content, ok := p.Operation.(mls.ComponentUpdate)
	if !ok {
		return mimi.ParticipantListUpdate{}, false
	}
	update, err := mimi.ParseParticipantListUpdate(content.Update)
	return update, err == nil
}

// checkDeparture is canRemoveSelf and canRemoveParticipant. The hub takes out whom it has to: a user who is gone.
func (p *Policy) checkDeparture(a Actor, who mimi.UserRolePair) error {
	c := mimi.CanRemoveParticipant
	switch {
	case a.Hub:
		return nil
	case a.User == who.User:
		c = mimi.CanRemoveSelf
	}
	if err := p.may(a, c); err != nil {
		return err
	}
	if !a.role.MayChange(who.Role, mimi.RoleNone) {
		return p.cannotChange(a, who.Role, mimi.RoleNone)
	}
	return nil
}

// checkAddition is canAddParticipant, and canBan for who is banned before it could join.
func (p *Policy) checkAddition(a Actor, role uint32) error {
	if !p.defined(role) {
		return refuse("the role %d is not defined in the roles_list", role)
	}
	if !p.role(role).Banned() || !a.can(mimi.CanBan) {
		if err := p.may(a, mimi.CanAddParticipant); err != nil {
			return err
		}
	}
	if !a.role.MayChange(mimi.RoleNone, role) {
		return p.cannotChange(a, mimi.RoleNone, role)
	}
	return nil
}

func (p *Policy) cannotChange(a Actor, from, to uint32) error {
	return refuse("the role %d (%s) has no authorized_role_changes from %d to %d", a.role.Index, a.role.Name, from, to)
}

// Leaving are the participants whom a Proposal removes from the list.
func (p *Policy) Leaving(proposal mls.Proposal) (users []mimi.UserURI) {
	update, _ := listUpdate(proposal)
	for _, index := range update.Removed {
		if int64(index) < int64(len(p.list)) {
			users = append(users, p.list[index].User)
		}
	}
	return users
}
