package policy

import (
	"slices"

	"parley/mimi"
	"parley/mls"
)

// Change is what a Commit does to the members of a room, as far as it is not to be read from the policy before and after it.
type Change struct {
	Proposals []mls.Proposal
	// Clients counts the members before and after.
	Clients Counts
	// Touched are the users who gain or lose a client.
	Touched []mimi.UserURI
	// Left and Inactive are users who leave the list, or whose clients go, by Proposals that were accepted before the Commit, of their
	// own or the hub's: no minimum holds them, for they are to be let go.
	Left, Inactive []mimi.UserURI
	// Census counts each user's clients. It is asked only where that matters, for it looks at every member.
	Census func() (before, after map[mimi.UserURI]int, err error)
}

// Counts is a number before and after a Commit.
type Counts struct{ Before, After int }

// CheckOutcome says whether a Commit whose Proposals are each allowed comes to a room that is: nothing disruptive beside changes of the
// list, policies that fit each other, and no limit passed (room-policy-03 §3, §4, §5). The error is a *Refusal, or Census's.
func (p *Policy) CheckOutcome(after *Policy, c Change) error {
	if err := p.checkTogether(c.Proposals); err != nil {
		return err
	}
	if p.hasRoles && !after.hasRoles {
		return refuse("the roles_list cannot be removed")
	}
	if most := after.base.MaxClients; most != nil && c.Clients.After > int(*most) {
		return refuse("the room may have %d clients, and would have %d", *most, c.Clients.After)
	}
	if !after.unchanged {
		if err := after.checkSound(); err != nil {
			return err
		}
	}
	census := &census{count: c.Census}
	if err := p.checkDevices(after, c, census); err != nil {
		return err
	}
	if !p.hasRoles {
		return nil
	}
	if !after.unchanged {
		if err := p.checkBans(after, census); err != nil {
			return err
		}
	}
	return p.checkBounds(after, c, census)
}

// checkTogether keeps changes of the roles and of the preauthorized users apart from changes of the participant list.
func (p *Policy) checkTogether(proposals []mls.Proposal) error {
	var roles, preauth, listed, removalsOnly = false, false, false, true
	for _, proposal := range proposals {
		if update, ok := proposal.(mls.AppDataUpdate); ok {
			roles = roles || update.Component == mimi.ComponentRoles
			preauth = preauth || update.Component == mimi.ComponentPreauthorization
		}
		if update, ok := listUpdate(proposal); ok {
			listed = true
			removalsOnly = removalsOnly && len(update.ChangedRoles)+len(update.Added) == 0
		}
	}
	switch {
	case roles && listed:
		return refuse("the roles_list and the participant_list do not change in one Commit (room-policy-03 §3)")
	case preauth && listed && !removalsOnly:
		return refuse("beside a change of the preauth_list, the participant_list may only lose users (room-policy-03 §4)")
	default:
		return nil
	}
}

// checkSound holds the policy of an epoch to itself: whoever has a role has one that is defined, and the base policy is kept.
func (p *Policy) checkSound() error {
	users := 0
	for _, entry := range p.list {
		if p.hasRoles && !p.defined(entry.Role) {
			return refuse("%s has the role %d, which is not defined in the roles_list", entry.User, entry.Role)
		}
		if !p.role(entry.Role).Banned() {
			users++
		}
	}
	for _, entry := range p.preauth {
		if p.hasRoles && !p.defined(entry.Role.Index) {
			return refuse("the preauth_list gives the role %d, which is not defined in the roles_list", entry.Role.Index)
		}
	}
	base := p.base
	if base.MaxUsers != nil && users > int(*base.MaxUsers) {
		return refuse("the room may have %d participants, and would have %d", *base.MaxUsers, users)
	}
	for _, role := range p.roles {
		if base.FixedMembership && role.Index != mimi.RoleNone && !role.Banned() && role.Can(mimi.CanAddParticipant) {
			return refuse("in a room of fixed membership no role has canAddParticipant, as the role %d (%s) would (room-policy-03 §5)", role.Index, role.Name)
		}
	}
	return nil
}

