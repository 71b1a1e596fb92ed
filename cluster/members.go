package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/meta"
)

// A shard's leader makes its group's members those that the map wants, one step at a time, and looks again after each: what is missing
// comes without a vote, gets it when it has caught up, and only then goes what the map does not want any more. Each step is decided by
// what is found, so any leader goes on, also after a crash. Raft takes a change only with the index of the last one, so there are never
// two of them in a group at once.

const (
	// promoteLag is how many entries a replica may be behind the leader when it gets its vote, or the lead, while the others decide without
	// it.
	promoteLag = 1024
	// promoteClose is how many, where nothing is decided from then on until it has them: a voter is dead, and with the new one it takes
	// more than those who are left.
	promoteClose = 64
)

// replicaMember is a node as the leader of a shard sees it.
type replicaMember struct {
	id      string
	wanted  bool // by the map
	serves  bool // by the map: it may lead
	member  bool // of the group, voting or not
	voter   bool
	running bool // it answers, and its replica runs
	caught  bool // it follows this leader and lacks little of the log
	close   bool // it lacks next to nothing
	leads   int  // shards that it leads
}

// memberAction is what is to be done with one node.
type memberAction uint8

const (
	memberRest     memberAction = iota // nothing
	memberAdd                          // a copy without a vote
	memberPromote                      // a vote
	memberHandOver                     // the lead
	memberRemove                       // out of the group
)

// nextMember picks the step that brings the members nearer to what is wanted. enough is how many wanted voters there have to be before
// one goes that is not wanted; self leads.
func nextMember(self string, members []replicaMember, enough int) (memberAction, string) {
	voters := 0
	for _, m := range members {
		switch {
		case m.wanted && !m.member && m.running:
			return memberAdd, m.id
		case m.wanted && !m.voter && m.caught && m.running && (m.close || decideWithOneMore(members)):
			return memberPromote, m.id
		case !m.wanted && m.member && !m.voter:
			return memberRemove, m.id
		case m.wanted && m.voter:
			voters++
		}
	}
	for _, m := range members {
		if m.id == self && (m.wanted && !m.serves || !m.wanted && voters >= enough) {
			to := successorOf(members, self, true)
			if to == "" && !m.wanted {
				to = successorOf(members, self, false)
			}
			if to != "" {
				return memberHandOver, to
			}
		}
	}
	for _, m := range members {
		if !m.wanted && m.voter && m.id != self && voters >= enough && answerWithout(members, m.id) {
			return memberRemove, m.id
		}
	}
	return memberRest, ""
}

// successorOf is the node to hand the lead to: of those that are wanted and have the log, and serve if they have to, one that lacks next to
// nothing, if there is such a one, since nothing is decided until it has the rest; of these the one that leads fewest. None where there is none.
func successorOf(members []replicaMember, self string, serving bool) string {
	best := -1
	for i, m := range members {
		if m.id == self || !m.wanted || !m.voter || serving && !m.serves || !m.running || !m.caught {
			continue
		}
		if best < 0 || m.close && !members[best].close || m.close == members[best].close && m.leads < members[best].leads {
			best = i
		}
	}
	if best < 0 {
		return ""
	}
	return members[best].id
}

// answerWithout reports whether more than half of the voters answer that are left without a node.
func answerWithout(members []replicaMember, id string) bool {
	voters, answering := 0, 0
	for _, m := range members {
		if m.voter && m.id != id {
			voters++
			if m.running {
				answering++
			}
		}
	}
	return 2*answering > voters
}

// decideWithOneMore reports whether the voters that answer can decide when there is one more, without it.
func decideWithOneMore(members []replicaMember) bool {
	voters, answering := 0, 0
	for _, m := range members {
		if m.voter {
			voters++
			if m.running {
				answering++
			}
		}
	}
	return 2*answering > voters+1
}

