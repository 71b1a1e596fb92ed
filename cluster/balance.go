package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
)

// After a failure the nodes that were left lead everything, and would for ever: an election has no reason to prefer who comes back. So a
// node that leads more than its share hands over, one shard at a time, to the voter that leads fewest. The share is what each of the
// nodes that are fit to lead would have, rounded up. A node goes from above its share to the share at least, and who takes goes up to
// the share at most; so each step brings the numbers nearer to each other, and there are no more steps than shards.
//
// It is done while nothing else happens: who leads what must have been the same for a while, and of several that lead too much the
// others wait for the one with the most. All of it rests on what the nodes tell of themselves at that moment; a step that was wrong is an
// election too many, no more.

const (
	balanceInterval = 2 * time.Second
	balanceSteady   = 6 * time.Second  // for which nobody's lead has changed, before each step
	balanceUptime   = 15 * time.Second // after which a node that has started is given leads
	balanceLag      = 64               // entries that a replica may lack and still be given the lead
	balanceTook     = 2 * time.Second  // within which a step must have come to something
	balancePauseMax = 5 * time.Minute  // between two steps that come to nothing; the first pause is balanceSteady
)

// balance is what a node remembers of it from one look to the next. It belongs to run's goroutine.
type balance struct {
	node  *Node
	seen  []lead        // who leads each shard of the map
	since time.Duration // Monotonic, from when on that was so
	pause time.Duration // after steps that came to nothing
	next  time.Duration // Monotonic before which there is no other
}

// run looks until the node's life ends.
func (b *balance) run() {
	ticker := time.NewTicker(balanceInterval)
	defer ticker.Stop()
	for {
		select {
		case <-b.node.life.Done():
			return
		case <-ticker.C:
			b.look()
		}
	}
}

// look takes a step if one is due. It asks nobody where this node has no more than its share with all nodes up.
func (b *balance) look() {
	n := b.node
	current := n.Map()
	if !current.Serves(n.id) {
		return // all that it leads goes, without being balanced
	}
	if len(n.led()) <= share(len(current.ActiveShards()), len(current.ServingNodes())) {
		return
	}
	ctx, cancel := context.WithTimeout(n.life, 2*statusTimeout)
	defer cancel()
	status := n.statusOfAll(ctx)
	b.observe(leadsOf(status), n.config.Clock.Monotonic())
	step, due := nextStep(n.id, status)
	if !due || !b.ripe(step, n.config.Clock.Monotonic()) {
		return
	}
	err := n.take(ctx, step)
	b.taken(err, n.config.Clock.Monotonic())
	if err != nil {
		n.log.Info("a lead could not be handed to a node that leads less", "shard", step.shard, "to", step.to, "again_after", b.pause, "error", err)
		return
	}
	n.log.Info("a lead was handed to a node that leads less", "shard", step.shard, "to", step.to)
}

// observe takes note of who leads.
func (b *balance) observe(leads []lead, now time.Duration) {
	if b.seen == nil || !slices.Equal(leads, b.seen) {
		b.seen, b.since = leads, now
	}
}

// ripe reports whether all has been steady for long enough, longer where others come first, and no pause is on.
func (b *balance) ripe(step balanceStep, now time.Duration) bool {
	return now-b.since >= balanceSteady+time.Duration(step.before)*balanceInterval && now >= b.next
}

// taken takes note of what a step came to.
func (b *balance) taken(err error, now time.Duration) {
	b.since = now
	if err == nil {
		b.pause = 0
		return
	}
	b.pause = min(max(2*b.pause, balanceSteady), balancePauseMax)
	b.next = now + b.pause
}

// share is how many of so many shards each node leads at most.
func share(shards, nodes int) int { return (shards + nodes - 1) / nodes }

// leadsOf is who leads each shard.
func leadsOf(status Status) []lead {
	leads := make([]lead, len(status.Shards))
	for i, s := range status.Shards {
		leads[i] = lead{term: s.Term, node: s.Leader}
	}
	return leads
}

