package judge

import (
	"encoding/hex"
	"strings"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// lively is a house whose members may do what a room lives on.
func lively() *house {
	return newHouse().changes().
		allow(roleAdmin, mimi.CanSendMessage, mimi.CanChangeRoomName, mimi.CanKick, mimi.CanBan, mimi.CanChangeUserRole, mimi.CanRemoveParticipant).
		allow(roleMember, mimi.CanSendMessage, mimi.CanChangeRoomName, mimi.CanRemoveSelf, mimi.CanRemoveOwnClient, mimi.CanAddOwnClient)
}

// say sends an application message of a user, of an epoch.
func (m *maker) say(name string, epoch mls.Epoch) fsm.Outcome {
	m.t.Helper()
	message := &mls.PrivateMessage{GroupID: m.state().GroupID, Epoch: epoch, ContentType: mls.ContentApplication,
		EncryptedSenderData: m.random(8), Ciphertext: m.random(32)}
	body := mimi.SubmitMessageRequest{Message: message, Sender: user(name)}.Marshal()
	return m.do(constructed(NewSubmit(user(name).Provider(), m.recording.Room.URI, body)))
}

func (m *maker) silent(name, reason string) {
	m.t.Helper()
	if no := want[fsm.NotAllowed](m.t, m.say(name, m.state().Epoch)); !strings.Contains(no.Reason, reason) {
		m.t.Errorf("refused because %q, not %q", no.Reason, reason)
	}
}

func (m *maker) heard(name string) {
	m.t.Helper()
	want[fsm.Accepted](m.t, m.say(name, m.state().Epoch))
}

func renamed(name string) mls.Proposal {
	return update(mimi.ComponentRoomMetadata, mimi.RoomMetaData{Name: name})
}

// references names a bundle's Proposals in a Commit.
func (m *maker) references(bundle mimi.HandshakeBundle) (list []mls.ProposalOrRef) {
	for _, message := range bundle.(mimi.ProposalBundle).Proposals {
		list = append(list, m.refOf(message))
	}
	return list
}

func TestUserLeaves(t *testing.T) {
	m := lively().open(t)
	m.heard("carol")
	leave := proposing("carol1", unlisted(placeCarol), mls.SelfRemove{})(m)
	stale := m.judged(m.store.Clone(), "a.example", m.commit("carol1", false, inline(renamed("Den"))))
	m.accepted("a.example", leave)
	m.silent("carol", "leaving")
	m.invalid("a.example", proposing("carol1", renamed("Den"))(m), "banned or leaving")
	m.refused("a.example", m.commit("carol1", false, inline(renamed("Den"))), "leaving")
	m.refused("a.example", m.joinAs("carol"), "leaving")
	if no := want[fsm.NotAllowed](t, m.apply(stale)); !strings.Contains(no.Reason, "leaving") {
		t.Errorf("a Commit that was judged before is refused because %q", no.Reason)
	}
	m.heard("bob")
	leaf := m.leaf("carol1")
	m.accepted("a.example", m.commit("alice1", true, m.references(leave), leaf))
	m.silent("carol", "not a participant")

	// The user's entry alone will do.
	m = lively().open(t)
	stale = m.judged(m.store.Clone(), "a.example", m.commit("carol1", false, inline(renamed("Den"))))
	m.accepted("a.example", proposing("carol1", unlisted(placeCarol))(m))
	m.refused("a.example", m.commit("carol1", false, inline(renamed("Den"))), "leaving")
	if no := want[fsm.NotAllowed](t, m.apply(stale)); !strings.Contains(no.Reason, "leaving the room") {
		t.Errorf("a Commit that was judged before is refused because %q", no.Reason)
	}
}

func TestClientLeaves(t *testing.T) {
	m := lively().open(t)
	stale := m.judged(m.store.Clone(), "b.example", m.commit("bob2", false, inline(renamed("Den"))))
	m.accepted("b.example", proposing("bob2", mls.SelfRemove{})(m))
	m.heard("bob")
	m.invalid("b.example", proposing("bob2", renamed("Den"))(m), "banned or leaving")
	m.refused("b.example", m.commit("bob2", false, inline(renamed("Den"))), "leaving")
	if no := want[fsm.NotAllowed](t, m.apply(stale)); !strings.Contains(no.Reason, "leaving") {
		t.Errorf("a Commit that was judged before is refused because %q", no.Reason)
	}
	m.accepted("b.example", proposing("bob1", renamed("Den"))(m))
	m.accepted("b.example", proposing("bob2", mls.Remove{Removed: m.leaf("bob1")})(m)) // its own, which it still may
	m.silent("bob", "leaving")
	m.accepted("b.example", m.joinAs("bob"))
	m.heard("bob")
}

func TestBanSilencesAtOnce(t *testing.T) {
	m := lively().open(t)
	m.accepted("a.example", proposing("alice1", moved(placeCarol, roleBanned), mls.Remove{Removed: m.leaf("carol1")})(m))
	m.silent("carol", "banned")
	m.refused("a.example", m.commit("carol1", false, inline(renamed("Den"))), "leaving, or banned")
	m.accepted("a.example", m.commit("alice1", true, nil)) // it need not be committed, and then is no ban
	m.heard("carol")
}

func TestLeaveIsDue(t *testing.T) {
	hubRemove := func(m *maker, name string) mimi.HandshakeBundle {
		return m.propose(m.message(m.keyOf(m.recording.HubKey.Seed), mls.ExternalSenderIndex(0), mls.Remove{Removed: m.leaf(name)}))
	}
	for name, c := range map[string]struct {
		leave  func(*maker) mimi.HandshakeBundle
		commit func(*maker) mimi.HandshakeBundle
		from   string
		late   bool // it may leave the leave out however late
	}{
		"SelfRemove":          {proposing("bob2", mls.SelfRemove{}), nil, "b.example", false},
		"SelfRemove, outside": {proposing("bob2", mls.SelfRemove{}), joining("carol"), "b.example", false},
		"own Remove":          {func(m *maker) mimi.HandshakeBundle { return proposing("bob1", mls.Remove{Removed: m.leaf("bob2")})(m) }, nil, "b.example", false},
		"own Remove, outside": {func(m *maker) mimi.HandshakeBundle { return proposing("bob1", mls.Remove{Removed: m.leaf("bob2")})(m) }, joining("carol"), "b.example", true},
		"the hub's Remove":    {func(m *maker) mimi.HandshakeBundle { return hubRemove(m, "bob2") }, nil, "a.example", false},
		"participant":         {proposing("carol1", unlisted(placeCarol), mls.SelfRemove{}), nil, "a.example", false},
		"ban":                 {func(m *maker) mimi.HandshakeBundle { return proposing("alice1", moved(placeDave, roleBanned))(m) }, nil, "a.example", true},
		"kick": {func(m *maker) mimi.HandshakeBundle {
			return proposing("alice1", mls.Remove{Removed: m.leaf("carol1")})(m)
		}, nil, "a.example", true},
		"removed by somebody besides": {func(m *maker) mimi.HandshakeBundle { return hubRemove(m, "carol1") }, removing(nil, "carol1"), "a.example", true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.commit == nil {
				c.commit = byAlice(renamed("Den"))
			}
			early := lively().open(t)
			leave := c.leave(early)
			early.accepted(c.from, leave)
			early.accepted("a.example", c.commit(early))

			m := lively().open(t)
			leave = c.leave(m)
			m.accepted(c.from, leave)
			settings, _, err := fsm.ReadSettings(m.store)
			m.ok(err)
			m.now += settings.LeaveGraceMillis
			bundle := c.commit(m)
			if c.late {
				m.accepted("a.example", bundle)
				return
			}
			m.frozen = true
			m.apply(fsm.Fence{})
			ref := m.references(leave)
			m.refused("a.example", bundle, hex.EncodeToString([]byte(ref[len(ref)-1].(mls.ProposalRef))))
		})
	}
}

