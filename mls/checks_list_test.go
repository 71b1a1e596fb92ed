package mls_test

import (
	"parley/mls"
	"parley/mls/mlstest"
)

// inline is a plan of the first member's Proposals by value, with a path.
func inline(list ...mls.Proposal) mlstest.Plan { return mlstest.Plan{Path: true, Inline: list} }

// pend lets a Proposal wait in the group, without asking the hub, and returns its reference.
func (r room) pend(from mls.LeafIndex, body mls.Content, change ...func(*mls.PublicMessage)) mls.ProposalRef {
	_, ref, err := r.Propose(mls.MemberSender{Leaf: from}, body, change...)
	part(0, err)
	return ref
}

// another makes a message differ from one with the same content.
func another(m *mls.PublicMessage) { m.Content.AuthenticatedData = []byte("another") }

func (r room) proposalChecks() {
	r = r.under("Proposals by themselves (§12.1)")
	member := mls.MemberSender{Leaf: 1}
	update := func(section, mutation, reason string, change func(*mls.LeafNode)) *check {
		return r.proposal(section, mutation, reason, member, part(r.Update(1, change)))
	}
	update("RFC 9420 §7.3", "an Update whose leaf has another source", "another source than update", func(n *mls.LeafNode) { n.Source = mls.LeafCommit{} })
	update("RFC 9420 §7.3", "an Update that keeps the encryption key", "keeps the old encryption key", func(n *mls.LeafNode) { n.EncryptionKey = r.Leaf(1).EncryptionKey })
	update("RFC 9420 §7.1", "an Update to a key of low order", "not a key of the suite", func(n *mls.LeafNode) { n.EncryptionKey = lowOrder })
	update("RFC 9420 §7.3", "an Update to another member's encryption key", "encryption key of leaf", func(n *mls.LeafNode) { n.EncryptionKey = r.Leaf(2).EncryptionKey })
	update("RFC 9420 §7.3", "an Update to another member's signature key", "signature key of leaf", func(n *mls.LeafNode) { n.SignatureKey = r.Leaf(2).SignatureKey })
	update("RFC 9420 §7.3", "an Update that drops the credential type", "does not support credential type", func(n *mls.LeafNode) { n.Capabilities.Credentials = nil })
	forged := part(r.Update(1))
	forged.Leaf.Signature = r.Octets(64)
	r.proposal("RFC 9420 §7.3", "an Update with a wrong signature of the leaf", "signature of the Update's leaf", member, forged)
	elsewhere := part(r.Update(1))
	part(0, elsewhere.Leaf.Sign(r.Member(1).Key, mls.LeafPlace{GroupID: "another", Leaf: 1}))
	r.proposal("RFC 9420 §7.3", "an Update of another group", "signature of the Update's", member, elsewhere)
	r.proposal("RFC 9420 §7.3", "an Add of a leaf that does not support the suite", "", member, part(r.Add("x", func(k *mls.KeyPackage) { k.Leaf.Capabilities.Suites = nil }))).
		section = "RFC 9420 §11.1"
	r.proposal("RFC 9420 §12.1.3", "a Remove of a blank leaf", "not a member", member, mls.Remove{Removed: 7})
	r.proposal("RFC 9420 §12.1.5", "a ReInit to an older version", "lower the protocol version", member, mls.ReInit{GroupID: "next", Suite: 1})
	short := r.ExternalPSK("key")
	short.PSK.Nonce = short.PSK.Nonce[1:]
	r.proposal("RFC 9420 §12.1.4", "a PSK with a nonce that is too short", "nonce", member, short)
	r.proposal("RFC 9420 §12.1.4", "a PSK of usage reinit in a group that is not new", "first epoch", member, r.ResumptionPSK(mls.ResumptionReInit, "old", 1))
	r.proposal("RFC 9420 §8.3", "an ExternalInit to a key of low order", "kem_output", member, mls.ExternalInit{KEMOutput: lowOrder})
	old := r.unaware()
	old.proposal("mls-extensions SelfRemove", "a SelfRemove where a member does not support it", "a member does not support", member, mls.SelfRemove{})
	waits := func(section, mutation, reason string, from mls.LeafIndex, p mls.Proposal) {
		r.add(section, mutation, reason, func() error {
			return mls.CheckWaiting(p, mls.MemberSender{Leaf: from}, func(i mls.LeafIndex) bool { return i == 2 })
		})
	}
	waits("mls-extensions SelfRemove", "a Remove of a member whose SelfRemove waits", "while a SelfRemove of it waits", 1, mls.Remove{Removed: 2})
	waits("mls-extensions SelfRemove", "a second SelfRemove of a member", "waits already", 2, mls.SelfRemove{})
}

