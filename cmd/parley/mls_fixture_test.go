package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"parley/mls"
)

// fixtureNow lies within the lifetimes of the fixtures' KeyPackages.
const fixtureNow = 1_800_000_000 // 2027-01-15T08:00:00Z

// fixture is a group with clients that hold signature keys and no secrets. It writes what they send into a folder, as a
// transcript. Everything random comes from one seed, so the same calls write the same bytes.
type fixture struct {
	t       *testing.T
	dir     string
	suite   *mls.Suite
	entropy *rand.ChaCha8
	group   *mls.PublicGroup
	tag     []byte // the confirmation tag of the epoch
	pending map[mls.ProposalRef]*mls.PublicMessage
	steps   []map[string]any
	files   int
	embed   bool // GroupInfos embed the ratchet_tree
	hub     *mls.SigningKey
	alice   *fixtureClient
	aad     []byte // of every message
}

// fixtureClient is a client; its leaf is known once it is a member.
type fixtureClient struct {
	name string
	key  *mls.SigningKey
	leaf mls.LeafIndex
}

// newFixture makes a group of alice alone, in epoch 7, with more extensions beside external_senders.
func newFixture(t *testing.T, extensions ...mls.Extension) (*fixture, *fixtureClient) {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), entropy: rand.NewChaCha8([32]byte{7}), pending: make(map[mls.ProposalRef]*mls.PublicMessage)}
	f.suite = ok(mls.CipherSuite(1).Suite())(t)
	alice := f.client("alice")
	hub := f.client("hub")
	f.hub, f.alice = hub.key, alice
	tree := ok(mls.NewRatchetTree([][]byte{leafNode(f.keyPackage(alice, nil).Leaf)}))(t)
	senders := mls.ExternalSenders{{SignatureKey: hub.key.Public(), Credential: mls.BasicCredential{Identity: []byte("mimi://a.example")}}}
	f.tag = f.random(f.suite.HashBytes())
	info := mls.GroupInfo{
		Context: mls.GroupContext{
			Suite: 1, GroupID: "room", Epoch: 7, TreeHash: tree.TreeHash(f.suite), ConfirmedTranscriptHash: f.random(f.suite.HashBytes()),
			Extensions: append(mls.Extensions{{Type: mls.ExtensionExternalSenders, Data: senders.Marshal()}}, extensions...),
		},
		ConfirmationTag: f.tag,
	}
	f.ok(info.Sign(alice.key))
	f.group = ok(mls.NewPublicGroup(info, tree))(t)
	return f, alice
}

// ok fails the test on an error.
func ok[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// leafNode is the encoding of a Node that is a leaf.
func leafNode(leaf mls.LeafNode) []byte { return append([]byte{1}, leaf.Marshal()...) }

func (f *fixture) random(n int) []byte {
	b := make([]byte, n)
	f.entropy.Read(b) // never fails
	return b
}

func (f *fixture) hpkeKey() []byte {
	public, _, err := f.suite.GenerateHPKEKey(f.entropy)
	f.ok(err)
	return public
}

func (f *fixture) client(name string) *fixtureClient {
	f.t.Helper()
	return &fixtureClient{name: name, key: ok(mls.GenerateSigningKey(f.suite.Scheme, f.entropy))(f.t)}
}

// leaf is a client's new leaf, not yet signed.
func (f *fixture) leaf(c *fixtureClient, source mls.LeafNodeSource) mls.LeafNode {
	return mls.LeafNode{
		EncryptionKey: f.hpkeKey(), SignatureKey: c.key.Public(), Source: source,
		Credential: mls.BasicCredential{Identity: []byte("mimi://a.example/d/" + c.name)},
		Capabilities: mls.Capabilities{
			Versions: []mls.Version{mls.MLS10}, Suites: []mls.CipherSuite{1, 0x0a0a}, Credentials: []mls.CredentialType{mls.CredentialBasic},
			Extensions: []mls.ExtensionType{mls.ExtensionAppDataDictionary}, Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate},
		},
	}
}

// keyPackage is a client's KeyPackage, valid from an hour before fixtureNow for 90 days, and changed before it is signed.
func (f *fixture) keyPackage(c *fixtureClient, change func(*mls.KeyPackage)) mls.KeyPackage {
	f.t.Helper()
	k := mls.KeyPackage{Suite: 1, InitKey: f.hpkeKey(), Leaf: f.leaf(c, mls.Lifetime{NotBefore: fixtureNow - 3600, NotAfter: fixtureNow + 90*86400})}
	if change != nil {
		change(&k)
	}
	f.ok(k.Leaf.Sign(c.key, mls.LeafPlace{}))
	f.ok(k.Sign(c.key))
	return k
}

// message frames and signs content from a client.
func (f *fixture) message(key *mls.SigningKey, from mls.Sender, body mls.Content) *mls.PublicMessage {
	f.t.Helper()
	m := &mls.PublicMessage{Content: mls.FramedContent{
		GroupID: f.group.GroupID(), Epoch: f.group.Epoch(), Sender: from, AuthenticatedData: f.aad, Body: body,
	}}
	if body.ContentType() == mls.ContentCommit {
		m.Auth.ConfirmationTag = f.random(f.suite.HashBytes())
	}
	if _, member := from.(mls.MemberSender); member {
		m.MembershipTag = f.random(f.suite.HashBytes())
	}
	f.ok(m.Sign(key, f.group.ContextBytes()))
	return m
}

