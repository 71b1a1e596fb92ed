package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

// A view is opened exactly at the index that was asked for, wherever Raft cuts its batches, and also where nothing is delivered at it.
func TestVantageIsExact(t *testing.T) {
	for name, test := range map[string]struct {
		batches [][]*raft.Log
		at      uint64
		want    uint64 // the last entry that the view shows
	}{
		"in the middle of a batch":       {[][]*raft.Log{entries(4, 9)}, 6, 6},
		"at the end of a batch":          {[][]*raft.Log{entries(4, 6), entries(7, 9)}, 6, 6},
		"where the machine is":           {[][]*raft.Log{entries(4, 9)}, 3, 3},
		"at an entry that is Raft's own": {[][]*raft.Log{entries(4, 5), entries(7, 9)}, 6, 5},
		"with old entries in front":      {[][]*raft.Log{entries(2, 9)}, 4, 4},
	} {
		t.Run(name, func(t *testing.T) {
			m, fatal := countingMachine(t)
			m.ApplyBatch(entries(1, 3))
			if applied, err := m.look(test.at); err != nil || applied != 3 {
				t.Fatal(applied, err)
			}
			for _, batch := range test.batches {
				for i, response := range m.ApplyBatch(batch) {
					if index := batch[i].Index; index > 3 && response != index {
						t.Errorf("entry %d was answered %v", index, response)
					}
				}
			}
			view, err := m.vantages.take(t.Context(), &m.applied, test.at)
			if err != nil {
				t.Fatal(err)
			}
			var last uint64
			err = view.Scan(nil, nil, func(key, _ []byte) (bool, error) {
				last = binary.BigEndian.Uint64(key[len("applied"):])
				return true, nil
			})
			if err := errors.Join(err, view.Close()); err != nil {
				t.Fatal(err)
			}
			if last != test.want {
				t.Errorf("the view shows entry %d as the last, not %d", last, test.want)
			}
			if got := history(t, m); got[len(got)-1] != 9 || m.vantages.waiting.Load() != 0 || len(*fatal) > 0 {
				t.Errorf("applied %v, %d still waited for, %v", got, m.vantages.waiting.Load(), *fatal)
			}
		})
	}
}

// What was passed before somebody asked, or in one leap, has no view; and none is made of a later state.
func TestVantageThatWasPassed(t *testing.T) {
	m, _ := countingMachine(t)
	m.ApplyBatch(entries(1, 3))
	if applied, err := m.look(2); err != nil || applied != 3 {
		t.Errorf("a view of the past: %d, %v", applied, err)
	}
	if _, err := m.look(5); err != nil {
		t.Fatal(err)
	}
	m.applied.advance(7) // as a state does that comes whole
	m.ApplyBatch(entries(8, 9))
	if _, err := m.vantages.take(t.Context(), &m.applied, 5); !errors.Is(err, errNoVantage) {
		t.Errorf("%v", err)
	}
	if len(m.vantages.kept) != 0 || m.vantages.waiting.Load() != 0 {
		t.Errorf("kept: %v", m.vantages.kept)
	}
}

// TestCheckUnderLoad: replicas of which none stands still are compared, and are equal.
func TestCheckUnderLoad(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	stop := c.load()
	for range 5 {
		for shard := range fsm.ShardID(3) {
			c.comparedTo(shard, func(check GroupCheck) bool { return check.Equal() })
		}
	}
	if created := stop(); created == 0 {
		t.Error("there was no load")
	}
	for id, n := range c.nodes {
		for _, g := range n.groups() {
			eventually(t, fmt.Sprintf("%s keeps no view of group %d", id, g.id), func() bool { // one that nobody came for goes after a while
				g.machine.vantages.mu.Lock()
				defer g.machine.vantages.mu.Unlock()
				return len(g.machine.vantages.kept) == 0
			})
		}
	}
}

// comparedTo has the replicas of a group compared until each has answered in time, and wants the comparison to be as said.
func (c *testCluster) comparedTo(shard fsm.ShardID, wanted func(check GroupCheck) bool) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("all replicas of group %d are compared", shard), func() bool {
		check, err := c.nodes["n2"].Check(c.context(), shard)
		if err != nil || slices.ContainsFunc(check.Replicas, func(r ReplicaCheck) bool { return r.Err != nil }) {
			return false
		}
		if !wanted(check) {
			c.t.Errorf("group %d: %v", shard, summary(check))
		}
		return true
	})
}

