package clustertest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"parley/cluster"
	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
	"parley/mimi"
)

// spareStageOf runs a test in a new world of four nodes, of which each shard has three, with a room in it.
func spareStageOf(t *testing.T, play func(t *testing.T, w *World, room *fsmtest.Room)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(1, 4, RaftSettings(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer w.end()
		room := fsmtest.NewRoom(must(mimi.ParseRoomURI("mimi://a.example/r/stage")), 0, people, []mimi.Provider{local, peer})
		shard, _ := w.living("n1").node.Map().ShardOfSlot(fsm.SlotOfRoom(room.URI))
		_, other := w.leaderAndNext(t, shard.ID)
		w.decide(t, other, room.Create())
		room.Incarnation, room.Settings = w.entries.birth(room.URI), settingsVersion(other)
		time.Sleep(time.Minute)
		play(t, w, room)
		for _, v := range w.broken() {
			t.Error(v)
		}
	})
}

// decide has a command decided, at a node.
func (w *World) decide(t *testing.T, at *life, command fsm.Command) {
	t.Helper()
	ctx, cancel := contextFor(callTimeout)
	defer cancel()
	if outcome, _, err := at.node.Propose(ctx, command); err != nil {
		t.Fatalf("%#v, %v", outcome, err)
	}
}

// awaitPlaces waits until the map has the replicas of every shard as wanted, and the groups and the disks are as the map says.
func (w *World) awaitPlaces(t *testing.T, within time.Duration, what string, wanted func(s meta.Shard) bool) {
	t.Helper()
	for began := time.Now(); time.Since(began) < within; time.Sleep(500 * time.Millisecond) {
		if w.placed(wanted) {
			return
		}
	}
	t.Fatalf("%s: not in %v: %s", what, within, w.standing())
}

func (w *World) placed(wanted func(s meta.Shard) bool) bool {
	all := w.alive()
	if len(all) == 0 {
		return false
	}
	current := all[0].node.Map()
	if len(current.Successions()) > 0 {
		return false
	}
	for _, s := range current.ActiveShards() {
		if !wanted(s) {
			return false
		}
		for _, l := range all {
			i := slices.IndexFunc(l.node.View().Replicas, func(r cluster.ReplicaStatus) bool { return r.Shard == s.ID })
			if has := slices.Contains(s.Replicas, l.id); has != (i >= 0) {
				return false
			}
			if i >= 0 && !l.node.View().Replicas[i].Voter {
				return false
			}
		}
	}
	return true
}

// has reports whether a shard is on a node.
func onNode(id string) func(meta.Shard) bool {
	return func(s meta.Shard) bool { return slices.Contains(s.Replicas, id) }
}

func offNode(id string) func(meta.Shard) bool {
	return func(s meta.Shard) bool { return !slices.Contains(s.Replicas, id) }
}

// TestResizeSurvivesACrashAtEachStep: a node leaves, and all that it has goes to another. At each step whoever takes it is killed, or the
// node that comes, and comes back after a while; and all ends as it was wanted, with nothing lost.
func TestResizeSurvivesACrashAtEachStep(t *testing.T) {
	longUnderRace(t)
	spareStageOf(t, func(t *testing.T, w *World, room *fsmtest.Room) {
		leaves, comes := "n1", "n4"
		for i, one := range []struct{ point, victim string }{
			{"placing.join", ""}, {"replica.add", ""}, {"replica.add", "comes"}, {"replica.promote", ""}, {"replica.promote", "comes"},
			{"placing.leave", ""}, {"placing.leave", "comes"}, {"replica.handover", ""}, {"replica.handover", "comes"},
			{"replica.remove", ""}, {"replica.remove", "comes"}, {"replica.remove", "leaves"}, {"replica.depart", ""}, {"replica.close", ""}, {"replica.clear", ""},
		} {
			what := fmt.Sprintf("%s kills %q, %s to %s", one.point, one.victim, leaves, comes)
			w.handTo(leaves, 1)
			var struck atomic.Bool
			w.lieInWait(func(l *life, point string) {
				if point != one.point || !struck.CompareAndSwap(false, true) {
					return
				}
				victim := l
				switch one.victim {
				case "comes":
					victim = w.living(comes)
				case "leaves":
					victim = w.living(leaves)
				}
				if victim == nil || !w.cutOff(victim, rand.New(rand.NewPCG(uint64(i), 1))) {
					return
				}
				w.ending.Go(func() {
					w.close(victim)
					time.Sleep(3 * time.Second)
					w.revive(victim.id)
				})
			})
			if err := w.assign(leaves, meta.Leaving); err != nil {
				t.Fatal(err)
			}
			w.awaitPlaces(t, 5*time.Minute, what, offNode(leaves))
			w.lieInWait(nil)
			if !struck.Load() {
				t.Errorf("%s: the step was not taken", what)
			}
			w.ending.Wait()
			decided(t, w.alive()[0], room, strings.ReplaceAll(what, " ", "-"))
			for w.assign(leaves, meta.Serving) != nil {
				time.Sleep(time.Second)
			}
			leaves, comes = comes, leaves
		}
		if !w.agreesWithin(5 * time.Minute) {
			t.Errorf("the replicas are not equal: %s", w.standing())
		}
	})
}

