package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// heldMessage is a message of alice's as it is submitted in bulk.
func heldMessage(t testing.TB, r *fsmtest.Room, label string) (judge.HeldSubmission, mimi.Receipt) {
	t.Helper()
	alice := user(t, "alice")
	m, err := mls.ParseMLSMessage(r.Message(label, r.Epoch, alice).Message)
	if err != nil {
		t.Fatal(err)
	}
	body := mimi.SubmitMessageRequest{Sender: alice, Message: m.Body.(*mls.PrivateMessage)}.Marshal()
	s := mimi.Submission{Room: r.URI.String(), Kind: mimi.SubmissionMessage, Body: body}
	read, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	return judge.HeldSubmission{From: alice.Provider(), Submission: s}, read.Receipt()
}

// heldMessageFor is a message of alice's for a room of another provider.
func heldMessageFor(t testing.TB, r *fsmtest.Room, to mimi.RoomURI) mimi.Submission {
	t.Helper()
	held, _ := heldMessage(t, r, "elsewhere")
	held.Submission.Room = to.String()
	return held.Submission
}

// told are the verdicts on a node's replica of a room's shard for the local provider, and the messages of the room, each in their order.
func (c *testCluster) told(at string, r mimi.RoomURI) (verdicts []mimi.Verdict, messages []string) {
	c.t.Helper()
	slot := fsm.SlotOfRoom(r)
	node := c.nodes[at]
	shard, _ := node.Map().ShardOfSlot(slot)
	view, err := node.replica(shard.ID).view()
	if err != nil {
		c.t.Fatal(err)
	}
	err = fsm.ReadOutbox(view, slot, node.localDestination(), 0, func(item fsm.OutboxItem) (bool, error) {
		for _, note := range item.Notes {
			if n, ok := note.(fsm.Noticed); ok && item.Room == r {
				verdicts = append(verdicts, n.Notice.(mimi.Verdict))
			}
		}
		if len(item.Body) == 0 { // it has notices alone
			return true, nil
		}
		parsed, err := mimi.ParseFanout(item.Body)
		for _, m := range parsed {
			if application, ok := m.Event.(mimi.FanoutApplication); ok && item.Room == r {
				messages = append(messages, string(application.Message.Ciphertext))
			}
		}
		return true, err
	})
	if err := errors.Join(err, view.Close()); err != nil {
		c.t.Fatal(err)
	}
	return verdicts, messages
}

// What a node takes while nobody leads survives its restart, and is decided in order when there is a leader again; each verdict is told once.
func TestHeldSubmissionsAreDecided(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	r := c.openRoom("n1", "held")
	c.stop("n2")
	c.stop("n3")
	var receipts []mimi.Receipt
	var labels []string
	for i := range 5 {
		label := fmt.Sprintf("held %d", i)
		submission, receipt := heldMessage(t, r, label)
		if err := c.nodes["n1"].Hold(c.context(), []judge.HeldSubmission{submission}); err != nil {
			t.Fatal(err)
		}
		receipts, labels = append(receipts, receipt), append(labels, label)
	}
	future, _ := heldMessage(t, r, "once more") // rejected: it is of an epoch that has not begun
	m := r.Message("future", r.Epoch+7, user(t, "alice"))
	parsed, err := mls.ParseMLSMessage(m.Message)
	if err != nil {
		t.Fatal(err)
	}
	future.Submission.Body = mimi.SubmitMessageRequest{Sender: user(t, "alice"), Message: parsed.Body.(*mls.PrivateMessage)}.Marshal()
	late := mimi.Receipt(m.Hash)
	again, _ := heldMessage(t, r, labels[0])
	if err := c.nodes["n1"].Hold(c.context(), []judge.HeldSubmission{future, again}); err != nil {
		t.Fatal(err)
	}
	c.stop("n1")
	n1 := c.start("n1")
	if !n1.Holds(r.URI) || n1.held.status().Items != 7 || n1.held.status().OldestMillis == 0 {
		t.Fatalf("after a restart the journal holds %+v", n1.held.status())
	}
	c.start("n2")
	c.start("n3")
	eventually(t, "the journal is empty", func() bool { return n1.held.status().Items == 0 && !n1.Holds(r.URI) })
	shard, _ := n1.Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	verdicts, messages := c.told(c.upToDate(shard.ID), r.URI)
	if !slices.Equal(messages, labels) {
		t.Errorf("the room has the messages %q, not %q", messages, labels)
	}
	codes := map[mimi.Receipt][]mimi.VerdictCode{}
	for _, v := range verdicts {
		codes[v.Receipt] = append(codes[v.Receipt], v.Code)
	}
	for i, receipt := range receipts {
		if got := codes[receipt]; !slices.Equal(got, []mimi.VerdictCode{mimi.VerdictAccepted}) {
			t.Errorf("message %d is told as %v", i, got)
		}
	}
	if got := codes[late]; !slices.Equal(got, []mimi.VerdictCode{mimi.VerdictFutureEpoch}) {
		t.Errorf("the rejected one is told as %v", got)
	}
}

