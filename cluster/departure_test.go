package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/storage"
)

// move has the map move a shard's replica, and waits until it is done in the group too.
func (c *testCluster) move(shard fsm.ShardID, from, to string) {
	c.t.Helper()
	c.beginMove(shard, from, to)
	c.awaitReplicas(shard, func(replicas []string) bool { return slices.Contains(replicas, to) && !slices.Contains(replicas, from) })
}

// beginMove has the map begin a move.
func (c *testCluster) beginMove(shard fsm.ShardID, from, to string) {
	c.t.Helper()
	any := c.any()
	place, _ := any.Map().Shard(shard)
	change := meta.ChangeReplicas{Shard: shard, Was: place.Replicas, Replicas: append(slices.Clone(place.Replicas), to), Leaves: from}
	if err := any.Change(c.context(), change); err != nil {
		c.t.Fatal(err)
	}
}

// awaitReplicas waits until a shard's replicas are as wanted, by the map and by its group, and no move is under way.
func (c *testCluster) awaitReplicas(shard fsm.ShardID, wanted func(replicas []string) bool) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("the replicas of shard %d are where they are wanted", shard), func() bool {
		for _, n := range c.nodes {
			place, _ := n.Map().Shard(shard)
			if _, moving := n.Map().Succession(shard); moving || !wanted(place.Replicas) {
				return false
			}
		}
		members := c.members(shard)
		place, _ := c.any().Map().Shard(shard)
		return len(members) == len(place.Replicas) && !slices.ContainsFunc(members, func(m Member) bool {
			return !m.Voter || !slices.Contains(place.Replicas, m.Node)
		})
	})
}

// members are those of a shard's group, by its leader; none where nobody leads.
func (c *testCluster) members(shard fsm.ShardID) []Member {
	var views []NodeStatus
	for _, n := range c.nodes {
		views = append(views, NodeStatus{View: n.View()})
	}
	leader, _ := leaderStatus(views, shard)
	return leader.Members
}

// awaitVacated waits until nothing of a shard is on a node but its mark, and looks at the disk.
func (c *testCluster) awaitVacated(id string, shard fsm.ShardID) {
	c.t.Helper()
	group := filepath.Join(c.folder(id), storage.GroupName(uint32(shard)))
	eventually(c.t, fmt.Sprintf("shard %d has gone from %s", shard, id), func() bool {
		_, vacated := os.Stat(filepath.Join(group, vacatedName))
		_, held := os.Stat(filepath.Join(group, quarantineName))
		return vacated == nil && held != nil && c.nodes[id].replica(shard) == nil
	})
	entries, err := os.ReadDir(group)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); !slices.Contains([]string{vacatedName, rebuildingName, "stable.bolt"}, name) {
			c.t.Errorf("%s is left of shard %d on %s", name, shard, id)
		}
	}
	view, err := c.nodes[id].stores.state.Group(uint32(shard)).View()
	if err != nil {
		c.t.Fatal(err)
	}
	defer view.Close()
	left := 0
	if err := view.Scan(nil, []byte{0xff, 0xff, 0xff}, func(_, _ []byte) (bool, error) { left++; return true, nil }); err != nil || left > 0 || view.Applied() > 0 {
		c.t.Errorf("%d records of shard %d are left on %s, up to %d: %v", left, shard, id, view.Applied(), err)
	}
	if last, err := c.nodes[id].stores.logs.Group(uint32(shard)).LastIndex(); err != nil || last > 0 {
		c.t.Errorf("the log of shard %d is left on %s, up to %d: %v", shard, id, last, err)
	}
}

// fourNodes is a ready cluster of three nodes and one to spare, whose map can be changed while one of the three is away.
func fourNodes(t *testing.T, tune func(*Config)) *testCluster {
	t.Helper()
	c := threeNodes(t, tune)
	c.awaitVoters()
	c.join(c.add("n4"), c.nodes["n1"].ClusterAddr())
	eventually(t, "all know the fourth node", func() bool {
		for _, n := range c.nodes {
			if _, known := n.Map().Node("n4"); !known {
				return false
			}
		}
		return true
	})
	return c
}

// leaderOf waits for a shard's leader.
func (c *testCluster) leaderOf(shard fsm.ShardID) (leader string) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("shard %d has a leader", shard), func() bool {
		for id, n := range c.nodes {
			if r := n.replica(shard); r != nil && r.leads() {
				leader = id
				return true
			}
		}
		return false
	})
	return leader
}

// TestReplicaMovesAndComesBack: a replica goes from node to node and back, the leader's among them, while the shard serves. What has gone is
// gone from the disk, what has come is whole.
func TestReplicaMovesAndComesBack(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := fourNodes(t, nil)
	d := &damagedNode{t: t, cluster: c, id: "n4"}
	rooms := d.fillFrom(c.nodes["n1"], "before")
	leader := c.leaderOf(1)
	c.move(1, leader, "n4")
	c.awaitVacated(leader, 1)
	rooms = append(rooms, d.fillFrom(c.nodes["n1"], "moved")...)
	d.awaitShard(1, rooms)
	c.move(1, "n4", leader)
	c.awaitVacated("n4", 1)
	rooms = append(rooms, d.fillFrom(c.nodes["n1"], "back")...)
	d.id = leader
	d.awaitShard(1, rooms)
	if view := c.nodes[leader].View(); view.Cleared > 0 {
		t.Errorf("a move counts as damage: %d", view.Cleared)
	}
}

// awaitShard waits until the node's replica of a shard votes and is whole, with those rooms that fall there.
func (d *damagedNode) awaitShard(shard fsm.ShardID, rooms []mimi.RoomURI) {
	d.t.Helper()
	n := d.cluster.nodes[d.id]
	eventually(d.t, "the replica votes", func() bool {
		r := n.View().of(shard)
		return r.Running && r.Voter && !r.Rebuilding
	})
	eventually(d.t, "the replicas are equal", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		digests, err := n.Digest(ctx, shard)
		return err == nil && !slices.ContainsFunc(digests, func(r ReplicaDigest) bool {
			return r.Err != nil || r.Index != digests[0].Index || r.Digest != digests[0].Digest
		})
	})
	for _, uri := range rooms {
		if place, _ := n.Map().ShardOfSlot(fsm.SlotOfRoom(uri)); place.ID == shard && !d.has(uri) {
			d.t.Errorf("%s is not at %s", uri, d.id)
		}
	}
}

// TestWhoLeavesHasNothingLeft: a node sends everybody elsewhere while it leaves and has no replica, and not before, nor when it stays after all.
func TestWhoLeavesHasNothingLeft(t *testing.T) {
	t.Parallel()
	c := fourNodes(t, nil)
	assign := func(id string, kind meta.DutyKind) *Node {
		t.Helper()
		n := c.nodes[id]
		if err := n.Change(c.context(), meta.AssignNode{Duty: meta.Duty{Node: id, Kind: kind, By: "ann", Why: "kernel"}}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := assign("n4", meta.Draining); n.Leaves() {
		t.Error("n4 has nothing, and drains")
	}
	if n := assign("n4", meta.Leaving); !n.Leaves() {
		t.Error("n4 has nothing, and leaves")
	}
	if n := assign("n4", meta.Serving); n.Leaves() {
		t.Error("n4 stays after all")
	}
	n3 := c.nodes["n3"]
	if err := n3.Change(c.context(), meta.ChangePlacement{Rules: meta.PlacementRules{Paused: true, ReplicationFactor: 3}}); err != nil {
		t.Fatal(err)
	}
	if assign("n3", meta.Leaving); n3.Leaves() {
		t.Error("n3 has a replica")
	}
}
