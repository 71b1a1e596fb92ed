package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

var theirRoom = room("theirs@b.example") // a room of the peer

func outboundOf(label string) fsm.OutboundSubmission {
	return fsm.OutboundSubmission{Receipt: mimi.Receipt(hashOf(label)), Kind: mimi.SubmissionMessage, Body: []byte(label)}
}

// queue hands submissions in and returns the states that they are answered with.
func (w *whole) queue(labels ...string) (states []mimi.SubmissionState) {
	w.t.Helper()
	c := fsm.QueueSubmissions{Room: theirRoom}
	for _, label := range labels {
		c.Submissions = append(c.Submissions, outboundOf(label))
	}
	for i, a := range outcomeOf[fsm.SubmissionsQueued](w.t, w.apply(c)).Answers {
		if a.Receipt() != c.Submissions[i].Receipt {
			w.t.Errorf("submission %d is answered under receipt %x", i, a.Receipt())
		}
		states = append(states, a.State)
	}
	return states
}

// queued lists what waits for the peer.
func (w *whole) queued() (items []fsm.QueuedSubmission) {
	w.t.Helper()
	check(w.t, fsm.ReadQueue(w.store, fsm.SlotOfRoom(theirRoom), peer, func(q fsm.QueuedSubmission) (bool, error) {
		items = append(items, q)
		return true, nil
	}))
	return items
}

func (w *whole) expectQueued(labels ...string) {
	w.t.Helper()
	var got []string
	for _, q := range w.queued() {
		got = append(got, string(q.Body))
	}
	if !slices.Equal(got, labels) {
		w.t.Errorf("%q wait, not %q", got, labels)
	}
}

func verdictOn(label string, code mimi.VerdictCode) mimi.Verdict {
	return mimi.Verdict{Receipt: mimi.Receipt(hashOf(label)), Code: code, Current: 4, Reason: code.String()}
}

func settlement(number uint64, v mimi.Verdict) fsm.SettleSubmissions {
	return fsm.SettleSubmissions{At: fsm.SlotOfRoom(theirRoom), Hub: peer, Settled: []fsm.SettledSubmission{{Number: number, Verdict: v}}}
}

func (w *whole) askQueued(label string) mimi.SubmissionAnswer {
	w.t.Helper()
	a, err := fsm.ReadQueued(w.store, theirRoom, mimi.Receipt(hashOf(label)))
	check(w.t, err)
	return a
}

const queued, accepted, notTaken = mimi.SubmissionQueued, mimi.SubmissionAccepted, mimi.SubmissionNotTaken

func expectStates(t *testing.T, got []mimi.SubmissionState, want ...mimi.SubmissionState) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("answered %v, not %v", got, want)
	}
}

// Each submission that was queued has one verdict on the stream, in the entry that takes it out, whoever brings it and how often.
func TestQueuedSubmissionHasOneVerdict(t *testing.T) {
	w := newWholeOf(t, fourthSettings(hub))
	expectStates(t, w.queue("one", "two", "one"), queued, queued, queued)
	expectStates(t, w.queue("two"), queued)
	w.expectQueued("one", "two")

	ok, no := verdictOn("one", mimi.VerdictAccepted), verdictOn("two", mimi.VerdictEpochTooOld)
	w.apply(settlement(1, ok))
	w.apply(settlement(1, ok))
	w.apply(settlement(2, verdictOn("one", mimi.VerdictNotAllowed))) // of another receipt than the one that waits there
	w.expectQueued("two")
	w.expectNotices(hub, ok)
	if items := w.items(hub); items[0].Room != theirRoom || items[0].Hub != peer {
		t.Errorf("told of room %s of %s", items[0].Room, items[0].Hub)
	}
	if a := w.askQueued("one"); a != mimi.DecidedAnswer(ok) {
		t.Errorf("asked for: %+v", a)
	}
	if a := w.askQueued("two"); a.State != queued {
		t.Errorf("asked for: %+v", a)
	}
	w.apply(settlement(2, no))
	w.expectNotices(hub, ok, no)

	// What was accepted is not sent again; what was rejected may be, and gets a number and a verdict of its own.
	expectStates(t, w.queue("one", "two"), accepted, queued)
	w.apply(settlement(2, no))
	w.expectQueued("two")
	w.expectNotices(hub, ok, no)
	w.apply(settlement(3, no))
	w.expectNotices(hub, ok, no, no)
}

