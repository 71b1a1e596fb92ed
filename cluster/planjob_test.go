package cluster

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
)

func encodedPlan(t *testing.T, p PlanSpec) []byte {
	t.Helper()
	spec, err := EncodePlan(p)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestPlansAreEncoded(t *testing.T) {
	p := PlanSpec{MapVersion: 7, Layout: "x", About: []byte(`{"bytes":1}`), Steps: []PlanStep{
		{Kind: StepOpenShard, Shard: 7, Replicas: []string{"n1", "n2"}},
		{Kind: StepMoveSlots, Shard: 1, To: 7, Slots: []fsm.SlotID{0, 5, 4095}, Bytes: 1 << 40},
		{Kind: StepMoveReplica, Shard: 1, From: "n1", Node: "n3"},
	}}
	if got, err := DecodePlan(encodedPlan(t, p)); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%+v, %v", got, err)
	}
	// As many steps as a plan of the largest cluster may have.
	for i := range 8192 {
		p.Steps = append(p.Steps, PlanStep{Kind: StepMoveReplica, Shard: fsm.ShardID(i), From: "node-in-a-zone-17", Node: "node-in-a-zone-91", Bytes: uint64(i) << 20})
	}
	if spec := encodedPlan(t, p); len(spec) > meta.JobSpecBytesMax {
		t.Errorf("it comes to %d bytes", len(spec))
	}
	for _, wrong := range [][]byte{nil, {1, 2, 3}, encodedPlan(t, p)[:100]} {
		if _, err := DecodePlan(wrong); err == nil {
			t.Errorf("%d bytes that are no plan are read", len(wrong))
		}
	}
}

// halts stops whoever reaches certain points, once at each, until the test lets them go on.
type halts struct {
	mu      sync.Mutex
	open    []string // that nobody has reached yet, in the order in which they are expected
	reached chan reachedAt
	goOn    chan struct{}
}

type reachedAt struct{ node, point string }

func newHalts(points ...string) *halts {
	return &halts{open: points, reached: make(chan reachedAt), goOn: make(chan struct{})}
}

func (h *halts) tune(config *Config) {
	node := config.Credentials.NodeID()
	config.Reached = func(point string) {
		h.mu.Lock()
		due := len(h.open) > 0 && h.open[0] == point
		if due {
			h.open = h.open[1:]
		}
		h.mu.Unlock()
		if due {
			h.reached <- reachedAt{node, point}
			<-h.goOn
		}
	}
}

// killAt waits until a point is reached by the node that carries a job out, and stops that node there: it does nothing more behind it.
func (c *testCluster) killAt(h *halts) (dead, point string) {
	c.t.Helper()
	at := <-h.reached
	c.nodes[at.node].end() // from here on nothing that it tries succeeds
	h.goOn <- struct{}{}
	c.stop(at.node)
	return at.node, at.point
}

// Whoever leads the meta group dies before each step is taken, and behind it, before that is written down. A step that was taken is not
// taken again, and the job ends once.
func TestPlanOutlivesMetaLeaders(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	points := []string{"plan.set-replication", "job.report", "plan.drain-node", "job.end"}
	h := newHalts(points...)
	c := threeNodes(t, h.tune)
	spec := encodedPlan(t, PlanSpec{Steps: []PlanStep{{Kind: StepSetReplication, Factor: 2}, {Kind: StepDrainNode, Node: "n3"}}})
	job := c.startJob(c.nodes["n1"], JobRequest{Kind: JobResize, Spec: spec, By: "alice"})
	for _, want := range points {
		dead, point := c.killAt(h)
		if point != want {
			t.Errorf("it stopped at %s, not at %s", point, want)
		}
		c.start(dead)
	}
	done := c.awaitJob(job.ID, meta.JobDone)
	if done.UnitsDone != 2 || done.Step != 2 {
		t.Errorf("it ended as %+v", done)
	}
	current := c.any().Map()
	if current.ReplicationFactor() != 2 || current.Duty("n3").Kind != meta.Draining || current.Duty("n3").By != "alice" {
		t.Errorf("replication %d, n3 is %+v", current.ReplicationFactor(), current.Duty("n3"))
	}
	for id, n := range c.nodes { // it stands there behind the job's end
		eventually(t, "the audit log at "+id+" has its end once", func() bool {
			entries, err := n.Audit(0, 100)
			if len(entries) > 1 {
				t.Fatalf("the audit log has of its end: %+v", entries)
			}
			return err == nil && len(entries) == 1
		})
	}
}

// layout is what a node tells when all others answer and each shard has a leader.
func (c *testCluster) layout(at string) (layout Layout) {
	c.t.Helper()
	eventually(c.t, "the cluster's layout is known at "+at, func() bool {
		var err error
		layout, err = c.nodes[at].Layout(c.context())
		return err == nil && !slices.ContainsFunc(layout.Nodes, func(n LayoutNode) bool { return !n.Answers })
	})
	return layout
}

