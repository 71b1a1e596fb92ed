package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
)

// balanced is a cluster's status as balance sees it: shards placed evenly, all leads with the nodes named.
func balanced(nodes, shards, replication int, leader func(shard meta.Shard) string) Status {
	var ids []string
	for i := range nodes {
		ids = append(ids, fmt.Sprintf("n%d", i+1))
	}
	var status Status
	for _, id := range ids {
		offset := int64(0)
		view := NodeView{UpMillis: uint64(balanceUptime.Milliseconds()), ClockOffsetMillis: &offset}
		status.Nodes = append(status.Nodes, NodeStatus{ID: id, View: view})
	}
	for _, shard := range meta.EvenShards(shards, ids, replication) {
		shard.State = meta.ShardActive
		s := ShardStatus{Shard: shard, Leader: leader(shard), Term: 3}
		for _, id := range shard.Replicas {
			s.Replicas = append(s.Replicas, ReplicaStatus{
				Shard: shard.ID, Node: id, Running: true, Voter: true, Leader: s.Leader, Term: 3, Applied: 99, Commit: 100, LastLog: 100,
			})
		}
		status.Shards = append(status.Shards, s)
	}
	return status
}

func (s Status) lead(shard int, node string) {
	s.Shards[shard].Leader = node
	for i := range s.Shards[shard].Replicas {
		s.Shards[shard].Replicas[i].Leader = node
	}
}

// From wherever the leads are, steps come to an end, there are no more of them than shards, and nobody who can give is above the share then.
func TestBalanceComesToAnEnd(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		nodes, shards := 1+random.IntN(7), 1+random.IntN(24)
		replication := 1 + random.IntN(nodes)
		status := balanced(nodes, shards, replication, func(s meta.Shard) string { return s.Replicas[random.IntN(len(s.Replicas))] })
		steps := 0
		for moved := true; moved; {
			moved = false
			for _, node := range status.Nodes {
				step, due := nextStep(node.ID, status)
				if !due {
					continue
				}
				status.lead(int(step.shard)-1, step.to)
				moved = true
				steps++
			}
			if steps > shards {
				t.Fatalf("%d steps for %d shards on %d nodes", steps, shards, nodes)
			}
		}
		led := make(map[string]int)
		for _, s := range status.Shards {
			led[s.Leader]++
		}
		for node, count := range led {
			if replication == nodes && count > share(shards, nodes) {
				t.Errorf("%d shards on %d nodes: %s leads %d", shards, nodes, node, count)
			}
		}
	}
}

// Of several that lead too much, one is first.
func TestBalanceTakesTurns(t *testing.T) {
	status := balanced(4, 8, 4, func(s meta.Shard) string { return []string{"n1", "n1", "n1", "n2", "n2", "n2", "n2", "n3"}[s.ID-1] })
	for node, before := range map[string]int{"n1": 1, "n2": 0} {
		if step, due := nextStep(node, status); !due || step.before != before || step.to != "n4" {
			t.Errorf("%s: %+v, %v", node, step, due)
		}
	}
	if _, due := nextStep("n3", status); due {
		t.Error("who leads little hands over")
	}
}

