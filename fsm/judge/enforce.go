package judge

import (
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
	"parley/mls"
)

// enforcement holds the Proposals of one request to a room's policy. Each is judged for its own sender: one that a Commit names for
// who proposed it, one that stands in the Commit for who commits.
type enforcement struct {
	replica fsm.Reader
	state   *roomState
	users   map[mls.LeafIndex]mimi.UserURI // of members that were looked up
}

func newEnforcement(replica fsm.Reader, state *roomState) *enforcement {
	return &enforcement{replica: replica, state: state, users: make(map[mls.LeafIndex]mimi.UserURI)}
}

// memberUser is whose client a member is; none where there is no such member, or it is nobody's.
func (e *enforcement) memberUser(i mls.LeafIndex) (mimi.UserURI, error) {
	if user, known := e.users[i]; known {
		return user, nil
	}
	leaf := e.state.group.Tree().Leaf(i)
	if leaf == nil {
		return mimi.UserURI{}, nil
	}
	user, _, err := userOf(e.replica, e.state.URI, leaf.Credential)
	if err == nil {
		e.users[i] = user
	}
	return user, err
}

// actor is who sent a Proposal. Who may not send anything was refused before.
func (e *enforcement) actor(from mls.Sender, proposal mls.Proposal) (policy.Actor, error) {
	switch sender := from.(type) {
	case mls.MemberSender:
		user, err := e.memberUser(sender.Leaf)
		return e.state.policy.UserActor(user), err
	case mls.NewMemberProposal:
		credential := proposal.(mls.Add).KeyPackage.Leaf.Credential // VerifyProposal lets no other through
		user, _, err := userOf(e.replica, e.state.URI, credential)
		if err != nil || e.state.policy.Participates(user) {
			return e.state.policy.UserActor(user), err
		}
		actor, err := e.state.policy.StrangerActor(strangerOf(user, credential))
		return actor, ruled(err)
	case mls.ExternalSenderIndex:
		senders, err := e.state.group.ExternalSenders()
		if err != nil {
			return policy.Actor{}, fmt.Errorf("stored external_senders: %v", err)
		}
		provider := policy.SenderProvider(senders[sender])
		hub := slices.Contains(e.state.settings.Domains, provider)
		return e.state.policy.ProviderActor(provider, senders[sender].Credential, hub), nil
	default:
		return policy.Actor{}, deny("this sender cannot propose")
	}
}

// act finds out whose client a Proposal is about.
func (e *enforcement) act(proposal mls.Proposal) (policy.Act, error) {
	act := policy.Act{Proposal: proposal}
	var err error
	switch p := proposal.(type) {
	case mls.Add:
		act.Subject, _, err = userOf(e.replica, e.state.URI, p.KeyPackage.Leaf.Credential)
	case mls.Remove:
		act.Subject, err = e.memberUser(p.Removed)
	}
	return act, err
}

// proposals holds a bundle to the policy, and returns who leaves by it. Which of them are refused, and why, goes into invalid.
func (e *enforcement) proposals(bundle []mls.FramedContent, refs []mls.ProposalRef, invalid *fsm.InvalidProposal) ([]fsm.Leave, error) {
	actor, err := e.actor(bundle[0].Sender, bundle[0].Body.(mls.Proposal))
	if err != nil {
		return nil, err
	}
	if err := e.state.policy.CheckFraming(mls.WirePublicMessage); err != nil {
		return nil, ruled(err)
	}
	var leaves []fsm.Leave
	for i, content := range bundle {
		err := e.proposal(actor, content)
		if err == nil {
			leaves, err = e.leaves(actor, content, refs[i], leaves)
		}
		if err := note(invalid, refs[i], err); err != nil {
			return nil, err
		}
	}
	if e.state.format < fsm.FormatExclusive {
		return nil, nil
	}
	if leaves, err = e.silenced(leaves); err != nil || len(leaves) == 0 || actor.Hub {
		return leaves, err
	}
	return leaves, e.minima(leaves)
}

// note adds a Proposal that is refused, with the reason of the first. Any other error is the caller's.
func note(invalid *fsm.InvalidProposal, ref mls.ProposalRef, err error) error {
	reason, refused := reasonOf(err)
	if !refused {
		return err
	}
	if len(invalid.Refs) == 0 {
		invalid.Reason = reason
	}
	invalid.Refs = append(invalid.Refs, ref)
	return nil
}

// proposal holds a Proposal that comes by itself to the policy.
func (e *enforcement) proposal(actor policy.Actor, content mls.FramedContent) error {
	act, err := e.act(content.Body.(mls.Proposal))
	if err != nil {
		return err
	}
	leaving, err := e.leaving(actor, content.Sender)
	if err != nil {
		return err
	}
	if err := e.state.policy.CheckSender(actor, content.Sender, act, leaving); err != nil {
		return ruled(err)
	}
	if err := e.ownRole(content.Sender, actor, act.Proposal); err != nil {
		return err
	}
	if err := e.added(act.Proposal); err != nil {
		return err
	}
	return ruled(e.state.policy.CheckProposal(actor, act))
}

