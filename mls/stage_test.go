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
			Proposals: inline(ExternalInit{KEMOutput: w.kem}), Path: w.path(joiner, tree)}), w.input())
		leaf, found := w.group.Member(joiner.key.Public(), BasicCredential{Identity: []byte("mimi://a.example/u/joiner")})
		if !staged.External || !found || leaf != staged.Committer || leaf != members[1].leaf {
			t.Errorf("suite %d: the joiner is at %d (%v), staged at %d", id, leaf, found, staged.Committer)
		}
		checkRebuilt(t, w.group.Tree(), w.suite)
	}
}

// commitCases spoils a good Commit of one kind of part each.
type commitCases struct {
	*world
	founder, other, stranger *client
}

type refusal struct {
	section string
	message *PublicMessage
}

func (w commitCases) good() Commit { return Commit{Path: w.path(w.founder, w.group.Tree().clone())} }

// spoilt is the founder's good Commit after a change of its path, with or without a new signature of the leaf.
func (w commitCases) spoilt(resign bool, change func(*UpdatePath)) *PublicMessage {
	c := w.good()
	change(c.Path)
	if resign {
		w.ok(c.Path.Leaf.Sign(w.founder.key, LeafPlace{GroupID: "group", Leaf: w.founder.leaf}))
	}
	return w.message(w.founder, MemberSender{w.founder.leaf}, c)
}

// framed is the founder's good Commit after a change of what lies around it.
func (w commitCases) framed(change func(*PublicMessage)) *PublicMessage {
	m := w.message(w.founder, MemberSender{w.founder.leaf}, w.good())
	change(m)
	return m
}

func (w commitCases) framings() map[string]refusal {
	self := MemberSender{w.founder.leaf}
	return map[string]refusal{
		"other group":      {"RFC 9420 §12.4.2", w.framed(func(m *PublicMessage) { m.Content.GroupID = "another" })},
		"no member":        {"RFC 9420 §6.1", w.message(w.stranger, MemberSender{99}, w.good())},
		"blank leaf":       {"RFC 9420 §6.1", w.message(w.stranger, MemberSender{7}, w.good())},
		"far leaf":         {"RFC 9420 §6.1", w.message(w.stranger, MemberSender{1 << 31}, w.good())},
		"another's key":    {"RFC 9420 §6.1", w.message(w.other, self, w.good())},
		"external sender":  {"RFC 9420 §12.1.8", w.message(w.stranger, ExternalSenderIndex(0), w.good())},
		"proposing sender": {"RFC 9420 §6.1", w.message(w.stranger, NewMemberProposal{}, w.good())},
		"membership tag":   {"RFC 9420 §6.2", w.framed(func(m *PublicMessage) { m.MembershipTag = nil })},
		"confirmation tag": {"RFC 9420 §6.1", w.framed(func(m *PublicMessage) { m.Auth.ConfirmationTag = []byte{1} })},
		"altered content":  {"RFC 9420 §6.1", w.framed(func(m *PublicMessage) { m.Content.AuthenticatedData = []byte{1} })},
	}
}

func (w commitCases) paths() map[string]refusal {
	self := MemberSender{w.founder.leaf}
	old := w.group.Tree().Leaf(w.founder.leaf).EncryptionKey
	return map[string]refusal{
		"no path":               {"RFC 9420 §12.4", w.message(w.founder, self, Commit{})},
		"no path for a removal": {"RFC 9420 §12.4", w.message(w.founder, self, Commit{Proposals: inline(Remove{w.other.leaf})})},
		"short path":            {"RFC 9420 §7.6", w.spoilt(false, func(p *UpdatePath) { p.Nodes = p.Nodes[1:] })},
		"missing secret":        {"RFC 9420 §7.6", w.spoilt(false, func(p *UpdatePath) { p.Nodes[1].Secrets = nil })},
		"parent hash":           {"RFC 9420 §7.9.2", w.spoilt(false, func(p *UpdatePath) { p.Nodes[0].EncryptionKey = w.hpkeKey() })},
		"leaf source":           {"RFC 9420 §7.3", w.spoilt(true, func(p *UpdatePath) { p.Leaf.Source = LeafUpdate{} })},
		"leaf signature":        {"RFC 9420 §7.3", w.spoilt(false, func(p *UpdatePath) { p.Leaf.Signature = nil })},
		"old encryption key":    {"RFC 9420 §12.4.2", w.spoilt(true, func(p *UpdatePath) { p.Leaf.EncryptionKey = old })},
	}
}

