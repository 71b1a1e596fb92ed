package cluster

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/meta"
)

const (
	placerInterval = 2 * time.Second
	// joinerPatience is how long a node may be silent before nothing more is begun with it, and what was begun is given up.
	joinerPatience = time.Minute
)

// placer changes where replicas are to be (placing.go), on the node that leads the meta group, and on the others does nothing. How long a
// node has been silent it counts from its first look in its term on: a new leader begins anew, and no clock of another counts.
type placer struct {
	node *Node
	term uint64                   // of the meta group, in which seen was begun; of run's goroutine
	seen map[string]time.Duration // when each node answered last, or was first looked for, by the monotonic clock; likewise

	joins, leaves atomic.Uint64 // changes that this node has made
	unplaced      atomic.Int64  // replicas for which there is no place; 0 where this node does not lead the meta group
}

// run looks until the node's life ends.
func (p *placer) run() {
	ticker := time.NewTicker(placerInterval)
	defer ticker.Stop()
	var said string
	for {
		select {
		case <-p.node.life.Done():
			return
		case <-ticker.C:
		}
		err := p.look()
		if err != nil && p.node.life.Err() == nil && said != err.Error() {
			said = err.Error()
			p.node.log.Info("replicas are not placed otherwise for now", "error", err)
		}
	}
}

// look makes the changes that are due, if this node leads the meta group and its map is not behind.
func (p *placer) look() error {
	n := p.node
	term := n.meta.settled.Load()
	if !n.leadsMeta() {
		p.seen = nil
		p.unplaced.Store(0)
		return nil
	}
	current := n.Map()
	settings, _ := current.Settings()
	rules, _ := current.Placement()
	if settings.Format < fsm.FormatResize || len(current.ActiveShards()) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(n.life, 2*statusTimeout+membershipWait)
	defer cancel()
	status := n.statusOfAll(ctx)
	p.note(term, status.Nodes)
	v := p.view(current, rules, status)
	var err error
	if v.planned, err = n.planUnderWay(); err != nil {
		return err
	}
	changes, unplaced := v.placements()
	p.unplaced.Store(int64(unplaced))
	if rules.Paused {
		return nil
	}
	var failed error
	for _, change := range changes {
		failed = errors.Join(failed, p.make(ctx, change))
	}
	return failed
}

func (p *placer) make(ctx context.Context, change meta.ChangeReplicas) error {
	count, point := &p.leaves, "placing.leave"
	if len(change.Replicas) > len(change.Was) {
		count, point = &p.joins, "placing.join"
	}
	p.node.reached(point)
	if err := p.node.change(ctx, change); err != nil {
		return err
	}
	count.Add(1)
	p.node.log.Info("a shard's replicas are to be on other nodes", "shard", change.Shard, "were", change.Was, "are", change.Replicas, "leaves", change.Leaves)
	return nil
}

// note remembers who has answered in this term.
func (p *placer) note(term uint64, nodes []NodeStatus) {
	now := p.node.config.Clock.Monotonic()
	if p.seen == nil || p.term != term {
		p.term, p.seen = term, make(map[string]time.Duration)
	}
	for _, node := range nodes {
		if _, known := p.seen[node.ID]; !known || node.Error == "" {
			p.seen[node.ID] = now
		}
	}
}

// view is the cluster as the rules look at it.
func (p *placer) view(current *meta.Map, rules meta.PlacementRules, status Status) placingView {
	now := p.node.config.Clock.Monotonic()
	v := placingView{replication: current.ReplicationFactor()}
	for _, node := range status.Nodes {
		silent := now - p.seen[node.ID]
		one := placingNode{
			id: node.ID, zone: node.Zone, duty: node.Duty.Kind, successor: node.Duty.Successor, answers: node.Error == "", full: node.View.DiskLow,
			gone: silent > joinerPatience,
			dead: rules.ReplaceAfterMillis > 0 && silent > time.Duration(rules.ReplaceAfterMillis)*time.Millisecond,
		}
		for _, r := range node.View.Replicas {
			one.bytes += r.Bytes
		}
		v.nodes = append(v.nodes, one)
	}
	for _, shard := range current.ActiveShards() {
		under, _ := current.Succession(shard.ID)
		one := placingShard{id: shard.ID, replicas: shard.Replicas, joins: under.Joins, leaves: under.Leaves}
		if leader, found := leaderStatus(status.Nodes, shard.ID); found {
			one.led, one.bytes = true, leader.Bytes
			for _, m := range leader.Members {
				if m.Voter {
					one.voters = append(one.voters, m.Node)
				}
			}
		}
		v.shards = append(v.shards, one)
	}
	return v
}

// leaderStatus is what the leader of a shard tells of its replica, wherever it is, also where the map does not want it.
func leaderStatus(nodes []NodeStatus, shard fsm.ShardID) (leader ReplicaStatus, found bool) {
	for _, node := range nodes {
		i := slices.IndexFunc(node.View.Replicas, func(r ReplicaStatus) bool {
			return r.Shard == shard && r.Role == raft.Leader.String() && len(r.Members) > 0
		})
		if i >= 0 && (!found || node.View.Replicas[i].Term > leader.Term) {
			leader, found = node.View.Replicas[i], true
		}
	}
	return leader, found
}
