package plan_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"parley/ops/plan"
)

// drawCluster is a cluster as operators might leave it: nodes that are new, that do not answer, that were drained; replicas and slots
// anywhere.
func drawCluster(t *rapid.T) plan.Cluster {
	c := plan.Cluster{Replication: rapid.IntRange(1, 5).Draw(t, "replication")}
	nodes := rapid.IntRange(c.Replication, 12).Draw(t, "nodes")
	zones := rapid.IntRange(0, 4).Draw(t, "zones")
	for i := range nodes {
		n := plan.Node{Name: fmt.Sprintf("n%02d", i), Serves: true, Alive: true}
		if zones > 0 {
			n.Zone = fmt.Sprintf("z%d", rapid.IntRange(0, zones-1).Draw(t, "zone"))
		}
		if i >= c.Replication {
			n.Serves = rapid.IntRange(0, 9).Draw(t, "serves") > 0
			n.Alive = rapid.IntRange(0, 9).Draw(t, "alive") > 0
		}
		c.Nodes = append(c.Nodes, n)
	}
	shards := rapid.IntRange(1, 24).Draw(t, "shards")
	for id := range shards {
		s := plan.Shard{ID: uint32(id + 1)}
		order := rapid.Permutation(c.Nodes).Draw(t, "order")
		for _, n := range order[:rapid.IntRange(1, min(c.Replication+1, nodes)).Draw(t, "replicas")] {
			s.Replicas = append(s.Replicas, n.Name)
		}
		s.Leader = rapid.SampledFrom(append(slices.Clone(s.Replicas), "")).Draw(t, "leader")
		c.Shards = append(c.Shards, s)
	}
	uneven := rapid.Bool().Draw(t, "uneven")
	for slot := range rapid.IntRange(shards, 400).Draw(t, "slots") {
		at := &c.Shards[slot%shards]
		one := plan.Slot{ID: uint16(slot)}
		if uneven {
			at = &c.Shards[rapid.IntRange(0, shards-1).Draw(t, "at")]
			one.Bytes = rapid.Uint64Range(0, 64<<20).Draw(t, "bytes")
			one.Load = rapid.Uint64Range(0, 1000).Draw(t, "load")
		}
		at.Slots = append(at.Slots, one)
	}
	c.NextShard = uint32(shards + 1 + rapid.IntRange(0, 3).Draw(t, "retired"))
	return c
}

func drawGoal(t *rapid.T, c plan.Cluster) (g plan.Goal) {
	if rapid.Bool().Draw(t, "reshard") {
		g.Shards = rapid.IntRange(1, 24).Draw(t, "shards wanted")
	}
	if rapid.Bool().Draw(t, "rereplicate") {
		g.Replication = rapid.IntRange(1, 5).Draw(t, "replication wanted")
	}
	for _, n := range c.Nodes {
		if rapid.IntRange(0, 9).Draw(t, "leaves") == 0 {
			g.Leave = append(g.Leave, n.Name)
		}
	}
	return g
}

// Whatever the cluster and the goal: each step can be taken when its turn comes, takes nothing below what is wanted, crowds no zone, and the
// end is what was wanted, in balance. A plan for that is empty.
func TestPlans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		g := drawGoal(t, c)
		p, err := plan.Make(c, g)
		var refused *plan.RefusedError
		if errors.As(err, &refused) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		w := worldOf(c)
		survives := w.survives(0)
		for i, step := range p.Steps {
			before := worldOf(w.cluster())
			if err := w.take(step); err != nil {
				t.Fatalf("step %d, %s: %v", i, step, err)
			}
			checkStep(t, before, w, step)
			if step.Kind == plan.MoveReplica {
				survives = survives && before.survives(step.Shard, step.Node)
			}
			survives = survives && w.survives(0)
		}
		if survives != p.Survives {
			t.Fatalf("it survives one more failure: %v, and says %v (%v)", survives, p.Survives, p.Weak)
		}
		checkEnd(t, c, g, w)
		end := w.cluster()
		end.NextShard = max(end.NextShard, c.NextShard)
		again, err := plan.Make(end, plan.Goal{Shards: g.Shards, Replication: g.Replication, Leave: g.Leave})
		if err != nil || len(again.Steps) > 0 {
			t.Fatalf("a plan for what came of it: %v, %v\n%+v\n%+v\n%v\n%+v", again.Steps, err, c.Nodes, g, p.Steps, plan.BalanceOf(end))
		}
		if same, _ := plan.Make(c, g); !reflect.DeepEqual(same, p) {
			t.Fatal("another time it is another plan")
		}
	})
}

