package plan

import "slices"

// shareLeads evens out who leads. A lead that nobody has, or a node that may not, goes to the replica that leads fewest. Then, as long as one
// node leads two more than another, a lead goes over, if need be through others between them: such ways exist until no sharing is more even.
func (s *state) shareLeads() {
	was := make([]int, len(s.shards))
	leads := make([]int, len(s.nodes))
	for i, x := range s.shards {
		was[i] = x.leader
		if x.leader >= 0 && s.able(x.leader) {
			leads[x.leader]++
		}
	}
	for _, x := range s.shards {
		if x.leader >= 0 && s.able(x.leader) {
			continue
		}
		x.leader = -1
		for _, node := range x.replicas {
			if s.able(node) && (x.leader < 0 || leads[node] < leads[x.leader]) {
				x.leader = node
			}
		}
		if x.leader >= 0 {
			leads[x.leader]++
		}
	}
	for s.lessLeads(leads) {
	}
	for i, x := range s.shards {
		if x.leader >= 0 && x.leader != was[i] {
			s.step(Step{Kind: MoveLead, Shard: x.id, Node: s.nodes[x.leader].Name})
		}
	}
}

// lessLeads finds the shortest way from a node to one that leads at least two fewer, beginning with those that lead most, and moves one lead
// along it.
func (s *state) lessLeads(leads []int) bool {
	led := make([][]*shard, len(s.nodes))
	for _, x := range s.shards {
		if x.leader >= 0 {
			led[x.leader] = append(led[x.leader], x)
		}
	}
	order := make([]int, len(s.nodes))
	for node := range order {
		order[node] = node
	}
	slices.SortStableFunc(order, func(a, b int) int { return leads[b] - leads[a] })
	for _, from := range order {
		if way := s.way(from, leads, led); way != nil {
			for _, hop := range way {
				hop.shard.leader = hop.to
			}
			leads[from]--
			leads[way[0].to]++
			return true
		}
	}
	return false
}

// hop is a lead that one node could hand to another.
type hop struct {
	shard    *shard
	from, to int
}

// way is the shortest one, its last hop first; nil where there is none.
func (s *state) way(from int, leads []int, led [][]*shard) []hop {
	by := map[int]hop{from: {}}
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, x := range led[at] {
			for _, to := range x.replicas {
				if _, met := by[to]; met || !s.able(to) {
					continue
				}
				by[to] = hop{x, at, to}
				if leads[to] <= leads[from]-2 {
					var way []hop
					for node := to; node != from; node = by[node].from {
						way = append(way, by[node])
					}
					return way
				}
				queue = append(queue, to)
			}
		}
	}
	return nil
}