// Whoever is not fit is given nothing, and the others' share is larger by that.
func TestBalanceGivesToTheFitAlone(t *testing.T) {
	all := func(meta.Shard) string { return "n1" }
	if step, due := nextStep("n1", balanced(3, 6, 3, all)); !due || step != (balanceStep{shard: 2, to: "n2"}) {
		t.Errorf("the preferred leader of the first shard that has another is not chosen: %+v, %v", step, due)
	}
	view := func(change func(v *NodeView)) func(s Status) {
		return func(s Status) { change(&s.Nodes[1].View) }
	}
	replica := func(change func(r *ReplicaStatus)) func(s Status) {
		return func(s Status) {
			for _, shard := range s.Shards {
				for i := range shard.Replicas {
					if shard.Replicas[i].Node == "n2" {
						change(&shard.Replicas[i])
					}
				}
			}
		}
	}
	off := clockBound.Milliseconds() + 1
	for name, spoil := range map[string]func(s Status){
		"does not answer":         func(s Status) { s.Nodes[1].Error = "timeout" },
		"has just started":        view(func(v *NodeView) { v.UpMillis-- }),
		"has no room":             view(func(v *NodeView) { v.DiskLow = true }),
		"has the wrong time":      view(func(v *NodeView) { v.ClockOffsetMillis = &off }),
		"does not know the time":  view(func(v *NodeView) { v.ClockOffsetMillis = nil }),
		"is quarantined":          replica(func(r *ReplicaStatus) { r.Running, r.Quarantined = false, "damage" }),
		"does not vote":           replica(func(r *ReplicaStatus) { r.Voter = false }),
		"follows another":         replica(func(r *ReplicaStatus) { r.Leader = "n3" }),
		"is of another term":      replica(func(r *ReplicaStatus) { r.Term-- }),
		"lacks log":               replica(func(r *ReplicaStatus) { r.LastLog = 100 - balanceLag - 1 }),
		"lacks state":             replica(func(r *ReplicaStatus) { r.Applied = 100 - balanceLag - 1 }),
		"has one replica missing": func(s Status) { s.Shards[5].Replicas = append(s.Shards[5].Replicas[:0:0], ReplicaStatus{Node: "n2"}) },
	} {
		status := balanced(3, 6, 3, all)
		spoil(status)
		if step, due := nextStep("n1", status); !due || step.to != "n3" {
			t.Errorf("n2 %s: %+v, %v", name, step, due)
		}
	}
	status := balanced(3, 6, 3, all)
	status.Nodes[1].Error, status.Nodes[2].Error = "timeout", "timeout"
	if step, due := nextStep("n1", status); due {
		t.Errorf("alone: %+v", step)
	}
	status = balanced(3, 7, 3, func(s meta.Shard) string { return []string{"n1", "n2"}[s.ID%2] }) // n2 has its share
	for _, shard := range status.Shards {
		for i := range shard.Replicas {
			if shard.Replicas[i].Node == "n3" {
				shard.Replicas[i].LastLog = 0
			}
		}
	}
	for _, node := range []string{"n1", "n2"} {
		if step, due := nextStep(node, status); due {
			t.Errorf("%s, where nobody can take: %+v", node, step)
		}
	}
	status = balanced(3, 6, 3, all)
	status.lead(3, "")
	if step, due := nextStep("n1", status); due {
		t.Errorf("in an election: %+v", step)
	}
	status = balanced(3, 6, 3, all)
	status.Shards[1].Shard.State = meta.ShardCreating
	if step, due := nextStep("n1", status); !due || step.shard == fsm.ShardID(2) {
		t.Errorf("a shard that is being created: %+v, %v", step, due)
	}
}

// A step is taken when all has been steady for a while, and seldom where it comes to nothing.
func TestBalanceTakesItsTime(t *testing.T) {
	first, second := []lead{{term: 2, node: "n1"}}, []lead{{term: 3, node: "n1"}}
	var b balance
	now := time.Hour
	steady := func(leads []lead, step balanceStep, want time.Duration) {
		t.Helper()
		from := now
		for {
			if b.observe(leads, now); b.ripe(step, now) {
				break
			}
			now += time.Second
		}
		if now-from != want {
			t.Errorf("after %v, want %v", now-from, want)
		}
	}
	steady(first, balanceStep{}, balanceSteady)
	steady(second, balanceStep{before: 2}, balanceSteady+2*balanceInterval)
	b.taken(nil, now)
	steady(second, balanceStep{}, balanceSteady)
	for want := balanceSteady; want < 2*balancePauseMax; want *= 2 {
		b.taken(errors.New("nobody stood"), now)
		steady(second, balanceStep{}, min(want, balancePauseMax))
	}
	b.taken(nil, now)
	steady(second, balanceStep{}, balanceSteady)
}
