package mls

import "slices"

// verifyFraming checks that a message is of this group and epoch, that its sender may send such content, its tags' lengths
// and its signature (RFC 9420 §6, §6.1). The tags' values need the group's secrets.
func (g *PublicGroup) verifyFraming(m *PublicMessage) error {
	c := m.Content
	switch {
	case c.GroupID != g.context.GroupID:
		return invalid("12.4.2", "the message is of another group")
	case c.Epoch != g.context.Epoch:
		return &WrongEpochError{Message: c.Epoch, Group: g.context.Epoch}
	case g.ended:
		return invalid("12.4.2", "a ReInit has ended the group")
	}
	key, err := g.senderKey(c)
	if err != nil {
		return err
	}
	if _, member := c.Sender.(MemberSender); member && len(m.MembershipTag) != g.suite.HashBytes() {
		return invalid("6.2", "the membership tag has %d bytes", len(m.MembershipTag))
	}
	if c.Body.ContentType() == ContentCommit && len(m.Auth.ConfirmationTag) != g.suite.HashBytes() {
		return invalid("6.1", "the confirmation tag has %d bytes", len(m.Auth.ConfirmationTag))
	}
	if !m.Authenticated().Verify(g.suite, key, g.contextBytes) {
		return invalid("6.1", "the signature of the message is wrong")
	}
	return g.CheckAuthenticatedData(c.AuthenticatedData)
}

// senderKey finds the key that must have signed the content, and refuses a sender that may not send it (RFC 9420 §6.1).
func (g *PublicGroup) senderKey(c FramedContent) ([]byte, error) {
	switch sender := c.Sender.(type) {
	case MemberSender:
		leaf := g.tree.Leaf(sender.Leaf)
		if leaf == nil {
			return nil, invalid("6.1", "the sender, leaf %d, is not a member", sender.Leaf)
		}
		return leaf.SignatureKey, nil
	case ExternalSenderIndex:
		return g.externalSenderKey(sender, c.Body)
	case NewMemberProposal:
		add, ok := c.Body.(Add)
		if !ok {
			return nil, invalid("6.1", "a client that is no member can propose its own Add alone")
		}
		return add.KeyPackage.Leaf.SignatureKey, nil
	case NewMemberCommit:
		commit, ok := c.Body.(Commit)
		if !ok {
			return nil, invalid("6.1", "sender new_member_commit sends something else than a Commit")
		}
		if commit.Path == nil {
			return nil, invalid("12.4.3.2", "the external Commit has no path")
		}
		return commit.Path.Leaf.SignatureKey, nil
	default:
		return nil, invalid("6", "the message has no sender")
	}
}

// externallyProposable are the proposals that an external sender may send (RFC 9420 §17.4, mls-extensions).
var externallyProposable = []ProposalType{ProposalAdd, ProposalRemove, ProposalPreSharedKey, ProposalReInit,
	ProposalGroupContextExtensions, ProposalAppDataUpdate, ProposalAppEphemeral}

func (g *PublicGroup) externalSenderKey(i ExternalSenderIndex, body Content) ([]byte, error) {
	p, ok := body.(Proposal)
	if !ok || !slices.Contains(externallyProposable, p.ProposalType()) {
		return nil, invalid("12.1.8", "an external sender may not send this")
	}
	senders, err := g.ExternalSenders()
	if err != nil {
		return nil, err
	}
	if int64(i) >= int64(len(senders)) {
		return nil, invalid("12.1.8.1", "the group has %d external senders, and this is number %d", len(senders), i)
	}
	return senders[i].SignatureKey, nil
}

// VerifyProposal checks a Proposal that was sent by itself, at a time in seconds since 1970: its framing, its sender and
// signature, and that it could be committed in this epoch by itself. The reference is the one by which a Commit may name it.
// The errors are *InvalidError, *WrongEpochError and, for an unreadable external_senders, *MalformedError.
func (g *PublicGroup) VerifyProposal(m *PublicMessage, atSeconds uint64) (ProposalRef, error) {
	p, ok := m.Content.Body.(Proposal)
	if !ok {
		return "", invalid("12.1", "the message is not a Proposal")
	}
	if err := g.verifyFraming(m); err != nil {
		return "", err
	}
	if err := g.verifyOne(p, m.Content.Sender, atSeconds); err != nil {
		return "", err
	}
	if err := g.verifyNow(p, m.Content.Sender); err != nil {
		return "", err
	}
	return g.suite.ProposalRef(m.Authenticated()), nil
}

