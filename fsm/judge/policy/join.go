package policy

import (
	"slices"

	"parley/mimi"
	"parley/mls"
)

// Source is what a right to join from outside rests on.
type Source uint8

const (
	OwnClient     Source = 1 // a participant brings in a further client: canAddOwnClient
	Preauthorized Source = 2 // the preauth_list: canJoinIfPreauthorized
	OpenJoin      Source = 3 // role 0: canOpenJoin
	JoinCode      Source = 4 // a joining code that was checked elsewhere: canUseJoinCode on role 0
)

func (s Source) String() string {
	switch s {
	case OwnClient:
		return "own client"
	case Preauthorized:
		return "preauthorization"
	case OpenJoin:
		return "open join"
	case JoinCode:
		return "joining code"
	default:
		return "no right"
	}
}

// Right is one way in which somebody may join from outside, and with it see the GroupInfo.
type Right struct {
	Source Source
	Roles  []uint32 // that the joiner may take by it; for OwnClient the one that it has
}

// Joiner is who wants to join from outside.
type Joiner struct {
	User       mimi.UserURI
	Credential mls.Credential
	// Code is the role of a joining code that is valid, or was burnt, for this user; nil without one.
	Code *uint32
}

// Rights are all the ways in which somebody may join by an external Commit (room-policy-03 §8.1.1), in the order of Source; whoever may
// join may ask for the GroupInfo. The error is a *Refusal where there is none. How many may hold a role is not looked at here:
// that is settled by what the Commit comes to.
func (p *Policy) Rights(j Joiner) ([]Right, error) {
	if p.operational != nil && !p.operational.ExternalCommits {
		return nil, refuse("the room's operational policy allows no external Commits")
	}
	rights, err := p.rights(j)
	if err != nil || !p.uses(mimi.CanSendMLSExternalCommit) {
		return rights, err
	}
	rights = slices.DeleteFunc(rights, func(r Right) bool { return !p.role(r.holder()).Can(mimi.CanSendMLSExternalCommit) })
	if len(rights) == 0 {
		return nil, refuse("this takes %s, which no role has by which %s might join", mimi.CanSendMLSExternalCommit, j.User)
	}
	return rights, nil
}

// holder is the role whose capabilities the right rests on.
func (r Right) holder() uint32 {
	switch r.Source {
	case OwnClient, Preauthorized:
		return r.Roles[0]
	default:
		return mimi.RoleNone
	}
}

// rights are Rights where only who it is counts.
func (p *Policy) rights(j Joiner) ([]Right, error) {
	if p.Participates(j.User) {
		return p.ownClient(j.User)
	}
	if !p.hasRoles {
		return nil, refuse("%s is not a participant, and the room has no roles_list that lets anybody join", j.User)
	}
	if p.base.FixedMembership {
		return nil, refuse("%s is not a participant of a room of fixed membership", j.User)
	}
	var rights []Right
	if role, matches := p.preauthorized(User(j.User, j.Credential)); matches && p.role(role).Can(mimi.CanJoinIfPreauthorized) {
		rights = append(rights, Right{Preauthorized, []uint32{role}})
	}
	none := p.role(mimi.RoleNone)
	if none.Can(mimi.CanOpenJoin) {
		if roles := p.assignable(none, mimi.RoleNone); len(roles) > 0 {
			rights = append(rights, Right{OpenJoin, roles})
		}
	}
	if j.Code != nil && none.Can(mimi.CanUseJoinCode) && p.assigns(*j.Code) {
		rights = append(rights, Right{JoinCode, []uint32{*j.Code}})
	}
	if len(rights) == 0 {
		return nil, refuse("%s is not a participant, and neither canJoinIfPreauthorized, canOpenJoin nor canUseJoinCode lets it join", j.User)
	}
	return rights, nil
}

func (p *Policy) ownClient(user mimi.UserURI) ([]Right, error) {
	index := p.roleOf(user)
	role := p.role(index)
	switch {
	case role.Banned():
		return nil, refuse("%s is banned", user)
	case p.hasRoles && !role.Can(mimi.CanAddOwnClient):
		return nil, p.lacks(role, mimi.CanAddOwnClient)
	}
	return []Right{{OwnClient, []uint32{index}}}, nil
}

// assignable are the roles that exist and that a role lets its holder give to someone in another.
func (p *Policy) assignable(holder mimi.Role, from uint32) (roles []uint32) {
	for _, change := range holder.Changes {
		for _, to := range change.Targets {
			if change.From == from && p.assigns(to) && !slices.Contains(roles, to) {
				roles = append(roles, to)
			}
		}
	}
	return roles
}

// assigns reports whether somebody who joins can be given a role: it is defined, and is neither that of nobody nor that of the banned.
func (p *Policy) assigns(index uint32) bool {
	return index != mimi.RoleNone && p.defined(index) && !p.role(index).Banned()
}

// lacks is the refusal of who does not have a capability.
func (p *Policy) lacks(role mimi.Role, c mimi.Capability) error {
	return refuse("this takes %s, which the role %d (%s) does not have", c, role.Index, role.Name)
}

// CheckJoin holds an external Commit of somebody who is not a participant to its rights: it adds its own user, with a role that one
// of them gives, and changes nothing else of the room. It returns the right by which it joins.
func (p *Policy) CheckJoin(j Joiner, updates []mls.AppDataUpdate) (Right, error) {
	rights, err := p.Rights(j)
	if err != nil {
		return Right{}, err
	}
	role, err := ownEntry(j.User, updates)
	if err != nil {
		return Right{}, err
	}
	for _, right := range rights {
		if slices.Contains(right.Roles, role) {
			return right, nil
		}
	}
	return Right{}, refuse("%s may not join with the role %d", j.User, role)
}

// ownEntry is the role with which a joiner adds itself to the participant list.
func ownEntry(user mimi.UserURI, updates []mls.AppDataUpdate) (uint32, error) {
	if len(updates) != 1 || updates[0].Component != mimi.ComponentParticipantList {
		return 0, refuse("who joins from outside adds itself to the participant_list, by one AppDataUpdate, and updates nothing else")
	}
	operation, ok := updates[0].Operation.(mls.ComponentUpdate)
	if !ok {
		return 0, refuse("the participant_list cannot be removed")
	}
	update, err := mimi.ParseParticipantListUpdate(operation.Update)
	if err != nil {
		return 0, err
	}
	if len(update.Added) != 1 || update.Added[0].User != user || len(update.ChangedRoles) > 0 || len(update.Removed) > 0 {
		return 0, refuse("who joins from outside adds %s to the participant_list, and changes nobody else there", user)
	}
	return update.Added[0].Role, nil
}

// AddedUsers are the users whom updates of the participant list add, in their order. What cannot be read adds nobody.
func AddedUsers(updates []mls.AppDataUpdate) (users []mimi.UserURI) {
	for _, u := range updates {
		operation, ok := u.Operation.(mls.ComponentUpdate)
		if u.Component != mimi.ComponentParticipantList || !ok {
			continue
		}
		update, err := mimi.ParseParticipantListUpdate(operation.Update)
		if err != nil {
			continue
		}
		for _, added := range update.Added {
			users = append(users, added.User)
		}
	}
	return users
}
