package mls

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
)

// A check's case is a message that is right but for one thing: everything in it is signed and hashed anew after it has been
// changed. So the reason tells that this check refuses it, and without the check it would be accepted.

// checked is the group in which the cases are made: five members, parents in the tree, an unmerged leaf, and demands on its members.
type checked struct {
	*world
	founder, other, last *client
}

// demands are a GroupContext's extensions in the cases.
func demands() []Extension {
	dictionary := AppDataDictionary{
		{ComponentAppComponents, ComponentsList{0x20}.Marshal()},
		{ComponentSafeAAD, ComponentsList{0x21}.Marshal()},
	}
	required := RequiredCapabilities{Extensions: []ExtensionType{ExtensionExternalSenders, 0xf001}, Proposals: []ProposalType{ProposalAdd, ProposalAppEphemeral},
		Credentials: []CredentialType{CredentialBasic}}
	return []Extension{
		{0xf000, []byte("demanded")},
		{ExtensionRequiredCapabilities, required.Marshal()},
		{ExtensionRequiredWireFormat, WireFormats{WirePublicMessage, 0xf003}.Marshal()},
		{ExtensionAppDataDictionary, dictionary.Marshal()},
	}
}

func newChecked(t *testing.T, extensions ...Extension) checked {
	t.Helper()
	w, founder := newWorld(t, 1, extensions...)
	members := w.add(founder, "b", "c", "d", "e")
	for _, c := range []*client{founder, members[2]} {
		m := w.message(c, MemberSender{c.leaf}, Commit{Path: w.path(c, w.group.Tree().clone())})
		w.accept(m, w.input())
	}
	last := w.add(founder, "last")[0]
	return checked{world: w, founder: founder, other: members[0], last: last}
}

// add is a Commit of an Add of a new client, whose KeyPackage is changed.
func (w checked) adding(change func(*KeyPackage)) *PublicMessage {
	return w.from(Add{w.changedPackage(w.client("new"), change)})
}

func (w checked) addingLeaf(change func(*LeafNode)) *PublicMessage {
	return w.adding(func(k *KeyPackage) { change(&k.Leaf) })
}

// from is the founder's Commit of proposals that need no path.
func (w checked) from(proposals ...Proposal) *PublicMessage {
	return w.message(w.founder, MemberSender{w.founder.leaf}, Commit{Proposals: inline(proposals...)})
}

// pathed is the founder's Commit with a path, which is changed, and proposals that change no leaf.
func (w checked) pathed(change func(*UpdatePath), proposals ...Proposal) *PublicMessage {
	path := w.changedPath(w.founder, w.group.Tree().clone(), change)
	return w.message(w.founder, MemberSender{w.founder.leaf}, Commit{Proposals: inline(proposals...), Path: path})
}

// replacing is the founder's Commit of new GroupContext extensions.
func (w checked) replacing(change func(Extensions) Extensions) *PublicMessage {
	return w.pathed(func(*UpdatePath) {}, GroupContextExtensions{change(w.group.Context().Extensions)})
}

// drop is a list without one value.
func drop[T comparable](list []T, gone T) (out []T) {
	for _, v := range list {
		if v != gone {
			out = append(out, v)
		}
	}
	return out
}

type check struct {
	name, section, reason string
	message               *PublicMessage
}

func (w checked) keyPackageChecks() []check {
	tree := w.group.Tree()
	lowOrderKey := make([]byte, 32)
	twin := w.client("twin")
	return []check{
		{"init_key of low order", "RFC 9420 §10", "init_key is not a key", w.adding(func(k *KeyPackage) { k.InitKey = lowOrderKey })},
		{"encryption key of low order", "RFC 9420 §7.1", "is not a key of the suite", w.addingLeaf(func(n *LeafNode) { n.EncryptionKey = lowOrderKey })},
		{"encryption key too short", "RFC 9420 §7.1", "is not a key of the suite", w.addingLeaf(func(n *LeafNode) { n.EncryptionKey = lowOrderKey[:31] })},
		{"last resort with data", "mls-extensions Last-Resort KeyPackages", "has data",
			w.adding(func(k *KeyPackage) { k.Extensions = Extensions{{ExtensionLastResort, []byte{1}}} })},
		{"unreadable dictionary", "mls-extensions Application Data Dictionary", "KeyPackage cannot be read",
			w.adding(func(k *KeyPackage) { k.Extensions = Extensions{{ExtensionAppDataDictionary, []byte{9}}} })},
		{"encryption key of a member", "RFC 9420 §7.3", "stands at another node",
			w.addingLeaf(func(n *LeafNode) { n.EncryptionKey = tree.Leaf(w.other.leaf).EncryptionKey })},
		{"encryption key of a parent", "RFC 9420 §7.3", "stands at another node",
			w.addingLeaf(func(n *LeafNode) { n.EncryptionKey = tree.node(tree.top).parent.EncryptionKey })},
		{"client already in the group", "RFC 9420 §12.2", "already in the group", w.from(Add{w.keyPackage(w.other)})},
		{"client added twice", "RFC 9420 §12.2", "added twice", w.from(Add{w.keyPackage(twin)}, Add{w.keyPackage(twin)})},
	}
}

