package cluster

import (
	"cmp"
	"fmt"
	"slices"

	"parley/fsm"
)

// RecoveryPlan says how a cluster goes on from what is left of it: in which generation, without which nodes, and each group from which replica. It
// follows from the surveys and the operator's word alone, so that whoever has the same makes the same plan, on whichever machine.
type RecoveryPlan struct {
	ClusterID   string         `json:"clusterId"`
	Generation  fsm.Generation `json:"generation"`
	EndedMillis uint64         `json:"endedMillis"` // by when the lost history had ended for certain
	Survivors   []string       `json:"survivors"`
	Lost        []string       `json:"lost"`
	Groups      []GroupPlan    `json:"groups"` // by number; 0 is the meta group
}

// GroupPlan says from which replica a group goes on.
type GroupPlan struct {
	Group  uint32 `json:"group"`
	Source string `json:"source"` // the node
	// At is the index behind which the group's new history begins: what the replica has of its log beyond that is not taken for decided.
	At   uint64 `json:"at"`
	Term uint64 `json:"term"` // of the new beginning, above all that a survivor knows
	// Whole: enough voters of the group survive that all which was decided is in the source's log.
	Whole    bool         `json:"whole"`
	Replicas []string     `json:"replicas"`        // nodes that have one afterwards, the source first; the others begin with nothing
	Slots    []SlotOfPlan `json:"slots,omitempty"` // to be ruled on
	// What the survey of the source says, so that it is seen whether its directory is still as it was:
	Applied  uint64 `json:"applied"`
	Last     uint64 `json:"last"`
	LastTerm uint64 `json:"lastTerm"`
	// What is to be shown:
	HubMillis uint64 `json:"hubMillis,omitempty"`
	Messages  int    `json:"messages"` // commands behind Applied that are kept though nobody knows whether they were decided
	Others    int    `json:"others"`   // and that are left out for that; 0 where the group is whole
}

// SlotOfPlan rules whose a slot is.
type SlotOfPlan struct {
	Slot       fsm.SlotID  `json:"slot"`
	Shard      fsm.ShardID `json:"shard"`
	Generation uint64      `json:"generation"`
	Empty      bool        `json:"empty"` // no survivor has it: it begins with nothing
}

// PlanRecovery makes the plan. lost are nodes that never come back, by the operator's word: each node of the cluster must be among them or surveyed.
// The error is a *RefusedError where the cluster must not be recovered like this: nothing is lost that would need it, or more than can be made up for.
func PlanRecovery(surveys []Survivor, lost []string, endedMillis uint64) (RecoveryPlan, error) {
	p := RecoveryPlan{EndedMillis: endedMillis, Lost: slices.Sorted(slices.Values(lost))}
	surveys = slices.SortedFunc(slices.Values(surveys), func(a, b Survivor) int { return cmp.Compare(a.Node, b.Node) })
	if err := p.take(surveys); err != nil {
		return p, err
	}
	source, found := bestOf(surveys, metaGroup, nil, byLog)
	if !found || source.Map == nil {
		return p, &RefusedError{"no survivor has a usable replica of the meta group: restore the cluster from a backup"}
	}
	if err := p.account(*source.Map); err != nil {
		return p, err
	}
	p.Generation = source.Map.Generation + 1
	for _, s := range surveys {
		p.Generation = max(p.Generation, s.Generation+1)
	}
	p.Groups = append(p.Groups, planGroup(surveys, source, metaGroup, nil))
	for _, shard := range source.Map.Shards {
		replica, found := bestOf(surveys, uint32(shard.ID), shard.Replicas, byState)
		if !found {
			if shard.State == "creating" {
				continue // it has nothing yet
			}
			return p, &RefusedError{fmt.Sprintf("no survivor has a usable replica of shard %d, on nodes %v: restore the cluster from a backup", shard.ID, shard.Replicas)}
		}
		p.Groups = append(p.Groups, planGroup(surveys, replica, uint32(shard.ID), shard.Replicas))
	}
	if !slices.ContainsFunc(p.Groups, func(g GroupPlan) bool { return !g.Whole }) {
		return p, &RefusedError{"every group has a majority of its voters among the survivors: start their nodes, nothing is lost"}
	}
	p.ruleSlots(surveys, *source.Map)
	return p, nil
}

// take checks that the surveys are of one cluster, and of nodes that can take part.
func (p *RecoveryPlan) take(surveys []Survivor) error {
	if len(surveys) == 0 {
		return &RefusedError{"no directory was surveyed"}
	}
	p.ClusterID = surveys[0].ClusterID
	for _, s := range surveys {
		switch {
		case s.ClusterID != p.ClusterID:
			return &RefusedError{fmt.Sprintf("node %s is of cluster %s, and node %s of %s", surveys[0].Node, p.ClusterID, s.Node, s.ClusterID)}
		case slices.Contains(p.Survivors, s.Node):
			return &RefusedError{fmt.Sprintf("node %s is surveyed twice", s.Node)}
		case slices.Contains(p.Lost, s.Node):
			return &RefusedError{fmt.Sprintf("node %s is said to be lost, and its directory was surveyed", s.Node)}
		case s.Recovering:
			return &RefusedError{fmt.Sprintf("a recovery of node %s's directory was begun and has not ended: end it first", s.Node)}
		case s.Generation != surveys[0].Generation:
			return &RefusedError{fmt.Sprintf("node %s is of generation %d, and node %s of %d: the older one is over", surveys[0].Node, surveys[0].Generation, s.Node, s.Generation)}
		}
		p.Survivors = append(p.Survivors, s.Node)
	}
	return nil
}

