package mlstest

import (
	"errors"
	"fmt"
	"slices"

	"parley/mls"
)

// Commit carries a Plan out. The group itself stays in its epoch; Step.After is in the next. The errors are those of a Plan that
// cannot even be carried out: a reference that Propose did not make, a committer that is no member.
func (g *Group) Commit(p Plan) (*Step, error) {
	proposals, list, err := g.proposals(p)
	if err != nil {
		return nil, err
	}
	n := g.next()
	committer, client := p.Committer, p.Joiner
	if client == nil {
		if client = g.Member(committer); client == nil {
			return nil, fmt.Errorf("leaf %d is no member, and cannot commit", committer)
		}
	}
	added, err := n.apply(proposals)
	if err != nil {
		return nil, err
	}
	commit := mls.Commit{Proposals: list}
	if p.Joiner != nil {
		committer = n.tree.vacancy()
	}
	if p.Path {
		if commit.Path, err = n.path(p, committer, client, added); err != nil {
			return nil, err
		}
	}
	step := &Step{After: n}
	if step.Message, err = g.frame(p, committer, client, commit); err != nil {
		return nil, err
	}
	if err := n.begin(step.Message, committer, p.ChangeInfo); err != nil {
		return nil, err
	}
	step.GroupInfo = n.info
	step.Welcome, err = n.welcome(added, p.ChangeWelcome)
	return step, err
}

// sent is a Proposal with its sender.
type sent struct {
	proposal mls.Proposal
	from     mls.Sender
}

// newcomer is a client that a Commit adds.
type newcomer struct {
	leaf mls.LeafIndex
	pkg  mls.KeyPackage
}

// proposals are the Plan's, with their senders, and as they stand in the Commit.
func (g *Group) proposals(p Plan) (list []sent, entries []mls.ProposalOrRef, err error) {
	for _, ref := range p.References {
		entries = append(entries, ref)
		m, waits := g.pending[ref]
		if !waits {
			return nil, nil, errors.New("the plan references a Proposal that was not made")
		}
		if proposal, ok := m.Content.Body.(mls.Proposal); ok {
			list = append(list, sent{proposal, m.Content.Sender})
		}
	}
	inline := p.Inline
	from := mls.Sender(mls.MemberSender{Leaf: p.Committer})
	if p.Joiner != nil {
		from = mls.NewMemberCommit{}
		isInit := func(p mls.Proposal) bool { return p.ProposalType() == mls.ProposalExternalInit }
		if !slices.ContainsFunc(inline, isInit) {
			inline = append([]mls.Proposal{g.ExternalInit()}, inline...)
		}
	}
	for _, proposal := range inline {
		entries = append(entries, mls.InlineProposal{Proposal: proposal})
		list = append(list, sent{proposal, from})
	}
	return list, entries, nil
}

// apply makes the changes of a list of Proposals, in the order of RFC 9420 §12.3: the context, Update, SelfRemove, Remove, Add,
// AppDataUpdate.
func (g *Group) apply(list []sent) (added []newcomer, err error) {
	var removes, selfRemoves []mls.LeafIndex
	var adds []mls.Add
	var updates []mls.AppDataUpdate
	for _, s := range list {
		from, member := s.from.(mls.MemberSender)
		switch p := s.proposal.(type) {
		case mls.GroupContextExtensions:
			g.context.Extensions = p.Extensions
		case mls.Update:
			if member {
				g.tree.update(from.Leaf, p.Leaf)
			}
		case mls.SelfRemove:
			if member {
				selfRemoves = append(selfRemoves, from.Leaf)
			}
		case mls.Remove:
			removes = append(removes, p.Removed)
		case mls.Add:
			adds = append(adds, p)
		case mls.AppDataUpdate:
			updates = append(updates, p)
		}
	}
	for _, i := range append(selfRemoves, removes...) {
		g.tree.remove(i)
	}
	for _, p := range adds {
		added = append(added, newcomer{g.tree.add(p.KeyPackage.Leaf), p.KeyPackage})
	}
	g.context.Extensions, err = applyAppData(g.components(), g.context.Extensions, updates)
	return added, err
}

// begin is what a Commit makes of its epoch's context and transcript (RFC 9420 §8.1, §8.2).
func (g *Group) begin(m *mls.PublicMessage, committer mls.LeafIndex, change func(*mls.GroupInfo)) (err error) {
	g.context.Epoch++
	g.context.TreeHash = g.tree.hash(g.tree.root())
	var w mls.Writer
	w.Uint16(uint16(mls.WirePublicMessage))
	m.Content.AppendTo(&w)
	w.Opaque(m.Auth.Signature)
	g.context.ConfirmedTranscriptHash = g.suite.Hash(g.interim, w.Bytes())
	g.tag = m.Auth.ConfirmationTag
	var tag mls.Writer
	tag.Opaque(g.tag)
	g.interim = g.suite.Hash(g.context.ConfirmedTranscriptHash, tag.Bytes())
	g.info, err = g.sign(committer, change)
	return err
}

// welcome is for the clients that a Commit adds; what it says to them is made up.
func (g *Group) welcome(added []newcomer, change func(*mls.Welcome)) (*mls.Welcome, error) {
	if len(added) == 0 {
		return nil, nil
	}
	w := &mls.Welcome{Suite: g.suite.ID, EncryptedGroupInfo: g.entropy.octets(256)}
	for _, a := range added {
		ref, err := a.pkg.Ref()
		if err != nil {
			return nil, err
		}
		w.Secrets = append(w.Secrets, mls.EncryptedGroupSecrets{NewMember: ref, Secrets: g.entropy.sealed()})
	}
	if change != nil {
		change(w)
	}
	return w, nil
}
