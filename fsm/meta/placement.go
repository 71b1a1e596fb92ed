package meta

import (
	"fmt"
	"slices"

	"parley/fsm"
)

// The rules of nodes and shards.

func (c AddNode) apply(t *tx) Outcome {
	old, found := t.m.Node(c.Node.ID)
	switch {
	case found && old == c.Node:
		return t.unchanged()
	case found && old.State == NodeRemoved:
		return refuse("the node %q was removed; its ID is not used again", c.Node.ID)
	case found && old.Incarnation != c.Node.Incarnation:
		return refuseForgetful(c.Node)
	case found:
		return refuse("the node %q exists; update it", c.Node.ID)
	case c.Node.State != NodeActive:
		return refuse("a node is added as active")
	case len(t.m.nodes) >= NodesMax:
		return refuse("there were %d nodes already", NodesMax)
	}
	outcome := t.putNode(c.Node)
	if _, in := outcome.(Done); in {
		t.spend(c.Node.ID)
	}
	return outcome
}

func (c UpdateNode) apply(t *tx) Outcome {
	old, found := t.m.Node(c.Node.ID)
	switch {
	case !found:
		return refuse("the node %q does not exist", c.Node.ID)
	case old == c.Node:
		return t.unchanged()
	case old.State == NodeRemoved:
		return refuse("the node %q was removed", c.Node.ID)
	case old.Incarnation != c.Node.Incarnation:
		return refuseForgetful(c.Node)
	case c.Node.State != NodeActive && c.Node.State != NodeRemoved:
		return refuse("the node's state %d is not known", c.Node.State)
	}
	if c.Node.State == NodeRemoved {
		for _, s := range t.m.shards {
			if slices.Contains(s.Replicas, c.Node.ID) {
				return refuse("the node %q has a replica of shard %d", c.Node.ID, s.ID)
			}
		}
	}
	return t.putNode(c.Node)
}

// refuseForgetful keeps a node out that comes back with another data directory: it has forgotten for whom it voted and what it
// promised to keep, and could vote a second time.
func refuseForgetful(n Node) Outcome {
	return refuse("the node %q is known with another data directory; a node that lost its disk comes back under a new ID", n.ID)
}

func (t *tx) putNode(n Node) Outcome {
	if reason := nameFault(n.ID); reason != "" {
		return refuse("the node ID %s", reason)
	}
	if n.Incarnation == "" || len(n.Incarnation) > NameBytesMax {
		return refuse("the node's incarnation is empty or longer than %d bytes", NameBytesMax)
	}
	if n.ClusterAddr == "" || len(n.ClusterAddr) > AddressBytesMax {
		return refuse("the node's address is empty or longer than %d bytes", AddressBytesMax)
	}
	for _, other := range t.m.nodes {
		if other.ID != n.ID && other.State == NodeActive && n.State == NodeActive && other.ClusterAddr == n.ClusterAddr {
			return refuse("the node %q has the address %s", other.ID, n.ClusterAddr)
		}
	}
	t.set(newKey(keyNode, []byte(n.ID)...), n.appendTo)
	return t.changed()
}

func (c PlaceShards) apply(t *tx) Outcome {
	placed := slices.Clone(t.m.shards)
	var fresh []Shard
	for _, s := range c.Shards {
		i := slices.IndexFunc(placed, func(o Shard) bool { return o.ID == s.ID })
		if i >= 0 && placed[i].samePlace(s) {
			continue
		}
		if i >= 0 {
			return refuse("shard %d is placed already, otherwise", s.ID)
		}
		if reason := shardFault(t.m, placed, s); reason != "" {
			return refuse("shard %d: %s", s.ID, reason)
		}
		placed, fresh = append(placed, s), append(fresh, s)
	}
	switch {
	case len(fresh) == 0:
		return t.unchanged()
	case len(placed) > ShardsMax:
		return refuse("more than %d shards", ShardsMax)
	}
	for _, s := range fresh {
		t.set(shardKey(s.ID), s.appendTo)
	}
	return t.changed()
}

