// Package plan works out how a cluster comes to be as it is wanted: which replicas, slots and leads move, in which order. It is a function
// of what it is told, and the same every time.
//
// A plan is made in four parts. Shards are opened and chosen to be retired; slots are shared out over the shards that will be; replicas over
// the nodes that will serve; leads over the replicas. Each part moves as little as its balance needs, and none undoes what another did.
package plan

import (
	"cmp"
	"fmt"
	"slices"
)

// Node is a node of the cluster.
type Node struct {
	Name   string
	Zone   string // what may fail together has one name; empty: the node is a zone of its own
	Serves bool   // it may lead, and take replicas
	Leaves bool   // it is to lose what it has, and does not serve
	Alive  bool   // it answers
}

// Slot is one of a shard's slots, with what it weighs.
type Slot struct {
	ID    uint16
	Bytes uint64
	Load  uint64 // requests, in any unit that is the same for all
}

// Shard is a group with its replicas.
type Shard struct {
	ID       uint32
	Replicas []string // node names
	Leader   string   // empty: nobody is known to
	Slots    []Slot
}

// Bytes is what the shard has in one replica.
func (s Shard) Bytes() (sum uint64) {
	for _, slot := range s.Slots {
		sum += slot.Bytes
	}
	return sum
}

// Cluster is a cluster as it is.
type Cluster struct {
	Nodes       []Node
	Shards      []Shard
	Replication int    // replicas of each shard that are wanted
	NextShard   uint32 // the number of the next shard to be opened: none below has been used
}

// Goal is what is wanted. The zero value wants the cluster as it is, in balance.
type Goal struct {
	Leave       []string // nodes that are to have nothing in the end
	Shards      int      // 0: as many as there are
	Replication int      // 0: as it is
}

// Kind is what a step does.
type Kind string

// The kinds of steps. Texts are kept in the replicated state, and never change.
const (
	AddReplica     Kind = "add-replica"
	MoveReplica    Kind = "move-replica" // the new one is there before the old one goes
	RemoveReplica  Kind = "remove-replica"
	MoveLead       Kind = "move-lead"
	OpenShard      Kind = "open-shard"
	MoveSlots      Kind = "move-slots"
	RetireShard    Kind = "retire-shard"
	DrainNode      Kind = "drain-node" // it leads nothing any more, and takes nothing
	LeaveNode      Kind = "leave-node" // it has nothing any more, and is not wanted
	SetReplication Kind = "set-replication"
)

// Step is one step of a plan. Which fields count is its kind's to say.
type Step struct {
	Kind     Kind     `json:"kind"`
	Shard    uint32   `json:"shard,omitempty"`    // of replicas and leads; the source of slots
	To       uint32   `json:"to,omitempty"`       // the shard that slots go to
	Slots    []uint16 `json:"slots,omitempty"`    // ascending
	From     string   `json:"from,omitempty"`     // the node that a replica leaves
	Node     string   `json:"node,omitempty"`     // the node that a replica or a lead comes to
	Replicas []string `json:"replicas,omitempty"` // of a new shard, the first one to lead
	Factor   int      `json:"factor,omitempty"`
	Bytes    uint64   `json:"bytes,omitempty"` // that go over the network, about
}

func (s Step) String() string {
	switch s.Kind {
	case AddReplica:
		return fmt.Sprintf("shard %d: a replica on %s", s.Shard, s.Node)
	case MoveReplica:
		return fmt.Sprintf("shard %d: the replica on %s to %s", s.Shard, s.From, s.Node)
	case RemoveReplica:
		return fmt.Sprintf("shard %d: no replica on %s any more", s.Shard, s.From)
	case MoveLead:
		return fmt.Sprintf("shard %d: the lead to %s", s.Shard, s.Node)
	case OpenShard:
		return fmt.Sprintf("shard %d: opened on %v", s.Shard, s.Replicas)
	case MoveSlots:
		return fmt.Sprintf("shard %d: %d slots to shard %d", s.Shard, len(s.Slots), s.To)
	case RetireShard:
		return fmt.Sprintf("shard %d: retired", s.Shard)
	case DrainNode:
		return fmt.Sprintf("node %s: drained", s.Node)
	case LeaveNode:
		return fmt.Sprintf("node %s: leaves", s.Node)
	case SetReplication:
		return fmt.Sprintf("%d replicas of each shard", s.Factor)
	default:
		return string(s.Kind)
	}
}