func TestJournalOfANodeIsBounded(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, func(config *Config) { config.HeldItems = 2 })
	r := c.openRoom("n1", "held")
	c.stop("n2")
	c.stop("n3")
	one, _ := heldMessage(t, r, "one")
	if err := c.nodes["n1"].Hold(c.context(), []judge.HeldSubmission{one, one}); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes["n1"].Hold(c.context(), []judge.HeldSubmission{one}); !errors.Is(err, fsm.ErrOverloaded) {
		t.Errorf("a full journal answers %v", err)
	}
}

// A node that leaves takes nothing into its journal any more, and says that the journal is empty only when what it was taking is there.
func TestLeavingNodeHoldsNothing(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	r := c.openRoom("n1", "held")
	n4 := c.add("n4")
	if err := n4.Join(c.context(), c.nodes["n1"].ClusterAddr()); err != nil {
		t.Fatal(err)
	}
	one, _ := heldMessage(t, r, "one")
	taking := &n4.held.taking
	taking.RLock() // as somebody who has looked at the map, and not written yet
	leaves := meta.AssignNode{Duty: meta.Duty{Node: "n4", Kind: meta.Leaving, By: "ann"}}
	if err := n4.Change(c.context(), leaves); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it knows that it leaves", func() bool { return n4.Map().Duty("n4").Kind == meta.Leaving })
	told := make(chan HeldStatus, 1)
	go func() { told <- n4.View().Held }()
	select {
	case held := <-told:
		taking.RUnlock()
		t.Fatalf("it tells of a journal that is being written: %+v", held)
	case <-shortly(t).Done():
	}
	taking.RUnlock()
	if held := <-told; held.Items > 0 {
		t.Errorf("the journal holds %+v", held)
	}
	if err := n4.Hold(c.context(), []judge.HeldSubmission{one}); !errors.Is(err, fsm.ErrNotProposed) || n4.Holds(r.URI) {
		t.Errorf("a node that leaves takes something: %v", err)
	}
	back := leaves
	back.Duty.Kind = meta.Serving
	if err := n4.Change(c.context(), back); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it holds again when it serves again", func() bool { return n4.Hold(c.context(), []judge.HeldSubmission{one}) == nil })
}