// balanceStep is one lead to hand over.
type balanceStep struct {
	shard  fsm.ShardID
	to     string
	before int // nodes that lead too much and come first
}

// nextStep is what a node should hand over; due is false where it has its share, or nobody can take more.
func nextStep(self string, status Status) (_ balanceStep, due bool) {
	able := ableToLead(self, status)
	led := make(map[string]int)
	shards := 0
	for _, s := range status.Shards {
		if s.Shard.State != meta.ShardActive {
			continue
		}
		if s.Leader == "" {
			return balanceStep{}, false // an election comes first
		}
		led[s.Leader]++
		shards++
	}
	fair := share(shards, len(able))
	if led[self] <= fair {
		return balanceStep{}, false
	}
	takers := slices.DeleteFunc(able, func(node string) bool { return led[node] >= fair })
	step, found := bestStep(self, status.Shards, takers, led)
	for node, count := range led {
		if node != self && count > fair && (count > led[self] || count == led[self] && node < self) {
			step.before++
		}
	}
	return step, found
}

// bestStep hands to whoever leads fewest, of those to the shard's preferred leader, then by number and name.
func bestStep(self string, shards []ShardStatus, takers []string, led map[string]int) (best balanceStep, found bool) {
	var bestRank []int
	for _, s := range shards {
		for _, to := range followers(self, s) {
			if !slices.Contains(takers, to) {
				continue
			}
			rank := []int{led[to], 1, int(s.Shard.ID), slices.Index(takers, to)}
			if s.Shard.Replicas[0] == to {
				rank[1] = 0
			}
			if !found || slices.Compare(rank, bestRank) < 0 {
				best, bestRank, found = balanceStep{shard: s.Shard.ID, to: to}, rank, true
			}
		}
	}
	return best, found
}

// ableToLead are the nodes among which the leads are shared out, self and all that are fit.
func ableToLead(self string, status Status) (able []string) {
	for _, node := range status.Nodes {
		if node.ID == self || fitToLead(node, status.Shards) {
			able = append(able, node.ID)
		}
	}
	return able
}

// fitToLead reports whether a node serves and answers, has been up for a while, has room and the right time, and runs all replicas that it
// is to have.
func fitToLead(node NodeStatus, shards []ShardStatus) bool {
	view := node.View
	if node.Duty.Kind > meta.Serving || node.Error != "" || view.DiskLow || view.UpMillis < uint64(balanceUptime.Milliseconds()) ||
		view.ClockOffsetMillis == nil || !near(*view.ClockOffsetMillis) {
		return false
	}
	for _, s := range shards {
		for _, r := range s.Replicas {
			if r.Node == node.ID && !r.Running {
				return false
			}
		}
	}
	return true
}

// followers are the voters that follow self in an active shard and have its log.
func followers(self string, s ShardStatus) (able []string) {
	at := slices.IndexFunc(s.Replicas, func(r ReplicaStatus) bool { return r.Node == self })
	if s.Shard.State != meta.ShardActive || s.Leader != self || at < 0 {
		return nil
	}
	own := s.Replicas[at]
	for _, r := range s.Replicas {
		if r.Node != self && r.Voter && r.Leader == self && r.Term == own.Term &&
			r.LastLog+balanceLag >= own.Commit && r.Applied+balanceLag >= own.Commit {
			able = append(able, r.Node)
		}
	}
	return able
}

// take hands a lead over, and returns once the other node has it.
func (n *Node) take(ctx context.Context, step balanceStep) error {
	r := n.replica(step.shard)
	if r == nil || !r.leads() {
		return fmt.Errorf("node %s does not lead it", n.id)
	}
	if err := r.handOver(step.to); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, balanceTook)
	defer cancel()
	_, err := r.awaitLead(ctx, func(l lead) bool { return l.node == step.to })
	return err
}