// A queue is bounded by number and by bytes, for each hub by itself.
func TestQueueIsBounded(t *testing.T) {
	w := newWholeOf(t, fourthSettings(hub)) // 5 items, 1,000 octets
	expectStates(t, w.queue("1", "2", "3", "4", "5", "6"), queued, queued, queued, queued, queued, notTaken)
	w.apply(settlement(1, verdictOn("1", mimi.VerdictAccepted)))
	expectStates(t, w.queue("6", "7"), queued, notTaken)
	if a := w.askQueued("7"); a.State != mimi.SubmissionUnknown {
		t.Errorf("what was not taken is %v", a.State)
	}

	w = newWholeOf(t, fourthSettings(hub))
	large := string(bytes.Repeat([]byte("x"), 600))
	expectStates(t, w.queue(large, large+"y"), queued, notTaken)
	other := fsm.QueueSubmissions{Room: room("theirs@c.example"), Submissions: []fsm.OutboundSubmission{outboundOf(large)}}
	if got := outcomeOf[fsm.SubmissionsQueued](t, w.apply(other)); got.Answers[0].State != queued {
		t.Errorf("another hub's: %+v", got)
	}
	if _, refused := w.apply(fsm.QueueSubmissions{Room: club}).(fsm.NotAllowed); !refused {
		t.Error("a room of ours is queued for")
	}
}

// What a hub gives no verdict on is given up after a day, and a verdict that comes too late changes nothing, but for the hub's own word.
func TestQueuedSubmissionExpires(t *testing.T) {
	w := newWholeOf(t, fourthSettings(hub))
	w.queue("one", "two")
	w.now += 1<<23 - 10
	w.apply(fsm.Sweep{Max: 10})
	w.expectQueued("one", "two")
	w.apply(settlement(2, verdictOn("two", mimi.VerdictAccepted)))
	w.now += 10
	w.apply(fsm.Sweep{Max: 10})
	w.expectQueued()
	told := w.notices(hub)
	expired, ok := told[len(told)-1].(mimi.Verdict)
	if !ok || len(told) != 2 || expired.Code != mimi.VerdictExpired || expired.Receipt != mimi.Receipt(hashOf("one")) {
		t.Fatalf("told %+v", told)
	}
	w.apply(settlement(1, verdictOn("one", mimi.VerdictAccepted)))
	if got := len(w.notices(hub)); got != 2 {
		t.Errorf("%d verdicts are told", got)
	}
	w.now += 1 << 21
	w.apply(fsm.Sweep{Max: 10})
	if a := w.askQueued("one"); a.State != mimi.SubmissionUnknown {
		t.Errorf("after the time for receipts: %+v", a)
	}
	kinds, err := fsm.Kinds(w.store)
	check(t, err)
	if kinds[0x3d]+kinds[0x3e] > 0 {
		t.Errorf("left over: %v", kinds)
	}
}

// told brings a body of the peer's room with notices alone.
func (w *whole) told(notices ...mimi.Notice) {
	w.t.Helper()
	body := bodyOf(nil, notices...)
	body.Hash = hashOf(fmt.Sprint("body ", w.index)) // each time another
	c := fsm.ReceiveBodies{Room: theirRoom, Hub: peer, Bodies: []fsm.HubBody{body}}
	if got := outcomeOf[fsm.BodiesReceived](w.t, w.apply(c)); got.Taken != 1 {
		w.t.Fatalf("%+v", got)
	}
}

