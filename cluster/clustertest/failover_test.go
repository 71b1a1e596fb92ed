package clustertest

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

// stageOf runs a test in a new world without faults, with a room in it whose shard's leader is known.
func stageOf(t *testing.T, play func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(1, 3, RaftSettings(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer w.end()
		room := fsmtest.NewRoom(must(mimi.ParseRoomURI("mimi://a.example/r/stage")), 0, people, []mimi.Provider{local, peer})
		shard, _ := w.living("n1").node.Map().ShardOfSlot(fsm.SlotOfRoom(room.URI))
		_, other := w.leaderAndNext(t, shard.ID)
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		if outcome, _, err := other.node.Propose(ctx, room.Create()); err != nil {
			t.Fatalf("%#v, %v", outcome, err)
		}
		room.Incarnation, room.Settings = w.entries.birth(room.URI), settingsVersion(other)
		time.Sleep(time.Minute) // all is quiet, and the leads are where they stay
		leader, other := w.leaderAndNext(t, shard.ID)
		play(t, w, leader, other, room)
		for _, v := range w.broken() {
			t.Error(v)
		}
	})
}

// decided is how long a Commit takes at a node, in virtual time.
func decided(t *testing.T, at *life, room *fsmtest.Room, label string) time.Duration {
	t.Helper()
	commit := room.Commit(fsmtest.Next{Label: label})
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	start := time.Now()
	outcome, _, err := at.node.Propose(ctx, commit)
	if _, yes := outcome.(fsm.Accepted); err != nil || !yes {
		t.Fatalf("%#v, %v after %v", outcome, err, time.Since(start))
	}
	room.Advance(commit)
	return time.Since(start)
}

// A dead process's streams break and its port refuses, so nobody has to wait for its silence. Virtual time makes the limit exact:
// without the death watch the first election begins no earlier than a heartbeat timeout after the kill.
func TestDeadLeaderIsSucceededAtOnce(t *testing.T) {
	stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
		w.cutOff(leader, rand.New(rand.NewPCG(1, 1)))
		if took := decided(t, other, room, "after the kill"); took >= w.raft.Heartbeat {
			t.Errorf("a Commit took %v after its leader's death; the heartbeat timeout is %v", took, w.raft.Heartbeat)
		}
		w.close(leader)
	})
}

// A leader that lives is not disturbed, however often its connections break.
func TestLivingLeaderIsLeftAlone(t *testing.T) {
	stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
		before := leader.term(t)
		for range 30 {
			for _, id := range w.ids() {
				w.network.Break(leader.id, id)
			}
			time.Sleep(200 * time.Millisecond)
		}
		if after := leader.term(t); after != before {
			t.Errorf("term %d became %d", before, after)
		}
	})
}

// term sums the terms of all replicas up: it changes with each election.
func (l *life) term(t *testing.T) (sum uint64) {
	t.Helper()
	for _, r := range l.node.View().Replicas {
		sum += r.Term
	}
	return sum
}

// A request that is under way at a leader when that freezes is decided by its successor as soon as there is one, and does not wait for
// its own deadline.
func TestFrozenLeaderHoldsNobodyUp(t *testing.T) {
	stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
		leader.disk.setSlow(20 * time.Second)
		go func() { // the request is there when the links are cut
			time.Sleep(5 * time.Millisecond)
			for _, id := range w.ids() {
				w.network.Set(leader.id, id, true, 0)
				w.network.Set(id, leader.id, true, 0)
			}
		}()
		if took := decided(t, other, room, "while it freezes"); took > callTimeout/2 {
			t.Errorf("a Commit took %v", took)
		}
		leader.disk.setSlow(0)
		for _, id := range w.ids() {
			w.network.Set(leader.id, id, false, 0)
			w.network.Set(id, leader.id, false, 0)
		}
	})
}