// TestLeaveIsNamed commits what is due, with the reference that the refusal named.
func TestLeaveIsNamed(t *testing.T) {
	m := lively().open(t)
	leave := proposing("bob2", mls.SelfRemove{})(m)
	m.accepted("b.example", leave)
	m.now += 10 * 60_000
	m.accepted("a.example", m.commit("alice1", true, m.references(leave), m.leaf("bob2")))
}

// A SelfRemove that is accepted between a Commit's judgement and its entry in the log is not overtaken by the Commit's Remove.
func TestSelfRemoveComesBetween(t *testing.T) {
	m := lively().open(t)
	bundle := removing(nil, "bob2")(m).(mimi.CommitBundle)
	command := m.judged(m.store.Clone(), "a.example", bundle)
	m.accepted("b.example", proposing("bob2", mls.SelfRemove{})(m))
	want[fsm.ReadSetChanged](t, m.apply(command))
	m.refused("a.example", bundle, "while a SelfRemove")
}

func TestMinimaHoldWhoLeaves(t *testing.T) {
	atLeast := func(n uint32) mimi.Bounds { return mimi.Bounds{Min: n} }
	m := lively().bound(roleMember, atLeast(3), mimi.Bounds{}).open(t)
	m.refused("a.example", proposing("carol1", unlisted(placeCarol), mls.SelfRemove{})(m), "must have 3 participants")
	m.accepted("a.example", proposing("carol1", mls.SelfRemove{})(m))

	m = lively().bound(roleMember, mimi.Bounds{}, atLeast(2)).open(t)
	m.refused("a.example", proposing("carol1", mls.SelfRemove{})(m), "must have 2 active")
	m.accepted("b.example", proposing("bob2", mls.SelfRemove{})(m))
	m.refused("b.example", proposing("bob1", mls.SelfRemove{})(m), "must have 2 active")

	// The hub lets go whom it has to, and then nothing stands in the way.
	remove := m.propose(m.message(m.keyOf(m.recording.HubKey.Seed), mls.ExternalSenderIndex(0), mls.Remove{Removed: m.leaf("carol1")}))
	m.accepted("a.example", remove)
	m.accepted("a.example", m.commit("alice1", true, m.references(remove), m.leaf("carol1")))
}

