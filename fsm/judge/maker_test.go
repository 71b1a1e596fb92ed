package judge

import (
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// maker makes handshake messages of the recorded clients beyond the recording, from their signature keys. Where a group secret
// would be needed it puts random octets, which a hub cannot tell.
type maker struct {
	*hub
	entropy  *rand.ChaCha8
	packages map[string]mls.KeyPackage // see packageOf
}

// openMaker has played everything before the race: epoch 3, with alice1, bob1, bob2 and bob3.
func openMaker(t testing.TB) *maker {
	t.Helper()
	m := &maker{hub: newHub(t), entropy: rand.NewChaCha8([32]byte{1})}
	m.open()
	return m
}

func (m *maker) random(n int) []byte {
	b := make([]byte, n)
	m.entropy.Read(b) // never fails
	return b
}

func (m *maker) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *maker) state() *roomState {
	m.t.Helper()
	state, err := readState(m.store, m.recording.Room.URI)
	m.ok(err)
	return state
}

func (m *maker) key(name string) *mls.SigningKey {
	m.t.Helper()
	return m.keyOf(m.client(name).SignatureKey.Seed)
}

func (m *maker) keyOf(seed string) *mls.SigningKey {
	m.t.Helper()
	private, err := hex.DecodeString(seed)
	m.ok(err)
	key, err := mls.NewSigningKey(m.state().group.Suite().Scheme, private)
	m.ok(err)
	return key
}

func (m *maker) newKey() *mls.SigningKey {
	m.t.Helper()
	key, err := mls.GenerateSigningKey(m.state().group.Suite().Scheme, m.entropy)
	m.ok(err)
	return key
}

// leaf finds the member of this name.
func (m *maker) leaf(name string) mls.LeafIndex {
	m.t.Helper()
	uri := m.client(name).URI.String()
	for i, leaf := range m.state().group.Members() {
		if nameOf(leaf.Credential) == uri {
			return i
		}
	}
	m.t.Fatalf("%s is not a member", name)
	return 0
}

func basic(identity string) mls.Credential { return mls.BasicCredential{Identity: []byte(identity)} }

// message frames and signs content.
func (m *maker) message(key *mls.SigningKey, sender mls.Sender, body mls.Content) mls.MLSMessage {
	m.t.Helper()
	group := m.state().group
	p := &mls.PublicMessage{Content: mls.FramedContent{GroupID: group.GroupID(), Epoch: group.Epoch(), Sender: sender, Body: body}}
	if body.ContentType() == mls.ContentCommit {
		p.Auth.ConfirmationTag = m.random(32)
	}
	if _, member := sender.(mls.MemberSender); member {
		p.MembershipTag = m.random(32)
	}
	m.ok(p.Sign(key, group.ContextBytes()))
	return mls.MLSMessage{Body: p}
}

// inline makes a Commit's list of Proposals that stand in it.
func inline(proposals ...mls.Proposal) (list []mls.ProposalOrRef) {
	for _, p := range proposals {
		list = append(list, mls.InlineProposal{Proposal: p})
	}
	return list
}

// commit is a member's. Leaves named in removed, by whatever Proposal, are gone when the path is made; a path there is if path says so.
func (m *maker) commit(name string, path bool, list []mls.ProposalOrRef, removed ...mls.LeafIndex) mimi.CommitBundle {
	m.t.Helper()
	key, at := m.key(name), m.leaf(name)
	commit := mls.Commit{Proposals: list}
	if path {
		tree := m.tree(removed)
		commit.Path = tree.path(at, m.random, *m.state().group.Tree().Leaf(at), m.state().GroupID, key)
	}
	return m.finish(key, m.message(key, mls.MemberSender{Leaf: at}, commit))
}

func (m *maker) tree(removed []mls.LeafIndex) *publicTree {
	group := m.state().group
	tree := &publicTree{t: m.t, suite: group.Suite(), nodes: group.Tree().Nodes()}
	for _, i := range removed {
		tree.remove(i)
	}
	return tree
}

// join is an external Commit of whoever holds the key, under a credential.
func (m *maker) join(key *mls.SigningKey, credential mls.Credential, list []mls.ProposalOrRef, removed ...mls.LeafIndex) mimi.CommitBundle {
	m.t.Helper()
	leaf := *m.state().group.Tree().Leaf(m.leaf("alice1")) // for its capabilities
	leaf.SignatureKey, leaf.Credential = key.Public(), credential
	tree := m.tree(removed)
	commit := mls.Commit{
		Proposals: append(inline(mls.ExternalInit{KEMOutput: m.random(32)}), list...),
		Path:      tree.path(tree.place(), m.random, leaf, m.state().GroupID, key),
	}
	return m.finish(key, m.message(key, mls.NewMemberCommit{}, commit))
}