// groupInfo is the epoch's GroupInfo by a member.
func (f *fixture) groupInfo(by *fixtureClient) mls.GroupInfo {
	f.t.Helper()
	info := mls.GroupInfo{
		Context: f.group.Context(), ConfirmationTag: f.tag, Signer: by.leaf,
		Extensions: mls.Extensions{{Type: mls.ExtensionExternalPub, Data: mls.ExternalPub{Key: f.hpkeKey()}.Marshal()}},
	}
	if f.embed {
		info.Extensions = append(info.Extensions, mls.Extension{Type: mls.ExtensionRatchetTree, Data: f.group.Tree().Marshal()})
	}
	f.ok(info.Sign(by.key))
	return info
}

// write puts bytes into the folder and returns the file's name.
func (f *fixture) write(name string, b []byte) string {
	f.t.Helper()
	file := fmt.Sprintf("%03d-%s.bin", f.files, name)
	f.files++
	f.ok(os.WriteFile(filepath.Join(f.dir, file), b, 0o600))
	return file
}

func (f *fixture) put(name string, body mls.Body) string {
	return f.write(name, mls.MLSMessage{Body: body}.Marshal())
}

// path is where a file of the folder lies.
func (f *fixture) path(file string) string { return filepath.Join(f.dir, file) }

// step adds a step to the manifest.
func (f *fixture) step(kind string, fields map[string]any) {
	s := map[string]any{"kind": kind}
	maps.Copy(s, fields)
	f.steps = append(f.steps, s)
}

// epoch adds a step after which the group is as it is now.
func (f *fixture) epoch(kind string, by *fixtureClient, fields map[string]any) {
	c := f.group.Context()
	info := f.groupInfo(by)
	s := map[string]any{
		"epoch": fmt.Sprint(c.Epoch), "tree_hash": hex.EncodeToString(c.TreeHash), "confirmation_tag": hex.EncodeToString(f.tag),
		"confirmed_transcript_hash": hex.EncodeToString(c.ConfirmedTranscriptHash),
		"group_context":             f.write(kind+".group_context", f.group.ContextBytes()),
		"ratchet_tree":              f.write(kind+".ratchet_tree", f.group.Tree().Marshal()),
		"group_info":                f.put(kind+".group_info", &info),
	}
	maps.Copy(s, fields)
	f.step(kind, s)
}

// propose adds a step with a Proposal, which the group takes.
func (f *fixture) propose(kind string, m *mls.PublicMessage) mls.ProposalRef {
	f.t.Helper()
	ref := ok(f.group.VerifyProposal(m, fixtureNow))(f.t)
	f.pending[ref] = m
	f.step(kind, map[string]any{"file": f.put(kind, m), "ref": hex.EncodeToString([]byte(ref))})
	return ref
}

// commit adds a step with a member's Commit, with its Welcome, and brings the group into the epoch that it begins.
func (f *fixture) commit(kind string, by *fixtureClient, commit mls.Commit) *mls.Staged {
	f.t.Helper()
	m := f.message(by.key, mls.MemberSender{Leaf: by.leaf}, commit)
	staged := ok(f.group.Stage(m, mls.CommitInput{AtSeconds: fixtureNow, Proposals: func(ref mls.ProposalRef) (*mls.PublicMessage, bool) {
		p, known := f.pending[ref]
		return p, known
	}}))(f.t)
	fields := map[string]any{"commit": f.put(kind, m), "committer": by.leaf}
	if len(staged.Added) > 0 {
		fields["welcome"] = f.put(kind+".welcome", f.welcome(staged))
	}
	f.group, f.tag = staged.After, staged.ConfirmationTag
	clear(f.pending)
	f.epoch(kind, by, fields)
	return staged
}

// welcome is for the clients that a Commit adds.
func (f *fixture) welcome(staged *mls.Staged) *mls.Welcome {
	w := &mls.Welcome{Suite: 1, EncryptedGroupInfo: f.random(200)}
	for _, a := range staged.Added {
		secrets := mls.HPKECiphertext{KEMOutput: f.hpkeKey(), Ciphertext: f.random(84)}
		w.Secrets = append(w.Secrets, mls.EncryptedGroupSecrets{NewMember: a.Ref, Secrets: secrets})
	}
	return w
}

// private is an encrypted message of the epoch.
func (f *fixture) private(content mls.ContentType) *mls.PrivateMessage {
	return &mls.PrivateMessage{
		GroupID: f.group.GroupID(), Epoch: f.group.Epoch(), ContentType: content,
		AuthenticatedData: f.aad, EncryptedSenderData: f.random(28), Ciphertext: f.random(100),
	}
}

// save writes the manifest and returns the folder.
func (f *fixture) save() string {
	f.t.Helper()
	manifest := map[string]any{"suite": "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", "suite_id": 1, "generator": "fixture", "generated_at": fixtureNow, "steps": f.steps}
	f.ok(os.WriteFile(filepath.Join(f.dir, "manifest.json"), ok(json.Marshal(manifest))(f.t), 0o600))
	return f.dir
}
