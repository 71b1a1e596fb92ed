package judge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// parsed takes a recorded step's bundle apart, to be altered.
func (m *maker) parsed(s step) mimi.CommitBundle {
	m.t.Helper()
	bundle, err := mimi.ParseUpdateRequest(m.bundle(s))
	m.ok(err)
	return bundle.(mimi.CommitBundle)
}

func (m *maker) step(name string) step {
	m.t.Helper()
	i := slices.IndexFunc(m.recording.Steps, func(s step) bool { return s.Name == name })
	if i < 0 {
		m.t.Fatalf("no step %s", name)
	}
	return m.recording.Steps[i]
}

// Each case alters one thing of a recorded Commit.
func TestAlteredCommits(t *testing.T) {
	changed := func(change func(p *mls.PublicMessage)) func(*maker, *mimi.CommitBundle) {
		return func(_ *maker, b *mimi.CommitBundle) { change(publicOf(b.Commit)) }
	}
	withInfo := func(change func(info *mls.GroupInfo)) func(*maker, *mimi.CommitBundle) {
		return func(_ *maker, b *mimi.CommitBundle) {
			info := b.GroupInfo.(mimi.FullGroupInfo).GroupInfo
			change(&info)
			b.GroupInfo = mimi.FullGroupInfo{GroupInfo: info}
		}
	}
	for name, alter := range map[string]func(*maker, *mimi.CommitBundle){
		"signature":         changed(func(p *mls.PublicMessage) { p.Auth.Signature[5] ^= 1 }),
		"no signature":      changed(func(p *mls.PublicMessage) { p.Auth.Signature = nil }),
		"content":           changed(func(p *mls.PublicMessage) { p.Content.AuthenticatedData = []byte("x") }),
		"confirmation tag":  changed(func(p *mls.PublicMessage) { p.Auth.ConfirmationTag[0] ^= 1 }),
		"another member":    changed(func(p *mls.PublicMessage) { p.Content.Sender = mls.MemberSender{Leaf: 1} }),
		"no member":         changed(func(p *mls.PublicMessage) { p.Content.Sender = mls.MemberSender{Leaf: 99} }),
		"external sender":   changed(func(p *mls.PublicMessage) { p.Content.Sender = mls.ExternalSenderIndex(0) }),
		"another group":     changed(func(p *mls.PublicMessage) { p.Content.GroupID = "another" }),
		"info's signature":  withInfo(func(info *mls.GroupInfo) { info.Signature[5] ^= 1 }),
		"info's tag":        withInfo(func(info *mls.GroupInfo) { info.ConfirmationTag[0] ^= 1 }),
		"info's signer":     withInfo(func(info *mls.GroupInfo) { info.Signer = 1 }),
		"info's tree hash":  withInfo(func(info *mls.GroupInfo) { info.Context.TreeHash[0] ^= 1 }),
		"info of no member": withInfo(func(info *mls.GroupInfo) { info.Signer = 99 }),
		"info of old epoch": func(m *maker, b *mimi.CommitBundle) { b.GroupInfo = m.parsed(m.step("external_join")).GroupInfo },
		"tree of old epoch": func(m *maker, b *mimi.CommitBundle) { b.Tree = m.parsed(m.step("external_join")).Tree },
		"partial info's signature": func(m *maker, b *mimi.CommitBundle) {
			info := partial(*b)
			info.Signature = m.random(64)
			b.GroupInfo = info
		},
		"partial info's external_pub": func(m *maker, b *mimi.CommitBundle) {
			info := partial(*b)
			info.Extensions = mls.Extensions{}.With(mls.ExtensionExternalPub, mls.ExternalPub{Key: m.random(32)}.Marshal())
			b.GroupInfo = info
		},
		"Welcome for nobody": func(m *maker, b *mimi.CommitBundle) { b.Welcome = m.parsed(m.step("commit_add_bob")).Welcome },
	} {
		t.Run(name, func(t *testing.T) {
			m := openMaker(t)
			bundle := m.parsed(m.recording.Race.Alice)
			alter(m, &bundle)
			m.refused("a.example", bundle, "")
		})
	}
	t.Run("another provider", func(t *testing.T) {
		m := openMaker(t)
		m.refused("b.example", m.parsed(m.recording.Race.Alice), "provider that sent")
	})
}

func partial(b mimi.CommitBundle) mimi.PartialGroupInfo {
	info := b.GroupInfo.(mimi.FullGroupInfo).GroupInfo
	return mimi.PartialGroupInfo{Extensions: info.Extensions, Signature: info.Signature}
}

// TestPartialGroupInfo sends what the hub cannot compute of a GroupInfo, and finds the whole of it in the room.
func TestPartialGroupInfo(t *testing.T) {
	m := openMaker(t)
	bundle := m.parsed(m.recording.Race.Alice)
	whole := bundle.GroupInfo.(mimi.FullGroupInfo).GroupInfo.Marshal()
	bundle.GroupInfo = partial(bundle)
	m.accepted("a.example", bundle)
	if !bytes.Equal(m.state().GroupInfo, whole) {
		t.Error("the room's GroupInfo is not the one that was signed")
	}
}

