package clustertest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"parley/cluster"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
)

// strike kills the life that is about to take a step, once, and starts its node again after a while.
func (w *World) strike(point string, seed uint64) (struck *atomic.Bool) {
	struck = new(atomic.Bool)
	w.lieInWait(func(l *life, at string) {
		if at != point || !struck.CompareAndSwap(false, true) || !w.cutOff(l, rand.New(rand.NewPCG(seed, 2))) {
			return
		}
		w.ending.Go(func() {
			w.close(l)
			time.Sleep(3 * time.Second)
			w.revive(l.id)
		})
	})
	return struck
}

// awaitJob waits until whoever lives sees a job ended.
func (w *World) awaitJob(t *testing.T, id uint64, within time.Duration) meta.Job {
	t.Helper()
	var job meta.Job
	for began := time.Now(); time.Since(began) < within; time.Sleep(500 * time.Millisecond) {
		for _, l := range w.alive() {
			if seen, found, err := l.node.Job(id); err == nil && found {
				job = seen
			}
		}
		if job.State.Ended() {
			w.awaitHeard(id, 30*time.Second)
			return job
		}
	}
	t.Fatalf("job %d has not ended in %v: %+v; %s", id, within, job, w.standing())
	return job
}

// awaitHeard waits until all who live have heard of a job's end, so that what they know of the map is of then; not for ever, since one that
// is out of the cluster hears nothing.
func (w *World) awaitHeard(id uint64, within time.Duration) {
	w.ending.Wait() // who was killed on the way comes back
	for began := time.Now(); time.Since(began) < within; time.Sleep(100 * time.Millisecond) {
		if !slices.ContainsFunc(w.alive(), func(l *life) bool {
			seen, found, err := l.node.Job(id)
			return err != nil || !found || !seen.State.Ended()
		}) {
			return
		}
	}
}

// begin has a job begun at whichever node takes it.
func (w *World) begin(t *testing.T, begin func(at *cluster.Node) (meta.Job, error)) meta.Job {
	t.Helper()
	var failed error
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(time.Second) {
		for _, l := range w.alive() {
			job, err := begin(l.node)
			if err == nil {
				return job
			}
			failed = err
		}
	}
	t.Fatalf("no job was begun: %v", failed)
	return meta.Job{}
}

// forget ends a node that the cluster knows no more.
func (w *World) forget(id string) {
	if l := w.living(id); l != nil {
		w.stop(l)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.lives, id)
}

// TestDecommissionSurvivesACrashAtEachStep: nodes go for good, one after the other, while others come; whoever takes a step is killed there,
// and each job ends once, with its node out of the cluster and nothing lost.
func TestDecommissionSurvivesACrashAtEachStep(t *testing.T) {
	longUnderRace(t)
	spareStageOf(t, func(t *testing.T, w *World, room *fsmtest.Room) {
		for i, point := range []string{"node.leave", "placing.join", "placing.leave", "replica.clear", "node.dismiss"} {
			leaves, comes := fmt.Sprintf("n%d", i+1), fmt.Sprintf("n%d", i+5)
			struck := w.strike(point, uint64(i))
			job := w.begin(t, func(at *cluster.Node) (meta.Job, error) {
				ctx, cancel := contextFor(callTimeout)
				defer cancel()
				return at.Decommission(ctx, cluster.JobDecommission, cluster.DecommissionSpec{Node: leaves, Why: point}, "ann")
			})
			if ended := w.awaitJob(t, job.ID, 10*time.Minute); ended.State != meta.JobDone || ended.UnitsDone != ended.UnitsTotal {
				t.Fatalf("%s: %+v", point, ended)
			}
			w.lieInWait(nil)
			if !struck.Load() {
				t.Errorf("%s: the step was not taken", point)
			}
			w.ending.Wait()
			w.forget(leaves)
			all := w.alive()
			gone := func() bool { // the map of one that was just started again may be behind
				member, _ := all[0].node.Map().Node(leaves)
				return member.State == meta.NodeRemoved
			}
			for began := time.Now(); !gone() && time.Since(began) < time.Minute; time.Sleep(time.Second) {
			}
			if !gone() {
				t.Errorf("%s: the node belongs to the cluster still", point)
			}
			decided(t, all[0], room, point)
			l, err := w.start(comes, newDisk())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := contextFor(time.Minute)
			if err := l.node.Join(ctx, all[0].id+":7400"); err != nil {
				t.Fatal(err)
			}
			cancel()
			w.awaitPlaces(t, 5*time.Minute, point, offNode(leaves))
		}
		if !w.agreesWithin(5 * time.Minute) {
			t.Errorf("the replicas are not equal: %s", w.standing())
		}
	})
}

// TestMoveJobSurvivesACrashAtEachStep: a replica is moved by a job whose carrier is killed.
func TestMoveJobSurvivesACrashAtEachStep(t *testing.T) {
	spareStageOf(t, func(t *testing.T, w *World, room *fsmtest.Room) {
		from, to := "n1", "n4"
		for i, point := range []string{"replica.change", "placing.leave", "replica.promote"} {
			struck := w.strike(point, uint64(i))
			job := w.begin(t, func(at *cluster.Node) (meta.Job, error) {
				ctx, cancel := contextFor(callTimeout)
				defer cancel()
				return at.MoveReplica(ctx, cluster.ReplicaMoveSpec{Shard: 1, From: from, To: to}, "ann")
			})
			if ended := w.awaitJob(t, job.ID, 10*time.Minute); ended.State != meta.JobDone {
				t.Fatalf("%s: %+v", point, ended)
			}
			w.lieInWait(nil)
			if !struck.Load() {
				t.Errorf("%s: the step was not taken", point)
			}
			w.ending.Wait()
			decided(t, w.alive()[0], room, point)
			w.awaitPlaces(t, time.Minute, point, func(s meta.Shard) bool { return s.ID != 1 || offNode(from)(s) && onNode(to)(s) }) // one that has come back hears it late
			from, to = to, from
		}
	})
}

// TestDecommissionIsTakenBack: a job that is cancelled leaves a node that serves.
func TestDecommissionIsTakenBack(t *testing.T) {
	spareStageOf(t, func(t *testing.T, w *World, room *fsmtest.Room) {
		if err := w.change(meta.ChangePlacement{Rules: meta.PlacementRules{Paused: true, ReplicationFactor: 3, By: "bob", Why: "night"}}); err != nil {
			t.Fatal(err)
		}
		job := w.begin(t, func(at *cluster.Node) (meta.Job, error) {
			ctx, cancel := contextFor(callTimeout)
			defer cancel()
			return at.Decommission(ctx, cluster.JobDecommission, cluster.DecommissionSpec{Node: "n1"}, "ann")
		})
		time.Sleep(time.Minute)
		ctx, cancel := contextFor(callTimeout)
		defer cancel()
		if waits, _, err := w.living("n2").node.Job(job.ID); err != nil || waits.State != meta.JobRunning || waits.UnitsDone > 0 {
			t.Errorf("while placement is paused: %+v, %v", waits, err)
		}
		if _, err := w.living("n2").node.CancelJob(ctx, job.ID); err != nil {
			t.Fatal(err)
		}
		if ended := w.awaitJob(t, job.ID, time.Minute); ended.State != meta.JobCancelled {
			t.Errorf("%+v", ended)
		}
		if !w.living("n2").node.Map().Serves("n1") {
			t.Error("the node does not serve again")
		}
		decided(t, w.living("n1"), room, "after it was taken back")
	})
}