// Plan is how the goal is reached.
type Plan struct {
	Steps []Step
	Bytes uint64 // that go over the network, about
	// Survives says whether, before, behind and throughout each step, every shard keeps a majority when one more node fails than have
	// failed already. Weak are the shards of which that is not so at some point.
	Survives      bool
	Weak          []uint32
	Before, After Balance
}

// RefusedError says why there is no plan, and what would help.
type RefusedError struct{ Reason, Clear string }

func (e *RefusedError) Error() string { return e.Reason }

// Make works out a plan. The error is a *RefusedError.
func Make(c Cluster, g Goal) (Plan, error) {
	s, err := newState(c, g)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Before: BalanceOf(c)}
	drains := s.took(s.drain)
	s.reshard()
	slots := s.took(s.shareSlots)
	opens := s.took(s.open)
	// What lacks replicas comes first, though it is worked out in view of what the shards will weigh.
	repairs := s.took(s.repair)
	s.steps = slices.Concat(drains, repairs, opens, slots)
	s.retire()
	s.trim()
	s.shareReplicas()
	s.shareLeads()
	s.leave()
	p.Steps = s.steps
	for _, step := range p.Steps {
		p.Bytes += step.Bytes
	}
	p.Weak = weakThroughout(c, p.Steps)
	p.Survives = len(p.Weak) == 0
	p.After = BalanceOf(s.cluster())
	return p, nil
}

// took are the steps that a part of the plan adds.
func (s *state) took(part func()) []Step {
	before := s.steps
	s.steps = nil
	part()
	steps := s.steps
	s.steps = before
	return steps
}

// newState checks what is wanted against what is there.
func newState(c Cluster, g Goal) (*state, error) {
	s := &state{replication: cmp.Or(g.Replication, c.Replication), was: c.Replication, wanted: g.Shards, next: c.NextShard}
	s.nodes = slices.Clone(c.Nodes)
	slices.SortFunc(s.nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	s.index = make(map[string]int, len(s.nodes))
	for i, n := range s.nodes {
		s.index[n.Name] = i
	}
	for _, n := range s.nodes {
		s.served, s.left = append(s.served, n.Serves), append(s.left, n.Leaves)
	}
	for _, name := range g.Leave {
		i, known := s.index[name]
		if !known {
			return nil, &RefusedError{fmt.Sprintf("There is no node %s.", name), "name one that is there"}
		}
		s.nodes[i].Leaves = true
	}
	serving, alive := 0, 0
	for i, n := range s.nodes {
		if n.Leaves {
			s.drains = append(s.drains, i)
			s.nodes[i].Serves = false
			continue
		}
		if n.Serves {
			serving++
			if n.Alive {
				alive++
			}
		}
	}
	switch {
	case s.replication < 1:
		return nil, &RefusedError{"A shard has at least one replica.", "ask for more"}
	case alive < s.replication:
		return nil, &RefusedError{
			fmt.Sprintf("Each shard is to have %d replicas, and %d nodes would serve, of which %d answer.", s.replication, serving, alive),
			"let more nodes join, bring those back that do not answer, or ask for fewer replicas",
		}
	case g.Shards < 0 || len(c.Shards) == 0:
		return nil, &RefusedError{"There are no shards to plan for.", "wait until the shards are placed"}
	}
	for _, shard := range c.Shards {
		answering := 0
		for _, name := range shard.Replicas {
			if i, known := s.index[name]; known && s.nodes[i].Alive {
				answering++
			}
		}
		if 2*answering <= len(shard.Replicas) {
			return nil, &RefusedError{
				fmt.Sprintf("Of the %d replicas of shard %d %d answer: it decides nothing, so nothing of it can be moved.", len(shard.Replicas), shard.ID, answering),
				"bring back the nodes that do not answer",
			}
		}
	}
	s.load(c)
	return s, nil
}