// unaware is a room one of whose members, leaf 2, knows RFC 9420 alone.
func (r room) unaware() room {
	n := newRoom(panicking{}, r.list, mlstest.Config{Suite: 1, Seed: 6, Members: 4, Parents: true, Spoil: &mlstest.Spoil{
		Leaf: func(i mls.LeafIndex, n *mls.LeafNode) {
			if i == 2 {
				n.Capabilities.Proposals = nil
			}
		}}})
	n.name = r.name
	return n
}

func (r room) listChecks() {
	r = r.under("The list of Proposals (§12.2, §12.4)")
	psk := r.ExternalPSK("key")
	ref := r.pend(1, r.ExternalPSK("by reference"))
	r.commit("RFC 9420 §12.2", "a Proposal that is named twice", "names a proposal twice", mlstest.Plan{References: []mls.ProposalRef{ref, ref}}).
		also("the PSK is there twice")
	quiet := r.pend(1, mls.AppEphemeral{Component: mlstest.ComponentText})
	r.commit("RFC 9420 §12.2", "an AppEphemeral that is named twice", "names a proposal twice", mlstest.Plan{References: []mls.ProposalRef{quiet, quiet}})
	r.add("RFC 9420 §12.4.2", "a Proposal that the hub does not know", "1 unknown proposals", func() error {
		in := r.Input()
		in.Proposals = func(mls.ProposalRef) (*mls.PublicMessage, bool) { return nil, false }
		return r.judge(in, mlstest.Plan{Path: true, References: []mls.ProposalRef{ref}})
	})
	r.add("RFC 9420 §12.4", "a Proposal of an earlier epoch", "not a Proposal of this epoch", func() error {
		in := r.Input()
		lookup := in.Proposals
		in.Proposals = func(ref mls.ProposalRef) (*mls.PublicMessage, bool) {
			m, found := lookup(ref)
			earlier := *m
			earlier.Content.Epoch--
			return &earlier, found
		}
		return r.judge(in, mlstest.Plan{References: []mls.ProposalRef{ref}})
	})
	same := mls.GroupContextExtensions{Extensions: r.Context().Extensions}
	r.commit("RFC 9420 §12.2", "two GroupContextExtensions", "two GroupContextExtensions", inline(same, same))
	r.commit("RFC 9420 §12.2", "a PSK twice", "PreSharedKey twice", inline(psk, psk))
	r.commit("RFC 9420 §12.2", "a ReInit with another Proposal", "committed alone", inline(mls.ReInit{GroupID: "next", Version: mls.MLS10, Suite: 1}, psk))
	r.commit("RFC 9420 §12.2", "a member's ExternalInit", "has an ExternalInit", inline(r.ExternalInit()))
	leave := r.pend(3, mls.SelfRemove{})
	r.commit("mls-extensions SelfRemove", "a SelfRemove by value", "by reference only", mlstest.Plan{Committer: 3, Inline: []mls.Proposal{mls.SelfRemove{}}, Path: true}).
		also("the committer removes itself")
	r.commit("mls-extensions SelfRemove", "a SelfRemove and a Remove of one member", "which removes itself", mlstest.Plan{Path: true,
		References: []mls.ProposalRef{leave}, Inline: []mls.Proposal{mls.Remove{Removed: 3}}}).also("§12.2, leaf 3 is changed twice")
	r.commit("mls-extensions SelfRemove", "two SelfRemoves of one member", "two SelfRemoves", mlstest.Plan{Path: true,
		References: []mls.ProposalRef{leave, r.pend(3, mls.SelfRemove{}, another)}}).also("§12.2, leaf 3 is changed twice")
	r.add("mls-extensions SelfRemove", "a Commit with a Remove of a member whose SelfRemove waits", "while a SelfRemove of it waits", func() error {
		in := r.Input()
		in.Leaving = func(i mls.LeafIndex) bool { return i == 3 }
		return r.judge(in, inline(mls.Remove{Removed: 3}))
	})
	r.commit("RFC 9420 §12.2", "a committer that removes itself", "removes itself", mlstest.Plan{Committer: 1, Inline: []mls.Proposal{mls.Remove{Removed: 1}}, Path: true})
	r.commit("RFC 9420 §12.2", "a committer's own Update", "updates itself", mlstest.Plan{Committer: 1, References: []mls.ProposalRef{r.pend(1, part(r.Update(1)))}, Path: true})
	r.commit("RFC 9420 §12.2", "two Updates of one member", "changed by two proposals", mlstest.Plan{
		References: []mls.ProposalRef{r.pend(2, part(r.Update(2))), r.pend(2, part(r.Update(2)))}, Path: true})
	r.commit("RFC 9420 §12.2", "two Removes of one member", "changed by two proposals", inline(mls.Remove{Removed: 2}, mls.Remove{Removed: 2})).also("§12.1.3, not a member any more")
	old := r.unaware()
	old.commit("RFC 9420 §12.2", "a Proposal of a type that a member does not support", "type 0x0009", inline(mls.AppEphemeral{Component: mlstest.ComponentText}))
	r.needsPath(leave)
}

