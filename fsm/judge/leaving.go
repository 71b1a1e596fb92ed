package judge

import (
	"slices"

	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
	"parley/mls"
)

// leavingUser reports whether a user is on its way out of the room, or banned, by a Proposal that waits.
func (e *enforcement) leavingUser(user mimi.UserURI) (bool, error) {
	leave, found, err := fsm.ReadLeavingUser(e.replica, e.state.URI, user)
	return found && !leave.Silent, err
}

// leaving reports whether the sender of a Proposal is on its way out, by itself or with its user.
func (e *enforcement) leaving(actor policy.Actor, from mls.Sender) (bool, error) {
	if actor.User.IsZero() {
		return false, nil
	}
	leaving, err := e.leavingUser(actor.User)
	if member, ok := from.(mls.MemberSender); ok && !leaving && err == nil {
		_, leaving, err = fsm.ReadLeavingClient(e.replica, e.state.URI, member.Leaf)
	}
	return leaving, err
}

// leaves adds who is on the way out by a Proposal: who takes itself out, whom the hub takes out, and who is banned. What others do to
// somebody takes effect with the Commit.
func (e *enforcement) leaves(actor policy.Actor, content mls.FramedContent, ref mls.ProposalRef, leaves []fsm.Leave) ([]fsm.Leave, error) {
	switch p := content.Body.(type) {
	case mls.SelfRemove:
		leaf := content.Sender.(mls.MemberSender).Leaf // VerifyProposal lets no other sender through
		return append(leaves, fsm.Leave{Ref: ref, Client: true, Leaf: leaf, Self: true, Due: true}), nil
	case mls.Remove:
		user, err := e.memberUser(p.Removed)
		if err == nil && (actor.Hub || actor.User == user) {
			leaves = append(leaves, fsm.Leave{Ref: ref, Client: true, Leaf: p.Removed, Due: true})
		}
		return leaves, err
	case mls.AppDataUpdate:
		for _, user := range e.state.policy.Leaving(p) {
			if actor.Hub || actor.User == user {
				leaves = append(leaves, fsm.Leave{Ref: ref, User: user, Due: true})
			}
		}
		for _, user := range e.state.policy.BannedBy(p) {
			leaves = append(leaves, fsm.Leave{Ref: ref, User: user})
		}
	}
	return leaves, nil
}

// silenced adds the users each of whose clients is on its way out, and holds who leaves by itself to the minima of the roles.
func (e *enforcement) silenced(leaves []fsm.Leave) ([]fsm.Leave, error) {
	var users []mimi.UserURI
	for _, l := range leaves {
		user := l.User
		if l.Client {
			var err error
			if user, err = e.memberUser(l.Leaf); err != nil {
				return nil, err
			}
		}
		if !user.IsZero() && !slices.Contains(users, user) {
			users = append(users, user)
		}
	}
	for _, user := range users {
		listed := slices.ContainsFunc(leaves, func(l fsm.Leave) bool { return l.User == user })
		all, err := e.allLeave(user, leaves)
		if err != nil {
			return nil, err
		}
		if all && !listed {
			leaves = append(leaves, fsm.Leave{Ref: leaves[0].Ref, User: user, Silent: true})
		}
	}
	return leaves, nil
}

// minima refuses leaves that would leave a role with fewer than it is to have, with all who are on their way out by now. Two that are
// judged at once may pass together: both are let go then.
func (e *enforcement) minima(leaves []fsm.Leave) error {
	waiting, err := fsm.ReadLeavingUsers(e.replica, e.state.URI)
	if err != nil {
		return err
	}
	var departure policy.Departure
	note := func(l fsm.Leave) {
		switch {
		case l.Client || slices.Contains(departure.Inactive, l.User):
		case l.Silent:
			departure.Inactive = append(departure.Inactive, l.User)
		case l.Due:
			departure.Left = append(departure.Left, l.User)
			departure.Inactive = append(departure.Inactive, l.User)
		}
	}
	for _, l := range leaves {
		note(l)
	}
	departure.New = len(departure.Inactive)
	for _, l := range waiting {
		note(l.Leave)
	}
	departure.Active = func() (map[mimi.UserURI]int, error) {
		active := make(map[mimi.UserURI]int)
		for i := range e.state.group.Members() {
			user, err := e.memberUser(i)
			if err != nil {
				return nil, err
			}
			active[user]++
		}
		return active, nil
	}
	return ruled(e.state.policy.CheckDeparture(departure))
}

// allLeave reports whether a user has clients, and each of them is on its way out. It looks at every member.
func (e *enforcement) allLeave(user mimi.UserURI, leaves []fsm.Leave) (bool, error) {
	some := false
	for i, leaf := range e.state.group.Members() {
		if domainOf(leaf.Credential) != user.Provider() {
			continue // a client belongs to a user of its own provider
		}
		whose, err := e.memberUser(i)
		switch {
		case err != nil:
			return false, err
		case whose != user:
			continue
		}
		some = true
		if slices.ContainsFunc(leaves, func(l fsm.Leave) bool { return l.Client && l.Leaf == i }) {
			continue
		}
		if _, leaving, err := fsm.ReadLeavingClient(e.replica, e.state.URI, i); err != nil || !leaving {
			return false, err
		}
	}
	return some, nil
}
