package cluster

import (
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"parley/fsm/meta"
)

// TestReturningNodeFindsItsReplicaGone: a node is away while its replica moves to another one. When it comes back it finds that out, and
// clears what it has, also where it is stopped before, and knows the map when it starts again.
func TestReturningNodeFindsItsReplicaGone(t *testing.T) {
	t.Parallel()
	var stops atomic.Bool
	c := fourNodes(t, func(config *Config) {
		config.Reached = func(point string) {
			if point == "replica.depart" && stops.Load() {
				stops.Store(false)
				runtime.Goexit() // nothing is cleared any more
			}
		}
	})
	d := &damagedNode{t: t, cluster: c, id: "n4"}
	rooms := d.fillFrom(c.nodes["n1"], "before")
	c.stop("n3")
	c.move(1, "n3", "n4")
	rooms = append(rooms, d.fillFrom(c.nodes["n1"], "while it is away")...)
	stops.Store(true)
	c.start("n3")
	eventually(t, "n3 knows, and does nothing about it", func() bool { return !stops.Load() })
	c.stop("n3")
	n3 := c.start("n3")
	if place, _ := n3.Map().Shard(1); replicates(place, "n3") {
		t.Error("the node has forgotten the map")
	}
	c.awaitVacated("n3", 1)
	d.awaitShard(1, rooms)
	c.move(1, "n2", "n3")
	d.id = "n3"
	d.awaitShard(1, rooms)
	eventually(t, "the mark goes when it is outgrown", func() bool {
		mark, err := n3.stores.rebuilding(1)
		return err == nil && mark == nil
	})
}

// TestReplicaThatComesBackVotesForNobodyEarly: what was decided while n2 was away is on n1 and n3. The replica of n3 goes to n4, and is to
// come back: it is open, and empty, when n1 and n4 fail. By the members that n2 remembers it and n3 are a majority. What was decided without
// n2 must stand.
func TestReplicaThatComesBackVotesForNobodyEarly(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	var halt atomic.Bool
	c := fourNodes(t, func(config *Config) {
		config.Reached = func(point string) {
			if point == "replica.add" && halt.Load() {
				runtime.Goexit() // its shard is not looked after any more by whoever leads it
			}
		}
	})
	n1 := c.nodes["n1"]
	eventually(t, "n1 leads", func() bool {
		_ = n1.TransferLeadership(shortly(t), 1, "n1")
		return n1.replica(1).leads()
	})
	c.stop("n2")
	d := &damagedNode{t: t, cluster: c, id: "n2"}
	rooms := d.fillFrom(n1, "decided without n2")
	c.move(1, "n3", "n4")
	c.awaitVacated("n3", 1)
	halt.Store(true)
	place, _ := n1.Map().Shard(1)
	back := meta.ChangeReplicas{Shard: 1, Was: place.Replicas, Replicas: append(slices.Clone(place.Replicas), "n3"), Leaves: "n4"}
	if err := n1.Change(c.context(), back); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is open again on n3, with nothing", func() bool { return c.nodes["n3"].replica(1) != nil })
	if last := c.nodes["n3"].replica(1).raft.LastIndex(); last > 0 {
		t.Fatalf("its log reaches to %d", last)
	}
	c.stop("n1")
	c.stop("n4")
	remembering := c.start("n2").replica(1)
	term := remembering.raft.CurrentTerm()
	eventually(t, "n2 stands for election some times", func() bool {
		if remembering.leads() {
			t.Fatal("a replica that lacks what was decided leads")
		}
		return remembering.raft.CurrentTerm() > term+2
	})
	halt.Store(false)
	c.start("n1")
	c.start("n4")
	for _, id := range []string{"n2", "n3"} {
		d.id = id
		d.awaitShard(1, rooms)
	}
}