func TestAlteredWelcome(t *testing.T) {
	for name, alter := range map[string]func(*mimi.CommitBundle){
		"missing":       func(b *mimi.CommitBundle) { b.Welcome = nil },
		"for one more":  func(b *mimi.CommitBundle) { b.Welcome.Secrets = append(b.Welcome.Secrets, secretsFor("another")) },
		"for one less":  func(b *mimi.CommitBundle) { b.Welcome.Secrets = b.Welcome.Secrets[:1] },
		"for one twice": func(b *mimi.CommitBundle) { b.Welcome.Secrets[1] = b.Welcome.Secrets[0] },
		"another suite": func(b *mimi.CommitBundle) { b.Welcome.Suite = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			m := &maker{hub: newHub(t)}
			m.recordBob()
			want[fsm.Accepted](t, m.create())
			bundle := m.parsed(m.step("commit_add_bob"))
			alter(&bundle)
			m.refused("a.example", bundle, "Welcome")
		})
	}
}

func TestCommitOfAnotherEpoch(t *testing.T) {
	m := openMaker(t)
	before := m.digest()
	future := m.parsed(m.recording.Race.Alice)
	publicOf(future.Commit).Content.Epoch = 9
	if wrong := want[fsm.WrongEpoch](t, m.send(provider(t, "a.example"), future)); wrong != (fsm.WrongEpoch{Current: 3}) {
		t.Errorf("the future one was told %+v", wrong)
	}
	elsewhere := m.parsed(m.recording.Race.Alice)
	publicOf(elsewhere.Commit).Content.GroupID, publicOf(elsewhere.Commit).Content.Epoch = "another", 2
	m.refused("a.example", elsewhere, "another group") // of no epoch of this group
	past := m.parsed(m.step("commit_add_bob"))
	winner := sha256.Sum256(past.Commit.Marshal())
	publicOf(past.Commit).Auth.Signature[0] ^= 1
	if wrong := want[fsm.WrongEpoch](t, m.send(provider(t, "a.example"), past)); wrong != (fsm.WrongEpoch{Current: 3, Winner: winner}) {
		t.Errorf("the past one was told %+v", wrong)
	}
	if m.digest() != before {
		t.Error("a refusal changed the state")
	}
}

func TestUnknownProposalIsNamed(t *testing.T) {
	m := &maker{hub: newHub(t)}
	m.recordBob()
	want[fsm.Accepted](t, m.create())
	m.play(m.step("commit_add_bob"))
	before := m.digest()
	invalid := want[fsm.InvalidProposal](t, m.update(m.step("commit_rename")))
	if len(invalid.Refs) != 1 || hex.EncodeToString([]byte(invalid.Refs[0])) != m.step("commit_rename").Refs[0] {
		t.Errorf("named %x", invalid.Refs)
	}
	if m.digest() != before {
		t.Error("the refusal changed the state")
	}
}

func TestInvalidProposalsAreNamed(t *testing.T) {
	m := openMaker(t)
	bob1, bob2 := mls.MemberSender{Leaf: m.leaf("bob1")}, mls.MemberSender{Leaf: m.leaf("bob2")}
	key := m.key("bob1")
	leaf := *m.state().group.Tree().Leaf(bob1.Leaf)
	leaf.Credential, leaf.EncryptionKey, leaf.Source = basic("mimi://a.example/u/alice"), m.random(32), mls.LeafUpdate{}
	m.ok(leaf.Sign(key, mls.LeafPlace{GroupID: m.state().GroupID, Leaf: bob1.Leaf}))
	extensions := m.state().group.Context().Extensions.With(mls.ExtensionExternalSenders, mls.ExternalSenders{}.Marshal())
	spoilt := m.message(key, bob1, mls.Remove{Removed: 0})
	publicOf(spoilt).Auth.Signature[0] ^= 1
	valid := m.message(key, bob1, m.rename())
	for name, bad := range map[string]mls.MLSMessage{
		"another name":      m.message(key, bob1, mls.Update{Leaf: leaf}),
		"ReInit":            m.message(key, bob1, mls.ReInit{GroupID: "next", Version: mls.MLS10, Suite: 1}),
		"ExternalInit":      m.message(key, bob1, mls.ExternalInit{KEMOutput: m.random(32)}),
		"no hub":            m.message(key, bob1, mls.GroupContextExtensions{Extensions: extensions}),
		"no such member":    m.message(key, bob1, mls.Remove{Removed: 9}),
		"no such index":     m.message(key, bob1, listUpdate(mimi.ParticipantListUpdate{Removed: []uint32{9}})),
		"unknown component": m.message(key, bob1, mls.AppDataUpdate{Component: 0x7777, Operation: mls.ComponentRemove{}}),
		"no list":           m.message(key, bob1, mls.AppDataUpdate{Component: mimi.ComponentParticipantList, Operation: mls.ComponentRemove{}}),
		"not vouched":       m.message(key, bob1, mls.Add{KeyPackage: m.keyPackage(m.newKey(), basic("mimi://a.example/u/alice"))}),
		"another sender":    m.message(m.key("bob2"), bob2, m.rename()),
		"signature":         spoilt,
	} {
		t.Run(name, func(t *testing.T) {
			m.t = t
			before := m.digest()
			invalid := want[fsm.InvalidProposal](t, m.send(provider(t, "b.example"), m.propose(valid, bad)))
			if !slices.Equal(invalid.Refs, []mls.ProposalRef{m.refOf(bad)}) || invalid.Reason == "" {
				t.Errorf("named %x because %q", invalid.Refs, invalid.Reason)
			}
			if m.digest() != before {
				t.Error("the refusal changed the state")
			}
		})
	}
}

