package judge

import (
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// preauthorizing is a preauth_list with one entry, for whose credential names a subject.
func preauthorizing(subject string) []byte {
	claim := mimi.Claim{ID: mimi.ClaimID{Type: mls.CredentialBasic, ID: []byte("sub")}, Value: []byte(subject)}
	return mimi.PreAuthData{Entries: []mimi.PreAuthRoleEntry{{
		Claims: []mimi.Claim{claim}, Role: mimi.Role{Index: roleAdmin, Capabilities: []mimi.Capability{mimi.CanRemoveParticipant}},
	}}}.Marshal()
}

// A room that preauthorizes anybody preauthorizes its hub, which has to remove who is gone.
func TestHubHoldsARole(t *testing.T) {
	m := openMaker(t)
	hub := mls.ExternalSenders{{SignatureKey: m.keyOf(m.recording.HubKey.Seed).Public(), Credential: basic("mimi://a.example")}}
	alice := m.client("alice1")
	create := func(preauth []byte) fsm.Outcome {
		list := mimi.ParticipantListData{Participants: []mimi.UserRolePair{{User: alice.User, Role: 1}}}
		dictionary := mls.AppDataDictionary{}.With(mimi.ComponentParticipantList, list.Marshal())
		if preauth != nil {
			dictionary = dictionary.With(mimi.ComponentPreauthorization, preauth)
		}
		group, err := mlstest.New(mlstest.Config{
			Suite: 1, Seed: 7, Members: 1,
			Extensions: mls.Extensions{}.With(mls.ExtensionExternalSenders, hub.Marshal()).With(mls.ExtensionAppDataDictionary, dictionary.Marshal()),
			Leaf:       func(leaf *mls.LeafNode) { leaf.Credential = basic(alice.User.String()) },
		})
		m.ok(err)
		info := group.GroupInfo()
		uri, err := mimi.ParseRoomURI("mimi://a.example/r/preauthorizing")
		m.ok(err)
		return m.do(constructed(NewCreateRoom(uri, alice.User, info.Marshal(), group.Tree())))
	}
	no := want[fsm.NotAllowed](t, create(preauthorizing("mimi://b.example")))
	if reason := "preauth_list gives this hub no role: no entry's claims are those of mimi://a.example"; no.Reason != reason {
		t.Errorf("refused because %q", no.Reason)
	}
	want[fsm.Accepted](t, create(preauthorizing("mimi://a.example")))

	m = newHouse().allow(roleAdmin, mimi.CanChangePreauthorizedUserList).open(t)
	update := func(subject string) []mls.ProposalOrRef {
		return inline(mls.AppDataUpdate{Component: mimi.ComponentPreauthorization, Operation: mls.ComponentUpdate{Update: preauthorizing(subject)}})
	}
	m.refused("a.example", m.commit("alice1", false, update("mimi://b.example")), "preauth_list gives this hub no role")
	m.accepted("a.example", m.commit("alice1", false, update("mimi://a.example")))
}
