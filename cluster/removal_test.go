package cluster

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
)

// leaves has a node brought out of the cluster for good, and waits until the others know that it is.
func (c *testCluster) leaves(spec DecommissionSpec) {
	c.t.Helper()
	if _, err := c.nodes["n1"].Decommission(c.context(), JobDecommission, spec, "ann"); err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, spec.Node+" is out of the cluster by the map", func() bool {
		member, _ := c.nodes["n1"].Map().Node(spec.Node)
		return member.State == meta.NodeRemoved
	})
}

// awaitRemoval waits until a node knows that it is out, and looks at what it says then.
func (c *testCluster) awaitRemoval(id string) *RemovedError {
	c.t.Helper()
	n := c.nodes[id]
	select {
	case <-n.Removed():
	case <-time.After(patience):
		c.t.Fatalf("%s does not learn that it is out of the cluster", id)
	}
	_, err := n.Status(c.context())
	if removal := (*RemovedError)(nil); !errors.As(err, &removal) || !errors.Is(err, fsm.ErrNotProposed) {
		c.t.Errorf("it answers: %v", err)
	}
	if err := n.Retire(c.context()); err != nil {
		c.t.Error(err)
	}
	if view := n.View(); view.MapVersion == 0 || len(view.Replicas) > 0 {
		c.t.Errorf("what it has after it has come to rest: %+v", view)
	}
	return n.Removal()
}

// reopensAsRemoved opens a directory that is over.
func (c *testCluster) reopensAsRemoved(id string, removal *RemovedError) {
	c.t.Helper()
	c.stop(id)
	n, err := Open(c.configs[id])
	if again := (*RemovedError)(nil); !errors.As(err, &again) || again.Text != removal.Text {
		c.t.Errorf("it opens again with %v, %v", n, err)
	}
}

// TestDecommissionedNodeHearsThatItIsOut: nobody that it could ask as a member answers it any more.
func TestDecommissionedNodeHearsThatItIsOut(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := fourNodes(t, nil)
	c.leaves(DecommissionSpec{Node: "n4"})
	removal := c.awaitRemoval("n4")
	if !strings.Contains(removal.Error(), "node n4 was removed from the cluster") || !strings.Contains(removal.Error(), "ask another node") {
		t.Errorf("it says %q", removal)
	}
	c.reopensAsRemoved("n4", removal)
	for id, n := range c.nodes {
		if n.Removal() != nil {
			t.Errorf("%s takes itself for removed: %v", id, n.Removal())
		}
	}
}

// TestForgottenNodeComesBack: it was away when it was given up, and its map is the old one.
func TestForgottenNodeComesBack(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := fourNodes(t, nil)
	c.stop("n4")
	c.leaves(DecommissionSpec{Node: "n4", Lost: true})
	n4 := c.start("n4")
	if member, _ := n4.Map().Node("n4"); member.State != meta.NodeActive {
		t.Fatalf("it knows already: %+v", member)
	}
	removal := c.awaitRemoval("n4")
	if !strings.Contains(removal.Text, "says by version") {
		t.Errorf("it says %q", removal)
	}
	c.reopensAsRemoved("n4", removal)
}

// TestSilenceIsNoRemoval: a node that hears nothing stays what it is, however long and whomever it asks.
func TestSilenceIsNoRemoval(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.stop("n2")
	n1 := c.nodes["n1"]
	c.stop("n3")
	eventually(t, "n1 has been alone for some rounds", func() bool { return n1.MetaSilence() > standingPatience+3*standingInterval })
	if n1.Removal() != nil {
		t.Errorf("it takes itself for removed: %v", n1.Removal())
	}
	c.start("n2")
	eventually(t, "it is heard again", func() bool { return n1.MetaSilence() < time.Second })
	if _, err := n1.Status(c.context()); err != nil || n1.ShutOut() != "" {
		t.Errorf("it answers %v, shut out %q", err, n1.ShutOut())
	}
}

// TestWhoSettlesARemoval: an answer counts only where nothing that is decided later could make it wrong.
func TestWhoSettlesARemoval(t *testing.T) {
	do := mapHistory(t)
	node := func(id string) meta.Node {
		return meta.Node{ID: id, Incarnation: "of " + id, ClusterAddr: id + ":1", State: meta.NodeActive}
	}
	do(meta.InitCluster{ClusterID: "c", Settings: fsm.DefaultSettings(provider(t, "a.example")), ReplicationFactor: 1, Shards: 1})
	lagging := do(meta.AddNode{Node: node("n1")})
	member := do(meta.AddNode{Node: node("n2")})
	revoked := do(meta.RevokeCertificates{Node: "n2"})
	removed := do(meta.DismissNode{Node: "n2"})

	n := &Node{id: "n2", stores: &stores{}}
	n.stores.identity.Incarnation = "of n2"
	n.generation.Store(2)
	for name, test := range map[string]struct {
		own, theirs *meta.Map
		generation  uint64
		change      func(*nodeStanding)
		settles     bool
	}{
		"it is removed":                          {own: member, theirs: removed, generation: 2, settles: true},
		"a map from before it joined":            {own: member, theirs: lagging, generation: 2},
		"a map in which it is a member":          {own: member, theirs: member, generation: 2},
		"a revocation":                           {own: member, theirs: revoked, generation: 2},
		"an earlier generation":                  {own: member, theirs: removed, generation: 1},
		"a node without a history":               {own: member, theirs: removed, generation: 0},
		"another directory's":                    {own: member, theirs: removed, generation: 2, change: func(s *nodeStanding) { s.incarnation = "of another" }},
		"a map that is not later than one's own": {own: removed, theirs: removed, generation: 2},
	} {
		s, err := decodeStanding(standingIn(test.theirs, test.generation, "n2", []byte{1}).encode())
		if err != nil {
			t.Fatal(err)
		}
		if test.change != nil {
			test.change(&s)
		}
		if n.settlesRemoval(test.own, s) != test.settles {
			t.Errorf("%s: %+v settles: %v", name, s, !test.settles)
		}
	}
	if n.removedByMap(removed) == "" || n.removedByMap(member) != "" || n.removedByMap(lagging) != "" {
		t.Error("what its own map says is not what it is")
	}
}

// TestRevokedNodeIsNotRemoved: its certificate is refused, which it says, and it comes back with another.
func TestRevokedNodeIsNotRemoved(t *testing.T) {
	t.Parallel()
	c := founded(t)
	c.invite("n2")
	n2 := c.invite("n3")
	if err := c.nodes["n1"].RevokeCertificates(c.context(), "n3"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it says why it hears nothing", func() bool { return strings.Contains(n2.ShutOut(), "revoked") })
	if n2.Removal() != nil {
		t.Fatalf("it takes itself for removed: %v", n2.Removal())
	}
	token, err := c.nodes["n1"].Invite(c.context(), "n3", 0)
	if err != nil {
		t.Fatal(err)
	}
	c.stop("n3")
	admission, err := Enrol(c.context(), c.folder("n3"), filepath.Join(t.TempDir(), "admission"), token, "n3")
	if err != nil {
		t.Fatal(err)
	}
	n3 := c.admit("n3", admission)
	eventually(t, "it is heard again", func() bool { return n3.ShutOut() == "" && n3.TakesPeers() })
}
