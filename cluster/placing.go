package cluster

import (
	"slices"

	"parley/fsm"
	"parley/fsm/meta"
)

// What the map wants is changed here, by rules that look at the cluster as it is and say what comes next; the shards' leaders carry it out
// (members.go). Of each shard one thing at a time is under way:
//
//   - a node on which a replica was to come and that is gone, or serves no more, is given up;
//   - a move ends when the node that came has its vote: the other one goes;
//   - where there are more replicas than are wanted, the one that is worth least goes;
//   - where there are fewer, one comes;
//   - a replica on a node that leaves, or has been silent for too long, moves to the node where it is best: in the zone with the fewest
//     replicas of the shard, of its nodes the one with the fewest replicas, then the fewest bytes.
//
// Nothing is remembered: who leads the meta group next comes to the same. A replica always comes before another goes, so a shard never has
// fewer than are wanted on purpose.

const (
	// joinsMax is on how many shards a replica is on its way at a time, and joinsPerNodeMax to one node: each fetches a state.
	joinsMax        = 4
	joinsPerNodeMax = 2
)

// placingNode is a node as the rules see it.
type placingNode struct {
	id        string
	zone      string
	duty      meta.DutyKind
	successor string // who is to have what it has
	answers   bool
	gone      bool // silent for so long that nothing is begun with it
	dead      bool // silent for so long that its replicas are replaced
	full      bool // no room on its disk
	bytes     uint64
}

// placingShard is a shard as the rules see it.
type placingShard struct {
	id       fsm.ShardID
	replicas []string // by the map
	joins    string   // by its succession; empty where there is none
	leaves   string
	led      bool     // its leader says who votes
	voters   []string // by its leader
	bytes    uint64
}

// placingView is all that the rules look at.
type placingView struct {
	nodes       []placingNode // by ID; those of the cluster
	shards      []placingShard
	replication int
	planned     bool // a plan moves things: what was begun is ended and the dead are replaced, and all else is the plan's
}

// placements are the changes that are due, one of a shard at most, and for how many replicas there is no place.
func (v placingView) placements() (changes []meta.ChangeReplicas, unplaced int) {
	p := placingPlan{placingView: v, has: make(map[string]int), bytes: make(map[string]uint64), joining: make(map[string]int)}
	for _, n := range v.nodes {
		p.bytes[n.id] = n.bytes
	}
	for _, s := range v.shards {
		for _, node := range s.replicas {
			if node != s.leaves {
				p.has[node]++
			}
		}
		for _, node := range s.missing() {
			p.joining[node]++
			p.joins++
		}
	}
	for _, s := range v.shards {
		if !s.led {
			continue // nobody could carry it out
		}
		if change, due := p.next(s); due {
			changes = append(changes, change)
		}
	}
	return changes, p.unplaced
}

// placingPlan counts what a round of changes comes to.
type placingPlan struct {
	placingView
	has      map[string]int    // replicas of a node
	bytes    map[string]uint64 // of a node's replicas
	joining  map[string]int    // replicas on their way to a node
	joins    int               // to all
	unplaced int
}

func (p *placingPlan) node(id string) (placingNode, bool) {
	i := slices.IndexFunc(p.nodes, func(n placingNode) bool { return n.id == id })
	if i < 0 {
		return placingNode{id: id, gone: true, dead: true}, false
	}
	return p.nodes[i], true
}

// missing are the wanted nodes that do not vote.
func (s placingShard) missing() []string {
	return slices.DeleteFunc(slices.Clone(s.replicas), func(node string) bool { return slices.Contains(s.voters, node) })
}

// without is the change by which a node goes.
func (s placingShard) without(node string) meta.ChangeReplicas {
	rest := slices.DeleteFunc(slices.Clone(s.replicas), func(o string) bool { return o == node })
	return meta.ChangeReplicas{Shard: s.id, Was: s.replicas, Replicas: rest}
}