// reconcile takes one step to what the map wants of this shard, which is led here.
func (r *replica) reconcile(ctx context.Context, place meta.Shard) error {
	index := r.machine.configured.Load() // before the members are read: a change since then is refused by Raft
	future := r.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return err
	}
	current := r.node.Map()
	members := r.members(current, place, future.Configuration())
	if asWanted(r.node.id, members) {
		return nil
	}
	if !current.Serves(r.node.id) || !replicates(place, r.node.id) { // the lead goes, of other shards perhaps too: each counts what has gone
		select {
		case r.node.handing <- struct{}{}:
			defer func() { <-r.node.handing }()
		case <-ctx.Done():
			return nil
		}
	}
	r.lookAtMembers(ctx, members)
	action, id := nextMember(r.node.id, members, min(len(place.Replicas), current.ReplicationFactor()))
	return r.changeMember(ctx, action, id, index)
}

// members are the nodes that the map wants, in its order, and the others of the group behind them.
func (r *replica) members(current *meta.Map, place meta.Shard, configuration raft.Configuration) (members []replicaMember) {
	for _, id := range place.Replicas {
		members = append(members, replicaMember{id: id, wanted: true, serves: current.Serves(id)})
	}
	for _, server := range configuration.Servers {
		id := string(server.ID)
		i := slices.IndexFunc(members, func(m replicaMember) bool { return m.id == id })
		if i < 0 {
			i, members = len(members), append(members, replicaMember{id: id})
		}
		members[i].member, members[i].voter = true, server.Suffrage == raft.Voter
	}
	return members
}

// asWanted reports whether nothing is to be done, so that nobody has to be asked.
func asWanted(self string, members []replicaMember) bool {
	return !slices.ContainsFunc(members, func(m replicaMember) bool {
		return m.wanted != m.voter || m.wanted != m.member || m.id == self && !m.serves
	})
}

// lookAtMembers asks all of them side by side.
func (r *replica) lookAtMembers(ctx context.Context, members []replicaMember) {
	var wait sync.WaitGroup
	for i := range members {
		wait.Go(func() {
			m, before := &members[i], r.machine.applied.current()
			view, err := r.node.statusWithin(ctx, m.id)
			if err != nil {
				return
			}
			status := view.of(r.shard)
			m.running = status.Running
			follows := m.running && status.Leader == r.node.id
			m.caught = follows && status.Applied+promoteLag >= r.machine.applied.current()
			m.close = follows && status.Applied+promoteClose >= before // a busy shard is ahead of every answer
			for _, other := range view.Replicas {
				if other.Role == raft.Leader.String() {
					m.leads++
				}
			}
		})
	}
	wait.Wait()
}

func (r *replica) changeMember(ctx context.Context, action memberAction, id string, index uint64) error {
	server, log := serverOf(id, raft.Nonvoter), r.node.log
	switch action {
	case memberAdd:
		r.node.reached("replica.add")
		log.Info("a replica is let in, without a vote yet", "shard", r.shard, "node", id)
		return r.raft.AddNonvoter(server.ID, server.Address, index, membershipWait).Error()
	case memberPromote:
		r.node.reached("replica.promote")
		log.Info("a replica has caught up and votes", "shard", r.shard, "node", id)
		return r.raft.AddVoter(server.ID, server.Address, index, membershipWait).Error()
	case memberHandOver:
		r.node.reached("replica.handover")
		log.Info("the lead of a shard goes to another node", "shard", r.shard, "node", id)
		if err := r.node.take(ctx, balanceStep{shard: r.shard, to: id}); err != nil {
			return fmt.Errorf("hand the lead to %s: %w", id, err)
		}
		return nil
	case memberRemove:
		r.node.reached("replica.remove")
		log.Info("a replica is taken out of its group", "shard", r.shard, "node", id)
		return r.raft.RemoveServer(server.ID, index, membershipWait).Error()
	default:
		return nil
	}
}

// of is what the view tells of one group; the zero value where it tells nothing.
func (v NodeView) of(shard fsm.ShardID) ReplicaStatus {
	if shard == fsm.ShardID(metaGroup) {
		return v.Meta
	}
	if i := slices.IndexFunc(v.Replicas, func(r ReplicaStatus) bool { return r.Shard == shard }); i >= 0 {
		return v.Replicas[i]
	}
	return ReplicaStatus{}
}
