package fsm_test

import (
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// treeOf is a ratchet tree of leaves that name these.
func treeOf(names ...string) mimi.FullTree {
	var tree mls.Writer
	tree.Vector(func(w *mls.Writer) {
		for i, name := range names {
			if i > 0 {
				w.Bool(false) // a blank parent
			}
			w.Bool(true)
			w.Uint8(1) // leaf
			mls.LeafNode{
				EncryptionKey: []byte(name), SignatureKey: []byte(name), Credential: mls.BasicCredential{Identity: []byte(name)},
				Capabilities: mls.Capabilities{Versions: []mls.Version{mls.MLS10}}, Source: mls.Lifetime{NotAfter: 1}, Signature: []byte("signature"),
			}.AppendTo(w)
		}
	})
	return mimi.FullTree{Encoded: tree.Bytes()}
}

// A Welcome whose tree has nobody of ours but those whom it welcomes begins the room anew here.
func TestWelcomeOfThoseAlone(t *testing.T) {
	welcome := &mls.Welcome{Secrets: []mls.EncryptedGroupSecrets{{NewMember: "one"}, {NewMember: "two"}}}
	const theirs, ours, more, third = "mimi://b.example/u/bob", "mimi://a.example/d/alice1", "mimi://a2.example/u/anna", "mimi://a.example/d/alice2"
	for name, test := range map[string]struct {
		tree  mimi.RatchetTreeOption
		alone bool
	}{
		"both":              {treeOf(theirs, ours, more), true},
		"one of two":        {treeOf(theirs, ours), true},
		"somebody was here": {treeOf(theirs, ours, more, third), false},
		"who is it":         {treeOf(theirs, "somebody"), false},
		"elsewhere":         {mimi.HTTPSTree{URL: "https://b.example/tree"}, false},
	} {
		facts := fsm.FactsOf(mimi.FanoutMessage{Event: mimi.FanoutWelcome{Welcome: welcome, Tree: test.tree}}, []mimi.Provider{hub, provider("a2.example")})
		if facts.Alone != test.alone || facts.Kind != fsm.HubWelcome || len(facts.Welcomed) != 2 {
			t.Errorf("%s: %+v", name, facts)
		}
	}
}

// What a Commit rests on is read from it: the Proposals that it names, and the group that a ReInit announces, by value or by reference.
func TestFactsOfHandshakes(t *testing.T) {
	framed := func(sender mls.Sender, body mls.Content) mls.MLSMessage {
		m := &mls.PublicMessage{Content: mls.FramedContent{GroupID: "group", Epoch: 7, Sender: sender, Body: body}}
		return mls.MLSMessage{Body: m}
	}
	reInit := mls.ReInit{GroupID: "next", Version: mls.MLS10, Suite: 1}
	proposal := framed(mls.MemberSender{}, reInit)
	offered := fsm.FactsOf(mimi.FanoutMessage{Event: mimi.FanoutProposals{Proposals: []mls.MLSMessage{proposal}}}, nil)
	if len(offered.Offers) != 3 || offered.Next != "next" || offered.Kind != fsm.HubProposals || offered.Epoch != 7 || offered.Group != "group" {
		t.Errorf("%+v", offered)
	}
	commit := framed(mls.NewMemberCommit{}, mls.Commit{Proposals: []mls.ProposalOrRef{mls.ProposalRef("p"), mls.InlineProposal{Proposal: reInit}}})
	got := fsm.FactsOf(mimi.FanoutMessage{Event: mimi.FanoutCommit{Commit: commit, ExternalProposals: []mls.MLSMessage{framed(mls.ExternalSenderIndex(0), mls.Remove{})}}}, nil)
	if !got.Joins || len(got.Needs) != 1 || got.Needs[0] != "p" || got.Next != "next" || len(got.Offers) != 3 || got.Kind != fsm.HubCommit {
		t.Errorf("%+v", got)
	}
	suite, err := mls.CipherSuite(7).Suite()
	check(t, err)
	if ref := suite.ProposalRef(proposal.Body.(*mls.PublicMessage).Authenticated()); offered.Offers[1] != ref {
		t.Error("the reference under SHA-384 is another")
	}
}
