package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"parley/cmd/parley/adminclient"
	"parley/httpapi"
)

// reshaping is what an operator does to a cluster in the scenario resize, by the commands that every operator has.
type reshaping struct {
	*resizing
	provider *provider
	nodes    *operator
	backends []*backend // that have to know which nodes there are
	present  []*node    // that belong to the cluster, and run
}

func newReshaping(s *resizing, backends []*backend) *reshaping {
	hub := s.exchange.sides[0]
	return &reshaping{resizing: s, provider: hub.provider, nodes: hub.nodes, backends: backends, present: slices.Clone(hub.provider.nodes)}
}

// step is one of the operator's, as the table has it.
type step struct {
	text string
	do   work
}

// carryOut does one step after the other. The probers tell what each of them cost.
func (r *reshaping) carryOut(ctx context.Context) error {
	steps := []step{
		{"nothing happens", r.rest},
		{"two nodes join", r.grow},
		{fmt.Sprintf("%d shards become %d", r.size.Shards, 2*r.size.Shards), r.split},
		{"shards are spread over five nodes", r.rebalance},
		{"a node is killed for good", r.kill},
		{"another takes its place", r.replace},
		{"two nodes leave", r.shrink},
		{"nothing happens", r.rest},
	}
	for _, one := range steps {
		r.run.show.heading("%s", one.text)
		r.stages.begin(one.text)
		began := time.Now()
		limited, cancel := context.WithTimeout(ctx, r.size.StepMost)
		err := one.do(limited)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", one.text, err)
		}
		r.run.show.done(time.Since(began), one.text, r.stages.last())
	}
	return nil
}

func (r *reshaping) rest(ctx context.Context) error {
	wait(ctx, r.size.Quiet)
	return ctx.Err()
}

// grow starts two nodes more and has them join.
func (r *reshaping) grow(ctx context.Context) error {
	for range 2 {
		if _, err := r.join(ctx); err != nil {
			return err
		}
	}
	return r.tell(ctx)
}

