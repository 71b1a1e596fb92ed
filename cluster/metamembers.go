package cluster

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"parley/fsm/meta"
)

// The meta group has 3 or 5 voters, and every active node has a copy. Its leader replaces a voter that has been dead for a while: it
// asks the nodes themselves, remembers their silence within its own term alone, and never goes by gossip. Likewise one whose node drains
// or leaves, and where that is the leader itself it hands the lead over. A replacement votes before the other one loses its vote, and no
// step is taken after which the voters that answer would not be a majority. Voters are spread over zones.

// metaVoterPatience is how long a voter may be silent.
const metaVoterPatience = 60 * time.Second

// metaWatch is what a leader remembers of one term. It belongs to tend's goroutine.
type metaWatch struct {
	term uint64
	seen map[string]time.Duration // when each voter answered last, or was first looked for, by the monotonic clock
}

// metaMember is a node as the rule sees it.
type metaMember struct {
	id      string
	active  bool // by the map
	member  bool // of the group, voting or not
	voter   bool
	answers bool
	current bool          // answers, and has the map as the leader has it
	dead    bool          // a voter that has not answered for too long
	duty    meta.DutyKind // by the map
	zone    string        // likewise
}

// goes reports whether a voter is to be replaced.
func (m metaMember) goes() bool { return m.dead || m.duty > meta.Serving }

// metaAction is what is to be done with one node.
type metaAction uint8

const (
	metaRest     metaAction = iota // nothing
	metaRemove                     // take it out of the group
	metaAdd                        // give it a copy
	metaPromote                    // let it vote
	metaDemote                     // leave it a copy
	metaHandOver                   // let it lead
)

// nextMetaChange picks one change that brings the members, sorted by ID, nearer to so many voters. self is the leader.
func nextMetaChange(self string, members []metaMember, wanted int) (metaAction, string) {
	for _, m := range members {
		switch {
		case m.member && !m.active && m.id != self && staysMajority(self, members, metaRemove, m.id):
			return metaRemove, m.id
		case !m.member && m.active:
			return metaAdd, m.id
		}
	}
	voters := slices.DeleteFunc(slices.Clone(members), func(m metaMember) bool { return !m.voter })
	going := slices.ContainsFunc(voters, func(m metaMember) bool { return m.goes() && (m.id != self || m.duty > meta.Serving) })
	if len(voters) < wanted || len(voters) == wanted && going {
		if id := voterToBe(self, members, len(voters) < wanted); id != "" {
			return metaPromote, id
		}
	}
	if i := slices.IndexFunc(voters, func(m metaMember) bool { return m.id == self && m.duty > meta.Serving }); i >= 0 {
		if j := slices.IndexFunc(voters, func(m metaMember) bool { return m.id != self && m.current && !m.goes() }); j >= 0 {
			return metaHandOver, voters[j].id
		}
	}
	if len(voters) > wanted {
		if id := voterToGo(self, members, voters); id != "" {
			return metaDemote, id
		}
	}
	return metaRest, ""
}

// voterToBe is the member that gets a vote: of those that serve, one in the zone with the fewest voters that stay; one that drains only
// where a voter is missing. None where there is none.
func voterToBe(self string, members []metaMember, missing bool) string {
	in := make(map[string]int)
	for _, m := range members {
		if m.voter && !m.goes() {
			in[m.zone]++
		}
	}
	best := -1
	for i, m := range members {
		able := m.active && m.member && !m.voter && m.current && (m.duty <= meta.Serving || missing && m.duty == meta.Draining)
		if !able || !staysMajority(self, members, metaPromote, m.id) {
			continue
		}
		if best < 0 || slices.Compare([]int{int(m.duty), in[m.zone]}, []int{int(members[best].duty), in[members[best].zone]}) < 0 {
			best = i
		}
	}
	if best < 0 {
		return ""
	}
	return members[best].id
}

// voterToGo is the voter that loses its vote where there are too many: a dead one, one whose node leaves, one whose node drains; else one of
// the zone that has most of them, if all are alive. None where none can go.
func voterToGo(self string, members, voters []metaMember) string {
	in, dead, own := make(map[string]int), false, meta.DutyKind(0)
	for _, m := range voters {
		in[m.zone]++
		dead = dead || m.dead && m.id != self
		if m.id == self {
			own = m.duty
		}
	}
	var best metaMember
	rank := func(m metaMember) []int {
		first := 0
		if m.dead {
			first = -1
		}
		return []int{first, -int(m.duty), -in[m.zone]}
	}
	for _, m := range slices.Backward(voters) {
		if m.id == self || !staysMajority(self, members, metaDemote, m.id) {
			continue
		}
		// The leader itself goes before another that is wanted for more, once somebody takes its lead.
		if !m.dead && (own > meta.Serving && m.duty < own || m.duty <= meta.Serving && (dead || !m.answers)) {
			continue
		}
		if order := slices.Compare(rank(m), rank(best)); best.id == "" || order < 0 || order == 0 && m.dead {
			best = m
		}
	}
	return best.id
}