// finish adds what goes with a Commit.
func (m *maker) finish(key *mls.SigningKey, commit mls.MLSMessage) mimi.CommitBundle {
	m.t.Helper()
	staged, err := stage(m.store, m.state(), publicOf(commit))
	m.ok(err)
	info := mls.GroupInfo{
		Context: staged.After.Context(), ConfirmationTag: staged.ConfirmationTag, Signer: staged.Committer,
		Extensions: mls.Extensions{}.With(mls.ExtensionExternalPub, mls.ExternalPub{Key: m.random(32)}.Marshal()),
	}
	m.ok(info.Sign(key))
	b := mimi.CommitBundle{Commit: commit, GroupInfo: mimi.FullGroupInfo{GroupInfo: info}, Tree: mimi.FullTree{Encoded: staged.After.Tree().Marshal()}}
	for _, added := range staged.Added {
		if b.Welcome == nil {
			b.Welcome = &mls.Welcome{Suite: staged.After.Suite().ID, EncryptedGroupInfo: m.random(32)}
		}
		b.Welcome.Secrets = append(b.Welcome.Secrets, secretsFor(added.Ref))
	}
	return b
}

func secretsFor(ref mls.KeyPackageRef) mls.EncryptedGroupSecrets {
	return mls.EncryptedGroupSecrets{NewMember: ref, Secrets: mls.HPKECiphertext{KEMOutput: []byte("kem"), Ciphertext: []byte("secrets")}}
}

// keyPackage is signed by its key and bears a credential.
func (m *maker) keyPackage(key *mls.SigningKey, credential mls.Credential) mls.KeyPackage {
	m.t.Helper()
	group := m.state().group
	k := mls.KeyPackage{Suite: group.Suite().ID, InitKey: m.random(32), Leaf: *group.Tree().Leaf(m.leaf("alice1"))}
	k.Leaf.EncryptionKey, k.Leaf.SignatureKey, k.Leaf.Credential = m.random(32), key.Public(), credential
	k.Leaf.Source = mls.Lifetime{NotBefore: m.now/1000 - 1000, NotAfter: m.now/1000 + 1000}
	m.ok(k.Leaf.Sign(key, mls.LeafPlace{}))
	m.ok(k.Sign(key))
	return k
}

// route records that a KeyPackage was claimed from a client of bob.
func (m *maker) route(k mls.KeyPackage, client mimi.ClientURI) {
	m.t.Helper()
	ref, err := k.Ref()
	m.ok(err)
	bob := m.client("bob1").User
	r, err := NewRecordRoutes(m.recording.Room.URI, []fsm.KeyPackageRoute{{
		Ref: ref, Provider: bob.Provider(), User: bob, Client: client, NotAfter: m.now/1000 + 1000,
	}})
	want[fsm.Done](m.t, m.do(constructed(r, err)))
}

// listUpdate changes the participant list, in which alice is 0 and bob 1.
func listUpdate(u mimi.ParticipantListUpdate) mls.Proposal {
	return mls.AppDataUpdate{Component: mimi.ComponentParticipantList, Operation: mls.ComponentUpdate{Update: u.Marshal()}}
}

func addToList(user string) mls.Proposal {
	uri, err := mimi.ParseUserURI(user)
	if err != nil {
		panic(err)
	}
	return listUpdate(mimi.ParticipantListUpdate{Added: []mimi.UserRolePair{{User: uri, Role: 2}}})
}

// rename is a Proposal that changes no tree, so that Commits of it differ by their tags alone.
func (m *maker) rename() mls.Proposal {
	m.t.Helper()
	context := m.state().group.Context()
	dictionary, err := context.Extensions.Dictionary()
	m.ok(err)
	data, _ := dictionary.Get(mimi.ComponentRoomMetadata)
	return mls.AppDataUpdate{Component: mimi.ComponentRoomMetadata, Operation: mls.ComponentUpdate{Update: data}}
}

func (m *maker) send(from mimi.Provider, bundle mimi.HandshakeBundle) fsm.Outcome {
	m.t.Helper()
	return m.do(constructed(NewUpdate(from, m.recording.Room.URI, bundle.Marshal())))
}

func (m *maker) propose(messages ...mls.MLSMessage) mimi.ProposalBundle {
	return mimi.ProposalBundle{Proposals: messages}
}

// refOf is a Proposal's reference.
func (m *maker) refOf(message mls.MLSMessage) mls.ProposalRef {
	return m.state().group.Suite().ProposalRef(publicOf(message).Authenticated())
}

func provider(t testing.TB, domain string) mimi.Provider {
	t.Helper()
	p, err := mimi.ParseProvider(domain)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