func (e *enforcement) ownRole(from mls.Sender, actor policy.Actor, proposal mls.Proposal) error {
	member, ok := from.(mls.MemberSender)
	if !ok {
		return nil
	}
	credential := e.state.group.Tree().Leaf(member.Leaf).Credential
	return ruled(e.state.policy.CheckOwnRole(actor.User, credential, proposal))
}

func (e *enforcement) added(proposal mls.Proposal) error {
	if add, ok := proposal.(mls.Add); ok {
		return ruled(e.state.policy.CheckAdded(add.KeyPackage))
	}
	return nil
}

// commit holds a staged Commit to the policy: each Proposal for its sender, and then what they come to together. The policy is that of
// the epoch which the Commit ends; its own changes count from the next on.
func (e *enforcement) commit(staged *mls.Staged, committer mimi.UserURI, after *policy.Policy) error {
	before := e.state.policy
	if err := before.CheckFraming(mls.WirePublicMessage); err != nil {
		return ruled(err)
	}
	leaving, err := e.leavingUser(committer)
	if err == nil && !leaving && !staged.External {
		_, leaving, err = fsm.ReadLeavingClient(e.replica, e.state.URI, staged.Committer)
	}
	if err != nil {
		return err
	}
	if err := before.CheckCommitter(before.UserActor(committer), leaving); err != nil {
		return ruled(err)
	}
	if staged.External {
		if err := before.CheckLeaf(*staged.CommitterLeaf); err != nil {
			return ruled(err)
		}
	}
	change := policy.Change{Clients: policy.Counts{Before: staged.Before.Tree().MemberCount(), After: staged.After.Tree().MemberCount()}}
	for _, c := range staged.Proposals {
		change.Proposals = append(change.Proposals, c.Proposal)
		if err := e.committed(c, committer, after, &change); err != nil {
			return err
		}
	}
	if staged.External {
		change.Touched = append(change.Touched, committer)
	}
	change.Census = func() (map[mimi.UserURI]int, map[mimi.UserURI]int, error) { return e.census(staged, committer) }
	return ruled(before.CheckOutcome(after, change))
}

func (e *enforcement) committed(c mls.CommittedProposal, committer mimi.UserURI, after *policy.Policy, change *policy.Change) error {
	act, err := e.act(c.Proposal)
	if err != nil {
		return err
	}
	if !act.Subject.IsZero() {
		change.Touched = append(change.Touched, act.Subject)
	}
	if _, joins := c.From.(mls.NewMemberCommit); joins {
		if !e.state.policy.Participates(committer) {
			return nil // CheckJoin has seen to it that it adds itself and does nothing else
		}
		if _, resync := c.Proposal.(mls.Remove); resync {
			return nil // its own earlier leaf, in whose place it comes
		}
		return ruled(e.state.policy.CheckCommitted(e.state.policy.UserActor(committer), act, after))
	}
	actor, err := e.actor(c.From, c.Proposal)
	if err != nil {
		return err
	}
	if c.Ref != "" {
		if err := e.excuse(c, actor, act, change); err != nil {
			return err
		}
	} else if err := e.added(c.Proposal); err != nil {
		return err
	}
	if err := e.ownRole(c.From, actor, c.Proposal); err != nil {
		return err
	}
	return ruled(e.state.policy.CheckCommitted(actor, act, after))
}

// excuse notes who is on its way out by a Proposal of its own, or of the hub's.
func (e *enforcement) excuse(c mls.CommittedProposal, actor policy.Actor, act policy.Act, change *policy.Change) error {
	switch c.Proposal.(type) {
	case mls.SelfRemove:
		change.Touched = append(change.Touched, actor.User)
		change.Inactive = append(change.Inactive, actor.User)
	case mls.Remove:
		if actor.Hub || actor.User == act.Subject {
			change.Inactive = append(change.Inactive, act.Subject)
		}
	case mls.AppDataUpdate:
		for _, user := range e.state.policy.Leaving(c.Proposal) {
			if actor.Hub || actor.User == user {
				change.Left = append(change.Left, user)
			}
		}
	}
	return nil
}

// census counts each user's clients before and after a Commit. It looks at every member.
func (e *enforcement) census(staged *mls.Staged, committer mimi.UserURI) (before, after map[mimi.UserURI]int, err error) {
	before, after = make(map[mimi.UserURI]int), make(map[mimi.UserURI]int)
	for i := range staged.Before.Members() {
		user, err := e.memberUser(i)
		if err != nil {
			return nil, nil, err
		}
		before[user]++
		after[user]++
	}
	for _, gone := range staged.Removed {
		user, err := e.memberUser(gone.Leaf)
		if err != nil {
			return nil, nil, err
		}
		after[user]--
	}
	for _, added := range staged.Added {
		user, _, err := userOf(e.replica, e.state.URI, added.KeyPackage.Leaf.Credential)
		if err != nil {
			return nil, nil, err
		}
		after[user]++
	}
	if staged.External {
		after[committer]++
	}
	return before, after, nil
}
