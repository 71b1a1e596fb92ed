package mlstest

import (
	"fmt"

	"parley/mls"
)

// message is content in a frame of this epoch, without a signature.
func (g *Group) message(from mls.Sender, body mls.Content, data []byte) *mls.PublicMessage {
	m := &mls.PublicMessage{Content: mls.FramedContent{
		GroupID: g.context.GroupID, Epoch: g.context.Epoch, Sender: from, AuthenticatedData: data, Body: body}}
	if body.ContentType() == mls.ContentCommit {
		m.Auth.ConfirmationTag = g.entropy.tag()
	}
	if _, member := from.(mls.MemberSender); member {
		m.MembershipTag = g.entropy.tag()
	}
	return m
}

// frame makes the signed PublicMessage of a Commit.
func (g *Group) frame(p Plan, i mls.LeafIndex, c *Client, commit mls.Commit) (*mls.PublicMessage, error) {
	from := mls.Sender(mls.MemberSender{Leaf: i})
	key := c.Key
	if p.Joiner != nil {
		from = mls.NewMemberCommit{}
		if commit.Path != nil {
			key = g.keyOf(&commit.Path.Leaf, c)
		}
	}
	m := g.message(from, commit, p.AuthenticatedData)
	if p.ChangeMessage != nil {
		p.ChangeMessage(m)
	}
	if p.Signer != nil {
		key = p.Signer
	}
	if err := m.Sign(key, g.context.Marshal()); err != nil {
		return nil, err
	}
	if p.ChangeSigned != nil {
		p.ChangeSigned(m)
	}
	return m, nil
}

// Propose makes a Proposal by itself, from a member, an external sender or, as NewMemberProposal, from the client of an Add. It
// waits in the group until the next epoch, so that a Plan can name it by its reference. Changes are made before it is signed.
func (g *Group) Propose(from mls.Sender, p mls.Content, change ...func(*mls.PublicMessage)) (*mls.PublicMessage, mls.ProposalRef, error) {
	m := g.message(from, p, nil)
	for _, f := range change {
		f(m)
	}
	key := g.senderKey(from, p)
	if key == nil {
		return nil, "", fmt.Errorf("nobody can sign as %T", from)
	}
	if err := m.Sign(key, g.context.Marshal()); err != nil {
		return nil, "", err
	}
	ref := g.suite.ProposalRef(m.Authenticated())
	g.pending[ref] = m
	return m, ref, nil
}

// Receive lets a Proposal wait that somebody outside made, a hub say, so that a Plan can name it.
func (g *Group) Receive(m *mls.PublicMessage) mls.ProposalRef {
	ref := g.suite.ProposalRef(m.Authenticated())
	g.pending[ref] = m
	return ref
}

// senderKey is the key of who sends by itself; nil where there is nobody.
func (g *Group) senderKey(from mls.Sender, p mls.Content) *mls.SigningKey {
	var c *Client
	switch from := from.(type) {
	case mls.MemberSender:
		c = g.Member(from.Leaf)
	case mls.ExternalSenderIndex:
		if int(from) < len(g.senders) {
			return g.senders[from]
		}
	case mls.NewMemberProposal:
		if add, ok := p.(mls.Add); ok {
			c = g.clients[string(add.KeyPackage.Leaf.SignatureKey)]
		}
	}
	if c == nil {
		return nil
	}
	return c.Key
}

// ExternalInit makes the Proposal of an external Commit.
func (g *Group) ExternalInit() mls.ExternalInit {
	return mls.ExternalInit{KEMOutput: g.entropy.hpkeKey()}
}

// ExternalPSK makes the Proposal of a pre-shared key from outside.
func (g *Group) ExternalPSK(id string) mls.PreSharedKey {
	return mls.PreSharedKey{PSK: mls.PreSharedKeyID{Source: mls.ExternalPSK{ID: []byte(id)}, Nonce: g.entropy.tag()}}
}

// ResumptionPSK makes the Proposal of a key out of an epoch of a group.
func (g *Group) ResumptionPSK(usage mls.ResumptionUsage, group mls.GroupID, epoch mls.Epoch) mls.PreSharedKey {
	source := mls.ResumptionPSK{Usage: usage, GroupID: group, Epoch: epoch}
	return mls.PreSharedKey{PSK: mls.PreSharedKeyID{Source: source, Nonce: g.entropy.tag()}}
}

// Octets are n random ones out of the group's source.
func (g *Group) Octets(n int) []byte { return g.entropy.octets(n) }