func (w checked) leafChecks() []check {
	drops := func(change func(*Capabilities)) *PublicMessage {
		return w.addingLeaf(func(n *LeafNode) { change(&n.Capabilities) })
	}
	component := func(id ComponentID) *PublicMessage {
		return w.addingLeaf(func(n *LeafNode) {
			dictionary := must(n.Extensions.Dictionary())(w.t)
			n.Extensions = n.Extensions.With(ExtensionAppDataDictionary, dictionary.With(id, ComponentsList{0x33}.Marshal()).Marshal())
		})
	}
	return []check{
		{"extension not listed", "RFC 9420 §7.3", "does not list it", w.addingLeaf(func(n *LeafNode) { n.Extensions = n.Extensions.With(0xf00f, nil) })},
		{"unreadable extension", "RFC 9420 §7.3", "cannot be read",
			w.addingLeaf(func(n *LeafNode) { n.Extensions = n.Extensions.With(ExtensionSupportedWireFormat, []byte{9}) })},
		{"version", "RFC 9420 §11.1", "version mls10", drops(func(c *Capabilities) { c.Versions = nil })},
		{"suite", "RFC 9420 §11.1", "cipher suite", drops(func(c *Capabilities) { c.Suites = []CipherSuite{2} })},
		{"GroupContext extension", "RFC 9420 §13.4", "extension 0xf000", drops(func(c *Capabilities) { c.Extensions = drop(c.Extensions, 0xf000) })},
		{"required extension", "RFC 9420 §7.3", "extension 0xf001", drops(func(c *Capabilities) { c.Extensions = drop(c.Extensions, 0xf001) })},
		{"required proposal", "RFC 9420 §7.3", "proposal 0x0009", drops(func(c *Capabilities) { c.Proposals = drop(c.Proposals, ProposalAppEphemeral) })},
		{"required credential", "RFC 9420 §7.3", "credential 0x0001", drops(func(c *Capabilities) { c.Credentials = []CredentialType{CredentialX509} })},
		{"required wire format", "mls-extensions Negotiation", "wire format 0xf003",
			w.addingLeaf(func(n *LeafNode) {
				n.Extensions = n.Extensions.With(ExtensionSupportedWireFormat, WireFormats{1}.Marshal())
			})},
		{"required component", "mls-extensions Negotiation", "the required component 0x0020", component(ComponentAppComponents)},
		{"required safe_aad", "mls-extensions Negotiation", "safe_aad component 0x0021", component(ComponentSafeAAD)},
	}
}

// chain makes certificates for a key, each under the name of the one after it; or, if skip, under that of another.
func (w checked) chain(key []byte, skip bool) X509Credential {
	issue := func(subject, issuer string, public any) []byte {
		_, private := must2(ed25519.GenerateKey(rand.Reader))(w.t)
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: subject}}
		parent := &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}
		return must(x509.CreateCertificate(rand.Reader, template, parent, public, private))(w.t)
	}
	ca, _ := must2(ed25519.GenerateKey(rand.Reader))(w.t)
	name := "ca"
	if skip {
		name = "another ca"
	}
	return X509Credential{Certificates: [][]byte{issue("client", "ca", ed25519.PublicKey(key)), issue(name, name, ca)}}
}

func must2[T, U any](v T, u U, err error) func(testing.TB) (T, U) {
	return func(t testing.TB) (T, U) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v, u
	}
}