// needsPath are Commits without a path that they need.
func (r room) needsPath(leave mls.ProposalRef) {
	row := func(mutation string, p mlstest.Plan) {
		r.commit("RFC 9420 §12.4", mutation+" without a path", "needs a path", p)
	}
	row("no Proposal", mlstest.Plan{})
	row("an Update", mlstest.Plan{References: []mls.ProposalRef{r.pend(4, part(r.Update(4)))}})
	row("a Remove", mlstest.Plan{Inline: []mls.Proposal{mls.Remove{Removed: 4}}})
	row("a SelfRemove", mlstest.Plan{References: []mls.ProposalRef{leave}})
	row("a GroupContextExtensions", mlstest.Plan{Inline: []mls.Proposal{mls.GroupContextExtensions{Extensions: r.Context().Extensions}}})
}

func (r room) externalChecks() {
	r = r.under("External Commits (§12.4.3.2, §12.2)")
	join := func(list ...mls.Proposal) mlstest.Plan {
		return mlstest.Plan{Joiner: part(r.Client("joiner")), Path: true, Inline: list}
	}
	pathless := join()
	pathless.Path = false
	r.commit("RFC 9420 §12.4.3.2", "no path", "no path", pathless).also("there is no key to verify with")
	r.commit("RFC 9420 §12.2", "two ExternalInits", "2 ExternalInit", join(r.ExternalInit(), r.ExternalInit()))
	r.commit("RFC 9420 §12.2", "no ExternalInit", "0 ExternalInit", mlstest.Plan{Joiner: part(r.Client("joiner")), Path: true,
		ChangeMessage: func(m *mls.PublicMessage) {
			commit := m.Content.Body.(mls.Commit)
			commit.Proposals = commit.Proposals[1:]
			m.Content.Body = commit
		}})
	r.commit("RFC 9420 §8.3", "an ExternalInit to an invalid key", "kem_output of the ExternalInit", join(mls.ExternalInit{KEMOutput: lowOrder}))
	r.commit("RFC 9420 §12.2", "two Removes", "2 Remove", join(mls.Remove{Removed: 1}, mls.Remove{Removed: 2}))
	r.commit("RFC 9420 §12.2", "an Add", "type 0x0001", join(part(r.Add("another"))))
	r.commit("RFC 9420 §12.2", "a GroupContextExtensions", "type 0x0007", join(mls.GroupContextExtensions{Extensions: r.Context().Extensions}))
	r.commit("RFC 9420 §12.1.2", "an Update", "only a member", join(part(r.Update(1)))).also("§12.2, the type")
	named := join()
	named.References = []mls.ProposalRef{r.pend(1, r.ExternalPSK("external"))}
	r.commit("RFC 9420 §12.4.3.2", "a PSK by reference", "by reference", named)
	kept := mlstest.Plan{Joiner: r.Member(2), Path: true, Inline: []mls.Proposal{mls.Remove{Removed: 2}},
		ChangePath: func(p *mls.UpdatePath) { p.Leaf.EncryptionKey = r.Leaf(2).EncryptionKey }}
	r.commit("RFC 9420 §12.2", "a resync that keeps the old encryption key", "keeps the encryption key", kept)
}
