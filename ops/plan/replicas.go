package plan

import (
	"cmp"
	"slices"
)

// weights are what the replicas of each node weigh.
func (s *state) weights() []uint64 {
	has := make([]uint64, len(s.nodes))
	for _, x := range s.shards {
		for _, node := range x.replicas {
			has[node] += x.weight
		}
	}
	return has
}

func (s *state) drain() {
	for _, node := range s.drains {
		if s.served[node] {
			s.step(Step{Kind: DrainNode, Node: s.nodes[node].Name})
		}
	}
	if s.replication < s.was {
		s.step(Step{Kind: SetReplication, Factor: s.replication}) // what is too much goes afterwards
	}
}

func (s *state) leave() {
	for _, node := range s.drains {
		if !s.left[node] {
			s.step(Step{Kind: LeaveNode, Node: s.nodes[node].Name})
		}
	}
}

// repair gives each shard the replicas that it lacks, and those on nodes that leave to others. What is on a node that does not answer and
// does not leave stays: it may come back.
func (s *state) repair() {
	has := s.weights()
	for _, x := range s.shards {
		if x.fresh {
			continue
		}
		for len(x.replicas) < s.replication {
			node := s.bestFor(x, -1, has)
			if node < 0 {
				break
			}
			s.step(Step{Kind: AddReplica, Shard: x.id, Node: s.nodes[node].Name, Bytes: x.bytes()})
			s.exchange(x, -1, node, has)
		}
		spare := s.spare(x, has)
		for _, from := range slices.Clone(x.replicas) {
			if s.nodes[from].Leaves && !slices.Contains(spare, from) {
				s.moveTo(x, from, has)
			}
		}
	}
	if s.replication > s.was {
		s.step(Step{Kind: SetReplication, Factor: s.replication})
	}
}

// moveTo moves a replica to where it is best. There is such a place: as many nodes as a shard has replicas can take one.
func (s *state) moveTo(x *shard, from int, has []uint64) {
	if to := s.bestFor(x, from, has); to >= 0 {
		s.move(x, from, to, has)
	}
}

// uncrowd moves replicas to other zones as long as fewer of them share one then.
func (s *state) uncrowd(x *shard, has []uint64) {
	for {
		now := s.crowding(x.replicas)
		if now == 0 {
			return
		}
		bestFrom, bestTo, bestCrowd := -1, -1, now
		for _, from := range x.replicas {
			for to := range s.nodes {
				if !s.able(from) || !s.able(to) || x.has(to) {
					continue
				}
				crowd := s.crowding(exchanged(x.replicas, from, to))
				better := crowd < bestCrowd
				if crowd == bestCrowd && bestTo >= 0 {
					better = cmp.Or(cmp.Compare(has[to], has[bestTo]), cmp.Compare(has[bestFrom], has[from])) < 0
				}
				if better {
					bestFrom, bestTo, bestCrowd = from, to, crowd
				}
			}
		}
		if bestTo < 0 {
			return
		}
		s.move(x, bestFrom, bestTo, has)
	}
}

// move is one step from a node to another.
func (s *state) move(x *shard, from, to int, has []uint64) {
	s.step(Step{Kind: MoveReplica, Shard: x.id, From: s.nodes[from].Name, Node: s.nodes[to].Name, Bytes: x.bytes()})
	s.exchange(x, from, to, has)
}

func (s *state) exchange(x *shard, from, to int, has []uint64) {
	x.replicas = exchanged(x.replicas, from, to)
	if from >= 0 {
		has[from] -= x.weight
	}
	if to >= 0 {
		has[to] += x.weight
	}
	if x.leader == from {
		x.leader = -1 // somebody of the others
	}
}

// trim takes replicas away that are more than are wanted, and of those that crowd a zone some to another.
func (s *state) trim() {
	has := s.weights()
	for _, x := range s.shards {
		for _, from := range s.spare(x, has) {
			s.step(Step{Kind: RemoveReplica, Shard: x.id, From: s.nodes[from].Name})
			s.exchange(x, from, -1, has)
		}
		s.uncrowd(x, has)
	}
}

// spare are the nodes of replicas that are more than are wanted, in the order in which they are taken away: those that do not answer first,
// since they count for a majority and do nothing for it, then those that leave, those of crowded zones, those with most; the leader last.
func (s *state) spare(x *shard, has []uint64) (spare []int) {
	for rest := x.replicas; len(rest) > s.replication; {
		rank := func(node int) []int {
			return []int{
				number(!s.nodes[node].Alive), number(s.nodes[node].Leaves), -s.crowding(exchanged(rest, node, -1)),
				number(x.leader != node), int(has[node] >> 8),
			}
		}
		from := slices.MaxFunc(rest, func(a, b int) int { return slices.Compare(rank(a), rank(b)) })
		spare = append(spare, from)
		rest = exchanged(rest, from, -1)
	}
	return spare
}

func number(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// shareReplicas evens the nodes out: from the one with most to the one with least, as long as that helps and crowds no zone.
func (s *state) shareReplicas() {
	share := &sharing{state: s, has: s.weights(), on: make([][]*shard, len(s.nodes)), blocked: make(map[[2]int]bool)}
	for _, x := range s.shards {
		for _, node := range x.replicas {
			share.on[node] = append(share.on[node], x)
		}
	}
	for node := range s.nodes {
		if s.able(node) {
			share.order = append(share.order, node)
		}
	}
	for share.once() {
	}
}

// sharing is what shareReplicas knows.
type sharing struct {
	*state
	has     []uint64        // by node
	on      [][]*shard      // by node: whose replicas it has
	order   []int           // nodes that may give and take, the one with most first
	blocked map[[2]int]bool // node and zone: no replica of the node can go into the zone
}

func (s *sharing) once() bool {
	slices.SortFunc(s.order, func(a, b int) int { return cmp.Or(cmp.Compare(s.has[b], s.has[a]), cmp.Compare(a, b)) })
	for _, from := range s.order {
		for _, to := range slices.Backward(s.order) {
			if s.has[to] >= s.has[from] {
				break
			}
			if s.blocked[[2]int{from, s.zones[to]}] {
				continue
			}
			if x := s.best(from, to); x != nil {
				s.give(x, from, to)
				return true
			}
		}
	}
	return false
}

// best is the replica whose move from one node to another makes them most alike; nil where none helps.
func (s *sharing) best(from, to int) (best *shard) {
	gap := s.has[from] - s.has[to]
	off := func(x *shard) uint64 {
		if 2*x.weight > gap {
			return 2*x.weight - gap
		}
		return gap - 2*x.weight
	}
	possible := false
	for _, x := range s.on[from] {
		if s.crowding(exchanged(x.replicas, from, to)) > s.crowding(x.replicas) {
			continue
		}
		possible = true
		if x.weight > 0 && !x.has(to) && helps(gap, x.weight) && (best == nil || off(x) < off(best)) {
			best = x
		}
	}
	if !possible {
		s.blocked[[2]int{from, s.zones[to]}] = true
	}
	return best
}

func (s *sharing) give(x *shard, from, to int) {
	s.move(x, from, to, s.has)
	s.on[from] = slices.DeleteFunc(s.on[from], func(o *shard) bool { return o == x })
	s.on[to] = append(s.on[to], x)
	for key := range s.blocked {
		if key[0] == from || x.has(key[0]) {
			delete(s.blocked, key)
		}
	}
}