func shardFault(m *Map, placed []Shard, s Shard) string {
	switch {
	case s.ID == 0:
		return "0 is the meta group"
	case s.Generation == 0:
		return "the generation is zero"
	case s.State != ShardCreating:
		return "a new shard is in creating"
	case s.bornEmpty() && (m.settings.Format < fsm.FormatResize || s.First != 1 || s.Last != 0), s.Last >= fsm.SlotCount:
		return "the range of slots is not valid"
	case len(s.Replicas) == 0 || len(s.Replicas) > ReplicasMax:
		return fmt.Sprintf("it has not between 1 and %d replicas", ReplicasMax)
	}
	for _, o := range placed {
		if !s.bornEmpty() && !o.bornEmpty() && s.First <= o.Last && o.First <= s.Last {
			return fmt.Sprintf("its slots overlap with those of shard %d", o.ID)
		}
	}
	for i, id := range s.Replicas {
		if n, found := m.Node(id); !found || n.State != NodeActive {
			return fmt.Sprintf("the node %q is not an active one", id)
		} else if kind := m.Duty(id).Kind; kind != Serving {
			return fmt.Sprintf("the node %q is %s", id, kind)
		}
		if slices.Contains(s.Replicas[:i], id) {
			return fmt.Sprintf("the node %q is named twice", id)
		}
	}
	return ""
}

func (c ActivateShard) apply(t *tx) Outcome {
	s, found := t.m.Shard(c.ID)
	switch {
	case !found:
		return refuse("shard %d does not exist", c.ID)
	case s.State == ShardActive: // a retry
		return t.unchanged()
	case s.State != ShardCreating:
		return refuse("shard %d is in %s", c.ID, s.State)
	}
	s.State = ShardActive
	t.set(shardKey(s.ID), s.appendTo)
	return t.changed()
}

// EvenShards is EvenShardsOver one zone.
func EvenShards(count int, nodes []string, replication int) []Shard {
	return EvenShardsOver(count, nodes, replication, func(string) string { return "" })
}

// EvenShardsOver places count shards on nodes: contiguous ranges over all slots, sizes that differ by one at most, replicas and
// preferred leaders spread evenly. A shard has replicas in as many zones as it can, and in none two more than in another that has a node
// left. The shards that one node leads have their other replicas in different orders, so that when it fails its leaderships do not all
// fall to one. The result depends on the set of nodes, not on their order. replication counts replicas of a shard and is cut to the
// number of nodes. It panics without nodes or with a count that is not between 1 and fsm.SlotCount.
func EvenShardsOver(count int, nodes []string, replication int, zone func(node string) string) []Shard {
	nodes = slices.Compact(slices.Sorted(slices.Values(nodes)))
	if count < 1 || count > fsm.SlotCount || len(nodes) == 0 {
		panic(fmt.Sprintf("meta: %d shards on %d nodes cannot be placed", count, len(nodes)))
	}
	replication = max(1, min(replication, len(nodes)))
	shards := make([]Shard, count)
	has := make(map[string]int)
	for i := range shards {
		leader := i % len(nodes)
		others := slices.Concat(nodes[leader+1:], nodes[:leader])
		if turn := i / len(nodes); len(others) > 0 {
			others = slices.Concat(others[turn%len(others):], others[:turn%len(others)])
		}
		replicas := spread([]string{nodes[leader]}, others, replication, zone, has)
		for _, node := range replicas {
			has[node]++
		}
		shards[i] = Shard{
			ID: fsm.ShardID(i + 1), Generation: 1, State: ShardCreating, Replicas: replicas,
			First: fsm.SlotID(i * fsm.SlotCount / count), Last: fsm.SlotID((i+1)*fsm.SlotCount/count - 1),
		}
	}
	return shards
}

// spread adds nodes until there are so many replicas, each time one of the zone that has fewest of them; among those of several zones
// that have as few, and of one zone, the first. Where the zones differ it is the one that has fewest replicas of all shards.
func spread(replicas, others []string, replication int, zone func(string) string, has map[string]int) []string {
	zoned := slices.ContainsFunc(others, func(node string) bool { return zone(node) != zone(replicas[0]) })
	for len(replicas) < replication {
		in := make(map[string]int)
		for _, node := range replicas {
			in[zone(node)]++
		}
		best := -1
		for i, node := range others {
			if slices.Contains(replicas, node) {
				continue
			}
			if best < 0 || in[zone(node)] < in[zone(others[best])] ||
				zoned && in[zone(node)] == in[zone(others[best])] && has[node] < has[others[best]] {
				best = i
			}
		}
		replicas = append(replicas, others[best])
	}
	return replicas
}

// nameFault says what is wrong with an ID, or nothing: 1 to NameBytesMax lower-case letters, digits, dots and hyphens,
// beginning and ending with a letter or digit.
func nameFault(name string) string {
	if name == "" || len(name) > NameBytesMax {
		return fmt.Sprintf("is empty or longer than %d bytes", NameBytesMax)
	}
	for i := range len(name) {
		c := name[i]
		inner := i > 0 && i < len(name)-1 && (c == '-' || c == '.')
		if !inner && ('a' > c || c > 'z') && ('0' > c || c > '9') {
			return "has a character other than lower-case letters, digits, and dots and hyphens between them"
		}
	}
	return ""
}