func TestWhoMaySendMessages(t *testing.T) {
	m := lively().open(t)
	m.heard("alice")
	m.heard("carol")
	m.silent("mallory", "canSendMessage")
	before := m.state().Epoch
	m.accepted("a.example", m.commit("alice1", false, inline(moved(placeCarol, roleGuest))))
	m.silent("carol", "canSendMessage")
	if no := want[fsm.NotAllowed](t, m.say("carol", before)); !strings.Contains(no.Reason, "canSendMessage") {
		t.Errorf("a message of the epoch before is refused because %q", no.Reason)
	}
	m.accepted("a.example", m.commit("alice1", true, nil))
	m.silent("carol", "canSendMessage")

	m = (&house{list: newHouse().list, clients: newHouse().clients}).open(t)
	m.heard("mallory") // without roles_list nobody is banned
}

// The roles of memberships that are older than the format are in the participant list.
func TestSilenceOfOlderMemberships(t *testing.T) {
	m := &maker{hub: newHubOf(t, fsm.FormatRevocations)}
	m.entropy = foundation(t).entropy
	m.open()
	settings, version, err := fsm.ReadSettings(m.store)
	m.ok(err)
	settings.Format = fsm.FormatNewest
	m.apply(fsm.EnterSettings{Version: version + 1, Settings: settings})
	m.heard("bob")
	command := m.judged(m.store, "a.example", m.commit("alice1", false, inline(m.rename())))
	command.Ruling.Rules.Silent = []uint32{roleMember}
	want[fsm.Accepted](t, m.apply(command))
	m.silent("bob", "canSendMessage")
	m.heard("alice")
}

