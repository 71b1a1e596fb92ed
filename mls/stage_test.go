package mls

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wantSection sees that an error is an *InvalidError of a section.
func wantSection(t *testing.T, err error, section string) {
	t.Helper()
	var refused *InvalidError
	if !errors.As(err, &refused) || refused.Section != section {
		t.Errorf("error is %v, want one of %s", err, section)
	}
}

func inline(list ...Proposal) (out []ProposalOrRef) {
	for _, p := range list {
		out = append(out, InlineProposal{p})
	}
	return out
}

// TestSuites plays adds, a path, a removal and an external join under every suite.
func TestSuites(t *testing.T) {
	for id := CipherSuite(1); id <= 7; id++ {
		w, founder := newWorld(t, id)
		members := w.add(founder, "b", "c", "d")
		w.accept(w.message(members[0], MemberSender{members[0].leaf}, Commit{Path: w.path(members[0], w.group.Tree().clone())}), w.input())
		tree := w.group.Tree().clone()
		tree.remove(members[1].leaf)
		staged := w.accept(w.message(founder, MemberSender{}, Commit{
			Proposals: inline(Remove{members[1].leaf}), Path: w.path(founder, tree)}), w.input())
		if len(staged.Removed) != 1 || staged.Removed[0].Leaf != members[1].leaf {
			t.Errorf("suite %d: removed %v", id, staged.Removed)
		}
		joiner := w.client("joiner")
		tree = w.group.Tree().clone()
		joiner.leaf = tree.takeBlankLeaf()
		staged = w.accept(w.message(joiner, NewMemberCommit{}, Commit{
			Proposals: inline(ExternalInit{KEMOutput: []byte("kem")}), Path: w.path(joiner, tree)}), w.input())
		leaf, found := w.group.Member(joiner.key.Public(), BasicCredential{Identity: []byte("mimi://a.example/u/joiner")})
		if !staged.External || !found || leaf != staged.Committer || leaf != members[1].leaf {
			t.Errorf("suite %d: the joiner is at %d (%v), staged at %d", id, leaf, found, staged.Committer)
		}
		checkRebuilt(t, w.group.Tree(), w.suite)
	}
}

