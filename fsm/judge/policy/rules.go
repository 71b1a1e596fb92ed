package policy

import (
	"parley/mimi"
	"parley/mls"
)

// Silent are the roles whose holders may not send messages: those without canSendMessage, and that of the banned. None where the room
// has no role policy.
func (p *Policy) Silent() (roles []uint32) {
	for _, role := range p.roles {
		if role.Index != mimi.RoleNone && (role.Banned() || !role.Can(mimi.CanSendMessage)) {
			roles = append(roles, role.Index)
		}
	}
	return roles
}

// EpochTolerance is for how many older epochs the room takes messages; nil where its policy does not say.
func (p *Policy) EpochTolerance() *uint8 {
	if p.operational == nil {
		return nil
	}
	return &p.operational.Messages.EpochTolerance
}

// BannedBy are the participants whom a Proposal bans.
func (p *Policy) BannedBy(proposal mls.Proposal) (users []mimi.UserURI) {
	update, _ := listUpdate(proposal)
	for _, change := range update.ChangedRoles {
		if int64(change.Index) < int64(len(p.list)) && p.role(change.Role).Banned() {
			users = append(users, p.list[change.Index].User)
		}
	}
	return users
}