func (w checked) credentialChecks() []check {
	chained := func(c Credential) *PublicMessage { return w.addingLeaf(func(n *LeafNode) { n.Credential = c }) }
	own := func(skip bool) *PublicMessage {
		return w.addingLeaf(func(n *LeafNode) {
			n.Credential = w.chain(n.SignatureKey, skip)
			n.Capabilities.Credentials = []CredentialType{CredentialBasic, CredentialX509}
		})
	}
	stranger := w.client("stranger").key.Public()
	return []check{
		{"empty chain", "RFC 9420 §5.3", "no certificate", chained(X509Credential{})},
		{"no certificate", "RFC 9420 §5.3", "certificate 0 of the x509 credential cannot be read", chained(X509Credential{[][]byte{{1, 2}}})},
		{"another issuer", "RFC 9420 §5.3", "not the issuer", own(true)},
		{"another key", "RFC 9420 §5.3", "another key", chained(w.chain(stranger, false))},
		{"type that members do not support", "RFC 9420 §7.3", "which a member does not support", own(false)},
	}
}

func (w checked) contextChecks() []check {
	with := func(t ExtensionType, data []byte) *PublicMessage {
		return w.replacing(func(l Extensions) Extensions { return l.With(t, data) })
	}
	stranger := w.client("stranger").key.Public()
	psk := PreSharedKey{PreSharedKeyID{ExternalPSK{[]byte("psk")}, w.tag()}}
	more := RequiredCapabilities{Proposals: []ProposalType{0xf009}}
	return []check{
		{"extension that members do not support", "RFC 9420 §12.1.7", "extension 0xf0f0", with(0xf0f0, nil)},
		{"requirement that members do not meet", "RFC 9420 §12.1.7", "proposal 0xf009", with(ExtensionRequiredCapabilities, more.Marshal())},
		{"unreadable requirement", "RFC 9420 §11.1", "cannot be read", with(ExtensionRequiredCapabilities, []byte{9})},
		{"unreadable external_senders", "RFC 9420 §12.1.8.1", "cannot be read", with(ExtensionExternalSenders, []byte{9})},
		{"external sender's chain", "RFC 9420 §5.3", "no certificate", with(ExtensionExternalSenders, ExternalSenders{{stranger, X509Credential{}}}.Marshal())},
		{"unreadable dictionary", "mls-extensions Negotiation", "cannot be read", with(ExtensionAppDataDictionary, []byte{9})},
		{"PSK for a new group", "RFC 9420 §12.1.4", "first epoch", w.from(PreSharedKey{PreSharedKeyID{ResumptionPSK{ResumptionReInit, "old", 1}, w.tag()}})},
		{"PSK twice", "RFC 9420 §12.2", "PreSharedKey twice", w.from(psk, psk)},
		{"ReInit to an older version", "RFC 9420 §12.1.5", "lower the protocol version", w.from(ReInit{GroupID: "next", Suite: 1})},
		{"authenticated data", "mls-extensions Safe AAD", "authenticated data", w.unframed()},
	}
}

// unframed has authenticated data that is no SafeAAD.
func (w checked) unframed() *PublicMessage {
	m := w.pathed(func(*UpdatePath) {})
	m.Content.AuthenticatedData = []byte{9}
	w.ok(m.Sign(w.founder.key, w.group.ContextBytes()))
	return m
}