// A verdict that the hub tells on its stream takes the submission out of the queue, and is told once, whatever comes first of it and the answer to
// the courier, and how often.
func TestNoticeOfAHubSettles(t *testing.T) {
	w := newBulk(t)
	w.queue("one", "two", "three")
	one, two, three := verdictOn("one", mimi.VerdictAccepted), verdictOn("two", mimi.VerdictEpochTooOld), verdictOn("three", mimi.VerdictNotAllowed)
	w.told(one, two)
	w.expectQueued("three")
	w.expectNotices(hub, one, two)
	w.apply(settlement(1, one))
	w.told(one)
	w.apply(settlement(3, three))
	w.told(three, two)
	w.expectQueued()
	w.expectNotices(hub, one, two, three)
	for _, item := range w.items(hub) {
		if len(item.Body)+len(item.Notes) == 0 {
			t.Error("an item says nothing")
		}
	}
	if a := w.askQueued("one"); a != mimi.DecidedAnswer(one) {
		t.Errorf("asked for: %+v", a)
	}

	// Of what did not go through the queue the inbox is told as of any notice.
	direct := verdictOn("direct", mimi.VerdictExpired)
	w.told(direct)
	w.expectNotices(hub, one, two, three, direct)
}

// A notice that is late does not stand for an attempt after it.
func TestNoticeOfAnEarlierAttempt(t *testing.T) {
	w := newBulk(t)
	w.queue("one", "two")
	one, two := verdictOn("one", mimi.VerdictNoSuchRoom), verdictOn("two", mimi.VerdictNoSuchRoom)
	w.apply(settlement(1, one))
	w.apply(settlement(2, two))
	expectStates(t, w.queue("one", "two"), queued, queued)
	w.told(one, two)
	w.expectQueued("one", "two")
	w.expectNotices(hub, one, two)
	w.told(verdictOn("one", mimi.VerdictAccepted))
	w.apply(settlement(4, two))
	w.expectQueued()
	w.expectNotices(hub, one, two, verdictOn("one", mimi.VerdictAccepted), two)
}

// What was given up has its verdict; the hub's own is for who asks.
func TestNoticeOnWhatWasGivenUp(t *testing.T) {
	w := newBulk(t)
	w.queue("one")
	w.now += 1 << 23
	w.apply(fsm.Sweep{Max: 10})
	before := w.notices(hub)
	ok := verdictOn("one", mimi.VerdictAccepted)
	w.told(ok)
	if got := w.notices(hub); len(before) != 1 || len(got) != 1 {
		t.Errorf("told %+v", got)
	}
	if a := w.askQueued("one"); a != mimi.DecidedAnswer(ok) {
		t.Errorf("asked for: %+v", a)
	}
	expectStates(t, w.queue("one"), accepted)
}

// A room's event shows that its hub has accepted what waits, however it comes, once it is its turn in the room.
func TestEventOfARoomSettles(t *testing.T) {
	w, h := newBulk(t), newHubHistory(t, "theirs@b.example", 5)
	submit := func(m fsm.HubMessage) mimi.Verdict {
		t.Helper()
		parsed, err := mimi.ParseFanoutMessage(m.Bytes)
		check(t, err)
		s := fsm.OutboundSubmission{Receipt: sha256.Sum256(parsed.Event.MLSMessages()[0].Marshal()), Kind: mimi.SubmissionMessage, Body: []byte("body")}
		got := outcomeOf[fsm.SubmissionsQueued](t, w.apply(fsm.QueueSubmissions{Room: theirRoom, Submissions: []fsm.OutboundSubmission{s}}))
		expectStates(t, []mimi.SubmissionState{got.Answers[0].State}, queued)
		return mimi.Verdict{Receipt: s.Receipt, Code: mimi.VerdictAccepted, AcceptedMillis: parsed.Millis}
	}
	receive := func(messages ...fsm.HubMessage) {
		t.Helper()
		c := fsm.ReceiveBodies{Room: theirRoom, Hub: peer, Bodies: []fsm.HubBody{bodyOf(messages)}, Groups: []mls.GroupID{h.room.GroupID}}
		if got := outcomeOf[fsm.BodiesReceived](t, w.apply(c)); got.Taken != 1 {
			t.Fatalf("%+v", got)
		}
	}
	now := h.application("now")
	first := submit(now)
	receive(now)
	w.expectQueued()
	w.expectNotices(hub, first)

	receive(h.commit("c5"))
	next := h.commit("c6")
	early := h.application("early")
	second := submit(early)
	receive(early) // waits for the Commit
	w.expectQueued("body")
	receive(next)
	w.expectQueued()
	w.expectNotices(hub, first, second)

	old := h.application("by an older node")
	third := submit(old)
	w.apply(fsm.ReceiveFanout{Room: theirRoom, Hub: peer, BodyHash: hashOf("older"), Messages: []fsm.FanoutItem{{Hash: old.Hash, Bytes: old.Bytes}}})
	w.expectQueued()
	w.apply(settlement(3, mimi.Verdict{Receipt: third.Receipt, Code: mimi.VerdictEpochTooOld}))
	w.expectNotices(hub, first, second, third)
}