// TestRefusedCommits takes one good Commit and spoils it in each way once.
func TestRefusedCommits(t *testing.T) {
	w, founder := newWorld(t, 1)
	members := w.add(founder, "b", "c", "d", "e")
	stranger := w.client("stranger")
	self := MemberSender{founder.leaf}
	good := func() Commit { return Commit{Path: w.path(founder, w.group.Tree().clone())} }
	if _, err := w.group.Stage(w.message(founder, self, good()), w.input()); err != nil {
		t.Fatal(err)
	}
	resigned := func(path *UpdatePath) *UpdatePath {
		w.ok(path.Leaf.Sign(founder.key, LeafPlace{GroupID: "group", Leaf: founder.leaf}))
		return path
	}
	commit := func(proposals ...Proposal) func() *PublicMessage {
		return func() *PublicMessage {
			c := good()
			c.Proposals = inline(proposals...)
			return w.message(founder, self, c)
		}
	}
	kp := w.keyPackage(stranger)
	late := kp
	late.Leaf.Source = Lifetime{NotBefore: 1, NotAfter: 2}
	bent := kp
	bent.Signature = bytes.Repeat([]byte{1}, 64)
	otherSuite := kp
	otherSuite.Suite = 3
	for name, c := range map[string]struct {
		section string
		make    func() *PublicMessage
	}{
		"other group": {"RFC 9420 §12.4.2", func() *PublicMessage {
			m := w.message(founder, self, good())
			m.Content.GroupID = "another"
			return m
		}},
		"no member":        {"RFC 9420 §6.1", func() *PublicMessage { return w.message(stranger, MemberSender{99}, good()) }},
		"blank leaf":       {"RFC 9420 §6.1", func() *PublicMessage { return w.message(stranger, MemberSender{7}, good()) }},
		"far leaf":         {"RFC 9420 §6.1", func() *PublicMessage { return w.message(stranger, MemberSender{1 << 31}, good()) }},
		"another's key":    {"RFC 9420 §6.1", func() *PublicMessage { return w.message(members[0], self, good()) }},
		"external sender":  {"RFC 9420 §12.1.8", func() *PublicMessage { return w.message(stranger, ExternalSenderIndex(0), good()) }},
		"proposing sender": {"RFC 9420 §6.1", func() *PublicMessage { return w.message(stranger, NewMemberProposal{}, good()) }},
		"membership tag": {"RFC 9420 §6.2", func() *PublicMessage {
			m := w.message(founder, self, good())
			m.MembershipTag = nil
			return m
		}},
		"confirmation tag": {"RFC 9420 §6.1", func() *PublicMessage {
			m := w.message(founder, self, good())
			m.Auth.ConfirmationTag = m.Auth.ConfirmationTag[1:]
			return m
		}},
		"no path": {"RFC 9420 §12.4", func() *PublicMessage { return w.message(founder, self, Commit{}) }},
		"no path for a removal": {"RFC 9420 §12.4", func() *PublicMessage {
			return w.message(founder, self, Commit{Proposals: inline(Remove{members[0].leaf})})
		}},
		"short path": {"RFC 9420 §7.6", func() *PublicMessage {
			c := good()
			c.Path.Nodes = c.Path.Nodes[1:]
			return w.message(founder, self, c)
		}},
		"missing secret": {"RFC 9420 §7.6", func() *PublicMessage {
			c := good()
			c.Path.Nodes[1].Secrets = nil
			return w.message(founder, self, c)
		}},
		"parent hash": {"RFC 9420 §7.9.2", func() *PublicMessage {
			c := good()
			c.Path.Nodes[0].EncryptionKey = w.hpkeKey()
			return w.message(founder, self, c)
		}},
		"leaf source": {"RFC 9420 §7.3", func() *PublicMessage {
			c := good()
			c.Path.Leaf.Source = LeafUpdate{}
			resigned(c.Path)
			return w.message(founder, self, c)
		}},
		"leaf signature": {"RFC 9420 §7.3", func() *PublicMessage {
			c := good()
			c.Path.Leaf.Signature = nil
			return w.message(founder, self, c)
		}},
		"old encryption key": {"RFC 9420 §12.4.2", func() *PublicMessage {
			c := good()
			c.Path.Leaf.EncryptionKey = w.group.Tree().Leaf(founder.leaf).EncryptionKey
			resigned(c.Path)
			return w.message(founder, self, c)
		}},
		"removes itself":         {"RFC 9420 §12.2", commit(Remove{founder.leaf})},
		"removes twice":          {"RFC 9420 §12.2", commit(Remove{1}, Remove{1})},
		"removes nobody":         {"RFC 9420 §12.1.3", commit(Remove{7})},
		"two contexts":           {"RFC 9420 §12.2", commit(GroupContextExtensions{}, GroupContextExtensions{})},
		"ReInit with another":    {"RFC 9420 §12.2", commit(ReInit{Version: 1, Suite: 1}, Remove{1})},
		"ExternalInit of member": {"RFC 9420 §12.2", commit(ExternalInit{})},
		"SelfRemove by value":    {"mls-extensions SelfRemove", commit(SelfRemove{})},
		"late KeyPackage":        {"RFC 9420 §7.3", commit(Add{late})},
		"bent KeyPackage":        {"RFC 9420 §10.1", commit(Add{bent})},
		"KeyPackage's suite":     {"RFC 9420 §12.1.1", commit(Add{otherSuite})},
		"unknown component":      {"mls-extensions AppDataUpdate", commit(AppDataUpdate{0x22, ComponentUpdate{}})},
		"unknown ephemeral":      {"mls-extensions AppEphemeral", commit(AppEphemeral{0x22, nil})},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.group.Stage(c.make(), w.input())
			wantSection(t, err, c.section)
		})
	}
	old := w.message(founder, self, good())
	w.accept(old, w.input())
	var wrong *WrongEpochError
	if _, err := w.group.Stage(old, w.input()); !errors.As(err, &wrong) || wrong.Message+1 != wrong.Group {
		t.Errorf("an old Commit answers %v", err)
	}
}