func (w checked) pathChecks() []check {
	leaf := func(change func(*LeafNode)) *PublicMessage {
		return w.pathed(func(p *UpdatePath) { change(&p.Leaf) })
	}
	tree := w.group.Tree()
	return []check{
		{"path key of low order", "RFC 9420 §7.6", "path node 0", w.pathed(func(p *UpdatePath) { p.Nodes[0].EncryptionKey = make([]byte, 32) })},
		{"leaf keeps its encryption key", "RFC 9420 §12.4.2", "committer's old encryption key", leaf(func(n *LeafNode) { n.EncryptionKey = tree.Leaf(w.founder.leaf).EncryptionKey })},
		{"a Proposal for a Commit", "RFC 9420 §12.4", "not a Commit", w.message(w.founder, MemberSender{w.founder.leaf}, Remove{w.other.leaf})},
		{"kem_output of a secret", "RFC 9420 §7.6", "no ciphertext", w.pathed(func(p *UpdatePath) { p.Nodes[0].Secrets[0].KEMOutput = make([]byte, 32) })},
		{"length of a secret", "RFC 9420 §7.6", "no ciphertext", w.pathed(func(p *UpdatePath) { p.Nodes[0].Secrets[0].Ciphertext = w.random(47) })},
		{"path key twice", "RFC 9420 §12.4.2", "twice in the path", w.pathed(func(p *UpdatePath) { p.Nodes[1].EncryptionKey = p.Nodes[0].EncryptionKey })},
		{"path key is the leaf's", "RFC 9420 §12.4.2", "twice in the path", w.pathed(func(p *UpdatePath) { p.Nodes[0].EncryptionKey = p.Leaf.EncryptionKey })},
		{"path key of a member", "RFC 9420 §12.4.2", "in the tree already", w.pathed(func(p *UpdatePath) { p.Nodes[0].EncryptionKey = tree.Leaf(w.other.leaf).EncryptionKey })},
		{"path keeps a parent's key", "RFC 9420 §12.4.2", "in the tree already",
			w.pathed(func(p *UpdatePath) { p.Nodes[len(p.Nodes)-1].EncryptionKey = tree.node(tree.top).parent.EncryptionKey })},
		{"leaf with a member's signature key", "RFC 9420 §7.3", "signature key of leaf", w.usurped()},
		{"leaf's encryption key of low order", "RFC 9420 §7.1", "is not a key of the suite", leaf(func(n *LeafNode) { n.EncryptionKey = make([]byte, 32) })},
		{"leaf without what is required", "RFC 9420 §7.3", "proposal 0x0009",
			leaf(func(n *LeafNode) { n.Capabilities.Proposals = drop(n.Capabilities.Proposals, ProposalAppEphemeral) })},
	}
}

// usurped is a Commit of the founder whose leaf has another member's signature key, and is signed by it.
func (w checked) usurped() *PublicMessage {
	path := w.path(&client{name: "founder", key: w.other.key, leaf: w.founder.leaf}, w.group.Tree().clone())
	return w.message(w.founder, MemberSender{w.founder.leaf}, Commit{Path: path})
}

// wantCheck sees a refusal by one check.
func wantCheck(t *testing.T, err error, section, reason string) {
	t.Helper()
	var refused *InvalidError
	if !errors.As(err, &refused) || refused.Section != section || !strings.Contains(refused.Reason, reason) {
		t.Errorf("error is %v, want %q of %s", err, reason, section)
	}
}

// TestChecks has for each check a Commit that it alone refuses.
func TestChecks(t *testing.T) {
	w := newChecked(t, demands()...)
	for _, good := range []*PublicMessage{
		w.adding(func(*KeyPackage) {}), w.pathed(func(*UpdatePath) {}), w.replacing(func(l Extensions) Extensions { return l }),
		w.adding(func(k *KeyPackage) { k.Extensions = Extensions{{ExtensionLastResort, nil}} }),
	} {
		if _, err := w.group.Stage(good, w.input()); err != nil {
			t.Fatal(err)
		}
	}
	sections := make(map[string]int)
	for _, list := range [][]check{w.keyPackageChecks(), w.leafChecks(), w.credentialChecks(), w.contextChecks(), w.pathChecks()} {
		for _, c := range list {
			t.Run(c.name, func(t *testing.T) {
				_, err := w.group.Stage(c.message, w.input())
				wantCheck(t, err, c.section, c.reason)
			})
			sections[c.section]++
		}
	}
	t.Logf("cases by section: %v", sections)
}

// TestCredentialsBothWays adds one who does not support the others' credential type; nothing else demands it.
func TestCredentialsBothWays(t *testing.T) {
	w := newChecked(t)
	m := w.addingLeaf(func(n *LeafNode) { n.Capabilities.Credentials = []CredentialType{CredentialX509} })
	_, err := w.group.Stage(m, w.input())
	wantCheck(t, err, "RFC 9420 §7.3", "does not support credential type 0x0001, which a member has")
}