func checkStep(t *rapid.T, before, after *world, step plan.Step) {
	if step.Kind == plan.RetireShard || step.Kind == plan.OpenShard {
		return
	}
	was, is := before.replicas[step.Shard], after.replicas[step.Shard]
	if len(is) < len(was) && len(is) < after.replication {
		t.Fatalf("%s leaves %d replicas of %d", step, len(is), after.replication)
	}
	leaves := step.From != "" && (after.nodes[step.From].Leaves || !after.nodes[step.From].Serves)
	if step.Kind == plan.MoveReplica && !leaves && after.crowding(is) > before.crowding(was) {
		t.Fatalf("%s crowds a zone: %v after %v", step, after.inZones(is), before.inZones(was))
	}
}

func checkEnd(t *rapid.T, c plan.Cluster, g plan.Goal, w *world) {
	if g.Shards != 0 && len(w.replicas) != g.Shards {
		t.Fatalf("%d shards of %d", len(w.replicas), g.Shards)
	}
	if g.Replication != 0 && w.replication != g.Replication {
		t.Fatalf("replication %d of %d", w.replication, g.Replication)
	}
	zones := make(map[string]bool)
	nodes := make(map[string]int) // that serve and answer, by zone
	for name, n := range w.nodes {
		if n.Serves && n.Alive {
			zones[w.zone(name)] = true
			nodes[w.zone(name)]++
		}
	}
	slots := 0
	for id, replicas := range w.replicas {
		slots += len(w.slots[id])
		if len(replicas) != w.replication {
			t.Fatalf("shard %d has %d replicas of %d", id, len(replicas), w.replication)
		}
		for _, name := range replicas {
			if slices.Contains(g.Leave, name) {
				t.Fatalf("shard %d is on %s, which leaves", id, name)
			}
		}
		able := slices.ContainsFunc(replicas, func(name string) bool { return w.nodes[name].Serves && w.nodes[name].Alive })
		if lead := w.leader[id]; able && (lead == "" || !w.nodes[lead].Serves || !w.nodes[lead].Alive) {
			t.Fatalf("shard %d is led by %q", id, lead)
		}
	}
	want := 0
	for _, s := range c.Shards {
		want += len(s.Slots)
	}
	if slots != want {
		t.Fatalf("%d slots of %d", slots, want)
	}
}

// Where all nodes serve and answer and the slots are alike, the end is as even as can be.
func TestPlansEvenOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.IntRange(1, 3).Draw(t, "zones")
		each := rapid.IntRange(2, 6).Draw(t, "nodes a zone")
		c := plan.Cluster{Replication: rapid.IntRange(1, zones).Draw(t, "replication")}
		for i := range zones * each {
			c.Nodes = append(c.Nodes, plan.Node{Name: fmt.Sprintf("n%02d", i), Zone: fmt.Sprintf("z%d", i%zones), Serves: true, Alive: true})
		}
		shards := rapid.IntRange(1, 40).Draw(t, "shards")
		for id := range shards {
			s := plan.Shard{ID: uint32(id + 1)}
			for zone := range c.Replication {
				at := rapid.IntRange(0, each-1).Draw(t, "node")
				s.Replicas = append(s.Replicas, fmt.Sprintf("n%02d", at*zones+zone))
			}
			s.Leader = s.Replicas[0]
			c.Shards = append(c.Shards, s)
		}
		for slot := range shards * 8 {
			at := &c.Shards[rapid.IntRange(0, shards-1).Draw(t, "at")]
			at.Slots = append(at.Slots, plan.Slot{ID: uint16(slot)})
		}
		p, err := plan.Make(c, plan.Goal{})
		if err != nil {
			t.Fatal(err)
		}
		w := worldOf(c)
		for _, step := range p.Steps {
			if err := w.take(step); err != nil {
				t.Fatal(err)
			}
		}
		b := plan.BalanceOf(w.cluster())
		if b.CrowdedShards > 0 || b.SlotsHigh != 8 || b.SlotsLow != 8 {
			t.Fatalf("the end is %+v", b)
		}
		low, high := b.Nodes[0].Leads, b.Nodes[0].Leads
		for _, n := range b.Nodes {
			low, high = min(low, n.Leads), max(high, n.Leads)
		}
		if ways := leadsCanBeEven(w); ways && high-low > 1 {
			t.Fatalf("leads from %d to %d", low, high)
		}
		if c.Replication == zones { // each zone has every shard once
			for _, n := range b.Nodes {
				if n.Replicas < shards/each || n.Replicas > (shards+each-1)/each {
					t.Fatalf("node %s has %d replicas of %d shards, and its zone has %d nodes", n.Node, n.Replicas, shards, each)
				}
			}
		}
	})
}

// leadsCanBeEven is a lower bar that is met where every node has a replica of a shard for each lead that it should have and there are many
// shards: then no set of nodes is short of shards to lead.
func leadsCanBeEven(w *world) bool { return len(w.replicas) >= 3*len(w.nodes) && w.replication >= 2 }
