package policy

import (
	"slices"
	"strings"

	"parley/mimi"
	"parley/mls"
)

// Actor is who sends a Proposal or a Commit, with the role by which it acts.
type Actor struct {
	// User is none for a provider.
	User mimi.UserURI
	// Hub is set for the provider that hosts the room.
	Hub      bool
	provider mimi.Provider // none for a user
	role     mimi.Role     // that of nobody, role 0, for a user who is no participant
	rights   []Right       // of a user who is no participant: how it might join
}

// UserActor is a user, acting by its role in the room.
func (p *Policy) UserActor(user mimi.UserURI) Actor {
	return Actor{User: user, role: p.role(p.roleOf(user))}
}

// StrangerActor is a user who is no participant, and who may propose to join if it might join by itself (room-policy-03 §4). The error
// is a *Refusal.
func (p *Policy) StrangerActor(j Joiner) (Actor, error) {
	rights, err := p.rights(j)
	return Actor{User: j.User, role: p.role(mimi.RoleNone), rights: rights}, err
}

// ProviderActor is an external sender, acting by the role to which its credential is preauthorized (room-policy-03 §4); by none,
// which allows nothing, where it is to no role. Who may speak for the provider has been found out before.
func (p *Policy) ProviderActor(provider mimi.Provider, credential mls.Credential, hub bool) Actor {
	a := Actor{Hub: hub, provider: provider, role: mimi.Role{Name: "none"}}
	if index, matches := p.preauthorized(Provider(provider, credential)); matches {
		a.role = p.role(index)
	}
	return a
}

// external reports whether it acts from outside the group and the list.
func (a Actor) external() bool { return a.User.IsZero() }

// speaksFor reports whether a client of this user is the actor's own, or, for an external sender, its own user's.
func (a Actor) speaksFor(user mimi.UserURI) bool {
	if a.external() {
		return a.provider == user.Provider()
	}
	return a.User == user
}

// may refuses an actor without a capability.
func (p *Policy) may(a Actor, c mimi.Capability) error {
	if p.hasRoles && !a.can(c) {
		return p.lacks(a.role, c)
	}
	return nil
}

// May says whether a user may do what takes a capability and is not to be seen in a handshake, such as to destroy the room. The error
// is a *Refusal.
func (p *Policy) May(user mimi.UserURI, c mimi.Capability) error {
	if !p.Participates(user) {
		return refuse("%s is not a participant", user)
	}
	return p.may(p.UserActor(user), c)
}

// can is false for who is banned, whatever the role lists.
func (a Actor) can(c mimi.Capability) bool { return a.role.Can(c) && !a.role.Banned() }

// mayIfReserved is may for a capability that room-policy-03 §8.7 only reserves: it restricts where a role of the room has it, and
// in rooms that do not know of it nothing.
func (p *Policy) mayIfReserved(a Actor, c mimi.Capability) error {
	if !p.uses(c) {
		return nil
	}
	return p.may(a, c)
}

func (p *Policy) uses(c mimi.Capability) bool {
	return slices.ContainsFunc(p.roles, func(r mimi.Role) bool { return r.Can(c) })
}

// SenderProvider is the provider that an entry of external_senders names by a basic credential, mimi:// and its domain; none otherwise.
func SenderProvider(entry mls.ExternalSender) mimi.Provider {
	basic, ok := entry.Credential.(mls.BasicCredential)
	domain, named := "", false
	if ok {
		domain, named = strings.CutPrefix(string(basic.Identity), "mimi://")
	}
	if !named {
		return mimi.Provider{}
	}
	provider, err := mimi.ParseProvider(domain)
	if err != nil {
		return mimi.Provider{}
	}
	return provider
}