// The result of an entry says how the queues stand, as replicas are to know without searching.
func TestQueuesAreTold(t *testing.T) {
	w := newWholeOf(t, fourthSettings(hub))
	apply := func(commands ...fsm.Command) []fsm.QueuePosition {
		t.Helper()
		w.index++
		result, err := fsm.Apply(w.store, w.index, fsm.EncodeEntry(fsm.Entry{StampMillis: w.now, Commands: commands}))
		check(t, err)
		return result.Queues
	}
	at := fsm.QueuePosition{Slot: fsm.SlotOfRoom(theirRoom), Hub: peer, Next: 3, Items: 2, Bytes: 6}
	got := apply(fsm.QueueSubmissions{Room: theirRoom, Submissions: []fsm.OutboundSubmission{outboundOf("one")}},
		fsm.QueueSubmissions{Room: theirRoom, Submissions: []fsm.OutboundSubmission{outboundOf("two")}})
	if fmt.Sprint(got) != fmt.Sprint([]fsm.QueuePosition{at}) {
		t.Errorf("told %v", got)
	}
	at.Items, at.Bytes = 1, 3
	if got := apply(settlement(1, verdictOn("one", mimi.VerdictAccepted))); fmt.Sprint(got) != fmt.Sprint([]fsm.QueuePosition{at}) {
		t.Errorf("told %v", got)
	}
	if got := apply(fsm.Fence{}); len(got) > 0 {
		t.Errorf("told %v", got)
	}

	// Each queue of an entry is told by itself: those to one hub in two slots, and those to two hubs in one.
	elsewhere, another := theirRoom, theirRoom
	for i := 0; fsm.SlotOfRoom(elsewhere) == at.Slot; i++ {
		elsewhere = room(fmt.Sprintf("elsewhere%d@b.example", i))
	}
	for i := 0; another.Provider() == peer || fsm.SlotOfRoom(another) != at.Slot; i++ {
		another = room(fmt.Sprintf("another%d@c.example", i))
	}
	got = apply(fsm.QueueSubmissions{Room: theirRoom, Submissions: []fsm.OutboundSubmission{outboundOf("1")}},
		fsm.QueueSubmissions{Room: elsewhere, Submissions: []fsm.OutboundSubmission{outboundOf("22")}},
		fsm.QueueSubmissions{Room: another, Submissions: []fsm.OutboundSubmission{outboundOf("333")}})
	want := []fsm.QueuePosition{
		{Slot: at.Slot, Hub: peer, Next: 4, Items: 2, Bytes: 4},
		{Slot: fsm.SlotOfRoom(elsewhere), Hub: peer, Next: 2, Items: 1, Bytes: 2},
		{Slot: at.Slot, Hub: another.Provider(), Next: 2, Items: 1, Bytes: 3},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("told %v, not %v", got, want)
	}
	var found []fsm.QueuePosition
	check(t, fsm.QueuePositions(w.store, at.Slot, func(p fsm.QueuePosition) (bool, error) {
		found = append(found, p)
		return true, nil
	}))
	if fmt.Sprint(found) != fmt.Sprint([]fsm.QueuePosition{want[0], want[2]}) {
		t.Errorf("found %v", found)
	}
	if got := w.queued(); len(got) != 2 || got[0].Hub != peer || got[1].Hub != peer || got[0].Millis != w.now {
		t.Errorf("%+v wait for the one hub", got)
	}
}