func TestUnknownProposals(t *testing.T) {
	w, founder := newWorld(t, 1)
	m := w.message(founder, MemberSender{}, Commit{Proposals: []ProposalOrRef{ProposalRef("one"), ProposalRef("two")}})
	var unknown *UnknownProposalsError
	if _, err := w.group.Stage(m, w.input()); !errors.As(err, &unknown) || !cmp.Equal(unknown.Refs, []ProposalRef{"one", "two"}) {
		t.Errorf("the answer is %v", err)
	}
}

// TestByReference commits an Update, a SelfRemove, a Remove from an external sender and an Add from its own client.
func TestByReference(t *testing.T) {
	w, founder := newWorld(t, 2)
	hub := w.client("hub")
	senders := ExternalSenders{{SignatureKey: hub.key.Public(), Credential: BasicCredential{Identity: []byte("mimi://a.example")}}}
	tree := w.group.Tree().clone()
	w.accept(w.message(founder, MemberSender{}, Commit{Path: w.path(founder, tree), Proposals: inline(GroupContextExtensions{
		Extensions{{ExtensionExternalSenders, senders.Marshal()}}})}), w.input())
	members := w.add(founder, "updater", "leaver", "banned")
	updated := w.bareLeaf(members[0], LeafUpdate{})
	w.ok(updated.Sign(members[0].key, LeafPlace{GroupID: "group", Leaf: members[0].leaf}))
	joiner := w.client("joiner")
	refs := []ProposalRef{
		w.propose(joiner, NewMemberProposal{}, Add{w.keyPackage(joiner)}),
		w.propose(members[0], MemberSender{members[0].leaf}, Update{updated}),
		w.propose(hub, ExternalSenderIndex(0), Remove{members[2].leaf}),
		w.propose(members[1], MemberSender{members[1].leaf}, SelfRemove{}),
	}
	tree = w.group.Tree().clone()
	tree.update(members[0].leaf, updated)
	tree.remove(members[1].leaf)
	tree.remove(members[2].leaf)
	at := tree.add(must(ParseMLSMessage(MLSMessage{w.pending[refs[0]]}.Marshal()))(t).Body.(*PublicMessage).Content.Body.(Add).KeyPackage.Leaf)
	commit := Commit{Path: w.path(founder, tree, at)}
	for _, ref := range refs {
		commit.Proposals = append(commit.Proposals, ref)
	}
	staged := w.accept(w.message(founder, MemberSender{}, commit), w.input())
	if !cmp.Equal(staged.References(), refs) {
		t.Errorf("references %x", staged.References())
	}
	removed := []LeafIndex{staged.Removed[0].Leaf, staged.Removed[1].Leaf}
	if want := []LeafIndex{members[1].leaf, members[2].leaf}; !slices.Equal(removed, want) {
		t.Errorf("removed %v, want %v", removed, want)
	}
	if len(staged.Added) != 1 || staged.Added[0].Leaf != at {
		t.Errorf("added %v, want at %d", staged.Added, at)
	}
	if got := w.group.Tree().Leaf(members[0].leaf).Marshal(); !bytes.Equal(got, updated.Marshal()) {
		t.Error("the Update is not in the tree")
	}
	welcome := &Welcome{Suite: 2, Secrets: []EncryptedGroupSecrets{{NewMember: staged.Added[0].Ref}}}
	w.ok(staged.CheckWelcome(welcome))
	welcome.Secrets = append(welcome.Secrets, welcome.Secrets[0])
	wantSection(t, staged.CheckWelcome(welcome), "RFC 9420 §12.4.3.1")
}

