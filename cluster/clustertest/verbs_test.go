package clustertest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"parley/cluster"
	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
)

// strikeEach kills whoever comes to one of some steps for the first time, before he takes it, and starts his node again after a while. missed
// tells which steps nobody has come to, when all are back.
func (w *World) strikeEach(points ...string) (missed func() []string) {
	var mu sync.Mutex
	open := slices.Clone(points)
	w.lieInWait(func(l *life, point string) {
		mu.Lock()
		i := slices.Index(open, point)
		if i >= 0 {
			open = slices.Delete(open, i, i+1)
		}
		mu.Unlock()
		if i < 0 || !w.cutOff(l, rand.New(rand.NewPCG(uint64(i), 3))) {
			return
		}
		w.ending.Go(func() {
			w.close(l)
			time.Sleep(3 * time.Second)
			w.revive(l.id)
		})
	})
	return func() []string {
		w.lieInWait(nil)
		w.ending.Wait()
		return open
	}
}

// TestPlanSurvivesACrashAtEachStep: of a plan that has every kind of step, whoever carries it out is killed before each kind, and where the
// step changes the map before that, too. It ends once, as it was meant to.
func TestPlanSurvivesACrashAtEachStep(t *testing.T) {
	spareStageOf(t, func(t *testing.T, w *World, room *fsmtest.Room) {
		slot := fsm.SlotOfRoom(room.URI)
		home, _ := w.living("n1").node.Map().ShardOfSlot(slot)
		opened := fsm.ShardID(len(w.living("n1").node.Map().Shards()) + 1)
		var steps []cluster.PlanStep
		add := func(s ...cluster.PlanStep) { steps = append(steps, s...) }
		add(
			cluster.PlanStep{Kind: cluster.StepOpenShard, Shard: opened, Replicas: []string{"n2", "n3", "n4"}},
			cluster.PlanStep{Kind: cluster.StepMoveSlots, Shard: home.ID, To: opened, Slots: []fsm.SlotID{slot}},
			cluster.PlanStep{Kind: cluster.StepMoveReplica, Shard: opened, From: "n3", Node: "n1"},
			cluster.PlanStep{Kind: cluster.StepMoveSlots, Shard: opened, To: home.ID, Slots: []fsm.SlotID{slot}},
			cluster.PlanStep{Kind: cluster.StepRetireShard, Shard: opened},
			cluster.PlanStep{Kind: cluster.StepSetReplication, Factor: 4},
		)
		for _, shard := range w.living("n1").node.Map().ActiveShards() {
			add(cluster.PlanStep{Kind: cluster.StepAddReplica, Shard: shard.ID, Node: "n4"})
		}
		add(
			cluster.PlanStep{Kind: cluster.StepMoveLead, Shard: home.ID, Node: "n4"}, // one of the two leads already, perhaps
			cluster.PlanStep{Kind: cluster.StepMoveLead, Shard: home.ID, Node: "n2"},
			cluster.PlanStep{Kind: cluster.StepDrainNode, Node: "n1"},
			cluster.PlanStep{Kind: cluster.StepSetReplication, Factor: 3},
		)
		for _, shard := range w.living("n1").node.Map().ActiveShards() {
			add(cluster.PlanStep{Kind: cluster.StepRemoveReplica, Shard: shard.ID, From: "n1"})
		}
		add(cluster.PlanStep{Kind: cluster.StepLeaveNode, Node: "n1"})
		points := []string{
			"plan.set-replication", "plan.add-replica", "replica.change", "plan.move-lead", "shard.lead", "plan.open-shard", "shard.open",
			"plan.move-slots", "move.map", "move.end", "plan.move-replica", "plan.retire-shard", "shard.retire", "plan.drain-node",
			"plan.remove-replica", "plan.leave-node", "job.report", "job.end",
		}
		spec, err := cluster.EncodePlan(cluster.PlanSpec{Steps: steps})
		if err != nil {
			t.Fatal(err)
		}
		missed := w.strikeEach(points...)
		job := w.begin(t, func(at *cluster.Node) (meta.Job, error) {
			ctx, cancel := contextFor(callTimeout)
			defer cancel()
			return at.StartJob(ctx, cluster.JobRequest{Kind: cluster.JobResize, Spec: spec, By: "ann"})
		})
		ended := w.awaitJob(t, job.ID, time.Hour)
		if ended.State != meta.JobDone || ended.UnitsDone != uint64(len(steps)) {
			t.Fatalf("it ended as %v, %d of %d: %s%s", ended.State, ended.UnitsDone, len(steps), ended.Text, ended.Error)
		}
		if open := missed(); len(open) > 0 {
			t.Errorf("nobody came to %v", open)
		}
		w.awaitPlaces(t, 5*time.Minute, "the plan", func(s meta.Shard) bool { return offNode("n1")(s) && len(s.Replicas) == 3 })
		at := w.living("n2").node
		current := at.Map()
		if place, _ := current.ShardOfSlot(slot); place.ID != home.ID || len(current.Moves()) > 0 {
			t.Errorf("the slot is at shard %d, and %v are moving", place.ID, current.Moves())
		}
		if shard, _ := current.Shard(opened); shard.State != meta.ShardRetired || shard.Generation != job.ID {
			t.Errorf("the shard that was opened is %+v", shard)
		}
		if current.Duty("n1").Kind != meta.Leaving || current.ReplicationFactor() != 3 {
			t.Errorf("n1 is %v, and %d replicas are wanted", current.Duty("n1").Kind, current.ReplicationFactor())
		}
		w.endedOnce(t, job)
		if !w.agreesWithin(5 * time.Minute) {
			t.Errorf("the replicas are not equal: %s", w.standing())
		}
		decided(t, w.living("n2"), room, "behind-the-plan")
	})
}