// staysMajority reports whether more than half of the voters answer once a change is made.
func staysMajority(self string, members []metaMember, action metaAction, id string) bool {
	voters, answering := 0, 0
	for _, m := range members {
		votes := m.voter
		if m.id == id {
			votes = action == metaPromote
		}
		if votes {
			voters++
			if m.answers || m.id == self {
				answering++
			}
		}
	}
	return 2*answering > voters
}

// reconcileMeta makes one change of the meta group's members, if one is due.
func (n *Node) reconcileMeta(ctx context.Context, g *group, current *meta.Map) error {
	index := g.machine.configured.Load() // before the members are read: a change since then is refused by Raft
	future := g.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return err
	}
	members := membersOf(future.Configuration(), activeNodes(current))
	staying := 0
	for i := range members {
		m := &members[i]
		m.duty = current.Duty(m.id).Kind
		m.zone, _ = current.ZoneOf(m.id)
		if m.active && m.duty != meta.Leaving {
			staying++
		}
	}
	wanted := metaVoters(staying)
	n.lookAtMembers(ctx, current.Version(), members, func(m metaMember) bool { return m.voter })
	n.judgeVoters(g.raft.CurrentTerm(), members)
	action, id := nextMetaChange(n.id, members, wanted)
	if action == metaRest && lacksVoter(members, wanted) {
		n.lookAtMembers(ctx, current.Version(), members, func(m metaMember) bool { return !m.voter })
		action, id = nextMetaChange(n.id, members, wanted)
	}
	if action == metaRest {
		return nil
	}
	server := serverOf(id, raft.Nonvoter)
	if action == metaPromote || action == metaDemote {
		n.log.Info("the voters of the meta group change", "node", id, "votes", action == metaPromote)
	}
	switch action {
	case metaRemove:
		return g.raft.RemoveServer(server.ID, index, membershipWait).Error()
	case metaAdd:
		return g.raft.AddNonvoter(server.ID, server.Address, index, membershipWait).Error()
	case metaHandOver:
		n.log.Info("the lead of the meta group goes to another node", "node", id)
		return g.handOver(id)
	case metaPromote:
		return g.raft.AddVoter(server.ID, server.Address, index, membershipWait).Error()
	default:
		return g.raft.DemoteVoter(server.ID, index, membershipWait).Error()
	}
}

func membersOf(configuration raft.Configuration, active []string) []metaMember {
	var members []metaMember
	for _, server := range configuration.Servers {
		id := string(server.ID)
		members = append(members, metaMember{id: id, member: true, voter: server.Suffrage == raft.Voter, active: slices.Contains(active, id)})
	}
	for _, id := range active {
		if !slices.ContainsFunc(members, func(m metaMember) bool { return m.id == id }) {
			members = append(members, metaMember{id: id, active: true})
		}
	}
	slices.SortFunc(members, func(a, b metaMember) int { return cmp.Compare(a.id, b.id) })
	return members
}

func lacksVoter(members []metaMember, wanted int) bool {
	voters := 0
	for _, m := range members {
		if m.voter && m.goes() {
			return true
		}
		if m.voter {
			voters++
		}
	}
	return voters < wanted
}

// lookAtMembers asks some of the members side by side.
func (n *Node) lookAtMembers(ctx context.Context, version uint64, members []metaMember, which func(metaMember) bool) {
	var wait sync.WaitGroup
	for i := range members {
		if m := &members[i]; which(*m) {
			wait.Go(func() {
				view, err := n.statusWithin(ctx, m.id)
				m.answers = err == nil && view.Meta.Running
				m.current = m.answers && view.MapVersion >= version
			})
		}
	}
	wait.Wait()
}

// judgeVoters marks the voters that have been silent for too long in this term.
func (n *Node) judgeVoters(term uint64, members []metaMember) {
	w, now := &n.metaWatch, n.config.Clock.Monotonic()
	if w.term != term || w.seen == nil {
		*w = metaWatch{term: term, seen: make(map[string]time.Duration)}
	}
	patience := cmp.Or(n.config.MetaVoterPatience, metaVoterPatience)
	for i := range members {
		m := &members[i]
		if _, known := w.seen[m.id]; !known || m.answers {
			w.seen[m.id] = now
		}
		m.dead = m.voter && now-w.seen[m.id] > patience
	}
}