func TestEpochToleranceOfTheRoom(t *testing.T) {
	for tolerance, taken := range map[uint8]bool{1: false, 3: true} {
		p := mimi.OperationalParameters{ExternalCommits: true, ExternalProposals: true}
		p.Messages.EpochTolerance = tolerance
		m := lively().with(mimi.ComponentMLSOperationalPolicy, p).open(t)
		first := m.state().Epoch
		for range 3 {
			m.accepted("a.example", m.commit("alice1", true, nil))
		}
		switch outcome := m.say("bob", first).(type) {
		case fsm.Accepted:
			if !taken {
				t.Errorf("with a tolerance of %d a message of three epochs ago was taken", tolerance)
			}
		case fsm.EpochTooOld:
			if taken {
				t.Errorf("with a tolerance of %d a message of three epochs ago was refused", tolerance)
			}
		default:
			t.Errorf("with a tolerance of %d: %+v", tolerance, outcome)
		}
	}
}

// A client that its provider introduces with its user is known from then on.
func TestIntroducedClient(t *testing.T) {
	open := func() *house {
		return lively().allow(mimi.RoleNone, mimi.CanOpenJoin).change(mimi.RoleNone, mimi.RoleNone, roleMember)
	}
	m := open().open(t)
	key := m.newKey()
	m.accepted("a.example", m.join(key, basic("mimi://a.example/d/frank1"), inline(listed("frank", roleMember))))
	c := client{User: user("frank")}
	uri, err := mimi.ParseClientURI("mimi://a.example/d/frank1")
	m.ok(err)
	c.URI = uri
	m.recording.Clients = append(m.recording.Clients, c)
	at := m.leaf("frank1")
	m.accepted("a.example", m.finish(key, m.message(key, mls.MemberSender{Leaf: at}, mls.Commit{Proposals: inline(renamed("Den"))})))

	m = open().open(t)
	m.refused("b.example", m.join(m.newKey(), basic("mimi://a.example/d/frank1"), inline(listed("frank", roleMember))), "provider that sent")
	m.refused("b.example", m.join(m.newKey(), basic("mimi://b.example/d/frank1"), inline(listed("frank", roleMember))), "no user")
	m.refused("a.example", m.join(m.newKey(), basic("mimi://a.example/d/carol1"), inline(listed("frank", roleMember))), "canAddParticipant")
}

// Whom the hub has to remove is due as well, also when an external Commit has renewed the hub's Proposals.
func TestTheHubsRemovalsAreDue(t *testing.T) {
	late := func(m *maker) {
		m.t.Helper()
		settings, _, err := fsm.ReadSettings(m.store)
		m.ok(err)
		m.now += settings.LeaveGraceMillis
		m.apply(fsm.Fence{})
		m.frozen = true
		m.refused("a.example", m.commit("alice1", false, inline(m.rename())), "left longer ago")
		m.accepted("a.example", m.commit("alice1", true, m.pendingRefs(), m.leaf("bob2")))
	}
	m := openMaker(t)
	m.depart("bob2")
	m.usher()
	late(m)

	m = openMaker(t)
	m.depart("bob2")
	m.usher()
	m.accepted("a.example", m.join(m.newKey(), basic(m.client("alice1").URI.String()), nil))
	if len(m.pending()) != 1 {
		t.Fatalf("%d Proposals wait", len(m.pending()))
	}
	late(m)
}

// Nothing of who was on the way out outlives the room.
func TestLeavesEndWithTheRoom(t *testing.T) {
	m := lively().open(t)
	m.accepted("a.example", proposing("carol1", unlisted(placeCarol), mls.SelfRemove{})(m))
	leaf := m.leaf("carol1")
	want[fsm.Accepted](t, m.destroy())
	rules, err := fsm.ReadRoomRules(m.store, houseURI)
	m.ok(err)
	users, err := fsm.ReadLeavingUsers(m.store, houseURI)
	m.ok(err)
	if _, leaving, err := fsm.ReadLeavingClient(m.store, houseURI, leaf); err != nil || leaving || len(users) > 0 || len(rules.Silent) > 0 {
		t.Errorf("left are %v, %v and %v, %v", rules, users, leaving, err)
	}
}