// TestUpdateChecks has the same for an Update by itself.
func TestUpdateChecks(t *testing.T) {
	w := newChecked(t, demands()...)
	update := func(key *SigningKey, change func(*LeafNode)) *PublicMessage {
		leaf := w.bareLeaf(&client{name: "b", key: key}, LeafUpdate{})
		change(&leaf)
		w.ok(leaf.Sign(key, LeafPlace{GroupID: "group", Leaf: w.other.leaf}))
		return w.message(w.other, MemberSender{w.other.leaf}, Update{leaf})
	}
	_, err := w.group.VerifyProposal(update(w.other.key, func(*LeafNode) {}), testNow)
	w.ok(err)
	for _, c := range []check{
		{"low order", "RFC 9420 §7.1", "not a key", update(w.other.key, func(n *LeafNode) { n.EncryptionKey = make([]byte, 32) })},
		{"a member's signature key", "RFC 9420 §7.3", "signature key", update(w.founder.key, func(*LeafNode) {})},
		{"a member's encryption key", "RFC 9420 §7.3", "encryption key",
			update(w.other.key, func(n *LeafNode) { n.EncryptionKey = w.group.Tree().Leaf(w.founder.leaf).EncryptionKey })},
		{"without what is required", "RFC 9420 §7.3", "0x0009", update(w.other.key, func(n *LeafNode) { n.Capabilities.Proposals = nil })},
	} {
		_, err := w.group.VerifyProposal(c.message, testNow)
		t.Run(c.name, func(t *testing.T) { wantCheck(t, err, c.section, c.reason) })
	}
	stranger := w.client("stranger")
	_, err = w.group.VerifyProposal(w.message(stranger, NewMemberProposal{}, Remove{w.other.leaf}), testNow)
	wantCheck(t, err, "RFC 9420 §6.1", "can propose its own Add alone")
	incapable := w.changedPackage(w.client("x"), func(k *KeyPackage) { k.Leaf.Capabilities.Proposals = nil })
	_, err = w.group.VerifyProposal(w.message(w.other, MemberSender{w.other.leaf}, Add{incapable}), testNow)
	wantCheck(t, err, "RFC 9420 §7.3", "0x0009")
}

// TestUnsupportedProposals commits Proposals of which one member has never heard, and then removes it by the same Commit.
func TestUnsupportedProposals(t *testing.T) {
	w, founder := newWorld(t, 1)
	old := w.client("old")
	kp := w.changedPackage(old, func(k *KeyPackage) { k.Leaf.Capabilities.Proposals = nil })
	w.accept(w.message(founder, MemberSender{}, Commit{Proposals: inline(Add{kp})}), w.input())
	in := w.input()
	in.Components = map[ComponentID]ComponentApplier{7: appendUpdates}
	_, err := w.group.Stage(w.message(founder, MemberSender{}, Commit{Proposals: inline(update(7, "x"))}), in)
	wantCheck(t, err, "RFC 9420 §12.2", "type 0x0008")
	_, err = w.group.VerifyProposal(w.message(founder, MemberSender{}, SelfRemove{}), testNow)
	wantCheck(t, err, "mls-extensions SelfRemove", "does not support")
	tree := w.group.Tree().clone()
	tree.remove(1)
	w.accept(w.message(founder, MemberSender{}, Commit{Path: w.path(founder, tree), Proposals: inline(AppEphemeral{7, nil}, Remove{1})}), in)
}

// TestSelfRemoveChecks commits a SelfRemove beside a Remove of the same leaf, and beside another of the same member.
func TestSelfRemoveChecks(t *testing.T) {
	w := newChecked(t)
	refs := []ProposalRef{w.propose(w.other, MemberSender{w.other.leaf}, SelfRemove{}), ""}
	again := w.message(w.other, MemberSender{w.other.leaf}, SelfRemove{})
	again.Content.AuthenticatedData = []byte("again")
	w.ok(again.Sign(w.other.key, w.group.ContextBytes()))
	refs[1] = must(w.group.VerifyProposal(again, testNow))(t)
	w.pending[refs[1]] = again
	tree := w.group.Tree().clone()
	tree.remove(w.other.leaf)
	for reason, list := range map[string][]ProposalOrRef{
		"has a Remove of leaf": {refs[0], InlineProposal{Remove{w.other.leaf}}},
		"two SelfRemoves":      {refs[0], refs[1]},
	} {
		m := w.message(w.founder, MemberSender{w.founder.leaf}, Commit{Proposals: list, Path: w.path(w.founder, tree.clone())})
		_, err := w.group.Stage(m, w.input())
		wantCheck(t, err, "mls-extensions SelfRemove", reason)
	}
	m := w.message(w.founder, MemberSender{w.founder.leaf}, Commit{Proposals: []ProposalOrRef{refs[0]}, Path: w.path(w.founder, tree)})
	w.accept(m, w.input())
}

