package clustertest

import (
	"context"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

// callsFailWithin is more than a call to a node that has just gone can take to fail.
const callsFailWithin = 15 * time.Second

// away is how long a follower is gone: long enough for a leader to try it as seldom as it ever does.
const away = 2 * time.Minute

// A follower that was away has its leader's log soon after it is back, so that the other one may fail then.
func TestReturnedFollowerCatchesUpAtOnce(t *testing.T) {
	for name, gone := range map[string]func(w *World, id string) (back func()){
		"stopped": func(w *World, id string) func() {
			w.stop(w.living(id))
			return func() { w.revive(id) }
		},
		"isolated": func(w *World, id string) func() {
			w.cut(id, true)
			return func() { w.cut(id, false) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
				back := gone(w, other.id)
				time.Sleep(away)
				decided(t, leader, room, "while a follower is away")
				back()
				start := time.Now()
				for w.lags(other.id, leader) && time.Since(start) < time.Minute {
					time.Sleep(10 * time.Millisecond)
				}
				t.Logf("%v after it was back it has the whole log", time.Since(start))
				if took := time.Since(start); took > time.Second {
					t.Errorf("a follower that was away for %v lacked log for %v more: %s", away, took, w.standing())
				}
			})
		})
	}
}

// cut takes a node off the network, or brings it back.
func (w *World) cut(id string, cut bool) {
	for _, other := range w.ids() {
		w.network.Set(id, other, cut, 0)
		w.network.Set(other, id, cut, 0)
	}
}

// lags reports whether a node's log lacks what another has committed, in any shard of both.
func (w *World) lags(id string, than *life) bool {
	l := w.living(id)
	if l == nil {
		return true
	}
	for _, ahead := range than.node.View().Replicas {
		for _, r := range l.node.View().Replicas {
			if r.Shard == ahead.Shard && r.LastLog < ahead.Commit {
				return true
			}
		}
	}
	return false
}

// A leader that is asked again and again to hand over to a node which is gone goes on deciding, and goes on leading.
func TestTransferToAnAbsentNodeHoldsNobodyUp(t *testing.T) {
	longUnderRace(t)
	for name, since := range map[string]time.Duration{"known to be away": away, "about to be known": 16 * time.Second, "not known yet": 0} {
		t.Run(name, func(t *testing.T) {
			stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
				w.cut(other.id, true)
				time.Sleep(since)
				decided(t, leader, room, "what the absent node lacks")
				before := leader.term(t)
				shard, _ := leader.node.Map().ShardOfSlot(fsm.SlotOfRoom(room.URI))
				for range 3 {
					ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
					if err := leader.node.TransferLeadership(ctx, shard.ID, other.id); err == nil {
						t.Error("the lead went to a node that cannot be reached")
					}
					cancel()
				}
				if since < away {
					time.Sleep(callsFailWithin)
				}
				if took := decided(t, leader, room, "after the attempts"); took > time.Second {
					t.Errorf("a Commit took %v", took)
				}
				time.Sleep(time.Minute)
				if after := leader.term(t); after != before {
					t.Errorf("term %d became %d", before, after)
				}
				w.cut(other.id, false)
			})
		})
	}
}

// A leader does not stop deciding for a transfer that it knows to be in vain.
func TestTransferInVainInterruptsNothing(t *testing.T) {
	stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
		w.stop(other)
		time.Sleep(away)
		decided(t, leader, room, "what the absent node lacks")
		shard, _ := leader.node.Map().ShardOfSlot(fsm.SlotOfRoom(room.URI))
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		refused := make(chan error, 1)
		go func() { refused <- leader.node.TransferLeadership(ctx, shard.ID, other.id) }()
		time.Sleep(time.Millisecond) // it is under way
		if took := decided(t, leader, room, "meanwhile"); took > w.raft.Heartbeat/2 {
			t.Errorf("a Commit took %v", took)
		}
		if err := <-refused; err == nil {
			t.Error("the lead went to a node that is not there")
		}
	})
}
