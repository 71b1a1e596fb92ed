package plan

import (
	"cmp"
	"slices"
)

// measure weighs slots: a third by their number, a third by bytes, a third by load, each against what an average slot has. So a cluster
// that is in balance by one of them and out of it by another is weighed by both.
type measure struct {
	slots       uint64
	bytes, load uint64 // of all slots, at least what makes a difference
}

const (
	unit = 1 << 20 // what an average slot weighs by each of the three

	// Below so much of each slot on the average, a difference is none: an empty cluster is shared out by the number of slots.
	slotBytesLeast = 256 << 10
	slotLoadLeast  = 64
)

func measureOf(c Cluster) (m measure) {
	for _, shard := range c.Shards {
		for _, slot := range shard.Slots {
			m.slots++
			m.bytes += slot.Bytes
			m.load += slot.Load
		}
	}
	m.bytes = max(m.bytes, m.slots*slotBytesLeast)
	m.load = max(m.load, m.slots*slotLoadLeast)
	return m
}

func (m measure) of(s Slot) uint64 {
	return unit + part(s.Bytes, m.bytes, m.slots) + part(s.Load, m.load, m.slots)
}

// part is unit × value / (total / slots), without an overflow for what a cluster can have.
func part(value, total, slots uint64) uint64 {
	if total == 0 {
		return 0
	}
	return uint64(float64(value) / float64(total) * float64(slots) * unit)
}

// Balance says how evenly a cluster is loaded. A spread is how much more the one with the most has than the average, in percent.
type Balance struct {
	Nodes     []NodeBalance // that serve, or have something, by name
	Shards    int
	SlotsLow  int // of the shard with the fewest
	SlotsHigh int
	// Spreads over the shards and over the nodes that serve.
	ShardBytesSpread, NodeBytesSpread, NodeReplicasSpread, NodeLeadsSpread int
	// CrowdedShards have replicas that share a zone, more of them than if they were spread over all.
	CrowdedShards int
}

// NodeBalance is what one node has.
type NodeBalance struct {
	Node     string
	Zone     string
	Serves   bool
	Alive    bool
	Replicas int
	Leads    int
	Bytes    uint64 // of its replicas
	Load     uint64 // of the shards that it leads
}

// BalanceOf looks at a cluster.
func BalanceOf(c Cluster) (b Balance) {
	s := &state{nodes: slices.Clone(c.Nodes), index: make(map[string]int), replication: c.Replication}
	slices.SortFunc(s.nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	for i, n := range s.nodes {
		s.index[n.Name] = i
		b.Nodes = append(b.Nodes, NodeBalance{Node: n.Name, Zone: n.Zone, Serves: n.Serves, Alive: n.Alive})
	}
	s.load(c)
	b.Shards = len(s.shards)
	var shardBytes []uint64
	for i, shard := range s.shards {
		if i == 0 || len(shard.slots) < b.SlotsLow {
			b.SlotsLow = len(shard.slots)
		}
		b.SlotsHigh = max(b.SlotsHigh, len(shard.slots))
		bytes := shard.bytes()
		shardBytes = append(shardBytes, bytes)
		for _, node := range shard.replicas {
			b.Nodes[node].Replicas++
			b.Nodes[node].Bytes += bytes
		}
		if shard.leader >= 0 {
			b.Nodes[shard.leader].Leads++
			for _, slot := range shard.slots {
				b.Nodes[shard.leader].Load += slot.Load
			}
		}
		if s.crowding(shard.replicas) > s.leastCrowding() {
			b.CrowdedShards++
		}
	}
	b.Nodes = slices.DeleteFunc(b.Nodes, func(n NodeBalance) bool { return !n.Serves && n.Replicas == 0 })
	b.ShardBytesSpread = spread(shardBytes)
	b.NodeBytesSpread = b.spread(func(n NodeBalance) uint64 { return n.Bytes })
	b.NodeReplicasSpread = b.spread(func(n NodeBalance) uint64 { return uint64(n.Replicas) })
	b.NodeLeadsSpread = b.spread(func(n NodeBalance) uint64 { return uint64(n.Leads) })
	return b
}

func (b Balance) spread(of func(NodeBalance) uint64) int {
	var values []uint64
	for _, n := range b.Nodes {
		if n.Serves {
			values = append(values, of(n))
		}
	}
	return spread(values)
}

func spread(values []uint64) int {
	var sum, most uint64
	for _, v := range values {
		sum += v
		most = max(most, v)
	}
	if sum == 0 {
		return 0
	}
	return int(100*float64(most)*float64(len(values))/float64(sum) - 100 + 0.5)
}
