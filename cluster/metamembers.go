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
// asks the nodes themselves, remembers their silence within its own term alone, and never goes by gossip. A replacement votes before
// the dead one loses its vote, and no step is taken after which the voters that answer would not be a majority.

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
	current bool // answers, and has the map as the leader has it
	dead    bool // a voter that has not answered for too long
}

// metaAction is what is to be done with one node.
type metaAction uint8

const (
	metaRest    metaAction = iota // nothing
	metaRemove                    // take it out of the group
	metaAdd                       // give it a copy
	metaPromote                   // let it vote
	metaDemote                    // leave it a copy
)

// nextMetaChange picks one change that brings the members, sorted by ID, nearer to so many voters. self is the leader.
func nextMetaChange(self string, members []metaMember, wanted int) (metaAction, string) {
	voters, dead := 0, ""
	for _, m := range members {
		if m.voter {
			voters++
			if m.dead && dead == "" && m.id != self {
				dead = m.id
			}
		}
	}
	safe := func(action metaAction, id string) bool { return staysMajority(self, members, action, id) }
	for _, m := range members {
		switch {
		case m.member && !m.active && m.id != self && safe(metaRemove, m.id):
			return metaRemove, m.id
		case !m.member && m.active:
			return metaAdd, m.id
		}
	}
	if voters < wanted || voters == wanted && dead != "" {
		for _, m := range members {
			if m.active && m.member && !m.voter && m.current && safe(metaPromote, m.id) {
				return metaPromote, m.id
			}
		}
	}
	if voters > wanted {
		for _, m := range slices.Backward(members) {
			if m.voter && m.id != self && (dead == "" && m.answers || m.id == dead) && safe(metaDemote, m.id) {
				return metaDemote, m.id
			}
		}
	}
	return metaRest, ""
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
	wanted := metaVoters(len(activeNodes(current)))
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
		if m.voter && m.dead {
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