// checkDevices keeps a room without multi_device to one client a user.
func (p *Policy) checkDevices(after *Policy, c Change, census *census) error {
	if after.base.MultiDevice || p.base.MultiDevice == after.base.MultiDevice && len(c.Touched) == 0 {
		return nil
	}
	if err := census.take(); err != nil {
		return err
	}
	for _, entry := range after.list {
		if census.after[entry.User] > 1 {
			return refuse("a user of the room may have one client, and %s would have %d", entry.User, census.after[entry.User])
		}
	}
	return nil
}

// checkBans lets nobody be banned whose clients stay.
func (p *Policy) checkBans(after *Policy, census *census) error {
	for _, entry := range after.list {
		if !after.role(entry.Role).Banned() || p.Banned(entry.User) {
			continue
		}
		if err := census.take(); err != nil {
			return err
		}
		if census.after[entry.User] > 0 {
			return refuse("%s is banned, but a client of it stays a member", entry.User)
		}
	}
	return nil
}

// checkBounds holds a Commit to how many may have each role, and be active in it (room-policy-03 §3). What no Commit has changed for
// the worse is nobody's fault: a room may well begin without a holder of a role that is to have one.
func (p *Policy) checkBounds(after *Policy, c Change, census *census) error {
	var moved []uint32
	if !after.unchanged {
		moved = p.moved(after)
	}
	for _, role := range after.roles {
		if role.Index == mimi.RoleNone {
			continue
		}
		if (role.Participants.Max != nil || role.Participants.Min > 0) && !after.unchanged {
			n := Counts{p.holders(role.Index), after.holders(role.Index)}
			if err := checkBound(role, "participants", role.Participants, n, p.among(c.Left, role.Index)); err != nil {
				return err
			}
		}
		bounded := role.Active.Max != nil || role.Active.Min > 0
		touched := p.among(c.Touched, role.Index)+after.among(c.Touched, role.Index) > 0
		if !bounded || !touched && !slices.Contains(moved, role.Index) {
			continue
		}
		if err := census.take(); err != nil {
			return err
		}
		n := Counts{p.active(role.Index, census.before), after.active(role.Index, census.after)}
		if err := checkBound(role, "active participants", role.Active, n, p.among(c.Inactive, role.Index)); err != nil {
			return err
		}
	}
	return nil
}

func checkBound(role mimi.Role, what string, bound mimi.Bounds, n Counts, excused int) error {
	switch {
	case bound.Max != nil && n.After > int(*bound.Max) && n.After > n.Before:
		return refuse("the role %d (%s) may have %d %s, and would have %d", role.Index, role.Name, *bound.Max, what, n.After)
	case n.After+excused < int(bound.Min) && n.After < n.Before:
		return refuse("the role %d (%s) must have %d %s, and would have %d", role.Index, role.Name, bound.Min, what, n.After)
	default:
		return nil
	}
}

// moved are the roles that somebody gets or loses.
func (p *Policy) moved(after *Policy) (roles []uint32) {
	now := make(map[mimi.UserURI]uint32, len(after.list))
	for _, entry := range after.list {
		now[entry.User] = entry.Role
	}
	for _, entry := range p.list {
		if now[entry.User] != entry.Role {
			roles = append(roles, entry.Role, now[entry.User])
		}
		delete(now, entry.User)
	}
	for _, entry := range after.list {
		if _, added := now[entry.User]; added {
			roles = append(roles, entry.Role)
		}
	}
	return roles
}

func (p *Policy) holders(role uint32) (n int) {
	for _, entry := range p.list {
		if entry.Role == role {
			n++
		}
	}
	return n
}

// among counts those of some users who have a role.
func (p *Policy) among(users []mimi.UserURI, role uint32) (n int) {
	for _, user := range users {
		if p.roleOf(user) == role {
			n++
		}
	}
	return n
}

func (p *Policy) active(role uint32, clients map[mimi.UserURI]int) (n int) {
	for _, entry := range p.list {
		if entry.Role == role && clients[entry.User] > 0 {
			n++
		}
	}
	return n
}

// census remembers the counts, which are asked for once at most.
type census struct {
	count         func() (before, after map[mimi.UserURI]int, err error)
	before, after map[mimi.UserURI]int
}

func (c *census) take() (err error) {
	if c.before == nil {
		c.before, c.after, err = c.count()
	}
	return err
}
