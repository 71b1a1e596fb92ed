package cluster

import (
	"bytes"
	"encoding/binary"
	"testing"

	"parley/fsm"
)

// readCopy reads a copy to its end, and sums it up by slot.
func readCopy(t testing.TB, c *ShardCopy) map[fsm.SlotID]fsm.Sum {
	t.Helper()
	summers := make(map[fsm.SlotID]*fsm.Summer)
	for _, place := range c.Slots {
		summers[place.Slot] = fsm.NewSummer()
	}
	var last []byte
	for {
		key, value, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if key == nil {
			break
		}
		slot := fsm.SlotID(binary.BigEndian.Uint16(key))
		if summers[slot] == nil || bytes.Compare(last, key) >= 0 {
			t.Fatalf("a record of slot %d, which the copy does not say it has, or out of order", slot)
		}
		last = append(last[:0], key...)
		summers[slot].Add(key, value)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	sums := make(map[fsm.SlotID]fsm.Sum)
	for slot, s := range summers {
		sums[slot] = s.Sum()
	}
	return sums
}

// areDecided reports whether these are the sums of a shard's slots.
func (c *testCluster) areDecided(shard fsm.ShardID, sums map[fsm.SlotID]fsm.Sum) bool {
	c.t.Helper()
	view, err := c.nodes[c.upToDate(shard)].replica(shard).view()
	if err != nil {
		c.t.Fatal(err)
	}
	defer view.Close()
	records := uint64(0)
	for slot, sum := range sums {
		records += sum.Count
		if want, err := fsm.SlotDigest(view, slot); err != nil {
			c.t.Fatal(err)
		} else if sum.Digest != want {
			return false
		}
	}
	if records == 0 {
		c.t.Fatalf("the copy of shard %d is empty", shard)
	}
	return true
}

// A copy is of a follower, has what was decided before it was asked for, and is what the leader has. It ends well or not at all.
func TestShardCopyIsTheShard(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	ctx := c.context()
	n := c.nodes["n2"]
	c.awaitSettings()
	d := &damagedNode{t: t, cluster: c}
	d.fillFrom(n, "copied")
	for _, place := range n.Map().Shards() {
		eventually(t, "a copy of a follower is what was decided", func() bool {
			opened, err := n.OpenShardCopy(ctx, place.ID)
			if err != nil {
				return false // no follower keeps up, or who leads is not known
			}
			if opened.Format != fsm.FormatNewest || opened.Millis == 0 || len(opened.Slots) != int(place.Last-place.First)+1 {
				t.Fatalf("the copy says it is of %+v", opened.ShardCopyHead)
			}
			leads := opened.Node == c.leaderNode(place.ID)
			sums := readCopy(t, opened)
			return !leads && c.areDecided(place.ID, sums) // more may have been decided in between
		})
	}
	if _, err := n.OpenShardCopy(ctx, 99); err == nil {
		t.Error("a shard that there is not was copied")
	}
}

// A follower that is behind is not asked; without followers the leader gives the copy.
func TestShardCopyHasWhatWasDecided(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	ctx := c.context()
	c.stop("n3")
	n := c.nodes["n1"]
	for range 5 {
		_, index, err := n.ProposeTo(ctx, 1, fsm.Fence{})
		if err != nil {
			t.Fatal(err)
		}
		var opened *ShardCopy
		eventually(t, "there is a copy", func() bool {
			opened, err = n.OpenShardCopy(ctx, 1)
			return err == nil
		})
		if opened.Index <= index {
			t.Errorf("the copy is of %d, and %d was decided before it was asked for", opened.Index, index)
		}
		readCopy(t, opened)
	}
}

// A copy that nobody reads to its end does not keep its node from closing.
func TestShardCopyEndsWithItsNode(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	ctx := c.context()
	d := &damagedNode{t: t, cluster: c}
	d.fillFrom(c.nodes["n1"], "left")
	for id, n := range c.nodes {
		stream, err := n.pipeCopy(ctx, copyRequestOf(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		c.stop(id)
		if _, err := stream.Read(make([]byte, 1)); err == nil {
			t.Error("a copy goes on after its node has closed")
		}
	}
}