func TestWhoMayPropose(t *testing.T) {
	m := openMaker(t)
	key := m.key("bob1")
	bob1 := mls.MemberSender{Leaf: m.leaf("bob1")}
	m.refused("a.example", m.propose(m.message(key, bob1, m.rename())), "provider that sent")

	hub := m.keyOf(m.recording.HubKey.Seed)
	remove := m.message(hub, mls.ExternalSenderIndex(0), mls.Remove{Removed: bob1.Leaf})
	m.refused("b.example", m.propose(remove), "external sender")
	m.accepted("a.example", m.propose(remove))

	stranger := m.newKey()
	join := func(identity string) mimi.HandshakeBundle {
		return m.propose(m.message(stranger, mls.NewMemberProposal{}, mls.Add{KeyPackage: m.keyPackage(stranger, basic(identity))}))
	}
	m.refused("b.example", join("mimi://b.example/u/eve"), "not a participant")
	m.accepted("b.example", join("mimi://b.example/u/bob"))
	want[fsm.InvalidProposal](t, m.send(provider(t, "a.example"), join("mimi://b.example/u/bob")))
}

func TestExternalSenderOfAProvider(t *testing.T) {
	m := newHouse().allow(roleAdmin, mimi.CanChangeMlsOperationalPolicies).open(t)
	key, stranger := m.newKey(), m.newKey()
	context := m.state().group.Context()
	senders, err := m.state().group.ExternalSenders()
	m.ok(err)
	senders = append(senders,
		mls.ExternalSender{SignatureKey: key.Public(), Credential: basic("mimi://b.example")},
		mls.ExternalSender{SignatureKey: stranger.Public(), Credential: basic("mimi://c.example")})
	extensions := context.Extensions.With(mls.ExtensionExternalSenders, senders.Marshal())
	m.accepted("a.example", m.commit("alice1", true, inline(mls.GroupContextExtensions{Extensions: extensions})))

	theirs := m.propose(m.message(key, mls.ExternalSenderIndex(1), mls.Remove{Removed: m.leaf("bob2")}))
	m.refused("a.example", theirs, "external sender")
	m.accepted("b.example", theirs)
	m.refused("c.example", m.propose(m.message(stranger, mls.ExternalSenderIndex(2), mls.Remove{Removed: m.leaf("bob2")})), "no participant")
}

func TestCreateRoomRefusals(t *testing.T) {
	m := &maker{hub: newHub(t)}
	m.frozen = true
	s := m.step("create_group")
	alice, room := m.client("alice1").User, m.recording.Room.URI
	user := func(uri string) mimi.UserURI {
		u, err := mimi.ParseUserURI(uri)
		m.ok(err)
		return u
	}
	foreign, err := mimi.ParseRoomURI("mimi://b.example/r/den")
	m.ok(err)
	for name, c := range map[string]struct {
		room    mimi.RoomURI
		creator mimi.UserURI
		info    []byte
		tree    []byte
	}{
		"foreign room":    {foreign, alice, s.GroupInfo, s.RatchetTree},
		"foreign creator": {room, user("mimi://b.example/u/bob"), s.GroupInfo, s.RatchetTree},
		"not listed":      {room, user("mimi://a.example/u/anna"), s.GroupInfo, s.RatchetTree},
		"unmapped member": {room, alice, m.step("commit_add_bob").GroupInfo, m.step("commit_add_bob").RatchetTree},
	} {
		before := m.digest()
		want[fsm.NotAllowed](t, m.do(constructed(NewCreateRoom(c.room, c.creator, c.info, c.tree))))
		if m.digest() != before {
			t.Errorf("%s: the refusal changed the state", name)
		}
	}
	if _, err := NewCreateRoom(room, alice, s.GroupInfo, m.step("commit_add_bob").RatchetTree); err == nil {
		t.Error("a room with another group's tree was taken")
	}
	settings, _, err := fsm.ReadSettings(m.store)
	m.ok(err)
	settings.HubKeys = [][]byte{make([]byte, 32)}
	m.apply(fsm.EnterSettings{Version: 2, Settings: settings})
	want[fsm.NotAllowed](t, m.create())
}