// A plan is refused once the cluster is laid out otherwise, and only then.
func TestStalePlanIsRefused(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	ctx, n := c.context(), c.nodes["n2"]
	layout := c.layout("n2")
	if len(layout.Nodes) != 3 || len(layout.Shards) != 2 || layout.NextShard != 3 || layout.Replication != 3 || layout.BytesPerSecond == 0 ||
		len(layout.Shards[0].Slots)+len(layout.Shards[1].Slots) != fsm.SlotCount {
		t.Errorf("the layout is %+v", layout)
	}
	plan := func(factor int) meta.Job {
		return c.startJob(n, JobRequest{Kind: JobResize, Planned: true, Spec: encodedPlan(t, PlanSpec{
			MapVersion: layout.MapVersion, Layout: layout.Fingerprint, Steps: []PlanStep{{Kind: StepSetReplication, Factor: factor}},
		})})
	}
	first, second := plan(2), plan(1)
	peer := meta.Peer{Domain: provider(t, "b.example")}
	peer.Domains = append(peer.Domains, peer.Domain)
	if err := n.PutPeer(ctx, peer); err != nil {
		t.Fatal(err)
	}
	if stale := n.StalePlans([]meta.Job{first, second}); len(stale) > 0 {
		t.Errorf("a peer more makes plans stale: %v", stale)
	}
	if _, err := n.BeginPlan(ctx, first.ID); err != nil {
		t.Errorf("a peer more makes a plan stale: %v", err)
	}
	c.awaitJob(first.ID, meta.JobDone)
	jobs, err := n.Jobs()
	if found := n.StalePlans(jobs); err != nil || len(found) != 1 || found[second.ID] == nil {
		t.Errorf("stale are %v of %+v, %v", found, jobs, err)
	}
	var stale *StalePlanError
	if _, err := n.BeginPlan(ctx, second.ID); !errors.As(err, &stale) || stale.ID != second.ID || stale.Now <= stale.Version {
		t.Errorf("begun behind another: %v", err)
	}
	if again, err := n.BeginPlan(ctx, first.ID); err != nil || again.State != meta.JobDone {
		t.Errorf("begun again: %+v, %v", again, err)
	}
	if _, err := n.BeginPlan(ctx, 99); !isRefusal(err, "no plan 99") {
		t.Error(err)
	}
}

// A step that nobody knows, and one that the map refuses, ends its job and says why.
func TestPlanThatCannotBe(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	for name, test := range map[string]struct {
		step PlanStep
		why  string
	}{
		"no such kind":       {PlanStep{Kind: "juggle"}, `no steps of kind "juggle"`},
		"too many replicas":  {PlanStep{Kind: StepSetReplication, Factor: 5}, "only 3 nodes serve"},
		"no such node":       {PlanStep{Kind: StepDrainNode, Node: "n9"}, `"n9" does not exist`},
		"too few would stay": {PlanStep{Kind: StepLeaveNode, Node: "n1"}, "without it 2 nodes serve"},
	} {
		job := c.startJob(c.any(), JobRequest{Kind: JobResize, Spec: encodedPlan(t, PlanSpec{Steps: []PlanStep{test.step}})})
		if failed := c.awaitJob(job.ID, meta.JobFailed); !strings.Contains(failed.Error, test.why) {
			t.Errorf("%s: %q", name, failed.Error)
		}
	}
}

// Of a plan that has shards opened and retired, slots and a replica moved, the carrier dies before each kind of step. It ends as it was meant
// to, with each slot in one place.
func TestPlanOfAllKindsOutlivesMetaLeaders(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	points := []string{"plan.open-shard", "plan.move-slots", "plan.move-replica", "plan.retire-shard"}
	h := newHalts(points...)
	c := threeNodes(t, h.tune)
	c.join(c.add("n4"), c.nodes["n1"].ClusterAddr())
	for _, n := range c.nodes {
		eventually(t, "n4 is known", func() bool { return n.Map().Serves("n4") })
	}
	r := c.openRoom("n1", "moves")
	slot := fsm.SlotOfRoom(r.URI)
	home, _ := c.nodes["n1"].Map().ShardOfSlot(slot)
	job := c.startJob(c.nodes["n1"], JobRequest{Kind: JobResize, Spec: encodedPlan(t, PlanSpec{Steps: []PlanStep{
		{Kind: StepOpenShard, Shard: 3, Replicas: []string{"n1", "n2", "n3"}},
		{Kind: StepMoveSlots, Shard: home.ID, To: 3, Slots: []fsm.SlotID{slot}},
		{Kind: StepMoveReplica, Shard: 3, From: "n3", Node: "n4"},
		{Kind: StepMoveSlots, Shard: 3, To: home.ID, Slots: []fsm.SlotID{slot}},
		{Kind: StepOpenShard, Shard: 4, Replicas: []string{"n1", "n2", "n4"}},
		{Kind: StepMoveSlots, Shard: home.ID, To: 4, Slots: []fsm.SlotID{slot}},
		{Kind: StepRetireShard, Shard: 3},
	}})})
	for range points {
		dead, _ := c.killAt(h)
		c.start(dead)
	}
	if done := c.awaitJob(job.ID, meta.JobDone); done.UnitsDone != 7 {
		t.Errorf("it ended as %+v", done)
	}
	for id, n := range c.nodes {
		eventually(t, id+" has the map of the end", func() bool { return n.Map().Version() >= c.metaLeader().Map().Version() })
		current := n.Map()
		if place, _ := current.PlaceOfSlot(slot); place.Shard != 4 {
			t.Errorf("%s has the slot at %+v", id, place)
		}
		if retired, _ := current.Shard(3); retired.State != meta.ShardRetired {
			t.Errorf("%s has shard 3 as %+v", id, retired)
		}
		if len(current.Moves()) > 0 || len(current.Successions()) > 0 {
			t.Errorf("%s has under way: %v, %v", id, current.Moves(), current.Successions())
		}
	}
	c.awaitSettings()
	r.Settings = c.settingsIn(4)
	if outcome, _ := propose(t, c, "n2", r.Commit(fsmtest.Next{Label: "behind all moves"})); !accepted(outcome) {
		t.Errorf("a Commit behind all moves: %#v", outcome)
	}
}

func accepted(outcome fsm.Outcome) bool {
	_, is := outcome.(fsm.Accepted)
	return is
}
