// Package policy reads a room's policy from its GroupContext (room-policy-03, mimi-protocol-06 §7.5) and answers who may do what
// in that epoch. It knows nothing of requests, signatures or replicas, and is pure.
package policy

import (
	"bytes"
	"fmt"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// Policy is a room's policy in one epoch. It never changes, and may be used concurrently.
//
// A room whose dictionary has no roles_list has no role policy: its participants may do anything, and nobody else may do
// anything. Likewise nothing is limited by a component that is not there.
type Policy struct {
	list        []mimi.UserRolePair // the participants, in their order
	roles       []mimi.Role         // nil without a role policy
	hasRoles    bool
	preauth     []mimi.PreAuthRoleEntry
	base        mimi.BaseRoomPolicy
	operational *mimi.OperationalParameters // nil where the room has none
	dictionary  mls.AppDataDictionary
	extensions  mls.Extensions // the dictionary among them

	participantsOnly bool // nothing but the list was looked at
	unchanged        bool // by Next: the policy is that of the epoch before
}

// Read reads the policy of an epoch. Its participant list has to be there and whole; the error is then a *mls.MalformedError or a
// *mls.InvalidError. Of the other components, one that cannot be read counts as absent: earlier programs took some of them as
// they came, and a room must not be stuck on it. An update, and a new room, is held to Check.
func Read(context mls.GroupContext) (*Policy, error) {
	p, err := ReadParticipants(context)
	if err != nil {
		return nil, err
	}
	p.readComponents()
	return p, nil
}

// Stored is Read for an epoch whose participant list has been read before: it is taken from there, since a long one costs time. The
// error is a *mls.MalformedError.
func Stored(context mls.GroupContext, list []mimi.UserRolePair) (*Policy, error) {
	p, err := StoredParticipants(context, list)
	if err == nil {
		p.readComponents()
	}
	return p, err
}

// StoredParticipants is ReadParticipants as Stored is Read.
func StoredParticipants(context mls.GroupContext, list []mimi.UserRolePair) (*Policy, error) {
	dictionary, err := context.Extensions.Dictionary()
	if err != nil {
		return nil, err
	}
	return &Policy{list: list, base: mimi.BaseRoomPolicy{MultiDevice: true}, participantsOnly: true, dictionary: dictionary, extensions: context.Extensions}, nil
}

// Next reads the policy of the epoch after. Where the room's policy has not changed it is not read again. Errors are Read's.
func (p *Policy) Next(context mls.GroupContext) (*Policy, error) {
	dictionary, err := context.Extensions.Dictionary()
	if err != nil {
		return nil, err
	}
	for _, id := range policyComponents {
		before, had := p.dictionary.Get(id)
		after, has := dictionary.Get(id)
		switch {
		case had == has && bytes.Equal(before, after):
		case p.participantsOnly:
			return ReadParticipants(context)
		default:
			return Read(context)
		}
	}
	next := *p
	next.dictionary, next.extensions, next.unchanged = dictionary, context.Extensions, true
	return &next, nil
}

// policyComponents are those that a Policy is read from.
var policyComponents = []mls.ComponentID{
	mimi.ComponentParticipantList, mimi.ComponentRoles, mimi.ComponentPreauthorization, mimi.ComponentBaseRoomPolicy, mimi.ComponentMLSOperationalPolicy,
}

func (p *Policy) readComponents() {
	p.participantsOnly = false
	if roles, present := component(p.dictionary, mimi.ComponentRoles, mimi.ParseRoleData); present {
		p.roles, p.hasRoles = roles.Roles, true
	}
	if preauth, present := component(p.dictionary, mimi.ComponentPreauthorization, mimi.ParsePreAuthData); present {
		p.preauth = preauth.Entries
	}
	if base, present := component(p.dictionary, mimi.ComponentBaseRoomPolicy, mimi.ParseBaseRoomPolicy); present {
		p.base = base
	}
	if operational, present := component(p.dictionary, mimi.ComponentMLSOperationalPolicy, mimi.ParseOperationalParameters); present {
		p.operational = &operational
	}
}

// ReadParticipants reads the participant list alone, as the policy of a room in which nothing else is enforced.
func ReadParticipants(context mls.GroupContext) (*Policy, error) {
	dictionary, err := context.Extensions.Dictionary()
	if err != nil {
		return nil, err
	}
	data, present := dictionary.Get(mimi.ComponentParticipantList)
	if !present {
		return nil, &mls.InvalidError{Section: "mimi-protocol-06 §7.5", Reason: "the GroupContext has no participant_list"}
	}
	list, err := mimi.ParseParticipantListData(data)
	if err == nil {
		err = list.Validate()
	}
	if err != nil {
		return nil, err
	}
	return StoredParticipants(context, list.Participants)
}

func component[T any](dictionary mls.AppDataDictionary, id mls.ComponentID, parse func([]byte) (T, error)) (v T, present bool) {
	data, present := dictionary.Get(id)
	if !present {
		return v, false
	}
	v, err := parse(data)
	return v, err == nil
}

// Participants are those of the epoch, in the list's order. The slice is not to be changed.
func (p *Policy) Participants() []mimi.UserRolePair { return p.list }

// roleOf is the role_index of a user: RoleNone for who is not a participant.
func (p *Policy) roleOf(user mimi.UserURI) uint32 {
	for _, entry := range p.list {
		if entry.User == user {
			return entry.Role
		}
	}
	return mimi.RoleNone
}

// role is the definition with an index; an empty one, which allows nothing, where there is none.
func (p *Policy) role(index uint32) mimi.Role {
	if i := slices.IndexFunc(p.roles, func(r mimi.Role) bool { return r.Index == index }); i >= 0 {
		return p.roles[i]
	}
	return mimi.Role{Index: index}
}

func (p *Policy) defined(index uint32) bool {
	return slices.ContainsFunc(p.roles, func(r mimi.Role) bool { return r.Index == index })
}

// Participates reports whether a user stands in the participant list, banned or not.
func (p *Policy) Participates(user mimi.UserURI) bool { return p.roleOf(user) != mimi.RoleNone }

// Banned reports whether a user is banned (room-policy-03 §8.1.3).
func (p *Policy) Banned(user mimi.UserURI) bool {
	index := p.roleOf(user)
	return index != mimi.RoleNone && p.role(index).Banned()
}

// Refusal is a *no* of the policy. Its text is for the requester.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

func refuse(format string, arguments ...any) error {
	return &Refusal{fmt.Sprintf(format, arguments...)}
}