// verifyNow checks a Proposal beside the group's present members and extensions, which other Proposals of its Commit may yet
// change: a Commit is held to this again, as it leaves them.
func (g *PublicGroup) verifyNow(p Proposal, from Sender) error {
	switch p := p.(type) {
	case SelfRemove:
		if !g.tree.root.common.has(kindProposal | code(ProposalSelfRemove)) {
			return invalidExtension("SelfRemove", "a member does not support SelfRemove")
		}
	case Update:
		tree := g.tree.clone()
		i := from.(MemberSender).Leaf // verifyUpdate let no other through
		tree.update(i, p.Leaf)
		if err := tree.checkUnique(i); err != nil {
			return err
		}
		return tree.checkSupport(g.suite, g.context.Extensions, []LeafIndex{i}, g.tree)
	case Add:
		tree := g.tree.clone()
		return tree.checkSupport(g.suite, g.context.Extensions, []LeafIndex{tree.add(p.KeyPackage.Leaf)}, g.tree)
	default:
	}
	return nil
}

// verifyOne checks a Proposal by itself, whoever's Commit will hold it (RFC 9420 §12.1).
func (g *PublicGroup) verifyOne(p Proposal, from Sender, atSeconds uint64) error {
	switch p := p.(type) {
	case Add:
		if p.KeyPackage.Suite != g.suite.ID {
			return invalid("12.1.1", "the KeyPackage is of suite 0x%04x, the group of 0x%04x", uint16(p.KeyPackage.Suite), uint16(g.suite.ID))
		}
		return p.KeyPackage.Verify(atSeconds)
	case Update:
		return g.verifyUpdate(p, from)
	case Remove:
		if g.tree.Leaf(p.Removed) == nil {
			return invalid("12.1.3", "leaf %d, to be removed, is not a member", p.Removed)
		}
	case SelfRemove:
		if _, member := from.(MemberSender); !member {
			return invalidExtension("SelfRemove", "only a member can remove itself")
		}
	case ReInit:
		if p.Version < MLS10 {
			return invalid("12.1.5", "a ReInit cannot lower the protocol version")
		}
	case PreSharedKey:
		return g.verifyPSK(p.PSK)
	case ExternalInit:
		if !g.suite.ValidHPKEKey(p.KEMOutput) {
			return invalid("8.3", "kem_output of the ExternalInit is not a key of the suite")
		}
	case GroupContextExtensions, AppDataUpdate, AppEphemeral:
	}
	return nil
}

// verifyPSK checks a PSK's nonce and usage (RFC 9420 §12.1.4). The usages reinit and branch belong to a new group's first
// Commit (§11.2, §11.3).
func (g *PublicGroup) verifyPSK(id PreSharedKeyID) error {
	if len(id.Nonce) != g.suite.HashBytes() {
		return invalid("12.1.4", "the PSK nonce has %d bytes", len(id.Nonce))
	}
	resumption, ok := id.Source.(ResumptionPSK)
	if ok && resumption.Usage != ResumptionApplication && g.context.Epoch > 0 {
		return invalid("12.1.4", "a PSK of usage %d is for the first epoch of a new group", resumption.Usage)
	}
	return nil
}

// verifyUpdate checks the new leaf of an Update (RFC 9420 §7.3, §12.1.2).
func (g *PublicGroup) verifyUpdate(p Update, from Sender) error {
	sender, member := from.(MemberSender)
	if !member {
		return invalid("12.1.2", "only a member can send an Update")
	}
	before := g.tree.Leaf(sender.Leaf)
	_, updated := p.Leaf.Source.(LeafUpdate)
	switch {
	case before == nil:
		return invalid("12.1.2", "the sender of the Update, leaf %d, is not a member", sender.Leaf)
	case !updated:
		return invalid("7.3", "the leaf of an Update has another source than update")
	case string(p.Leaf.EncryptionKey) == string(before.EncryptionKey):
		return invalid("7.3", "the Update keeps the old encryption key")
	case !p.Leaf.Verify(g.suite, LeafPlace{GroupID: g.context.GroupID, Leaf: sender.Leaf}):
		return invalid("7.3", "the signature of the Update's leaf is wrong")
	}
	return p.Leaf.checkAlone(g.suite)
}