func (w commitCases) proposals() map[string]refusal {
	commit := func(proposals ...Proposal) *PublicMessage {
		c := w.good()
		c.Proposals = inline(proposals...)
		return w.message(w.founder, MemberSender{w.founder.leaf}, c)
	}
	late := w.keyPackage(w.stranger)
	late.Leaf.Source = Lifetime{NotBefore: 1, NotAfter: 2}
	bent := w.keyPackage(w.stranger)
	bent.Signature = bytes.Repeat([]byte{1}, 64)
	otherSuite := w.keyPackage(w.stranger)
	otherSuite.Suite = 3
	return map[string]refusal{
		"removes itself":         {"RFC 9420 §12.2", commit(Remove{w.founder.leaf})},
		"removes twice":          {"RFC 9420 §12.2", commit(Remove{1}, Remove{1})},
		"removes nobody":         {"RFC 9420 §12.1.3", commit(Remove{7})},
		"two contexts":           {"RFC 9420 §12.2", commit(GroupContextExtensions{}, GroupContextExtensions{})},
		"ReInit with another":    {"RFC 9420 §12.2", commit(ReInit{Version: 1, Suite: 1}, Remove{1})},
		"ExternalInit of member": {"RFC 9420 §12.2", commit(ExternalInit{w.kem})},
		"SelfRemove by value":    {"mls-extensions SelfRemove", commit(SelfRemove{})},
		"late KeyPackage":        {"RFC 9420 §7.3", commit(Add{late})},
		"bent KeyPackage":        {"RFC 9420 §10.1", commit(Add{bent})},
		"KeyPackage's suite":     {"RFC 9420 §12.1.1", commit(Add{otherSuite})},
		"unknown component":      {"mls-extensions AppDataUpdate", commit(AppDataUpdate{0x22, ComponentUpdate{}})},
		"unknown ephemeral":      {"mls-extensions AppEphemeral", commit(AppEphemeral{0x22, nil})},
	}
}

// TestRefusedCommits takes one good Commit and spoils it in each way once.
func TestRefusedCommits(t *testing.T) {
	world, founder := newWorld(t, 1)
	members := world.add(founder, "b", "c", "d", "e")
	w := commitCases{world: world, founder: founder, other: members[0], stranger: world.client("stranger")}
	if _, err := w.group.Stage(w.framed(func(*PublicMessage) {}), w.input()); err != nil {
		t.Fatal(err)
	}
	for _, cases := range []map[string]refusal{w.framings(), w.paths(), w.proposals()} {
		for name, c := range cases {
			_, err := w.group.Stage(c.message, w.input())
			t.Run(name, func(t *testing.T) { wantSection(t, err, c.section) })
		}
	}
	old := w.framed(func(*PublicMessage) {})
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

// TestProposalNamedTwice commits one Add by reference twice.
func TestProposalNamedTwice(t *testing.T) {
	w, founder := newWorld(t, 1)
	ref := w.propose(founder, MemberSender{}, Add{w.keyPackage(w.client("b"))})
	_, err := w.group.Stage(w.message(founder, MemberSender{}, Commit{Proposals: []ProposalOrRef{ref, ref}}), w.input())
	wantSection(t, err, "RFC 9420 §12.2")
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
	init := InlineProposal{ExternalInit{KEMOutput: w.kem}}
	for name, c := range map[string]struct {
		section   string
		proposals []ProposalOrRef
		path      bool
	}{
		"no path":          {"RFC 9420 §12.4.3.2", []ProposalOrRef{init}, false},
		"no key":           {"RFC 9420 §8.3", inline(ExternalInit{KEMOutput: make([]byte, 32)}), true},
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
		Proposals: []ProposalOrRef{InlineProposal{ExternalInit{KEMOutput: w.kem}}, ref}}), w.input())
	if staged.Committer != members[0].leaf || len(staged.Removed) != 1 {
		t.Errorf("the joiner is at %d, removed %v", staged.Committer, staged.Removed)
	}
}
