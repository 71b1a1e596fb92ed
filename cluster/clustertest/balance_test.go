package clustertest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

// gentle is what lies between two handovers at least.
const gentle = 5 * time.Second

// After a node has been away the leads are shared out evenly again, one at a time and no more of them than it takes, and then they stay.
func TestLeadsAreBalancedAfterAFailure(t *testing.T) {
	longUnderRace(t)
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorldOf(1, 3, 6, RaftSettings(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer w.end()
		w.awaitEven(t, 2*time.Minute, func() {})
		victim := w.living("n2")
		w.crash(victim, rand.New(rand.NewPCG(1, 1)))
		time.Sleep(2 * time.Minute)
		if led := w.leadCounts(); led["n1"]+led["n3"] != 6 {
			t.Fatalf("without n2: %v", led)
		}
		away := w.termsOfAll()
		w.revive("n2")
		start := time.Now()
		last, elections := start, uint64(0)
		w.awaitEven(t, 2*time.Minute, func() {
			if now := w.termsOfAll() - away; now > elections {
				if since := time.Since(last); since < gentle {
					t.Errorf("a handover %v after the last one, or the start", since)
				}
				last, elections = time.Now(), now
			}
		})
		t.Logf("even %v after it was back", time.Since(start))
		settled := w.termsOfAll()
		if elections := settled - away; elections != 2 {
			t.Errorf("%d elections for two leads", elections)
		}
		time.Sleep(5 * time.Minute)
		if after := w.termsOfAll(); after != settled {
			t.Errorf("%d elections when all was even", after-settled)
		}
		for _, v := range w.broken() {
			t.Error(v)
		}
	})
}

// Requests that come while a lead is handed over are decided by its successor, and wait for no timer.
func TestHandoverHoldsNobodyUp(t *testing.T) {
	stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
		shard, _ := leader.node.Map().ShardOfSlot(fsm.SlotOfRoom(room.URI))
		var slowest time.Duration
		for range 10 {
			leader, next := w.leaderAndNext(t, shard.ID)
			slowest = max(slowest, w.meanwhile(t, shard.ID, func() {
				ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
				defer cancel()
				if err := leader.node.TransferLeadership(ctx, shard.ID, next.id); err != nil {
					t.Error(err)
				}
				w.awaitLeads(t, next, shard.ID)
			}))
		}
		t.Logf("the slowest fence took %v", slowest)
		if slowest > w.raft.Heartbeat/2 {
			t.Errorf("a fence took %v", slowest)
		}
	})
}

// meanwhile has fences of a shard decided through each node, one after the other, while something is done, and returns how long the
// slowest took.
func (w *World) meanwhile(t *testing.T, shard fsm.ShardID, do func()) (slowest time.Duration) {
	t.Helper()
	done := make(chan struct{})
	took := make(chan time.Duration)
	var asking sync.WaitGroup
	for _, at := range w.alive() {
		asking.Go(func() {
			for {
				ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
				begun := time.Now()
				_, _, err := at.node.ProposeTo(ctx, shard, fsm.Fence{})
				cancel()
				if err != nil {
					t.Errorf("at %s: %v", at.id, err)
				}
				select {
				case took <- time.Since(begun):
				case <-done:
					return
				}
			}
		})
	}
	go func() {
		time.Sleep(10 * time.Millisecond) // they are under way
		do()
		time.Sleep(10 * time.Millisecond)
		close(done)
	}()
	for {
		select {
		case one := <-took:
			slowest = max(slowest, one)
		case <-done:
			asking.Wait()
			return slowest
		}
	}
}

// leadCounts is how many shards each node leads.
func (w *World) leadCounts() map[string]int {
	led := make(map[string]int)
	for _, l := range w.alive() {
		for _, r := range l.node.View().Replicas {
			if r.Role == "Leader" {
				led[l.id]++
			}
		}
	}
	return led
}

// awaitEven waits until every node leads as many shards as every other, and looks at something else each time.
func (w *World) awaitEven(t *testing.T, within time.Duration, meanwhile func()) {
	t.Helper()
	var led map[string]int
	for start := time.Now(); time.Since(start) < within; time.Sleep(100 * time.Millisecond) {
		meanwhile()
		led = w.leadCounts()
		var counts []int
		for _, id := range w.ids() {
			counts = append(counts, led[id])
		}
		if slices.Max(counts) == slices.Min(counts) && counts[0] > 0 {
			return
		}
	}
	t.Fatalf("%v after %v", fmt.Sprint(led), within)
}

// termsOfAll sums the shards' terms, as the node knows them that knows of the latest: it changes with each election.
func (w *World) termsOfAll() (sum uint64) {
	latest := make(map[fsm.ShardID]uint64)
	for _, l := range w.alive() {
		for _, r := range l.node.View().Replicas {
			latest[r.Shard] = max(latest[r.Shard], r.Term)
		}
	}
	for _, term := range latest {
		sum += term
	}
	return sum
}
