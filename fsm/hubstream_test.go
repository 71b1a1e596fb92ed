package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

const (
	hubPatience = 10_000     // as in hubheld.go
	hubGap      = 5 * 60_000 // the default
)

// A hub that has several bodies of a room under way at once, which arrive in any order and twice, some of them refused: the inbox has each
// message once, Commits and Proposals in the hub's order, and no message before its epoch.
func TestPipelinedBodiesComeInOrder(t *testing.T) {
	for seed := range uint64(60) {
		dice := rand.New(rand.NewPCG(seed, 7))
		h, f := newHubHistory(t, "busy@b.example", 5), newFollower(t)
		h.body(h.commit("first"), h.welcome("k"))
		randomHistory(h, dice, 40)
		deliverPipelined(f, h, dice, 1+int(seed%8))
		verifyInbox(t, fmt.Sprintf("seed %d", seed), h, f.inbox(h.room.URI))
		if t.Failed() {
			return
		}
	}
}

func randomHistory(h *hubHistory, dice *rand.Rand, bodies int) {
	n := 0
	for range bodies {
		var messages []fsm.HubMessage
		for range 1 + dice.IntN(3) {
			n++
			switch dice.IntN(6) {
			case 0:
				messages = append(messages, h.propose(fmt.Sprintf("p%d", n)))
			case 1:
				messages = append(messages, h.propose(fmt.Sprintf("p%da", n), fmt.Sprintf("p%db", n)))
			case 2, 3:
				messages = append(messages, h.commit(fmt.Sprintf("c%d", n)))
				if dice.IntN(4) == 0 {
					messages = append(messages, h.welcome(fmt.Sprintf("w%d", n)))
				}
			default:
				messages = append(messages, h.application(fmt.Sprintf("m%d", n)))
			}
		}
		h.body(messages...)
	}
}

// deliverPipelined sends up to width bodies at once. The first one goes alone: what a room begins with is known when it has been taken.
func deliverPipelined(f *follower, h *hubHistory, dice *rand.Rand, width int) {
	f.t.Helper()
	f.taken(h, h.bodies[0])
	waiting := slices.Clone(h.bodies[1:])
	for len(waiting) > 0 {
		i := dice.IntN(min(width, len(waiting)))
		if got := f.receive(h, waiting[i]); got.Stop != fsm.StopNone {
			f.t.Fatalf("%+v", got)
		}
		if dice.IntN(4) > 0 { // otherwise the answer is lost, and it comes again
			waiting = slices.Delete(waiting, i, i+1)
		}
	}
}

