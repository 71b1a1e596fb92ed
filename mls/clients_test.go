package mls

import (
	"math/rand/v2"
	"testing"
)

// testNow lies within the lifetimes of the test clients' KeyPackages.
const testNow = 1_000_000

// client is a member that holds signature keys and no group secrets: its tags and path secrets are made up, which a hub
// cannot tell.
type client struct {
	name string
	key  *SigningKey
	leaf LeafIndex
}

// world is a group with its clients. Everything random comes from one seed.
type world struct {
	t       testing.TB
	suite   *Suite
	entropy *rand.ChaCha8
	group   *PublicGroup
	pending map[ProposalRef]*PublicMessage
	kem     []byte // a kem_output of the suite; what it hides is nobody's business here
}

// newWorld makes a group of one at epoch 0.
func newWorld(t testing.TB, suite CipherSuite, extensions ...Extension) (*world, *client) {
	t.Helper()
	w := &world{t: t, suite: must(suite.Suite())(t), entropy: rand.NewChaCha8([32]byte{byte(suite)}), pending: make(map[ProposalRef]*PublicMessage)}
	w.kem = w.hpkeKey()
	founder := w.client("founder")
	tree := newTree(nil, 1)
	tree.set(0, newLeaf(w.keyPackage(founder).Leaf))
	info := GroupInfo{
		Context:         GroupContext{Suite: suite, GroupID: "group", TreeHash: tree.TreeHash(w.suite), Extensions: extensions},
		ConfirmationTag: w.tag(),
	}
	w.ok(info.Sign(founder.key))
	w.group = must(NewPublicGroup(info, tree))(t)
	return w, founder
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) random(n int) []byte {
	b := make([]byte, n)
	w.entropy.Read(b) // never fails
	return b
}

func (w *world) tag() []byte { return w.random(w.suite.HashBytes()) }

func (w *world) client(name string) *client {
	w.t.Helper()
	return &client{name: name, key: must(GenerateSigningKey(w.suite.Scheme, w.entropy))(w.t)}
}

func (w *world) hpkeKey() []byte {
	w.t.Helper()
	public, _, err := w.suite.GenerateHPKEKey(w.entropy)
	w.ok(err)
	return public
}

// bareLeaf is a client's leaf, not yet signed.
func (w *world) bareLeaf(c *client, source LeafNodeSource) LeafNode {
	return LeafNode{
		EncryptionKey: w.hpkeKey(),
		SignatureKey:  c.key.Public(),
		Credential:    BasicCredential{Identity: []byte("mimi://a.example/u/" + c.name)},
		Capabilities: Capabilities{
			Versions: []Version{MLS10}, Suites: []CipherSuite{w.suite.ID}, Credentials: []CredentialType{CredentialBasic},
			Extensions: []ExtensionType{ExtensionAppDataDictionary, ExtensionSupportedWireFormat, ExtensionRequiredWireFormat, 0xf000, 0xf001},
			Proposals:  []ProposalType{ProposalAppDataUpdate, ProposalAppEphemeral, ProposalSelfRemove},
		},
		Extensions: Extensions{
			{ExtensionSupportedWireFormat, WireFormats{0xf003}.Marshal()},
			{ExtensionAppDataDictionary, AppDataDictionary{
				{ComponentAppComponents, ComponentsList{0x20}.Marshal()}, {ComponentSafeAAD, ComponentsList{0x21}.Marshal()},
			}.Marshal()},
		},
		Source: source,
	}
}

func (w *world) keyPackage(c *client) KeyPackage {
	w.t.Helper()
	return w.changedPackage(c, func(*KeyPackage) {})
}

// changedPackage is a KeyPackage that is changed before it is signed.
func (w *world) changedPackage(c *client, change func(*KeyPackage)) KeyPackage {
	w.t.Helper()
	kp := KeyPackage{Suite: w.suite.ID, InitKey: w.hpkeKey(), Leaf: w.bareLeaf(c, Lifetime{NotBefore: testNow - 10, NotAfter: testNow + 10})}
	change(&kp)
	w.ok(kp.Leaf.Sign(c.key, LeafPlace{}))
	w.ok(kp.Sign(c.key))
	return kp
}

