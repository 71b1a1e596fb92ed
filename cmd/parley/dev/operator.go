package dev

import (
	"context"
	"errors"
	"fmt"
	"time"

	"parley/cmd/parley/adminclient"
	"parley/fsm"
	"parley/httpapi"
)

// operator does to a provider's nodes what an operator can, and what fate can. Not safe for concurrent use.
type operator struct{ provider *provider }

// alive are the nodes whose processes run.
func (o *operator) alive() []*node {
	var nodes []*node
	for _, n := range o.provider.nodes {
		if n.process.command != nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// status asks any living node.
func (o *operator) status(ctx context.Context) (httpapi.ClusterStatus, error) {
	var failed []error
	for _, n := range o.alive() {
		status, err := adminclient.New(n.adminURL()).Status(ctx)
		if err == nil {
			return status, nil
		}
		failed = append(failed, err)
	}
	return httpapi.ClusterStatus{}, errors.Join(append(failed, errors.New("no node tells the cluster's status"))...)
}

// leaderOf finds the living node that leads the shard of a slot.
func (o *operator) leaderOf(ctx context.Context, slot fsm.SlotID) (leader *node, shard fsm.ShardID, err error) {
	err = until(ctx, "find the leader of the slot's shard", func(ctx context.Context) error {
		status, err := o.status(ctx)
		if err != nil {
			return err
		}
		for _, s := range status.Shards {
			if s.FirstSlot > slot || s.LastSlot < slot {
				continue
			}
			shard = s.ID
			for _, n := range o.alive() {
				if n.ID == s.Leader {
					leader = n
					return nil
				}
			}
			return fmt.Errorf("shard %d is led by %q", s.ID, s.Leader)
		}
		return fmt.Errorf("no shard has slot %d", slot)
	})
	return leader, shard, err
}

// killLeader ends the process of the leader of a slot's shard with SIGKILL.
func (o *operator) killLeader(ctx context.Context, slot fsm.SlotID) (*node, fsm.ShardID, error) {
	leader, shard, err := o.leaderOf(ctx, slot)
	if err != nil {
		return nil, 0, err
	}
	return leader, shard, leader.process.kill()
}

// waiting counts the items in all outboxes, the local provider's own inbox included. Each node knows those of the shards that it leads.
func (o *operator) waiting(ctx context.Context) (items uint64, err error) {
	for _, n := range o.alive() {
		status, err := adminclient.New(n.adminURL()).Status(ctx)
		if err != nil {
			return 0, err
		}
		for _, outbox := range status.Outbox {
			items += outbox.Items
		}
	}
	return items, nil
}

// spent is the processor time of each node since its first start.
func (o *operator) spent() (all map[string]time.Duration, err error) {
	all = make(map[string]time.Duration)
	for _, n := range o.provider.nodes {
		if all[n.ID], err = n.process.spent(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// delivererTo finds a living node that sends what waits for a peer, and a shard for which it does.
func (o *operator) delivererTo(ctx context.Context, peer string) (deliverer *node, shard fsm.ShardID, err error) {
	err = until(ctx, "find who delivers to "+peer, func(ctx context.Context) error {
		backlog, err := adminclient.New(o.alive()[0].adminURL()).Backlog(ctx)
		if err != nil {
			return err
		}
		for _, p := range backlog.Peers {
			for _, s := range p.Shards {
				for _, n := range o.alive() {
					if p.Destination.String() == peer && n.ID == s.Deliverer {
						deliverer, shard = n, s.Shard
						return nil
					}
				}
			}
		}
		return errors.New("nothing waits for it, or nobody is appointed")
	})
	return deliverer, shard, err
}

// stopAll ends all processes of the provider side by side, gently where it can.
func (o *operator) stopAll() error { return o.stopAllBut(nil) }

// stopAllBut is stopAll, but for one node; nil for none.
func (o *operator) stopAllBut(left *node) error {
	results := make(chan error, len(o.provider.nodes))
	for _, n := range o.provider.nodes {
		if n == left {
			results <- nil
			continue
		}
		go func() { results <- n.process.stop() }()
	}
	var wrong []error
	for range o.provider.nodes {
		wrong = append(wrong, <-results)
	}
	return errors.Join(wrong...)
}

// startAll starts every process that does not run, and waits until all serve.
func (o *operator) startAll(ctx context.Context) error {
	if err := o.start(); err != nil {
		return err
	}
	return o.ready(ctx)
}

// start starts every process that does not run.
func (o *operator) start() error {
	for _, n := range o.provider.nodes {
		if n.process.command != nil {
			continue
		}
		if err := n.process.start(); err != nil {
			return err
		}
	}
	return nil
}

// ready waits until every node of the provider serves.
func (o *operator) ready(ctx context.Context) error {
	for _, n := range o.provider.nodes {
		if err := until(ctx, n.process.name+" becomes ready", func(ctx context.Context) error { return isReady(ctx, n) }); err != nil {
			return err
		}
	}
	return nil
}

// isReady says why the node does not serve.
func isReady(ctx context.Context, n *node) error {
	if err := n.process.alive(); err != nil {
		return err
	}
	readiness, err := adminclient.New(n.adminURL()).Ready(ctx)
	if err == nil && !readiness.Ready {
		err = fmt.Errorf("not ready: %v", readiness.Reasons)
	}
	return err
}

// digests waits until all replicas of every shard stand at the same index with the same digest, and returns
// the digest of its content by shard.
func (o *operator) digests(ctx context.Context) (map[fsm.ShardID]string, error) {
	compared, err := o.compare(ctx)
	found := make(map[fsm.ShardID]string)
	for _, shard := range compared {
		found[shard.Shard] = shard.Replicas[0].Content
	}
	return found, err
}

// compare waits until all replicas of every shard stand at the same index with the same digest, and returns what it saw.
func (o *operator) compare(ctx context.Context) (all []httpapi.ShardDigests, err error) {
	status, err := o.status(ctx)
	if err != nil {
		return nil, err
	}
	asked := adminclient.New(o.alive()[0].adminURL())
	for _, shard := range serving(status) {
		err := until(ctx, fmt.Sprintf("compare the replicas of shard %d", shard.ID), func(ctx context.Context) error {
			digests, err := asked.Digests(ctx, shard.ID)
			if err == nil && !digests.Equal {
				err = fmt.Errorf("they differ: %+v", digests.Replicas)
			}
			if err == nil {
				all = append(all, digests)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