// endedOnce looks that the audit log has one end of a job, and that there is no other job, as soon as the node that is asked has heard of it.
func (w *World) endedOnce(t *testing.T, job meta.Job) {
	t.Helper()
	at := w.alive()[0].node
	for until := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		entries, err := at.Audit(0, 100)
		ends := 0
		for _, e := range entries {
			if e.Verb == "job end" && e.Done {
				ends++
			}
		}
		jobs, failed := at.Jobs()
		if err == nil && failed == nil && ends == 1 && len(jobs) == 1 {
			return
		}
		if ends > 1 || len(jobs) > 1 || time.Now().After(until) {
			t.Errorf("there are %d jobs, and the audit log has %d ends of them; %v, %v", len(jobs), ends, err, failed)
			return
		}
	}
}

// TestReplacementSurvivesACrashAtEachStep: another node takes the place of one that leaves for good. Whoever takes a step is killed there.
func TestReplacementSurvivesACrashAtEachStep(t *testing.T) {
	spareStageOf(t, func(t *testing.T, w *World, room *fsmtest.Room) {
		missed := w.strikeEach("node.leave", "placing.join", "replica.add", "replica.promote", "placing.leave", "replica.remove", "replica.clear", "node.dismiss", "job.end")
		job := w.begin(t, func(at *cluster.Node) (meta.Job, error) {
			ctx, cancel := contextFor(callTimeout)
			defer cancel()
			return at.Decommission(ctx, cluster.JobReplaceNode, cluster.DecommissionSpec{Node: "n1", Successor: "n4"}, "ann")
		})
		if ended := w.awaitJob(t, job.ID, time.Hour); ended.State != meta.JobDone {
			t.Fatalf("%+v", ended)
		}
		if open := missed(); len(open) > 0 {
			t.Errorf("nobody came to %v", open)
		}
		w.forget("n1")
		w.awaitPlaces(t, 5*time.Minute, "n4 has what n1 had", func(s meta.Shard) bool { return offNode("n1")(s) && onNode("n4")(s) })
		for until := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // one that has come back hears it late
			member, _ := w.alive()[0].node.Map().Node("n1")
			if member.State == meta.NodeRemoved {
				break
			}
			if time.Now().After(until) {
				t.Fatalf("n1 is %+v", member)
			}
		}
		w.endedOnce(t, job)
		decided(t, w.living("n4"), room, "behind-the-replacement")
	})
}