// handTo has a node lead a shard.
func (w *World) handTo(id string, shard fsm.ShardID) {
	ctx, cancel := contextFor(time.Minute)
	defer cancel()
	for ctx.Err() == nil && !w.living(id).leads(shard) {
		_ = w.living(id).node.TransferLeadership(ctx, shard, id)
		time.Sleep(100 * time.Millisecond)
	}
}

func (w *World) agreesWithin(limit time.Duration) bool {
	ctx, cancel := contextFor(limit)
	defer cancel()
	for ctx.Err() == nil {
		if w.agree(ctx) {
			return true
		}
		time.Sleep(time.Second)
	}
	return false
}

// TestDeadNodesReplicasAreReplaced: after a quarter of an hour, and not much before, the replicas of a node that is silent are on others. A
// new leader of the meta group counts anew. When the node comes back nothing of it is left.
func TestDeadNodesReplicasAreReplaced(t *testing.T) {
	longUnderRace(t)
	spareStageOf(t, func(t *testing.T, w *World, room *fsmtest.Room) {
		w.stop(w.living("n2"))
		time.Sleep(14 * time.Minute)
		if w.placed(offNode("n2")) || w.living("n1").node.Map().Successions() != nil {
			t.Error("a node that may come back is replaced")
		}
		for _, l := range w.alive() {
			if l.node.View().Meta.Role == "Leader" {
				w.stop(l)
				time.Sleep(time.Second)
				w.revive(l.id)
				break
			}
		}
		time.Sleep(14 * time.Minute)
		if !w.placed(onNode("n2")) && len(w.alive()[0].node.Map().Successions()) > 0 {
			t.Error("a new leader goes by what it has not seen")
		}
		w.awaitPlaces(t, 5*time.Minute, "n2 is dead", offNode("n2"))
		decided(t, w.living("n1"), room, "without the dead node")
		w.revive("n2")
		w.awaitPlaces(t, time.Minute, "n2 is back", offNode("n2"))
		if len(w.living("n2").node.View().Replicas) > 0 {
			t.Errorf("n2 has replicas: %+v", w.living("n2").node.View().Replicas)
		}
		if !w.agreesWithin(time.Minute) {
			t.Errorf("the replicas are not equal: %s", w.standing())
		}
	})
}

// TestResizeUnderFaults has replicas moved about, and nodes that leave and drain, while clients ask and all else goes wrong.
func TestResizeUnderFaults(t *testing.T) {
	longUnderRace(t)
	kinds := *kindsFlag
	defer func() { *kindsFlag = kinds }()
	if kinds == "" {
		*kindsFlag = "leaving node,draining node,moved replica,crash,crash while catching up,isolated node,one-way link,slow disk,leadership transfer"
	}
	synctest.Test(t, func(t *testing.T) { runSeed(t, max(*seedFlag, 4)) })
}

func contextFor(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}