// TestResyncKeepsKey joins anew with the encryption key of the leaf that goes.
func TestResyncKeepsKey(t *testing.T) {
	w := newChecked(t)
	join := func(change func(*UpdatePath)) *PublicMessage {
		tree := w.group.Tree().clone()
		tree.remove(w.other.leaf)
		again := &client{name: "b", key: w.other.key, leaf: tree.takeBlankLeaf()}
		list := inline(ExternalInit{KEMOutput: w.kem}, Remove{w.other.leaf})
		return w.message(again, NewMemberCommit{}, Commit{Proposals: list, Path: w.changedPath(again, tree, change)})
	}
	_, err := w.group.Stage(join(func(p *UpdatePath) { p.Leaf.EncryptionKey = w.group.Tree().Leaf(w.other.leaf).EncryptionKey }), w.input())
	wantCheck(t, err, "RFC 9420 §12.2", "keeps the encryption key")
	w.accept(join(func(*UpdatePath) {}), w.input())
}

// TestEndOfGroup sees nothing accepted after a ReInit, and after the last epoch there is.
func TestEndOfGroup(t *testing.T) {
	w := newChecked(t)
	context := w.group.Context()
	context.Epoch = math.MaxUint64
	last := w.world
	before := w.group
	last.group = must(RestorePublicGroup(context.Marshal(), w.group.Tree(), w.group.InterimTranscriptHash()))(t)
	_, err := last.group.Stage(w.pathed(func(*UpdatePath) {}), w.input())
	wantCheck(t, err, "RFC 9420 §8.1", "no epoch after")
	w.group = before
	w.accept(w.from(ReInit{GroupID: "next", Version: MLS10, Suite: 1}), w.input())
	_, err = w.group.Stage(w.pathed(func(*UpdatePath) {}), w.input())
	wantCheck(t, err, "RFC 9420 §12.4.2", "ReInit has ended")
}

// TestWelcomeChecks and the GroupInfo's beside it.
func TestWelcomeChecks(t *testing.T) {
	w := newChecked(t)
	staged, err := w.group.Stage(w.pathed(func(*UpdatePath) {}), w.input())
	w.ok(err)
	wantCheck(t, staged.CheckWelcome(&Welcome{Suite: 1}), "RFC 9420 §12.4.3.1", "for nobody")
	wantCheck(t, staged.CheckWelcome(&Welcome{Suite: 2, Secrets: []EncryptedGroupSecrets{{}}}), "RFC 9420 §12.4.3.1", "of suite")
	extensions := Extensions{{ExtensionExternalPub, ExternalPub{Key: w.hpkeKey()}.Marshal()}}
	whole := staged.GroupInfo(extensions, nil)
	w.ok(whole.Sign(w.founder.key))
	rebuilt := staged.GroupInfo(extensions, whole.Signature)
	w.ok(staged.After.CheckGroupInfo(rebuilt))
	if !bytes.Equal(rebuilt.Marshal(), whole.Marshal()) {
		t.Error("the rebuilt GroupInfo differs")
	}
	bad := staged.GroupInfo(Extensions{{ExtensionExternalPub, ExternalPub{Key: make([]byte, 32)}.Marshal()}}, nil)
	w.ok(bad.Sign(w.founder.key))
	wantCheck(t, staged.After.CheckGroupInfo(bad), "RFC 9420 §12.4.3.2", "external_pub is not a key")
}

