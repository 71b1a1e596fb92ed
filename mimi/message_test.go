package mimi

import (
	"bytes"
	"testing"

	"parley/mls"
)

// TestWelcomeInMLSMessage: the wrapped form of optional<Welcome> is taken, and the bare one written.
func TestWelcomeInMLSMessage(t *testing.T) {
	bundle := sampleBundles()[0].(CommitBundle)
	strict := bundle.Marshal()
	at := len(bundle.Commit.Marshal()) + 1
	wrapped := append(append(bytes.Clone(strict[:at]), welcomeHeader...), strict[at:]...)
	got, err := ParseHandshakeBundle(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Marshal(), strict) {
		t.Errorf("wrote %x, want %x", got.Marshal(), strict)
	}
}

// TestSpellingIsKept: what was signed, or is the group's state, comes back as it was written.
func TestSpellingIsKept(t *testing.T) {
	const odd = "MIMI://B.example/u/b%6Fb"
	input := write(func(w *mls.Writer) {
		w.Vector(func(w *mls.Writer) {
			w.Opaque([]byte(odd))
			w.Uint32(2)
		})
	})
	list, err := ParseParticipantListData(input)
	if err != nil {
		t.Fatal(err)
	}
	if p, found := list.Find(sampleBob); !found || p.Role != 2 {
		t.Errorf("%s is not found as %s", odd, sampleBob)
	}
	if got := list.Marshal(); !bytes.Equal(got, input) {
		t.Errorf("wrote %s, want %s", got, input)
	}
	list.Participants[0].User = sampleAlice
	want := ParticipantListData{[]UserRolePair{{User: sampleAlice, Role: 2}}}.Marshal()
	if got := list.Marshal(); !bytes.Equal(got, want) {
		t.Errorf("the old spelling stays with a new user: %s", got)
	}
}

func TestParseFanout(t *testing.T) {
	var body []byte
	for _, m := range sampleFanout() {
		body = append(body, m.Marshal()...)
	}
	messages, err := ParseFanout(body)
	if err != nil || len(messages) != len(sampleFanout()) {
		t.Fatal(len(messages), err)
	}
	for i, m := range messages {
		if !bytes.Equal(m.Marshal(), sampleFanout()[i].Marshal()) {
			t.Errorf("message %d differs", i)
		}
	}
	bad := append(bytes.Clone(body), sampleFanout()[0].Marshal()[:20]...)
	for name, in := range map[string][]byte{
		"empty":     nil,
		"one bad":   bad,
		"cut":       body[:len(body)-1],
		"too many":  bytes.Repeat(sampleFanout()[0].Marshal(), FanoutMessagesMax+1),
		"not nul":   append(bytes.Clone(body), 0),
		"no octets": {},
	} {
		if got, err := ParseFanout(in); !isMalformed(err) || got != nil {
			t.Errorf("%s: %d messages, %v", name, len(got), err)
		}
	}
	if got, err := ParseFanout(bytes.Repeat(sampleFanout()[0].Marshal(), FanoutMessagesMax)); err != nil {
		t.Error(len(got), err)
	}
}

func TestEncodedFanout(t *testing.T) {
	commit, proposal := sampleCommit().Marshal(), sampleProposal().Marshal()
	for i, got := range [][]byte{
		write(func(w *mls.Writer) {
			AppendFanoutApplication(w, 1, mls.MLSMessage{Body: samplePrivate()}.Marshal(), nil)
		}),
		write(func(w *mls.Writer) {
			AppendFanoutApplication(w, 2, mls.MLSMessage{Body: samplePrivate()}.Marshal(), &sampleFrank)
		}),
		write(func(w *mls.Writer) {
			AppendFanoutWelcome(w, 3, mls.MLSMessage{Body: sampleWelcome()}.Marshal(), sampleTree().Marshal())
		}),
		write(func(w *mls.Writer) {
			AppendFanoutWelcome(w, 4, mls.MLSMessage{Body: sampleWelcome()}.Marshal(), HTTPSTree{URL: "https://a.example/tree"}.Marshal())
		}),
		write(func(w *mls.Writer) { AppendFanoutProposals(w, 5, [][]byte{proposal, proposal}) }),
		write(func(w *mls.Writer) { AppendFanoutCommit(w, 6, commit, nil) }),
		write(func(w *mls.Writer) { AppendFanoutCommit(w, 7, commit, [][]byte{proposal}) }),
	} {
		if want := sampleFanout()[i].Marshal(); !bytes.Equal(got, want) {
			t.Errorf("message %d\n got %x\nwant %x", i, got, want)
		}
	}
}

// TestProposalsAreBounded: a bundle cannot hold more than ProposalsMax.
func TestProposalsAreBounded(t *testing.T) {
	proposals := make([]mls.MLSMessage, ProposalsMax)
	for i := range proposals {
		proposals[i] = sampleProposal()
	}
	if _, err := ParseHandshakeBundle(ProposalBundle{proposals}.Marshal()); err != nil {
		t.Error(err)
	}
	if _, err := ParseHandshakeBundle(ProposalBundle{append(proposals, sampleProposal())}.Marshal()); !isMalformed(err) {
		t.Error(err)
	}
}

func TestFanoutEventMessages(t *testing.T) {
	for i, want := range []int{1, 1, 1, 1, 2, 1, 2} {
		if got := len(sampleFanout()[i].Event.MLSMessages()); got != want {
			t.Errorf("event %d has %d messages, want %d", i, got, want)
		}
	}
}

// TestRealBundles puts real clients' messages into the draft's structures.
func TestRealBundles(t *testing.T) {
	for _, suite := range []string{"suite1", "suite2", "suite3", "suite5", "suite7"} {
		commit := must(mls.ParseMLSMessage(transcript(t, suite, "commit_addN")))
		welcome := must(mls.ParseMLSMessage(transcript(t, suite, "commit_addN.welcome"))).Body.(*mls.Welcome)
		info := must(mls.ParseMLSMessage(transcript(t, suite, "commit_addN.group_info"))).Body.(*mls.GroupInfo)
		tree := FullTree{transcript(t, suite, "commit_addN.ratchet_tree")}
		for _, bundle := range []CommitBundle{
			{Commit: commit, Welcome: welcome, GroupInfo: FullGroupInfo{*info}, Tree: tree},
			{Commit: commit, Welcome: welcome, Tree: DistributionServiceTree{},
				GroupInfo: PartialGroupInfo{Extensions: info.Extensions, Signature: info.Signature}},
		} {
			encoded := bundle.Marshal()
			got, err := ParseUpdateRequest(encoded)
			if err != nil {
				t.Fatal(suite, err)
			}
			if !bytes.Equal(got.Marshal(), encoded) {
				t.Errorf("%s: the bundle differs", suite)
			}
		}
		if _, err := tree.ParseTree(); err != nil {
			t.Error(suite, err)
		}
		fanout := FanoutMessage{Millis: 1, Event: FanoutWelcome{Welcome: welcome, Tree: tree}}.Marshal()
		fanout = append(fanout, FanoutMessage{Millis: 1, Event: FanoutCommit{Commit: commit}}.Marshal()...)
		if messages, err := ParseFanout(fanout); err != nil || len(messages) != 2 {
			t.Error(suite, len(messages), err)
		}
		if _, err := ParseHandshakeBundle(transcript(t, suite, "private_commit")); !isMalformed(err) {
			t.Error(suite, "a private Commit was taken:", err)
		}
	}
}
