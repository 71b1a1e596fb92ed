package inspect

import "parley/mls"

// checkPublic judges a handshake: in its epoch, where that is among the files, else as far as it goes by itself.
func (s *surroundings) checkPublic(f *File, m *mls.PublicMessage) {
	if _, member := m.Content.Sender.(mls.MemberSender); member {
		f.unverified("membership_tag", "needs the group's secrets")
	}
	if m.Content.Body.ContentType() == mls.ContentCommit {
		f.unverified("confirmation_tag, path secrets", "need the group's secrets")
	}
	if !f.checkSender(m) {
		return
	}
	group, why := s.groupFor(m.Content)
	if group == nil {
		s.checkUngrouped(f, m, why)
		return
	}
	staged, missing, err := s.judge(group, m)
	switch {
	case err != nil:
		f.wrong(err)
	case len(missing) > 0:
		refs := make([]octets, len(missing))
		for i, ref := range missing {
			refs[i] = octets(ref)
		}
		f.unverified("all of the Commit", "it names Proposals that are not among the files: "+list(refs))
	case staged == nil:
		f.verified("as a hub does in epoch %d: group, sender, signature, the Proposal by itself", group.Epoch())
		f.Content.with("reference", octets(group.Suite().ProposalRef(m.Authenticated())))
	default:
		f.verified("as a hub does in epoch %d: group, sender, signature, Proposals, path, new tree", group.Epoch())
		f.Content.with("leads_to", describeEpoch(staged))
	}
}

// describeEpoch is the epoch that a Commit begins.
func describeEpoch(staged *mls.Staged) Record {
	context := staged.After.Context()
	return Record{
		{"epoch", uint64(context.Epoch)},
		{"committer", leafIndex(staged.Committer)},
		{"members", staged.After.Tree().MemberCount()},
		{"tree_hash", octets(context.TreeHash)},
		{"confirmed_transcript_hash", octets(context.ConfirmedTranscriptHash)},
	}
}

// checkSender refuses content that a sender of such a kind may not send (RFC 9420 §6.1), whatever the group.
func (f *File) checkSender(m *mls.PublicMessage) bool {
	body := m.Content.Body
	if body.ContentType() == mls.ContentApplication {
		f.refuse("RFC 9420 §6.1", "application data must not be sent in the clear")
		return false
	}
	switch m.Content.Sender.(type) {
	case mls.ExternalSenderIndex:
		switch body.(type) {
		case mls.Update, mls.ExternalInit, mls.SelfRemove, mls.Commit:
			f.refuse("RFC 9420 §12.1.8", "an external sender may not send this")
		}
	case mls.NewMemberProposal:
		if _, add := body.(mls.Add); !add {
			f.refuse("RFC 9420 §6.1", "a client that is no member can propose its own Add alone")
		}
	case mls.NewMemberCommit:
		if commit, ok := body.(mls.Commit); !ok || commit.Path == nil {
			f.refuse("RFC 9420 §12.4.3.2", "sender new_member_commit must send a Commit with a path")
		}
	}
	return len(f.Problems) == 0
}

// checkUngrouped verifies what can be told of a handshake without its group: the KeyPackages and leaves that it brings, and the
// signature of a client that proposes itself.
func (s *surroundings) checkUngrouped(f *File, m *mls.PublicMessage, why string) {
	place := mls.LeafPlace{GroupID: m.Content.GroupID}
	sender, member := m.Content.Sender.(mls.MemberSender)
	place.Leaf = sender.Leaf
	for _, p := range inlineProposals(m.Content.Body) {
		switch p := p.(type) {
		case mls.Add:
			f.checkAdded(p.KeyPackage, s.atSeconds)
		case mls.Update:
			f.checkLeaf(p.Leaf, place, "the Update's leaf")
		}
	}
	if commit, ok := m.Content.Body.(mls.Commit); ok && commit.Path != nil && member {
		f.checkLeaf(commit.Path.Leaf, place, "the path's leaf")
	}
	if add, ok := m.Content.Body.(mls.Add); ok && m.Content.Sender == (mls.NewMemberProposal{}) {
		if suite, err := add.KeyPackage.Suite.Suite(); err == nil {
			f.checkOwnAdd(m, suite, add.KeyPackage.Leaf.SignatureKey)
			return
		}
	}
	f.unverified("signature, and all that depends on the group", why)
}

// checkAdded judges a KeyPackage that a message brings.
func (f *File) checkAdded(k mls.KeyPackage, atSeconds uint64) {
	problems := KeyPackage(k, atSeconds)
	for _, problem := range problems {
		problem.Reason = "the KeyPackage of " + Identity(k.Leaf.Credential) + ": " + problem.Reason
		f.Problems = append(f.Problems, problem)
	}
	if len(problems) == 0 {
		f.verified("the KeyPackage of %s", Identity(k.Leaf.Credential))
	}
}

// checkOwnAdd verifies the signature of a client that proposes its own Add, which covers no GroupContext (RFC 9420 §6.1).
func (f *File) checkOwnAdd(m *mls.PublicMessage, suite *mls.Suite, key []byte) {
	if !m.Authenticated().Verify(suite, key, nil) {
		f.refuse("RFC 9420 §6.1", "the signature of the message is wrong")
		return
	}
	f.verified("signature of the message, by the KeyPackage's key")
	f.unverified("that the group can take the client", "needs the group")
}

// checkLeaf verifies the signature of a leaf that says where it stands.
func (f *File) checkLeaf(leaf mls.LeafNode, at mls.LeafPlace, what string) {
	suites := suitesOf(leaf.SignatureKey)
	switch {
	case len(suites) == 0:
		f.refuse("RFC 9420 §5.1", "the signature key of %s is of no suite's length", what)
	case !leaf.Verify(suites[0], at):
		f.refuse("RFC 9420 §7.3", "the signature of %s is wrong", what)
	default:
		f.verified("the signature of %s", what)
	}
}

// inlineProposals are the Proposals that stand in a message itself.
func inlineProposals(body mls.Content) (list []mls.Proposal) {
	switch body := body.(type) {
	case mls.Proposal:
		return []mls.Proposal{body}
	case mls.Commit:
		for _, p := range body.Proposals {
			if p, ok := p.(mls.InlineProposal); ok {
				list = append(list, p.Proposal)
			}
		}
	}
	return list
}
