package policy

import (
	"parley/mimi"
	"parley/mls"
)

// Act is a Proposal with what is not to be read from it.
type Act struct {
	Proposal mls.Proposal
	// Subject is whose client is added or removed; none where that is not known, or nobody's.
	Subject mimi.UserURI
}

// CheckProposal says whether an actor may send a Proposal by itself, to be committed with whatever else. What has to stand beside it
// is looked at in the Commit. The error is a *Refusal.
func (p *Policy) CheckProposal(a Actor, act Act) error { return p.check(a, act, nil) }

// CheckCommitted says whether an actor may send a Proposal of a Commit after which the policy is the other one. The error is a *Refusal.
func (p *Policy) CheckCommitted(a Actor, act Act, after *Policy) error { return p.check(a, act, after) }

func (p *Policy) check(a Actor, act Act, after *Policy) error {
	switch proposal := act.Proposal.(type) {
	case mls.Add:
		return p.checkAdd(a, act.Subject, after)
	case mls.Remove:
		return p.checkRemove(a, act.Subject, after)
	case mls.SelfRemove:
		return p.checkRemove(a, a.User, after)
	case mls.AppDataUpdate:
		return p.checkComponent(a, proposal)
	case mls.GroupContextExtensions:
		return p.checkExtensions(a, proposal.Extensions, after)
	case mls.ReInit:
		return p.may(a, mimi.CanSendMLSReinitProposal)
	case mls.Update:
		return p.mayIfReserved(a, mimi.CanSendMLSUpdateProposal)
	case mls.PreSharedKey:
		return p.mayIfReserved(a, mimi.CanSendMLSPSKProposal)
	default: // ExternalInit stands for the joiner's right; AppEphemeral changes nothing
		return nil
	}
}

// CheckCommitter says whether somebody may commit at all (mimi-protocol-06 §5.3). Leaving tells that it is on its way out. The error is
// a *Refusal.
func (p *Policy) CheckCommitter(a Actor, leaving bool) error {
	switch {
	case p.Banned(a.User):
		return refuse("%s is banned", a.User)
	case leaving:
		return refuse("the committer is leaving, or banned, by a Proposal that waits")
	default:
		return nil
	}
}

// CheckSender says whether somebody may send this kind of Proposal at all: who is banned or leaving may take its own clients out and
// nothing else (mimi-protocol-06 §5.3), and a room may take none from outside (room-policy-03 §7.1). The hub's Removes are always taken, since
// nobody else could make them for a user who is gone. The error is a *Refusal.
func (p *Policy) CheckSender(a Actor, sender mls.Sender, act Act, leaving bool) error {
	if !a.external() && (leaving || p.Banned(a.User)) && !a.takesOut(act) {
		return refuse("%s is banned or leaving, and may only remove its own clients", a.User)
	}
	if _, member := sender.(mls.MemberSender); member {
		return nil
	}
	if _, remove := act.Proposal.(mls.Remove); remove && a.Hub {
		return nil
	}
	if p.operational != nil && !p.operational.ExternalProposals {
		return refuse("the room's operational policy allows no external Proposals")
	}
	return p.mayIfReserved(a, mimi.CanSendMLSExternalProposal)
}

// takesOut reports whether a Proposal takes one of the actor's own clients out of the group.
func (a Actor) takesOut(act Act) bool {
	switch act.Proposal.(type) {
	case mls.SelfRemove:
		return true
	case mls.Remove:
		return a.speaksFor(act.Subject)
	default:
		return false
	}
}