// join starts a node and has it join.
func (r *reshaping) join(ctx context.Context) (*node, error) {
	n, err := r.provider.add()
	if err != nil {
		return nil, err
	}
	if err := n.process.start(); err != nil {
		return nil, err
	}
	err = until(ctx, n.ID+" joins", func(ctx context.Context) error {
		if err := n.process.alive(); err != nil {
			return err
		}
		_, err := parleyAt(ctx, n, "node", "join", "--seed", r.present[0].Cluster)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.present = append(r.present, n)
	r.run.show.note("%s has joined", n.ID)
	return n, nil
}

// tell lets the backends and the other provider know which nodes there are.
func (r *reshaping) tell(ctx context.Context) error {
	for _, b := range r.backends {
		b.talksTo(r.present...)
	}
	peer := adminclient.New(r.exchange.sides[1].provider.nodes[0].adminURL())
	return until(ctx, "tell the other provider", func(ctx context.Context) error {
		return introduce(ctx, peer, r.provider, r.present, r.exchange.caPEM)
	})
}

// split doubles the shards.
func (r *reshaping) split(ctx context.Context) error {
	want := 2 * r.size.Shards
	if _, err := r.command(ctx, "resize", "--shards", fmt.Sprint(want), "--yes"); err != nil {
		return err
	}
	return r.expect(ctx, "the shards are there", func(s httpapi.ClusterStatus) error {
		if n := len(serving(s)); n != want {
			return fmt.Errorf("%d shards serve, not %d", n, want)
		}
		return nil
	})
}

// rebalance looks at a plan, and has it carried out.
func (r *reshaping) rebalance(ctx context.Context) error {
	out, err := r.command(ctx, "rebalance", "plan")
	if err != nil {
		return err
	}
	var plan struct {
		ID    uint64            `json:"id"`
		Steps []json.RawMessage `json:"steps"`
	}
	if err := json.Unmarshal(out, &plan); err != nil {
		return fmt.Errorf("rebalance plan printed %q: %w", out, err)
	}
	r.run.show.note("a plan of %d steps", len(plan.Steps))
	if len(plan.Steps) > 0 {
		if _, err := r.command(ctx, "rebalance", "apply", fmt.Sprint(plan.ID)); err != nil {
			return err
		}
	}
	return r.expect(ctx, "every node has its part", func(s httpapi.ClusterStatus) error {
		has := replicasByNode(s)
		for _, n := range r.present {
			if has[n.ID] == 0 {
				return fmt.Errorf("%s has nothing", n.ID)
			}
		}
		return nil
	})
}

// kill ends a node that leads something, for good.
func (r *reshaping) kill(ctx context.Context) error {
	status, err := r.nodes.status(ctx)
	if err != nil {
		return err
	}
	victim := r.present[1]
	leads := 0
	for _, s := range serving(status) {
		if s.Leader == victim.ID {
			leads++
		}
	}
	if err := victim.process.kill(); err != nil {
		return err
	}
	r.run.show.note("kill -9 %s, which leads %d shards; it does not come back", victim.ID, leads)
	r.leaves(victim)
	if err := r.tell(ctx); err != nil {
		return err
	}
	return r.expect(ctx, "every shard has a leader", func(s httpapi.ClusterStatus) error {
		for _, shard := range serving(s) {
			if shard.Leader == "" || shard.Leader == victim.ID {
				return fmt.Errorf("shard %d is led by %q", shard.ID, shard.Leader)
			}
		}
		return nil
	})
}

// leaves takes a node from those that are there.
func (r *reshaping) leaves(n *node) {
	r.present = slices.DeleteFunc(r.present, func(other *node) bool { return other == n })
	r.provider.nodes = slices.DeleteFunc(r.provider.nodes, func(other *node) bool { return other == n })
}

// replace has a new node take the place of the one that was killed.
func (r *reshaping) replace(ctx context.Context) error {
	status, err := r.nodes.status(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(status.Nodes, func(n httpapi.NodeStatus) bool {
		return !slices.ContainsFunc(r.present, func(here *node) bool { return here.ID == n.ID })
	})
	if at < 0 {
		return errors.New("the cluster does not list the node that was killed")
	}
	n, err := r.join(ctx)
	if err != nil {
		return err
	}
	if err := r.tell(ctx); err != nil {
		return err
	}
	gone := status.Nodes[at].ID
	if _, err := r.command(ctx, "node", "replace", gone, "--with", n.ID, "--lost"); err != nil {
		return err
	}
	return r.expect(ctx, gone+" has nothing any more", func(s httpapi.ClusterStatus) error { return hasNothing(s, gone) })
}

// shrink takes nodes out until three are left: those that joined first and the one that came last.
func (r *reshaping) shrink(ctx context.Context) error {
	for _, n := range slices.Clone(r.present[2 : len(r.present)-1]) {
		if err := r.takeOut(ctx, n); err != nil {
			return err
		}
	}
	return r.expect(ctx, "every shard is whole", func(s httpapi.ClusterStatus) error {
		for _, shard := range serving(s) {
			if len(shard.Replicas) != 3 || slices.ContainsFunc(shard.Replicas, func(r httpapi.ReplicaStatus) bool { return !r.Voter || !r.Running }) {
				return fmt.Errorf("shard %d has the replicas %+v", shard.ID, shard.Replicas)
			}
		}
		return nil
	})
}

// takeOut has a node leave the cluster, and ends its process.
func (r *reshaping) takeOut(ctx context.Context, n *node) error {
	if _, err := r.command(ctx, "node", "decommission", n.ID); err != nil {
		return err
	}
	if err := r.expect(ctx, n.ID+" has nothing any more", func(s httpapi.ClusterStatus) error { return hasNothing(s, n.ID) }); err != nil {
		return err
	}
	r.present = slices.DeleteFunc(r.present, func(other *node) bool { return other == n })
	if err := r.tell(ctx); err != nil {
		return err
	}
	if err := n.process.stop(); err != nil {
		return err
	}
	r.leaves(n)
	r.run.show.note("%s has left the cluster, and is stopped", n.ID)
	return nil
}

// expect waits until the cluster is as a step should have made it.
func (r *reshaping) expect(ctx context.Context, what string, look func(httpapi.ClusterStatus) error) error {
	return until(ctx, what, func(ctx context.Context) error {
		status, err := r.nodes.status(ctx)
		if err == nil {
			err = look(status)
		}
		return err
	})
}

// serving are the shards that have slots.
func serving(s httpapi.ClusterStatus) []httpapi.ShardStatus {
	return slices.DeleteFunc(slices.Clone(s.Shards), func(one httpapi.ShardStatus) bool { return one.State != "active" })
}

func replicasByNode(s httpapi.ClusterStatus) map[string]int {
	has := make(map[string]int)
	for _, shard := range serving(s) {
		for _, replica := range shard.Replicas {
			has[replica.Node]++
		}
	}
	return has
}

func hasNothing(s httpapi.ClusterStatus, id string) error {
	if n := replicasByNode(s)[id]; n > 0 {
		return fmt.Errorf("%s has %d replicas", id, n)
	}
	return nil
}
