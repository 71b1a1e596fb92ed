package clustertest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

// hashicorp/raft #697. A leader that is cut off has entries that nobody else has. The others go on, fewer entries than that, and drop
// their logs for snapshots. When it comes back it gets a snapshot at an index that its own log has gone past, and must be able to go on
// from there.
//
// What the others do meanwhile sometimes makes their logs the longer ones, so it takes several worlds until that has happened in one.
func TestSnapshotOverALongerLog(t *testing.T) {
	for seed := uint64(1); seed <= 12; seed++ {
		if snapshotOverALongerLog(t, seed) || t.Failed() {
			return
		}
	}
	t.Error("no snapshot came over a longer log: the test shows nothing")
}

func snapshotOverALongerLog(t *testing.T, seed uint64) (came bool) {
	synctest.Test(t, func(t *testing.T) {
		often := RaftSettings()
		often.SnapshotBytes, often.TrailingLogs = 2<<10, 1
		var told warnings
		w, err := newWorld(seed, 3, often, slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelWarn})))
		if err != nil {
			t.Fatal(err)
		}
		defer w.end()
		uri := must(mimi.ParseRoomURI("mimi://a.example/r/longer"))
		room := fsmtest.NewRoom(uri, 0, people, []mimi.Provider{local})
		shard, _ := w.living("n1").node.Map().ShardOfSlot(fsm.SlotOfRoom(uri))
		leader, other := w.leaderAndNext(t, shard.ID)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, _, err := other.node.Propose(ctx, room.Create()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // what the room's birth tells other slots is carried there, and not by the others later
		w.growAlone(leader, room)
		if tail, others := leader.lastLog(shard.ID), other.lastLog(shard.ID); tail < others+5 {
			t.Fatalf("the leader's log ends at %d, the others' at %d: the test shows nothing", tail, others)
		}
		for i := range 3 { // with the new leader's own entry still fewer than the old one has
			message := room.Message(fmt.Sprint(i, strings.Repeat("x", 4<<10)), 0, people[0])
			if _, _, err := other.node.Propose(ctx, message); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for _, id := range w.ids() {
			w.network.Break(leader.id, id) // what was sent before must not arrive: it would cut the old leader's log
		}
		w.heal()
		for range 60 {
			time.Sleep(time.Second)
			if w.agree(ctx) {
				came = strings.Contains(told.String(), "#697")
				return
			}
		}
		t.Errorf("a minute after it came back the old leader has not caught up:%s", w.standing())
	})
	return came
}

// warnings keeps what a world's nodes warn of.
type warnings struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (w *warnings) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(line)
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// growAlone cuts a leader off and has entries proposed there, which nobody else gets.
func (w *World) growAlone(leader *life, room *fsmtest.Room) {
	for _, id := range w.ids() {
		w.network.Set(leader.id, id, true, 0)
		w.network.Set(id, leader.id, true, 0)
	}
	for i := range 40 {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			_, _, _ = leader.node.Propose(ctx, room.Commit(fsmtest.Next{Label: fmt.Sprint("alone ", i)})) // it cannot be decided
		}()
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(3 * time.Second)
}

func (l *life) lastLog(shard fsm.ShardID) uint64 {
	for _, r := range l.node.View().Replicas {
		if r.Shard == shard {
			return r.LastLog
		}
	}
	return 0
}