// TestDrainedNodeLeadsNothing: a node that drains hands over all that it leads, the meta group too, and keeps its replicas. The last one
// that serves cannot drain.
func TestDrainedNodeLeadsNothing(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	n1 := c.nodes["n1"]
	eventually(t, "n1 leads all", func() bool {
		for shard := range 2 {
			_ = n1.TransferLeadership(shortly(t), n1.Map().Shards()[shard].ID, "n1")
		}
		if g := n1.meta.started.Load(); !g.leads() {
			for _, n := range c.nodes {
				if other := n.meta.started.Load(); other.leads() {
					_ = other.handOver("n1")
				}
			}
		}
		return n1.replica(1).leads() && n1.replica(2).leads() && n1.meta.started.Load().leads()
	})
	drain := func(id string, kind meta.DutyKind) error {
		return c.nodes["n2"].Change(c.context(), meta.AssignNode{Duty: meta.Duty{Node: id, Kind: kind, By: "ann", Why: "kernel"}})
	}
	if err := drain("n1", meta.Draining); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 leads nothing", func() bool {
		others := 0
		for _, n := range c.nodes {
			if n.id != "n1" {
				others += len(n.led()) + truth(n.meta.started.Load().leads())
			}
		}
		return others == 3 && len(n1.led()) == 0 && !n1.meta.started.Load().leads()
	})
	for shard := range 2 {
		if !n1.View().of(n1.Map().Shards()[shard].ID).Voter {
			t.Errorf("shard %d has gone from n1", shard+1)
		}
	}
	if err := drain("n2", meta.Draining); err != nil {
		t.Fatal(err)
	}
	if err := drain("n3", meta.Draining); err == nil {
		t.Error("nobody is left to lead")
	}
	if err := drain("n2", meta.Leaving); err == nil {
		t.Error("a node may leave that is needed")
	}
}

// TestMarkStandsBehindAllThatWasPromised: between the moment at which a replica is taken out and its end a leader whose map is behind lets it
// in again, with a vote. What it acknowledges then is before its mark too.
func TestMarkStandsBehindAllThatWasPromised(t *testing.T) {
	t.Parallel()
	var promised atomic.Uint64
	var c *testCluster
	c = fourNodes(t, func(config *Config) {
		id := config.Credentials.NodeID()
		config.Reached = func(point string) {
			if point != "replica.close" || id != "n3" || promised.Load() > 0 {
				return
			}
			own, server := c.nodes["n3"].replica(1), serverOf("n3", raft.Voter)
			var leader *replica
			var added raft.IndexFuture
			eventually(t, "a leader lets it in again", func() bool {
				leader = c.nodes[c.leaderOf(1)].replica(1)
				added = leader.raft.AddVoter(server.ID, server.Address, 0, membershipWait)
				return added.Error() == nil
			})
			d := &damagedNode{t: t, cluster: c, id: "n1"}
			d.fill("after it was taken out")
			// The leader may have taken it out again by now, and then it gets nothing more.
			eventually(t, "the replica has what was decided while it was a member", func() bool {
				return own.raft.LastIndex() >= leader.raft.CommitIndex() ||
					own.raft.LastIndex() >= added.Index() && !isVoter(leader.raft.GetConfiguration().Configuration(), "n3")
			})
			promised.Store(own.raft.LastIndex())
		}
	})
	n1 := c.nodes["n1"]
	eventually(t, "n1 leads", func() bool {
		_ = n1.TransferLeadership(shortly(t), 1, "n1")
		return n1.replica(1).leads()
	})
	c.move(1, "n3", "n4")
	c.awaitVacated("n3", 1)
	mark, err := c.nodes["n3"].stores.rebuilding(1)
	if err != nil || mark == nil || promised.Load() == 0 || mark.index < promised.Load() {
		t.Errorf("the mark is %+v, and the replica had promised up to %d: %v", mark, promised.Load(), err)
	}
}

// TestReplicaRunsUntilItIsTakenOut: the map wants no replica on n3 any more when n2 and n4 fail. Without the vote of n3 the shard could not
// decide anything when n2 comes back.
func TestReplicaRunsUntilItIsTakenOut(t *testing.T) {
	t.Parallel()
	var departs atomic.Int32
	c := fourNodes(t, func(config *Config) {
		id := config.Credentials.NodeID()
		config.Reached = func(point string) {
			if point == "replica.depart" && id == "n3" {
				departs.Add(1)
			}
		}
	})
	n1 := c.nodes["n1"]
	if _, err := n1.ChangePlacement(c.context(), func(rules meta.PlacementRules) meta.PlacementRules {
		rules.Paused = true
		return rules
	}); err != nil {
		t.Fatal(err)
	}
	c.beginMove(1, "n3", "n4")
	eventually(t, "n4 votes", func() bool { return c.nodes["n4"].View().of(1).Voter })
	c.stop("n2")
	c.stop("n4")
	place, _ := n1.Map().Shard(1)
	if err := n1.Change(c.context(), changeWithout(place, "n3")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n3 has asked to be taken out some times", func() bool { return departs.Load() > 2 })
	if c.nodes["n3"].replica(1) == nil {
		t.Fatal("a replica is closed whose vote is needed")
	}
	c.start("n2")
	c.awaitVacated("n3", 1)
	d := &damagedNode{t: t, cluster: c, id: "n2"}
	d.fillFrom(c.nodes["n2"], "decided without n3")
}