// message frames and signs content from a client.
func (w *world) message(c *client, from Sender, body Content) *PublicMessage {
	w.t.Helper()
	m := &PublicMessage{Content: FramedContent{GroupID: w.group.GroupID(), Epoch: w.group.Epoch(), Sender: from, Body: body}}
	if w.group.safeAAD {
		m.Content.AuthenticatedData = SafeAAD{}.Marshal()
	}
	if body.ContentType() == ContentCommit {
		m.Auth.ConfirmationTag = w.tag()
	}
	if _, member := from.(MemberSender); member {
		m.MembershipTag = w.tag()
	}
	w.ok(m.Sign(c.key, w.group.ContextBytes()))
	return m
}

// propose sends a Proposal that the group accepts, and returns its reference.
func (w *world) propose(c *client, from Sender, p Proposal) ProposalRef {
	w.t.Helper()
	m := w.message(c, from, p)
	ref, err := w.group.VerifyProposal(m, testNow)
	w.ok(err)
	w.pending[ref] = m
	return ref
}

// path makes the UpdatePath that a member would send after the Commit's other changes, which have made tree.
func (w *world) path(c *client, tree *RatchetTree, added ...LeafIndex) *UpdatePath {
	w.t.Helper()
	return w.changedPath(c, tree, func(*UpdatePath) {}, added...)
}

// changedPath is a path that is changed before its hashes and signature are made.
func (w *world) changedPath(c *client, tree *RatchetTree, change func(*UpdatePath), added ...LeafIndex) *UpdatePath {
	w.t.Helper()
	isNew := make(map[NodeIndex]bool)
	for _, a := range added {
		isNew[a.Node()] = true
	}
	path := &UpdatePath{Leaf: w.bareLeaf(c, LeafCommit{})}
	steps := tree.filteredPath(c.leaf)
	for _, step := range steps {
		node := UpdatePathNode{EncryptionKey: w.hpkeKey()}
		for _, x := range tree.resolution(step.copath) {
			if !isNew[x] {
				node.Secrets = append(node.Secrets, HPKECiphertext{KEMOutput: w.kem, Ciphertext: w.random(w.suite.HashBytes() + 16)})
			}
		}
		path.Nodes = append(path.Nodes, node)
	}
	change(path)
	var above []byte
	for k := len(steps) - 1; k >= 0; k-- {
		above = tree.parentHash(w.suite, ParentNode{EncryptionKey: path.Nodes[k].EncryptionKey, ParentHash: above}, steps[k].copath)
	}
	path.Leaf.Source = LeafCommit{ParentHash: above}
	w.ok(path.Leaf.Sign(c.key, LeafPlace{GroupID: w.group.GroupID(), Leaf: c.leaf}))
	return path
}

func (w *world) input() CommitInput {
	return CommitInput{AtSeconds: testNow, Proposals: func(ref ProposalRef) (*PublicMessage, bool) {
		m, ok := w.pending[ref]
		return m, ok
	}}
}

// accept stages a Commit and makes its outcome the group.
func (w *world) accept(m *PublicMessage, in CommitInput) *Staged {
	w.t.Helper()
	staged, err := w.group.Stage(m, in)
	w.ok(err)
	w.group = staged.After
	clear(w.pending)
	return staged
}

// add commits the Adds of new clients, without a path, and sets their leaves.
func (w *world) add(committer *client, names ...string) []*client {
	w.t.Helper()
	var commit Commit
	var clients []*client
	for _, name := range names {
		c := w.client(name)
		clients = append(clients, c)
		commit.Proposals = append(commit.Proposals, InlineProposal{Add{w.keyPackage(c)}})
	}
	staged := w.accept(w.message(committer, MemberSender{committer.leaf}, commit), w.input())
	for i, a := range staged.Added {
		clients[i].leaf = a.Leaf
	}
	return clients
}