// load creates rooms until it is stopped, and answers how many then.
func (c *testCluster) load() (stop func() int) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var created atomic.Int64
	var wait sync.WaitGroup
	people, to := []mimi.UserURI{user(c.t, "anna")}, []mimi.Provider{provider(c.t, "a.example")}
	for _, n := range c.nodes {
		for w := range 4 {
			wait.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					uri := room(c.t, fmt.Sprintf("load%s%dx%d", n.id, w, i))
					if _, _, err := n.Propose(ctx, fsmtest.NewRoom(uri, 0, people, to).Create()); err == nil {
						created.Add(1)
					}
				}
			})
		}
	}
	stop = func() int {
		cancel()
		wait.Wait()
		return int(created.Load())
	}
	c.t.Cleanup(func() { stop() }) // before the nodes are stopped
	return stop
}

func summary(c GroupCheck) (lines []string) {
	for _, r := range c.Replicas {
		lines = append(lines, fmt.Sprintf("%s: %x, %d records, differs %v in %s, %v", r.Node, r.Digest[:4], r.Records, r.Differs, r.Section, r.Err))
	}
	return lines
}

// alter changes one record of a replica's state behind the log's back.
func (c *testCluster) alter(id string, group uint32) (slot fsm.SlotID) {
	c.t.Helper()
	m := c.nodes[id].machineOf(group)
	m.mu.Lock()
	defer m.mu.Unlock()
	view, err := m.state.View()
	if err != nil {
		c.t.Fatal(err)
	}
	var key, value []byte
	err = view.Scan(nil, nil, func(k, v []byte) (bool, error) {
		key, value = slices.Clone(k), append(slices.Clone(v), 1)
		return false, nil
	})
	batch := m.state.NewBatch()
	err = errors.Join(err, view.Close(), batch.Set(key, value), batch.Commit(), batch.Close())
	if err != nil {
		c.t.Fatal(err)
	}
	return fsm.SlotID(binary.BigEndian.Uint16(key))
}

// TestCheckFindsAndRepairs: the state of the leader's replica is altered on purpose. It is found, named, rebuilt, and equal again.
func TestCheckFindsAndRepairs(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	d := &damagedNode{t: t, cluster: c, id: "n3"}
	rooms := d.fill("before")
	n := c.nodes["n1"]
	eventually(t, "n3 leads shard 1", func() bool {
		_ = n.TransferLeadership(shortly(t), 1, "n3")
		return c.nodes["n3"].replica(1).leads()
	})
	stop := c.load()
	slot := c.alter("n3", 1)
	c.comparedTo(1, func(check GroupCheck) bool { // the record of the slot that was altered, of n3 alone
		return !slices.ContainsFunc(check.Replicas, func(r ReplicaCheck) bool {
			wrong := r.Node == "n3"
			return r.Differs != wrong || wrong && r.Section != fmt.Sprintf("slot %d", slot)
		})
	})
	var refused *RefusedError
	if err := n.Repair(c.context(), 1, "n2"); !errors.As(err, &refused) {
		t.Fatalf("a replica like the majority's is to be rebuilt: %v", err)
	}
	eventually(t, "n3 clears its replica", func() bool { // refused where one did not answer in time
		return n.Repair(c.context(), 1, "n3") == nil || c.nodes["n3"].View().Cleared == 1
	})
	eventually(t, "n3 has cleared its replica", func() bool { return c.nodes["n3"].View().Cleared == 1 })
	stop()
	d.awaitWhole(rooms)
	c.comparedTo(1, func(check GroupCheck) bool { return check.Equal() })
	eventually(t, "an equal replica is not to be rebuilt", func() bool {
		err := n.Repair(c.context(), 1, "n3")
		if err == nil {
			t.Fatal("an equal replica is to be rebuilt")
		}
		return errors.As(err, &refused) && strings.Contains(refused.Reason, "equal")
	})
}

// Where no two of three agree nobody knows who is right, and nothing is thrown away. A node that is away is an answer.
func TestCheckWithoutMajority(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	(&damagedNode{t: t, cluster: c, id: "n3"}).fill("before")
	n := c.nodes["n1"]
	c.alter("n2", 1)
	c.stop("n3")
	check, err := n.Check(c.context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if check.Equal() || slices.ContainsFunc(check.Replicas, func(r ReplicaCheck) bool { return r.Differs }) {
		t.Errorf("%v", summary(check))
	}
	var refused *RefusedError
	for _, id := range []string{"n1", "n2", "n3", "n9"} {
		if err := n.Repair(c.context(), 1, id); !errors.As(err, &refused) {
			t.Fatalf("%s: %v", id, err)
		}
	}
}
