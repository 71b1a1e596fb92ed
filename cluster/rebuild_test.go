package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/storage"
)

// TestDamagedReplicasAreRebuilt: whatever of a node's directory is damaged, the node comes back by itself, with a vote in every group.
func TestDamagedReplicasAreRebuilt(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := threeNodes(t, nil)
	d := &damagedNode{t: t, cluster: c, id: "n3"}
	rooms := d.fill("before")
	for _, one := range []struct {
		name   string
		damage func()
	}{
		{"a shard is held back", func() { d.write("groups/00000001/QUARANTINED", "damaged") }},
		{"the meta group is held back", func() { d.write("groups/00000000/QUARANTINED", "damaged") }},
		{"a file of votes is gone", func() { d.remove("groups/00000001/stable.bolt") }},
		{"a file of votes is damaged", func() { d.overwrite("groups/00000002/stable.bolt") }},
		{"the meta group's log is gone", func() { d.remove("groups/00000000/log.bolt") }},
		{"the meta group's log is damaged", func() { d.overwrite("groups/00000000/log.bolt") }},
		{"the log engine lost its WAL", func() { d.remove("log/*.log") }},
		{"the log engine's WAL is flipped", func() { d.flip("log/*.log") }},
		{"a clearing ends the process each time", func() { d.holdAll(); d.write(clearingName, "2") }},
		{"tables of the state are flipped", func() { d.flip("state/db/*.sst") }},
		{"the state lost its manifest", func() { d.remove("state/db/MANIFEST-*") }},
	} {
		t.Run(one.name, func(t *testing.T) {
			d.t = t
			c.stop(d.id)
			one.damage()
			rooms = append(rooms, d.fillFrom(c.nodes["n1"], one.name)...)
			c.start(d.id)
			d.awaitWhole(rooms)
			if c.nodes[d.id].View().Cleared == 0 {
				t.Error("the node went on with what it had")
			}
			for _, file := range []string{quarantineName, rebuildingName} {
				if left, _ := filepath.Glob(filepath.Join(c.folder(d.id), "groups/*", file)); len(left) > 0 {
					t.Errorf("left over: %v", left)
				}
			}
		})
	}
	for _, aside := range []string{"log.damaged-1", "state.damaged-1"} {
		if _, err := os.Stat(filepath.Join(c.folder(d.id), aside)); err != nil {
			t.Errorf("no damaged engine was kept: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(c.folder(d.id), clearingName)); err == nil {
		t.Error("an attempt to clear is still counted")
	}
}

// TestForgetfulMajorityElectsNobody: of five replicas two are taken out, one after the other, while a third is away. With the
// configuration that it remembers, the two empty ones and it would be a majority. What was decided without them must stand.
func TestForgetfulMajorityElectsNobody(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := newTestCluster(t, nil)
	ctx := c.context()
	first := c.add("n1")
	options := InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 5}
	if err := first.Init(ctx, options); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"n2", "n3", "n4", "n5"} {
		c.join(c.add(id), first.ClusterAddr())
	}
	c.awaitActive(1)
	eventually(t, "n1 leads", func() bool {
		_ = first.TransferLeadership(ctx, 1, "n1")
		return first.replica(1) != nil && first.replica(1).leads()
	})
	c.stop("n3")
	for _, id := range []string{"n4", "n5"} {
		c.stop(id)
		var out eviction
		eventually(t, "n1, which leads, takes "+id+" out", func() bool {
			_ = first.TransferLeadership(shortly(t), 1, "n1")
			var err error
			out, err = first.evict(ctx, first.replica(1).group, id)
			return err == nil
		})
		c.clear(id, 1, out)
	}
	d := &damagedNode{t: t, cluster: c, id: "n3"}
	rooms := d.fillFrom(first, "decided by two")
	c.stop("n1")
	c.stop("n2")
	for _, id := range []string{"n3", "n4", "n5"} {
		c.start(id)
	}
	remembering := c.nodes["n3"].replica(1)
	term := remembering.raft.CurrentTerm()
	eventually(t, "n3 stands for election some times", func() bool {
		if remembering.leads() {
			t.Fatal("a replica that lacks what was decided leads")
		}
		return remembering.raft.CurrentTerm() > term+2
	})
	c.start("n1")
	c.start("n2")
	for _, id := range []string{"n3", "n4", "n5"} {
		d.id = id
		d.awaitWhole(rooms)
	}
}

// TestNoReplicaIsTakenOutIfTheRestCannotDecide: a removal would be the last thing that the group decides.
func TestNoReplicaIsTakenOutIfTheRestCannotDecide(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.stop("n2")
	n := c.nodes["n1"]
	eventually(t, "n1, which leads, refuses", func() bool {
		_ = n.TransferLeadership(shortly(t), 1, "n1")
		_, err := n.evict(c.context(), n.replica(1).group, "n3")
		if err == nil {
			t.Fatal("with n2 away n3 was taken out")
		}
		var refused *RefusedError
		return errors.As(err, &refused) && strings.Contains(refused.Reason, "other voters answer")
	})
}