func TestRefusedProposals(t *testing.T) {
	w, founder := newWorld(t, 1)
	stranger := w.client("stranger")
	self := MemberSender{}
	kept := w.bareLeaf(founder, LeafUpdate{})
	kept.EncryptionKey = w.group.Tree().Leaf(0).EncryptionKey
	w.ok(kept.Sign(founder.key, LeafPlace{GroupID: "group"}))
	elsewhere := w.bareLeaf(founder, LeafUpdate{})
	w.ok(elsewhere.Sign(founder.key, LeafPlace{GroupID: "another"}))
	for name, c := range map[string]struct {
		section string
		m       *PublicMessage
	}{
		"a Commit":                  {"RFC 9420 §12.1", w.message(founder, self, Commit{})},
		"application data":          {"RFC 9420 §12.1", w.message(founder, self, ApplicationData("hello"))},
		"Update keeps its key":      {"RFC 9420 §7.3", w.message(founder, self, Update{kept})},
		"Update of another group":   {"RFC 9420 §7.3", w.message(founder, self, Update{elsewhere})},
		"Update from a KeyPackage":  {"RFC 9420 §7.3", w.message(founder, self, Update{w.keyPackage(founder).Leaf})},
		"Remove by a stranger":      {"RFC 9420 §6.1", w.message(stranger, NewMemberProposal{}, Remove{0})},
		"Remove of nobody":          {"RFC 9420 §12.1.3", w.message(founder, self, Remove{1})},
		"another's Add":             {"RFC 9420 §6.1", w.message(founder, NewMemberProposal{}, Add{w.keyPackage(stranger)})},
		"no external senders":       {"RFC 9420 §12.1.8.1", w.message(stranger, ExternalSenderIndex(0), Remove{0})},
		"external SelfRemove":       {"RFC 9420 §12.1.8", w.message(stranger, ExternalSenderIndex(0), SelfRemove{})},
		"proposal as external join": {"RFC 9420 §6.1", w.message(stranger, NewMemberCommit{}, Remove{0})},
		"short PSK nonce":           {"RFC 9420 §12.1.4", w.message(founder, self, PreSharedKey{PreSharedKeyID{Source: ExternalPSK{}}})},
	} {
		_, err := w.group.VerifyProposal(c.m, testNow)
		t.Run(name, func(t *testing.T) { wantSection(t, err, c.section) })
	}
}

func TestRefusedExternalCommits(t *testing.T) {
	w, founder := newWorld(t, 1)
	members := w.add(founder, "b")
	joiner := w.client("joiner")
	tree := w.group.Tree().clone()
	joiner.leaf = tree.takeBlankLeaf()
	ref := w.propose(members[0], MemberSender{members[0].leaf}, Remove{founder.leaf})
	init := InlineProposal{ExternalInit{KEMOutput: []byte("kem")}}
	for name, c := range map[string]struct {
		section   string
		proposals []ProposalOrRef
		path      bool
	}{
		"no path":          {"RFC 9420 §12.4.3.2", []ProposalOrRef{init}, false},
		"no ExternalInit":  {"RFC 9420 §12.2", nil, true},
		"two ExternalInit": {"RFC 9420 §12.2", []ProposalOrRef{init, init}, true},
		"two Removes":      {"RFC 9420 §12.2", append(inline(Remove{0}, Remove{1}), init), true},
		"an Add":           {"RFC 9420 §12.2", append(inline(Add{w.keyPackage(w.client("x"))}), init), true},
		"an Update":        {"RFC 9420 §12.1.2", append(inline(Update{w.bareLeaf(joiner, LeafUpdate{})}), init), true},
		"by reference":     {"RFC 9420 §12.4.3.2", []ProposalOrRef{init, ref}, true},
	} {
		commit := Commit{Proposals: c.proposals}
		if c.path {
			commit.Path = w.path(joiner, tree)
		}
		_, err := w.group.Stage(w.message(joiner, NewMemberCommit{}, commit), w.input())
		t.Run(name, func(t *testing.T) { wantSection(t, err, c.section) })
	}
}

func TestExternalCommitWithSelfRemove(t *testing.T) {
	w, founder := newWorld(t, 1)
	members := w.add(founder, "b", "c")
	ref := w.propose(members[0], MemberSender{members[0].leaf}, SelfRemove{})
	joiner := w.client("joiner")
	tree := w.group.Tree().clone()
	tree.remove(members[0].leaf)
	joiner.leaf = tree.takeBlankLeaf()
	staged := w.accept(w.message(joiner, NewMemberCommit{}, Commit{Path: w.path(joiner, tree),
		Proposals: []ProposalOrRef{InlineProposal{ExternalInit{KEMOutput: []byte("kem")}}, ref}}), w.input())
	if staged.Committer != members[0].leaf || len(staged.Removed) != 1 {
		t.Errorf("the joiner is at %d, removed %v", staged.Committer, staged.Removed)
	}
}
