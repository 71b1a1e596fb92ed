package judge

import (
	"strings"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// TestLeavingMember lets a member leave while others are about to remove it: only its SelfRemove can be committed then
// (mls-extensions, SelfRemove).
func TestLeavingMember(t *testing.T) {
	m := openMaker(t)
	leaf := m.leaf("bob2")
	sender := mls.MemberSender{Leaf: leaf}
	removal := m.commit("alice1", true, inline(mls.Remove{Removed: leaf}), leaf)
	earlier := m.message(m.key("alice1"), mls.MemberSender{Leaf: m.leaf("alice1")}, mls.Remove{Removed: leaf})
	m.accepted("a.example", m.propose(earlier))
	named := m.commit("alice1", true, []mls.ProposalOrRef{m.refOf(earlier)}, leaf)
	leave := m.message(m.key("bob2"), sender, mls.SelfRemove{})
	again := m.withData(m.key("bob2"), sender, mls.SelfRemove{}, "again")

	m.invalid("b.example", m.propose(leave, again), "two SelfRemoves")
	m.accepted("b.example", m.propose(leave))
	m.invalid("b.example", m.propose(again), "waits already")
	m.invalid("a.example", m.propose(m.withData(m.key("alice1"), mls.MemberSender{Leaf: m.leaf("alice1")}, mls.Remove{Removed: leaf}, "late")), "while a SelfRemove")
	m.refused("a.example", removal, "while a SelfRemove")
	m.refused("a.example", named, "while a SelfRemove")
	m.accepted("a.example", m.commit("alice1", true, []mls.ProposalOrRef{m.refOf(leave)}, leaf))
}

// withData is a message with authenticated data, which makes it another.
func (m *maker) withData(key *mls.SigningKey, sender mls.Sender, body mls.Content, data string) mls.MLSMessage {
	m.t.Helper()
	message := m.message(key, sender, body)
	publicOf(message).Content.AuthenticatedData = []byte(data)
	m.ok(publicOf(message).Sign(key, m.state().group.ContextBytes()))
	return message
}

// invalid sends Proposals that the room does not take.
func (m *maker) invalid(domain string, bundle mimi.HandshakeBundle, reason string) {
	m.t.Helper()
	if no := want[fsm.InvalidProposal](m.t, m.send(provider(m.t, domain), bundle)); !strings.Contains(no.Reason, reason) {
		m.t.Errorf("refused because %q, not %q", no.Reason, reason)
	}
}

func TestEphemeralProposals(t *testing.T) {
	m := openMaker(t)
	propose := func(id mls.ComponentID, data []byte) mimi.HandshakeBundle {
		return m.propose(m.message(m.key("alice1"), mls.MemberSender{Leaf: m.leaf("alice1")}, mls.AppEphemeral{Component: id, Data: data}))
	}
	m.invalid("a.example", propose(0xf123, nil), "not known")
	m.invalid("a.example", propose(mls.ComponentAppAck, []byte{9}), "component 0x0005")
	m.accepted("a.example", propose(mls.ComponentAppAck, mls.AppAck{{Sender: 1, First: 3, Last: 4}}.Marshal()))
}

// TestSafeAADOfMessages sends application messages into a room whose GroupContext demands a SafeAAD.
func TestSafeAADOfMessages(t *testing.T) {
	m := newHouse().allow(roleAdmin, mimi.CanChangeMlsOperationalPolicies, mimi.CanSendMessage).open(t)
	user, room := m.client("alice1").User, m.recording.Room.URI
	submit := func(epoch mls.Epoch, data []byte) fsm.Outcome {
		message := &mls.PrivateMessage{GroupID: m.state().GroupID, Epoch: epoch, ContentType: mls.ContentApplication,
			AuthenticatedData: data, EncryptedSenderData: m.random(8), Ciphertext: m.random(32)}
		return m.do(constructed(NewSubmit(user.Provider(), room, mimi.SubmitMessageRequest{Message: message, Sender: user}.Marshal())))
	}
	before := m.state().Epoch
	want[fsm.Accepted](t, submit(before, []byte{9}))
	extensions := m.state().group.Context().Extensions
	dictionary, err := extensions.Dictionary()
	m.ok(err)
	dictionary = dictionary.With(mls.ComponentSafeAAD, mls.ComponentsList{}.Marshal())
	free := extensions.With(mls.ExtensionRequiredCapabilities, mls.RequiredCapabilities{}.Marshal()) // of app_data_update, which guards it
	for _, next := range []mls.Extensions{free, free.With(mls.ExtensionAppDataDictionary, dictionary.Marshal())} {
		m.accepted("a.example", m.commit("alice1", true, inline(mls.GroupContextExtensions{Extensions: next})))
	}
	now := m.state().Epoch
	no := want[fsm.NotAllowed](t, submit(now, []byte{9}))
	if !strings.Contains(no.Reason, "Safe AAD") {
		t.Errorf("refused because %q", no.Reason)
	}
	want[fsm.Accepted](t, submit(now, mls.SafeAAD{{Component: 0x20, Data: []byte("data")}}.Marshal()))
	want[fsm.Accepted](t, submit(before+1, []byte{9})) // of the epoch before, in which anything could be sent
}