// clear leaves a node that is down with an empty replica, as rebuild does.
func (c *testCluster) clear(id string, group uint32, out eviction) {
	c.t.Helper()
	s, err := openStores(c.configs[id], func(err error) { c.t.Error(err) })
	if err != nil {
		c.t.Fatal(err)
	}
	if err := errors.Join(s.hold([]uint32{group}, "damaged"), s.clear(group, out, false), s.close()); err != nil {
		c.t.Fatal(err)
	}
}

// damagedNode is a node whose directory is spoiled while it is down.
type damagedNode struct {
	t       *testing.T
	cluster *testCluster
	id      string
}

func (d *damagedNode) path(pattern string) (paths []string) {
	paths, err := filepath.Glob(filepath.Join(d.cluster.folder(d.id), pattern))
	if err != nil || len(paths) == 0 {
		d.t.Fatalf("there is no %s: %v", pattern, err)
	}
	return paths
}

func (d *damagedNode) write(name, content string) {
	if err := os.WriteFile(filepath.Join(d.cluster.folder(d.id), name), []byte(content), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *damagedNode) remove(pattern string) {
	for _, path := range d.path(pattern) {
		if err := os.Remove(path); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *damagedNode) overwrite(pattern string) {
	for _, path := range d.path(pattern) {
		if err := os.WriteFile(path, []byte(strings.Repeat("damaged ", 4096)), 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
}

// flip changes one byte in the middle of each file.
func (d *damagedNode) flip(pattern string) {
	for _, path := range d.path(pattern) {
		content, err := os.ReadFile(path)
		if err != nil {
			d.t.Fatal(err)
		}
		content[len(content)/2] ^= 1
		if err := os.WriteFile(path, content, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *damagedNode) holdAll() {
	for group := range uint32(3) {
		d.write(filepath.Join(storage.GroupName(group), quarantineName), "damaged")
	}
}

// fill creates rooms at the node itself.
func (d *damagedNode) fill(names string) []mimi.RoomURI {
	return d.fillFrom(d.cluster.nodes[d.id], names)
}

func (d *damagedNode) fillFrom(n *Node, names string) (rooms []mimi.RoomURI) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	people := []mimi.UserURI{user(d.t, "anna")}
	for i := range 8 {
		uri := room(d.t, strings.Map(letters, fmt.Sprint(names, i)))
		created := fsmtest.NewRoom(uri, 0, people, []mimi.Provider{provider(d.t, "a.example")})
		if _, _, err := n.Propose(ctx, created.Create()); err != nil {
			d.t.Fatal(err)
		}
		rooms = append(rooms, uri)
	}
	return rooms
}

// letters drops what a name in a URI cannot have.
func letters(r rune) rune {
	if unicode.IsLetter(r) || unicode.IsDigit(r) {
		return r
	}
	return -1
}

// awaitWhole waits until the node runs every group with a vote and has the rooms. A node that ends is started again, as whoever runs it
// does.
func (d *damagedNode) awaitWhole(rooms []mimi.RoomURI) {
	d.t.Helper()
	var mapped bool
	eventually(d.t, "the node has its replicas back", func() bool {
		if _, ended := d.cluster.fatal.LoadAndDelete(d.id); ended {
			d.cluster.stop(d.id)
			d.cluster.start(d.id)
			mapped = false
		}
		n := d.cluster.nodes[d.id]
		view := n.View()
		if before := mapped; before && view.MapVersion == 0 {
			d.t.Error("the node has forgotten the map while it is rebuilt")
		}
		mapped = view.MapVersion > 0
		return len(view.Replicas) == len(n.Map().Shards()) && !slices.ContainsFunc(append(view.Replicas, view.Meta), func(r ReplicaStatus) bool {
			return !r.Running || !r.Voter || r.Rebuilding || r.Quarantined != ""
		})
	})
	n := d.cluster.nodes[d.id]
	for _, shard := range n.Map().Shards() {
		eventually(d.t, "the replicas are equal", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			digests, err := n.Digest(ctx, shard.ID)
			return err == nil && !slices.ContainsFunc(digests, func(r ReplicaDigest) bool {
				return r.Err != nil || r.Index != digests[0].Index || r.Digest != digests[0].Digest
			})
		})
	}
	for _, uri := range rooms {
		if !d.has(uri) {
			d.t.Errorf("%s is not at %s", uri, d.id)
		}
	}
}

// has looks for a room in the node's own state.
func (d *damagedNode) has(uri mimi.RoomURI) bool {
	d.t.Helper()
	n := d.cluster.nodes[d.id]
	place, _ := n.Map().ShardOfSlot(fsm.SlotOfRoom(uri))
	view, err := n.replica(place.ID).view()
	if err != nil {
		d.t.Fatal(err)
	}
	defer view.Close()
	_, found, err := fsm.ReadRoom(view, uri)
	return err == nil && found
}
