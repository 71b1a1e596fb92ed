package clustertest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/judge"
	"parley/mimi"
)

// A leader whose followers' answers are late, and to whom nobody listens any more, goes on to get answers to what it asked before.
// raft's VerifyLeader takes those for a confirmation. A room that the next leader has created meanwhile must not be denied.
func TestIsolatedLeaderDeniesNothing(t *testing.T) {
	if deniesWhatExists(t) {
		t.Error("the isolated leader said that there is no room which its successor had created")
	}
}

func deniesWhatExists(t *testing.T) (denied bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		slow := RaftSettings()
		slow.Heartbeat, slow.LeaderLease = 8*time.Second, 8*time.Second
		w, err := newWorld(1, 3, slow, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer w.end()
		denied = w.isolateAndAsk(t)
	})
	return denied
}

func (w *World) isolateAndAsk(t *testing.T) bool {
	t.Helper()
	room := fsmtest.NewRoom(must(mimi.ParseRoomURI("mimi://a.example/r/later")), 0, people, []mimi.Provider{local})
	shard, _ := w.living("n1").node.Map().ShardOfSlot(fsm.SlotOfRoom(room.URI))
	leader, successor := w.leaderAndNext(t, shard.ID)
	const late = time.Second
	for _, other := range w.ids() {
		w.network.Set(other, leader.id, false, late)
	}
	time.Sleep(5 * late) // now an answer of each follower is on its way all the time
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	go func() { _ = leader.node.TransferLeadership(ctx, shard.ID, successor.id) }() // its answer is late; that the successor leads is what counts
	w.awaitLeads(t, successor, shard.ID)
	for _, other := range w.ids() {
		w.network.Set(leader.id, other, true, 0)
	}
	created, _, err := successor.node.Propose(ctx, room.Create())
	if _, yes := created.(fsm.Accepted); err != nil || !yes {
		t.Fatalf("the successor: %#v, %v", created, err)
	}
	asking, stop := context.WithTimeout(context.Background(), late)
	defer stop()
	answer, err := leader.node.Do(asking, must(judge.NewDescribeRoom(room.URI)))
	if err != nil && !errors.Is(err, fsm.ErrNotProposed) {
		t.Errorf("of a read nothing can be open: %v", err)
	}
	_, denied := answer.(fsm.NoSuchRoom)
	return err == nil && denied
}

// leaderAndNext waits until a shard has a leader.
func (w *World) leaderAndNext(t *testing.T, shard fsm.ShardID) (leader, next *life) {
	t.Helper()
	for range 1000 {
		for _, l := range w.alive() {
			if l.leads(shard) {
				leader = l
			} else {
				next = l
			}
		}
		if leader != nil {
			return leader, next
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("no leader")
	return nil, nil
}

func (w *World) awaitLeads(t *testing.T, l *life, shard fsm.ShardID) {
	t.Helper()
	for range 20000 {
		if l.leads(shard) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s does not lead", l.id)
}

func (l *life) leads(shard fsm.ShardID) bool {
	for _, r := range l.node.View().Replicas {
		if r.Shard == shard {
			return r.Role == "Leader"
		}
	}
	return false
}