// TestRoomChecks takes up groups whose tree, otherwise right, breaks one rule each.
func TestRoomChecks(t *testing.T) {
	w := newChecked(t, demands()...)
	takeUp := func(change func(*RatchetTree), also func(*GroupInfo)) error {
		tree := w.group.Tree().clone()
		change(tree)
		tree.keys = nil
		info := GroupInfo{Context: w.group.Context(), ConfirmationTag: w.tag(), Signer: w.founder.leaf}
		also(&info)
		info.Context.TreeHash = tree.TreeHash(w.suite)
		w.ok(info.Sign(w.founder.key))
		_, err := NewPublicGroup(info, tree)
		return err
	}
	nothing, untouched := func(*GroupInfo) {}, func(*RatchetTree) {}
	w.ok(takeUp(untouched, nothing))
	parent := func(change func(*ParentNode)) func(*RatchetTree) {
		return func(t *RatchetTree) {
			p := *t.node(t.top).parent
			change(&p)
			t.set(t.top, newParent(p))
		}
	}
	// relaid gives a leaf that no parent hash covers, the unmerged one, another content.
	relaid := func(change func(*LeafNode)) func(*RatchetTree) {
		return func(t *RatchetTree) {
			n := *t.Leaf(w.last.leaf)
			change(&n)
			w.ok(n.Sign(w.last.key, LeafPlace{}))
			t.set(w.last.leaf.Node(), newLeaf(n))
		}
	}
	// The root's key is in no leaf's parent hash but through the path to it, so a path with a bad one is merged as it is.
	repathed := func(key []byte) func(*RatchetTree) {
		return func(t *RatchetTree) {
			path := w.changedPath(w.founder, t.clone(), func(p *UpdatePath) { p.Nodes[len(p.Nodes)-1].EncryptionKey = key })
			w.ok(t.merge(w.suite, w.founder.leaf, path, nil))
		}
	}
	key := w.group.Tree().Leaf(w.founder.leaf).EncryptionKey
	otherKey := w.group.Tree().Leaf(w.other.leaf).EncryptionKey
	for _, c := range []struct {
		name, section, reason string
		err                   error
	}{
		{"parent hash", "RFC 9420 §7.9.2", "has the parent hash of 0 nodes", takeUp(parent(func(p *ParentNode) { p.ParentHash = []byte{1} }), nothing)},
		{"unmerged leaf elsewhere", "RFC 9420 §12.4.3.1", "is blank", takeUp(parent(func(p *ParentNode) {
			p.UnmergedLeaves = append(p.UnmergedLeaves[:len(p.UnmergedLeaves):len(p.UnmergedLeaves)], 7)
		}), nothing)},
		{"unmerged leaf not below", "RFC 9420 §12.4.3.1", "not a member under it", takeUp(parent(func(p *ParentNode) {
			p.UnmergedLeaves = append(p.UnmergedLeaves[:len(p.UnmergedLeaves):len(p.UnmergedLeaves)], 99)
		}), nothing)},
		{"unmerged above and not below", "RFC 9420 §12.4.3.1", "unmerged above node", takeUp(parent(func(p *ParentNode) { p.UnmergedLeaves = append([]LeafIndex{w.founder.leaf}, p.UnmergedLeaves...) }), nothing)},
		{"parent's key", "RFC 9420 §7.1", "encryption key of node", takeUp(repathed(make([]byte, 32)), nothing)},
		{"parent's key at a leaf", "RFC 9420 §7.3", "stands at another node", takeUp(repathed(otherKey), nothing)},
		{"parent's key at a parent", "RFC 9420 §12.4.3.1", "of node", takeUp(func(t *RatchetTree) {
			path := w.changedPath(w.founder, t.clone(), func(p *UpdatePath) { p.Nodes[1].EncryptionKey = p.Nodes[0].EncryptionKey })
			w.ok(t.merge(w.suite, w.founder.leaf, path, nil))
		}, nothing)},
		{"encryption key twice", "RFC 9420 §7.3", "stands at another node", takeUp(relaid(func(n *LeafNode) { n.EncryptionKey = key }), nothing)},
		{"leaf's signature", "RFC 9420 §7.3", "signature of leaf", takeUp(func(t *RatchetTree) {
			n := *t.Leaf(w.last.leaf)
			n.Signature = w.tag()
			t.set(w.last.leaf.Node(), newLeaf(n))
		}, nothing)},
		{"leaf's key", "RFC 9420 §7.1", "of the leaf is not a key", takeUp(relaid(func(n *LeafNode) { n.EncryptionKey = make([]byte, 32) }), nothing)},
		{"leaf's support", "RFC 9420 §7.3", "a member does not support the required proposal", takeUp(relaid(func(n *LeafNode) { n.Capabilities.Proposals = nil }), nothing)},
		{"confirmation tag", "RFC 9420 §12.4.3", "confirmation tag has", takeUp(untouched, func(g *GroupInfo) { g.ConfirmationTag = nil })},
	} {
		t.Run(c.name, func(t *testing.T) { wantCheck(t, c.err, c.section, c.reason) })
	}
}
