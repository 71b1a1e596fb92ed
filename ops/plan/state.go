package plan

import (
	"cmp"
	"slices"
)

// state is the cluster as the steps so far leave it. Nodes are known by their place in nodes.
type state struct {
	nodes       []Node // by name
	index       map[string]int
	drains      []int    // nodes that leave
	served      []bool   // by node: it served before
	left        []bool   // by node: it was to leave already
	shards      []*shard // by ID; retired ones are out
	retiring    []*shard
	replication int // wanted
	was         int
	wanted      int // shards; 0: as many as there are
	next        uint32
	measure     measure
	zones       []int // by node
	zonesAble   int   // in which a node can take a replica

	steps []Step
}

type shard struct {
	id       uint32
	replicas []int // ascending
	leader   int   // -1: nobody
	slots    []Slot
	weight   uint64
	fresh    bool // this plan opens it
}

func (s *shard) has(node int) bool { return slices.Contains(s.replicas, node) }

func (s *state) load(c Cluster) {
	s.measure = measureOf(c)
	s.findZones()
	for _, from := range c.Shards {
		to := &shard{id: from.ID, leader: -1, slots: slices.Clone(from.Slots)}
		for _, name := range from.Replicas {
			if i, known := s.index[name]; known {
				to.replicas = append(to.replicas, i)
				if name == from.Leader {
					to.leader = i
				}
			}
		}
		slices.Sort(to.replicas)
		for _, slot := range to.slots {
			to.weight += s.measure.of(slot)
		}
		s.shards = append(s.shards, to)
		s.next = max(s.next, from.ID+1)
	}
	slices.SortFunc(s.shards, func(a, b *shard) int { return cmp.Compare(a.id, b.id) })
}

// cluster is the state in the form that the planner is told of one.
func (s *state) cluster() Cluster {
	c := Cluster{Nodes: slices.Clone(s.nodes), Replication: s.replication, NextShard: s.next}
	for _, from := range s.shards {
		to := Shard{ID: from.id, Slots: slices.Clone(from.slots)}
		for _, node := range from.replicas {
			to.Replicas = append(to.Replicas, s.nodes[node].Name)
		}
		if from.leader >= 0 {
			to.Leader = s.nodes[from.leader].Name
		}
		c.Shards = append(c.Shards, to)
	}
	return c
}

func (s *state) step(step Step) { s.steps = append(s.steps, step) }

// able reports whether a node may take a replica.
func (s *state) able(node int) bool { return s.nodes[node].Serves && s.nodes[node].Alive }

// findZones numbers the zones, and counts those of which a node can take a replica.
func (s *state) findZones() {
	numbers := make(map[string]int)
	able := make(map[int]bool)
	s.zones = make([]int, len(s.nodes))
	for node, n := range s.nodes {
		name := "zone " + n.Zone
		if n.Zone == "" {
			name = "node " + n.Name
		}
		number, known := numbers[name]
		if !known {
			number = len(numbers)
			numbers[name] = number
		}
		s.zones[node] = number
		if s.able(node) {
			able[number] = true
		}
	}
	s.zonesAble = len(able)
}

// crowding is how many pairs of replicas share a zone.
func (s *state) crowding(replicas []int) (pairs int) {
	for i, node := range replicas {
		for _, other := range replicas[:i] {
			pairs += number(s.zones[other] == s.zones[node])
		}
	}
	return pairs
}

// leastCrowding is what as many replicas as a shard is to have come to where they are spread over all zones.
func (s *state) leastCrowding() int {
	if s.zonesAble == 0 {
		return 0
	}
	each, more := s.replication/s.zonesAble, s.replication%s.zonesAble
	return more*(each+1)*each/2 + (s.zonesAble-more)*each*(each-1)/2
}

// exchanged is a list of replicas with one node for another. -1 is nobody.
func exchanged(replicas []int, from, to int) []int {
	list := slices.DeleteFunc(slices.Clone(replicas), func(node int) bool { return node == from })
	if to >= 0 {
		list = append(list, to)
	}
	slices.Sort(list)
	return list
}

func (s *shard) bytes() (sum uint64) {
	for _, slot := range s.slots {
		sum += slot.Bytes
	}
	return sum
}