// account checks that every node of the cluster is spoken for.
func (p *RecoveryPlan) account(known SurvivingMap) error {
	for _, n := range known.Nodes {
		if !slices.Contains(p.Survivors, n.ID) && !slices.Contains(p.Lost, n.ID) {
			return &RefusedError{fmt.Sprintf("node %s at %s belongs to the cluster: survey its directory, or say that it is lost for good", n.ID, n.Address)}
		}
	}
	for _, id := range p.Lost {
		if !slices.ContainsFunc(known.Nodes, func(n SurvivingNode) bool { return n.ID == id }) {
			return &RefusedError{fmt.Sprintf("node %s does not belong to the cluster", id)}
		}
	}
	return nil
}

func (s Survivor) group(id uint32) (SurvivorGroup, bool) {
	i, found := slices.BinarySearchFunc(s.Groups, id, func(g SurvivorGroup, id uint32) int { return cmp.Compare(g.Group, id) })
	if !found {
		return SurvivorGroup{}, false
	}
	return s.Groups[i], s.Groups[i].Unusable == ""
}

// byLog is which of two replicas Raft would have lead: the one with the longer log of the later term.
func byLog(a, b SurvivorGroup) int {
	return cmp.Or(cmp.Compare(a.LastTerm, b.LastTerm), cmp.Compare(a.Last, b.Last))
}

// byState is which of two replicas knows more to be decided.
func byState(a, b SurvivorGroup) int {
	return cmp.Or(cmp.Compare(a.Applied, b.Applied), byLog(a, b))
}

// bestOf finds the survivor with the best replica of a group, the first by name of several. Where a majority of the voters is there, that is always the
// one with the best log: all that was decided is in it.
func bestOf(surveys []Survivor, id uint32, replicas []string, compare func(a, b SurvivorGroup) int) (best Survivor, found bool) {
	if whole(surveys, id) {
		compare = byLog
	}
	var is SurvivorGroup
	for _, s := range surveys {
		g, usable := s.group(id)
		if !usable || g.Last == 0 || replicas != nil && !slices.Contains(replicas, s.Node) {
			continue
		}
		if !found || compare(g, is) > 0 {
			best, is, found = s, g, true
		}
	}
	return best, found
}

// whole reports whether a majority of a group's voters, by the best configuration that a survivor knows, is usable.
func whole(surveys []Survivor, id uint32) bool {
	var newest SurvivorGroup
	usable := make(map[string]bool)
	for _, s := range surveys {
		if g, yes := s.group(id); yes {
			usable[s.Node] = true
			if byLog(g, newest) > 0 {
				newest = g
			}
		}
	}
	there := 0
	for _, voter := range newest.Voters {
		if usable[voter] {
			there++
		}
	}
	return there > len(newest.Voters)/2
}

func planGroup(surveys []Survivor, source Survivor, id uint32, replicas []string) GroupPlan {
	g, _ := source.group(id)
	p := GroupPlan{
		Group: id, Source: source.Node, Whole: whole(surveys, id), At: g.Applied, Replicas: []string{source.Node},
		Applied: g.Applied, Last: g.Last, LastTerm: g.LastTerm, HubMillis: g.HubMillis, Messages: g.Messages, Others: g.Others,
	}
	if p.Whole || id == metaGroup {
		p.At, p.Messages, p.Others = g.Last, 0, 0
	}
	for _, s := range surveys {
		if other, has := s.group(id); has {
			p.Term = max(p.Term, other.Term, other.LastTerm)
		}
		if s.Node != source.Node && slices.Contains(replicas, s.Node) {
			p.Replicas = append(p.Replicas, s.Node)
		}
	}
	p.Term++
	return p
}

// ruleSlots settles whose slots are of which not exactly one shard has: the last that it came to has it, and nobody's are the map's.
func (p *RecoveryPlan) ruleSlots(surveys []Survivor, known SurvivingMap) {
	type claim struct {
		shard      fsm.ShardID
		generation uint64
	}
	var owner, placed [fsm.SlotCount]claim
	var claims [fsm.SlotCount]int
	for _, shard := range known.Shards {
		visitSlots(shard.Slots, func(slot fsm.SlotID, generation uint64) { placed[slot] = claim{shard.ID, generation} })
	}
	for _, group := range p.Groups[1:] {
		i := slices.IndexFunc(surveys, func(s Survivor) bool { return s.Node == group.Source })
		replica, _ := surveys[i].group(group.Group)
		visitSlots(replica.Slots, func(slot fsm.SlotID, generation uint64) {
			claims[slot]++
			if generation > owner[slot].generation {
				owner[slot] = claim{fsm.ShardID(group.Group), generation}
			}
		})
	}
	for slot := range fsm.SlotID(fsm.SlotCount) {
		ruling := SlotOfPlan{Slot: slot, Shard: owner[slot].shard, Generation: owner[slot].generation + 1}
		switch {
		case claims[slot] == 1, claims[slot] == 0 && placed[slot].shard == 0:
			continue
		case claims[slot] == 0:
			ruling.Shard, ruling.Generation, ruling.Empty = placed[slot].shard, placed[slot].generation+1, true
		}
		for i := range p.Groups[1:] {
			p.Groups[i+1].Slots = append(p.Groups[i+1].Slots, ruling)
		}
	}
}

func visitSlots(runs []SlotRun, visit func(slot fsm.SlotID, generation uint64)) {
	for _, run := range runs {
		for slot := run.First; slot <= run.Last; slot++ {
			visit(slot, run.Generation)
		}
	}
}