// A follower whose shard has no leader knows for certain that a batch is in no log, so that it can be held there; after an election each has its
// verdict once, though one was handed in again meanwhile at another node.
func TestHeldAtAFollower(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	r := c.openRoom("n1", "held")
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	led := c.leaderNode(shard.ID)
	others := slices.DeleteFunc([]string{"n1", "n2", "n3"}, func(id string) bool { return id == led })
	follower, third := others[0], others[1]
	c.stop(led)
	c.stop(third)
	n := c.nodes[follower]
	eventually(t, "nobody leads", func() bool { return n.replica(shard.ID).leader() == "" })
	one, receipt := heldMessage(t, r, "one")
	two, second := heldMessage(t, r, "two")
	read, err := one.Submission.Read()
	if err != nil {
		t.Fatal(err)
	}
	batch, err := judge.NewSubmitBatch(one.From, r.URI, []mimi.SubmittedMessage{read.(mimi.SubmittedMessage)}, false)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is certain that nothing is in a log", func() bool { // not at once: a call to a node that has just gone is open
		ctx, cancel := context.WithTimeout(c.context(), time.Second)
		defer cancel()
		got := n.DoMany(ctx, []judge.Request{batch})[0]
		if got.Err == nil {
			t.Fatalf("without a leader: %+v", got)
		}
		return errors.Is(got.Err, fsm.ErrNotProposed) && !errors.Is(got.Err, fsm.ErrUnknownOutcome)
	})
	if err := n.Hold(c.context(), []judge.HeldSubmission{one, two}); err != nil {
		t.Fatal(err)
	}
	c.start(third)
	var decided fsm.Outcome
	eventually(t, "the other node decides", func() bool {
		got := c.nodes[third].DoMany(c.context(), []judge.Request{batch})
		decided = got[0].Outcome
		return got[0].Err == nil
	})
	if o, ok := decided.(fsm.BatchDecided); !ok || o.Verdicts[0].Code != mimi.VerdictAccepted {
		t.Fatalf("%+v", decided)
	}
	eventually(t, "the journal is empty", func() bool { return n.held.status().Items == 0 && !n.Holds(r.URI) })
	verdicts, messages := c.told(c.upToDate(shard.ID), r.URI)
	if !slices.Equal(messages, []string{"one", "two"}) {
		t.Errorf("the room has the messages %q", messages)
	}
	if len(verdicts) != 2 || verdicts[0].Receipt != receipt || verdicts[1].Receipt != second ||
		verdicts[0].Code != mimi.VerdictAccepted || verdicts[1].Code != mimi.VerdictAccepted {
		t.Errorf("told %+v", verdicts)
	}
}

// What could not be decided for a day is given up, and told, but for what has its verdict already; what stands behind it is decided.
func TestHeldSubmissionsExpire(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	r := c.openRoom("n1", "held")
	n := c.nodes["n1"]
	decided, first := heldMessage(t, r, "decided before a crash")
	read, err := decided.Submission.Read()
	if err != nil {
		t.Fatal(err)
	}
	batch, err := judge.NewSubmitBatch(decided.From, r.URI, []mimi.SubmittedMessage{read.(mimi.SubmittedMessage)}, true)
	if err != nil {
		t.Fatal(err)
	}
	if outcome, err := n.Do(c.context(), batch); err != nil || outcome.(fsm.BatchDecided).Verdicts[0].Code != mimi.VerdictAccepted {
		t.Fatalf("%+v, %v", outcome, err)
	}
	old, second := heldMessage(t, r, "too old")
	young, third := heldMessage(t, r, "young")
	now := uint64(n.config.Clock.Wall().UnixMilli())
	decided.Millis, old.Millis, young.Millis = now-uint64(heldForMax.Milliseconds())-1000, now-uint64(heldForMax.Milliseconds())-1000, now
	ids, err := n.held.journal.Append([][]byte{decided.Encode(), old.Encode(), young.Encode()})
	if err != nil {
		t.Fatal(err)
	}
	n.held.add(r.URI, heldItem{ids[0], decided.Millis}, heldItem{ids[1], old.Millis}, heldItem{ids[2], now})
	eventually(t, "the journal is empty", func() bool { return n.held.status().Items == 0 && !n.Holds(r.URI) })
	if got := n.Held().Expired; got != 1 {
		t.Errorf("%d are given up", got)
	}
	shard, _ := n.Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	verdicts, messages := c.told(c.upToDate(shard.ID), r.URI)
	if !slices.Equal(messages, []string{"decided before a crash", "young"}) {
		t.Errorf("the room has the messages %q", messages)
	}
	codes := map[mimi.Receipt][]mimi.VerdictCode{}
	for _, v := range verdicts {
		codes[v.Receipt] = append(codes[v.Receipt], v.Code)
	}
	for receipt, want := range map[mimi.Receipt]mimi.VerdictCode{first: mimi.VerdictAccepted, second: mimi.VerdictExpired, third: mimi.VerdictAccepted} {
		if got := codes[receipt]; !slices.Equal(got, []mimi.VerdictCode{want}) {
			t.Errorf("told %v, not %s alone", got, want)
		}
	}
}