// verifyInbox compares an inbox with what the hub has made happen.
func verifyInbox(t *testing.T, name string, h *hubHistory, got []string) {
	t.Helper()
	var want, handshakes []string
	epochs := map[string]mls.Epoch{}
	for _, b := range h.bodies {
		for _, m := range b.Messages {
			parsed, err := mimi.ParseFanoutMessage(m.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			line := inboxLine(parsed)
			want = append(want, line)
			epochs[line] = m.Epoch
			if strings.HasPrefix(line, "commit") || strings.HasPrefix(line, "proposals") {
				handshakes = append(handshakes, line)
			}
		}
	}
	var gotHandshakes []string
	current := h.bodies[0].Messages[0].Epoch
	for _, line := range got {
		switch {
		case strings.HasPrefix(line, "commit"):
			if epochs[line] != current {
				t.Errorf("%s: %s of epoch %d comes in epoch %d", name, line, epochs[line], current)
			}
			current++
			fallthrough
		case strings.HasPrefix(line, "proposals"):
			gotHandshakes = append(gotHandshakes, line)
		case strings.HasPrefix(line, "message") && epochs[line] > current:
			t.Errorf("%s: %s of epoch %d comes in epoch %d", name, line, epochs[line], current)
		}
	}
	// Proposals of one epoch may change places: they are on equal terms until the Commit.
	if !slices.Equal(byEpoch(gotHandshakes), byEpoch(handshakes)) {
		t.Errorf("%s: the handshakes came as\n %q\nand happened as\n %q", name, gotHandshakes, handshakes)
	}
	slices.Sort(want)
	sorted := slices.Sorted(slices.Values(got))
	if !slices.Equal(sorted, want) {
		t.Errorf("%s: the inbox has\n %q\nand not\n %q", name, sorted, want)
	}
}

// byEpoch sorts what stands between two Commits.
func byEpoch(handshakes []string) []string {
	sorted := slices.Clone(handshakes)
	from := 0
	for i, line := range sorted {
		if strings.HasPrefix(line, "commit") {
			slices.Sort(sorted[from:i])
			from = i + 1
		}
	}
	slices.Sort(sorted[from:])
	return sorted
}

// What a hub has lost is waited for, told of, and then gone past.
func TestGapThatDoesNotClose(t *testing.T) {
	h, f := newHubHistory(t, "holed@b.example", 5), newFollower(t)
	f.taken(h, h.body(h.commit("c5"), h.welcome("k")))
	lost := h.body(h.commit("c6"))
	f.taken(h, h.body(h.application("m7")), h.body(h.commit("c7")), h.body(h.application("m8")))
	f.expect(h.room.URI, "commit c5", "welcome")
	f.sweepAfter(hubGap - 1000)
	f.expect(h.room.URI, "commit c5", "welcome")
	f.sweepAfter(2000)
	f.expect(h.room.URI, "commit c5", "welcome", "notice mimi.StreamGap", "message m7", "commit c7", "message m8")
	f.taken(h, h.body(h.commit("c8")))
	// It comes after all: who is behind can use it, and who is not sees its epoch.
	f.taken(h, lost)
	f.expect(h.room.URI, "commit c5", "welcome", "notice mimi.StreamGap", "message m7", "commit c7", "message m8", "commit c8", "commit c6")
}

// A hub that says what it lost is taken at its word sooner, and the gap is told once.
func TestGapThatTheHubTells(t *testing.T) {
	h, f := newHubHistory(t, "holed@b.example", 5), newFollower(t)
	f.taken(h, h.body(h.commit("c5"), h.welcome("k")))
	h.commit("lost")
	f.taken(h, bodyOf(nil, mimi.StreamGap{Items: 1, FirstMillis: 3, LastMillis: 3}), h.body(h.commit("c7")))
	f.expect(h.room.URI, "commit c5", "welcome", "notice mimi.StreamGap")
	f.sweepAfter(hubPatience)
	f.expect(h.room.URI, "commit c5", "welcome", "notice mimi.StreamGap", "commit c7")
}

// A Commit waits for the Proposals that it names, a while.
func TestCommitWaitsForItsProposals(t *testing.T) {
	h, f := newHubHistory(t, "club@b.example", 5), newFollower(t)
	f.taken(h, h.body(h.commit("c5"), h.welcome("k")))
	proposals := h.body(h.propose("p1", "p2"))
	f.taken(h, h.body(h.commit("c6")), h.body(h.application("m7")))
	f.expect(h.room.URI, "commit c5", "welcome")
	f.taken(h, proposals)
	f.expect(h.room.URI, "commit c5", "welcome", "proposals [p1 p2]", "commit c6", "message m7")
	h.propose("p3")
	f.taken(h, h.body(h.commit("c7")))
	f.sweepAfter(hubPatience)
	f.expect(h.room.URI, "commit c5", "welcome", "proposals [p1 p2]", "commit c6", "message m7", "commit c7")
}

// A room of which nothing is known begins with its Welcome, where one is to come; what overtakes it waits.
func TestRoomBeginsWithItsWelcome(t *testing.T) {
	h, f := newHubHistory(t, "new@b.example", 5), newFollower(t)
	f.apply(fsm.RecordKeyPackageRefs{Room: h.room.URI, Refs: []fsm.KeyPackageRoute{
		{Ref: ref("k"), Provider: hub, User: user("alice"), Client: client("alice1"), NotAfter: 1 << 30},
	}})
	first := h.body(h.commit("c5"), h.welcome("k"))
	f.taken(h, h.body(h.application("m6")), h.body(h.commit("c6")))
	f.expect(h.room.URI)
	f.taken(h, first)
	f.expect(h.room.URI, "commit c5", "welcome", "message m6", "commit c6")
}

// The Welcome that is awaited may be another's, or never come.
func TestRoomBeginsWithoutItsWelcome(t *testing.T) {
	h, f := newHubHistory(t, "new@b.example", 5), newFollower(t)
	f.apply(fsm.RecordKeyPackageRefs{Room: h.room.URI, Refs: []fsm.KeyPackageRoute{
		{Ref: ref("k"), Provider: hub, User: user("alice"), Client: client("alice1"), NotAfter: 1 << 30},
	}})
	f.taken(h, h.body(h.application("m5")), h.body(h.commit("c5")))
	f.expect(h.room.URI)
	f.sweepAfter(hubPatience)
	f.taken(h, h.body(h.application("m6")))
	f.expect(h.room.URI, "message m5", "commit c5", "message m6")
}

// A room that was followed before there were records of its order is taken up where it is.
func TestRoomIsTakenUpInTheMiddle(t *testing.T) {
	h, f := newHubHistory(t, "old@b.example", 5), newFollower(t)
	f.taken(h, h.body(h.application("m5")), h.body(h.propose("p5")), h.body(h.commit("c5")))
	h.commit("late") // on its way
	f.taken(h, h.body(h.commit("c7")))
	f.expect(h.room.URI, "message m5", "proposals [p5]", "commit c5")
}

// Who comes back to a room that nobody here was in meanwhile does not wait for what the hub never sent.
func TestRoomIsFollowedAnew(t *testing.T) {
	h, f := newHubHistory(t, "again@b.example", 5), newFollower(t)
	f.taken(h, h.body(h.commit("c5"), h.welcome("k")))
	for i := range 40 {
		h.commit(fmt.Sprintf("unseen %d", i))
	}
	alone := h.welcome("k2")
	alone.Alone = true
	f.taken(h, h.body(h.commit("back"), alone), h.body(h.application("m")))
	f.expect(h.room.URI, "commit c5", "welcome", "commit back", "welcome", "message m")

	// Where that cannot be told, the epochs between are waited for as long as what may not come is.
	h.commit("unseen")
	f.taken(h, h.body(h.commit("other"), h.welcome("k3")))
	f.expect(h.room.URI, "commit c5", "welcome", "commit back", "welcome", "message m")
	f.sweepAfter(hubPatience)
	f.expect(h.room.URI, "commit c5", "welcome", "commit back", "welcome", "message m", "notice mimi.StreamGap", "commit other", "welcome")
}

// After a ReInit the next group's messages go on, and not before.
func TestNextGroupWaitsForTheReInit(t *testing.T) {
	h, f := newHubHistory(t, "born@b.example", 5), newFollower(t)
	f.taken(h, h.body(h.commit("c5"), h.welcome("k")))
	end := h.commit("end")
	end.Next = "next group"
	next := *h
	next.room = h.room.Successor("next group")
	of := func(f *follower, bodies ...fsm.HubBody) fsm.BodiesReceived {
		return f.apply(fsm.ReceiveBodies{Room: h.room.URI, Hub: h.room.URI.Provider(), Bodies: bodies, Groups: []mls.GroupID{"next group"}})[0].(fsm.BodiesReceived)
	}
	if got := of(f, bodyOf([]fsm.HubMessage{next.application("n0")}), bodyOf([]fsm.HubMessage{next.commit("n1")})); got.Taken != 2 {
		t.Fatalf("%+v", got)
	}
	f.expect(h.room.URI, "commit c5", "welcome")
	f.taken(h, bodyOf([]fsm.HubMessage{end}))
	f.expect(h.room.URI, "commit c5", "welcome", "commit end", "message n0", "commit n1")
	f.taken(h, bodyOf([]fsm.HubMessage{h.applicationOf("straggler", 6)}))
	if got := of(f, bodyOf([]fsm.HubMessage{next.application("n2")})); got.Taken != 1 {
		t.Fatalf("%+v", got)
	}
	f.expect(h.room.URI, "commit c5", "welcome", "commit end", "message n0", "commit n1", "message straggler", "message n2")
}

// A Commit comes once however late it is repeated; another Commit of its epoch is let in for its receivers to see.
func TestCommitOfAnEpochThatHasEnded(t *testing.T) {
	h, f := newHubHistory(t, "forked@b.example", 5), newFollower(t)
	first := h.body(h.commit("c5"), h.welcome("k"))
	fork := newHubHistory(t, "forked@b.example", 5)
	fork.commit("c5")
	f.taken(h, first)
	repeated := h.body(h.commit("c6"))
	f.taken(h, repeated)
	f.sweepAfter(48 * 3600 * 1000) // the records of what was taken are gone
	f.taken(h, repeated)
	f.expect(h.room.URI, "commit c5", "welcome", "commit c6")
	f.taken(h, fork.body(fork.commit("fork of c6")))
	f.taken(h, h.body(h.commit("c7")))
	f.expect(h.room.URI, "commit c5", "welcome", "commit c6", "commit fork of c6", "commit c7")
}

// What may wait is bounded; beyond it the hub is told to send again, and nothing is lost by that.
func TestWhatWaitsIsBounded(t *testing.T) {
	h, f := newHubHistory(t, "full@b.example", 5), newFollower(t)
	f.taken(h, h.body(h.commit("c5"), h.welcome("k")))
	late := h.body(h.commit("c6"))
	for i := range 500 {
		f.taken(h, h.body(h.application(fmt.Sprintf("m%d", i))))
	}
	over := h.body(h.application("over"))
	if got := f.receive(h, over); got.Stop != fsm.StopFull || got.Taken != 0 {
		t.Fatalf("%+v", got)
	}
	f.taken(h, late, over)
	if got := f.inbox(h.room.URI); len(got) != 504 || got[2] != "commit c6" || got[503] != "message over" {
		t.Errorf("%d lines: %q", len(got), got)
	}
	large := strings.Repeat("x", 3<<20)
	h.commit("lost")
	f.taken(h, h.body(h.application(large)))
	if got := f.receive(h, h.body(h.application(large+"x"))); got.Stop != fsm.StopFull {
		t.Errorf("6 MiB wait: %+v", got)
	}
}

// A destroyed room's notice stands behind what waits.
func TestEndStandsBehindWhatWaits(t *testing.T) {
	h, f := newHubHistory(t, "ended@b.example", 5), newFollower(t)
	f.taken(h, h.body(h.commit("c5"), h.welcome("k")))
	late := h.body(h.commit("c6"))
	f.taken(h, h.body(h.commit("c7")), bodyOf(nil, mimi.RoomDestroyed{}), bodyOf(nil, mimi.ProposalFate{Ref: "p", End: mimi.ProposalDropped, Epoch: 6}))
	f.expect(h.room.URI, "commit c5", "welcome", "notice mimi.ProposalFate")
	f.taken(h, late)
	got := f.inbox(h.room.URI)
	slices.Sort(got[3:]) // notices and messages of one item have no order among them
	if !slices.Equal(got, []string{"commit c5", "welcome", "notice mimi.ProposalFate", "commit c6", "commit c7", "notice mimi.RoomDestroyed"}) {
		t.Errorf("%q", got)
	}
}

// A group is one room's alone, and each hub has its own.
func TestGroupOfAnotherRoom(t *testing.T) {
	f := newFollower(t)
	mine, other := room("mine@b.example"), room("other@b.example")
	follow := func(hub string, r mimi.RoomURI) fsm.Outcome {
		return f.apply(fsm.FollowGroup{Hub: provider(hub), Group: "group", Room: r})[0]
	}
	for range 2 {
		if got := follow("b.example", mine); got != (fsm.Done{}) {
			t.Errorf("%+v", got)
		}
	}
	if got, refused := follow("b.example", other).(fsm.NotAllowed); !refused {
		t.Errorf("another room got it: %+v", got)
	}
	if got := follow("c.example", room("mine@c.example")); got != (fsm.Done{}) {
		t.Errorf("another hub: %+v", got)
	}
	h := newHubHistory(t, "mine@b.example", 5)
	c := fsm.ReceiveBodies{Room: mine, Hub: mine.Provider(), Bodies: []fsm.HubBody{h.body(h.application("m1"))}}
	got := f.apply(c)[0].(fsm.BodiesReceived)
	if got.Stop != fsm.StopGroups || !slices.Equal(got.Groups, []mls.GroupID{h.room.GroupID}) || len(f.inbox(mine)) > 0 {
		t.Fatalf("a group that nobody has looked up: %+v", got)
	}
	c.Groups = got.Groups
	if got := f.apply(c)[0].(fsm.BodiesReceived); got.Taken != 1 {
		t.Fatalf("%+v", got)
	}
	c.Groups, c.Bodies = nil, []fsm.HubBody{h.body(h.application("m2"))}
	if got := f.apply(c)[0].(fsm.BodiesReceived); got.Taken != 1 {
		t.Errorf("its group is known by now: %+v", got)
	}
}

// Notices of no room come once.
func TestNoticesOfNoRoom(t *testing.T) {
	f := newFollower(t)
	c := fsm.ReceiveBodies{Hub: peer, Bodies: []fsm.HubBody{bodyOf(nil, mimi.UserDeleted{User: bob, Millis: 3})}}
	for range 2 {
		if got := f.apply(c)[0].(fsm.BodiesReceived); got.Taken != 1 {
			t.Errorf("%+v", got)
		}
	}
	f.expect(mimi.RoomURI{}, "notice mimi.UserDeleted")
}

// A node that did not know yet that the shard was raised proposes as before; the order counts all the same.
func TestFanoutOfAnOlderNodeComesInOrder(t *testing.T) {
	h, f := newHubHistory(t, "club@b.example", 5), newFollower(t)
	fanout := func(messages ...fsm.HubMessage) {
		c := fsm.ReceiveFanout{Room: h.room.URI, Hub: h.room.URI.Provider(), BodyHash: bodyOf(messages).Hash}
		for _, m := range messages {
			c.Messages = append(c.Messages, fsm.FanoutItem{Hash: m.Hash, Bytes: m.Bytes})
		}
		if got, ok := f.apply(c)[0].(fsm.Accepted); !ok {
			t.Fatalf("%+v", got)
		}
	}
	fanout(h.commit("c5"), h.welcome("k"))
	late := h.commit("c6")
	fanout(h.application("m7"))
	fanout(h.commit("c7"))
	fanout(late)
	f.expect(h.room.URI, "commit c5", "welcome", "commit c6", "message m7", "commit c7")
}

// What waits counts as having come: neither the same body nor another that holds the same message brings it in twice, nor its notices.
func TestWhatWaitsComesOnce(t *testing.T) {
	h, f := newHubHistory(t, "twice@b.example", 5), newFollower(t)
	f.taken(h, h.body(h.commit("c5"), h.welcome("k")))
	late := h.body(h.commit("c6"))
	early := h.application("m7")
	told := bodyOf([]fsm.HubMessage{early}, mimi.PolicyChanged{Epoch: 7, Changes: mimi.RolesChanged})
	f.taken(h, told, told, bodyOf([]fsm.HubMessage{early, h.application("m7b")}))
	f.taken(h, late)
	f.taken(h, told)
	f.expect(h.room.URI, "commit c5", "welcome", "notice mimi.PolicyChanged", "commit c6", "message m7", "message m7b")
}
