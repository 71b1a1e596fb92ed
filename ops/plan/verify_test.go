package plan_test

import (
	"fmt"
	"maps"
	"slices"

	"parley/ops/plan"
)

// world is a cluster to which the steps of a plan are applied one by one, by rules of its own: it knows nothing of how plans are made.
type world struct {
	nodes       map[string]plan.Node
	replicas    map[uint32][]string
	slots       map[uint32]map[uint16]plan.Slot
	leader      map[uint32]string
	replication int
	retired     map[uint32]bool
}

func worldOf(c plan.Cluster) *world {
	w := &world{
		nodes: make(map[string]plan.Node), replicas: make(map[uint32][]string), slots: make(map[uint32]map[uint16]plan.Slot),
		leader: make(map[uint32]string), replication: c.Replication, retired: make(map[uint32]bool),
	}
	for _, n := range c.Nodes {
		w.nodes[n.Name] = n
	}
	for _, s := range c.Shards {
		w.replicas[s.ID] = slices.Clone(s.Replicas)
		w.leader[s.ID] = s.Leader
		w.slots[s.ID] = make(map[uint16]plan.Slot)
		for _, slot := range s.Slots {
			w.slots[s.ID][slot.ID] = slot
		}
	}
	return w
}

func (w *world) cluster() plan.Cluster {
	c := plan.Cluster{Replication: w.replication}
	for _, name := range slices.Sorted(maps.Keys(w.nodes)) {
		c.Nodes = append(c.Nodes, w.nodes[name])
	}
	for _, id := range slices.Sorted(maps.Keys(w.replicas)) {
		s := plan.Shard{ID: id, Replicas: w.replicas[id], Leader: w.leader[id]}
		for _, slot := range slices.Sorted(maps.Keys(w.slots[id])) {
			s.Slots = append(s.Slots, w.slots[id][slot])
		}
		c.Shards = append(c.Shards, s)
		c.NextShard = max(c.NextShard, id+1)
	}
	for id := range w.retired {
		c.NextShard = max(c.NextShard, id+1)
	}
	return c
}

func (w *world) zone(node string) string {
	if zone := w.nodes[node].Zone; zone != "" {
		return "z/" + zone
	}
	return "n/" + node
}

// inZones are by zone the replicas of a shard.
func (w *world) inZones(replicas []string) map[string]int {
	in := make(map[string]int)
	for _, node := range replicas {
		in[w.zone(node)]++
	}
	return in
}

// crowding is how many pairs of replicas share a zone.
func (w *world) crowding(replicas []string) (pairs int) {
	for _, count := range w.inZones(replicas) {
		pairs += count * (count - 1) / 2
	}
	return pairs
}

// take applies a step, or says why it cannot be.
func (w *world) take(s plan.Step) error {
	replicas, known := w.replicas[s.Shard]
	takes := func(node string) error {
		if n := w.nodes[node]; !n.Serves || !n.Alive || slices.Contains(replicas, node) {
			return fmt.Errorf("node %s cannot take it", node)
		}
		return nil
	}
	switch s.Kind {
	case plan.AddReplica, plan.MoveReplica, plan.RemoveReplica, plan.MoveLead, plan.MoveSlots, plan.RetireShard:
		if !known {
			return fmt.Errorf("there is no such shard")
		}
	}
	switch s.Kind {
	case plan.AddReplica:
		if err := takes(s.Node); err != nil {
			return err
		}
		w.replicas[s.Shard] = append(replicas, s.Node)
	case plan.MoveReplica:
		at := slices.Index(replicas, s.From)
		if at < 0 {
			return fmt.Errorf("node %s has no replica", s.From)
		}
		if err := takes(s.Node); err != nil {
			return err
		}
		w.replicas[s.Shard] = append(slices.Delete(slices.Clone(replicas), at, at+1), s.Node)
	case plan.RemoveReplica:
		at := slices.Index(replicas, s.From)
		if at < 0 {
			return fmt.Errorf("node %s has no replica", s.From)
		}
		if len(replicas) <= w.replication {
			return fmt.Errorf("it would have %d replicas of %d", len(replicas)-1, w.replication)
		}
		w.replicas[s.Shard] = slices.Delete(slices.Clone(replicas), at, at+1)
	case plan.MoveLead:
		if n := w.nodes[s.Node]; !slices.Contains(replicas, s.Node) || !n.Serves || !n.Alive {
			return fmt.Errorf("node %s cannot lead it", s.Node)
		}
		w.leader[s.Shard] = s.Node
	case plan.OpenShard:
		if known || w.retired[s.Shard] || len(s.Replicas) < w.replication {
			return fmt.Errorf("it was there, or has too few replicas")
		}
		for _, node := range s.Replicas {
			if err := takes(node); err != nil {
				return err
			}
			replicas = append(replicas, node)
		}
		w.replicas[s.Shard], w.slots[s.Shard], w.leader[s.Shard] = replicas, make(map[uint16]plan.Slot), s.Replicas[0]
	case plan.MoveSlots:
		to, there := w.slots[s.To]
		if !there || s.To == s.Shard || len(s.Slots) == 0 || !slices.IsSorted(s.Slots) {
			return fmt.Errorf("they cannot go there")
		}
		for _, slot := range s.Slots {
			moved, has := w.slots[s.Shard][slot]
			if !has {
				return fmt.Errorf("slot %d is not in it", slot)
			}
			delete(w.slots[s.Shard], slot)
			to[slot] = moved
		}
	case plan.RetireShard:
		if len(w.slots[s.Shard]) > 0 {
			return fmt.Errorf("it has %d slots", len(w.slots[s.Shard]))
		}
		delete(w.replicas, s.Shard)
		delete(w.slots, s.Shard)
		delete(w.leader, s.Shard)
		w.retired[s.Shard] = true
	case plan.DrainNode:
		n := w.nodes[s.Node]
		n.Serves = false
		w.nodes[s.Node] = n
	case plan.LeaveNode:
		for id, on := range w.replicas {
			if slices.Contains(on, s.Node) {
				return fmt.Errorf("shard %d is on it", id)
			}
		}
		n := w.nodes[s.Node]
		n.Serves, n.Leaves = false, true
		w.nodes[s.Node] = n
	case plan.SetReplication:
		w.replication = s.Factor
	default:
		return fmt.Errorf("a step of kind %q is not known", s.Kind)
	}
	if now, still := w.replicas[s.Shard]; still && !slices.Contains(now, w.leader[s.Shard]) {
		w.leader[s.Shard] = "" // somebody of the others
	}
	return nil
}

// survives reports whether each shard keeps a majority whichever one node fails that answers, with more voters of one shard.
func (w *world) survives(shard uint32, more ...string) bool {
	for failed := range w.nodes {
		for id, replicas := range w.replicas {
			voters := replicas
			if id == shard {
				voters = slices.Concat(replicas, more)
			}
			answering := 0
			for _, node := range voters {
				if w.nodes[node].Alive && node != failed {
					answering++
				}
			}
			if w.nodes[failed].Alive && slices.Contains(voters, failed) && 2*answering <= len(voters) {
				return false
			}
		}
	}
	return true
}