// next is what is due for a shard.
func (p *placingPlan) next(s placingShard) (_ meta.ChangeReplicas, due bool) {
	missing := s.missing()
	for _, id := range missing {
		if s.joins != "" && id != s.joins && id != s.leaves {
			continue // the move is ended first
		}
		if n, _ := p.node(id); (n.gone || n.duty > meta.Serving) && len(s.replicas) > p.replication {
			return s.without(id), true
		}
	}
	// Those that are missing and alive come first. One that is dead is replaced itself.
	coming := slices.DeleteFunc(missing, func(id string) bool {
		n, _ := p.node(id)
		return n.dead && id != s.joins
	})
	switch {
	case len(coming) > 0:
		return meta.ChangeReplicas{}, false
	case s.joins != "" && len(s.replicas) <= p.replication:
		return meta.ChangeReplicas{Shard: s.id, Was: s.replicas, Replicas: s.replicas}, true // more are wanted by now: all stay
	case s.joins != "":
		return s.without(s.leaves), true
	case p.planned:
		return p.replace(s)
	case len(s.replicas) > p.replication:
		return s.without(p.leastWorth(s)), true
	case len(s.replicas) < p.replication:
		return p.join(s, "", "")
	}
	if change, due := p.replace(s); due {
		return change, true
	}
	if slices.ContainsFunc(s.voters, func(id string) bool { return !slices.Contains(s.replicas, id) }) {
		return meta.ChangeReplicas{}, false // the last change is not through yet
	}
	for _, id := range s.replicas {
		if n, _ := p.node(id); n.duty == meta.Leaving {
			return p.join(s, id, n.successor)
		}
	}
	return meta.ChangeReplicas{}, false
}

// replace is the change by which the replica of a dead node begins to move.
func (p *placingPlan) replace(s placingShard) (_ meta.ChangeReplicas, due bool) {
	for _, id := range s.replicas {
		if n, _ := p.node(id); n.dead {
			return p.join(s, id, n.successor)
		}
	}
	return meta.ChangeReplicas{}, false
}

// join is the change by which a replica comes to the best node, and later goes from another, if one is named.
func (p *placingPlan) join(s placingShard, leaves, successor string) (_ meta.ChangeReplicas, due bool) {
	to, found := p.best(s, leaves, successor)
	if !found {
		p.unplaced++
		return meta.ChangeReplicas{}, false
	}
	if p.joins >= joinsMax || p.joining[to] >= joinsPerNodeMax {
		return meta.ChangeReplicas{}, false // its turn comes
	}
	p.joins++
	p.joining[to]++
	p.has[to]++
	p.bytes[to] += s.bytes
	if leaves != "" {
		p.has[leaves]--
	}
	replicas := append(slices.Clone(s.replicas), to)
	return meta.ChangeReplicas{Shard: s.id, Was: s.replicas, Replicas: replicas, Leaves: leaves}, true
}

// best is the node where a replica is best, if one of the shard's goes from another. A successor takes what it can.
func (p *placingPlan) best(s placingShard, leaves, successor string) (string, bool) {
	in := make(map[string]int)
	for _, id := range s.replicas {
		if n, known := p.node(id); known && id != leaves {
			in[n.zone]++
		}
	}
	best, found := placingNode{}, false
	for _, n := range p.nodes {
		if n.duty != meta.Serving || !n.answers || n.gone || n.full || slices.Contains(s.replicas, n.id) {
			continue
		}
		if n.id == successor {
			return n.id, true
		}
		if !found || p.better(n, best, in) {
			best, found = n, true
		}
	}
	if successor != "" && !slices.Contains(s.replicas, successor) {
		return "", false // it is waited for
	}
	return best.id, found
}

// better reports whether a replica is better at one node than at another, where zones have so many of its shard.
func (p *placingPlan) better(a, b placingNode, in map[string]int) bool {
	switch {
	case in[a.zone] != in[b.zone]:
		return in[a.zone] < in[b.zone]
	case p.has[a.id] != p.has[b.id]:
		return p.has[a.id] < p.has[b.id]
	default:
		return p.bytes[a.id] < p.bytes[b.id]
	}
}

// leastWorth is the replica that goes where there are too many: of a node that is dead, that leaves, that does not answer, that drains; else
// one of the zone that has most, of its nodes the one with the most replicas, and not the preferred leader.
func (p *placingPlan) leastWorth(s placingShard) string {
	in := make(map[string]int)
	for _, id := range s.replicas {
		n, _ := p.node(id)
		in[n.zone]++
	}
	rank := func(i int, id string) []int {
		n, _ := p.node(id)
		return []int{
			truth(n.dead), truth(n.duty == meta.Leaving), truth(!n.answers), truth(n.duty == meta.Draining), in[n.zone], p.has[id], truth(i > 0), i,
		}
	}
	worst := 0
	for i, id := range s.replicas {
		if slices.Compare(rank(i, id), rank(worst, s.replicas[worst])) > 0 {
			worst = i
		}
	}
	p.has[s.replicas[worst]]--
	return s.replicas[worst]
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
