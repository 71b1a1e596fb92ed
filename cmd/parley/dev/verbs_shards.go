package dev

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/httpapi"
)

// shardVerbs change which shard has which slots, and where its replicas are.
func shardVerbs() []verb {
	return []verb{
		{"shard split", (*verbs).toSplit, ofJob, both, nil},
		{"shard merge", (*verbs).toMerge, ofJob, both, nil},
		{"shard move-slot", (*verbs).toMoveSlots, ofOneStep, both, nil},
		{"shard move", (*verbs).toMoveReplica, ofOneStep, both, nil},
		{"shard transfer-leader", (*verbs).toHandOver, ofAnswer, both, nil},
	}
}

// toSplit has a shard split under a new number.
func (v *verbs) toSplit(ctx context.Context) (*task, error) {
	status, err := v.nodes.status(ctx)
	if err != nil {
		return nil, err
	}
	shards := serving(status)
	if len(shards) > v.size.Shards+1 { // they are not to become more and more
		if err := v.merge(ctx, shards[len(shards)-1].ID, shards[0].ID); err != nil {
			return nil, err
		}
		return v.toSplit(ctx)
	}
	largest := slices.MaxFunc(shards, func(a, b httpapi.ShardStatus) int { return a.Slots - b.Slots })
	as := v.newNumber(status)
	done, err := v.jobsOf(ctx, "shard-split")
	return &task{at: v.provider.nodes[0], arguments: []string{"shard", "split", fmt.Sprint(largest.ID), "--as", fmt.Sprint(as)}, came: func(ctx context.Context) (int, error) {
		times, wrong := done(ctx)
		return times, errors.Join(wrong, v.shows(ctx, func(s httpapi.ClusterStatus) error {
			opened, err := shardIn(s, func(one httpapi.ShardStatus) bool { return one.ID == as })
			rest, also := shardIn(s, func(one httpapi.ShardStatus) bool { return one.ID == largest.ID })
			if err = errors.Join(err, also); err == nil && (opened.Slots == 0 || opened.Slots+rest.Slots != largest.Slots || len(serving(s)) != len(shards)+1) {
				err = fmt.Errorf("%d shards, shard %d has %d slots, shard %d has %d of %d", len(serving(s)), as, opened.Slots, rest.ID, rest.Slots, largest.Slots)
			}
			return err
		}))
	}}, err
}

// newNumber is above those of all shards that there are or were.
func (v *verbs) newNumber(s httpapi.ClusterStatus) fsm.ShardID {
	for _, shard := range s.Shards {
		v.number = max(v.number, shard.ID)
	}
	v.number++
	return v.number
}

// merge does so without a trial.
func (v *verbs) merge(ctx context.Context, shard, into fsm.ShardID) error {
	_, err := v.quiet(ctx, "shard", "merge", fmt.Sprint(shard), "--into", fmt.Sprint(into))
	return err
}

// toMerge has the last shard merged into the first two.
func (v *verbs) toMerge(ctx context.Context) (*task, error) {
	status, err := v.nodes.status(ctx)
	if err != nil {
		return nil, err
	}
	shards := serving(status)
	if len(shards) < 4 {
		largest := slices.MaxFunc(shards, func(a, b httpapi.ShardStatus) int { return a.Slots - b.Slots })
		if _, err := v.quiet(ctx, "shard", "split", fmt.Sprint(largest.ID), "--as", fmt.Sprint(v.newNumber(status))); err != nil {
			return nil, err
		}
		return v.toMerge(ctx)
	}
	ends, into := shards[len(shards)-1], fmt.Sprintf("%d,%d", shards[0].ID, shards[1].ID)
	done, err := v.jobsOf(ctx, "shard-merge")
	return &task{at: v.provider.nodes[0], arguments: []string{"shard", "merge", fmt.Sprint(ends.ID), "--into", into}, came: func(ctx context.Context) (int, error) {
		times, wrong := done(ctx)
		return times, errors.Join(wrong, v.shows(ctx, func(s httpapi.ClusterStatus) error {
			slots := 0
			for _, shard := range serving(s) {
				slots += shard.Slots
			}
			if _, err := shardIn(s, func(one httpapi.ShardStatus) bool { return one.ID == ends.ID }); err == nil || slots != fsm.SlotCount || len(serving(s)) != len(shards)-1 {
				return fmt.Errorf("%d shards serve %d slots", len(serving(s)), slots)
			}
			return nil
		}))
	}}, err
}

// slotsTried are moved to and fro.
const slotsTried = 300

// toMoveSlots has slots moved to the first shard or the second, where they are not.
func (v *verbs) toMoveSlots(ctx context.Context) (*task, error) {
	status, err := v.nodes.status(ctx)
	if err != nil {
		return nil, err
	}
	shards := serving(status)
	from, to := shards[0], shards[1]
	if v.turn++; v.turn%2 == 0 {
		from, to = to, from
	}
	// Those of the first shard's first range that are at one of the two; which of them are elsewhere by now moves as well.
	first := int(shards[0].FirstSlot)
	slots := fmt.Sprintf("%d-%d", first, first+slotsTried-1)
	if _, err := v.quiet(ctx, "shard", "move-slot", slots, "--to", fmt.Sprint(from.ID)); err != nil {
		return nil, err
	}
	before, err := v.slotsAt(ctx, to.ID)
	if err != nil {
		return nil, err
	}
	done, err := v.jobsOf(ctx, "slot-move")
	return &task{at: v.provider.nodes[0], arguments: []string{"shard", "move-slot", slots, "--to", fmt.Sprint(to.ID)}, came: func(ctx context.Context) (int, error) {
		times, wrong := done(ctx)
		after, err := v.slotsAt(ctx, to.ID)
		if err == nil && after != before+slotsTried {
			err = fmt.Errorf("shard %d has %d slots, and had %d", to.ID, after, before)
		}
		return times, errors.Join(wrong, err)
	}}, err
}

func (v *verbs) slotsAt(ctx context.Context, id fsm.ShardID) (int, error) {
	status, err := v.nodes.status(ctx)
	if err != nil {
		return 0, err
	}
	shard, err := shardIn(status, func(one httpapi.ShardStatus) bool { return one.ID == id })
	return shard.Slots, err
}

// toMoveReplica has a replica of the first shard moved to a node that has none.
func (v *verbs) toMoveReplica(ctx context.Context) (*task, error) {
	status, err := v.nodes.status(ctx)
	if err != nil {
		return nil, err
	}
	shard := serving(status)[0]
	to := slices.IndexFunc(v.provider.nodes, func(n *node) bool { return !hasReplica(shard, n.ID) })
	if to < 0 {
		return nil, fmt.Errorf("shard %d is on every node", shard.ID)
	}
	v.turn++
	from, comes := shard.Replicas[v.turn%len(shard.Replicas)].Node, v.provider.nodes[to].ID
	done, err := v.jobsOf(ctx, "shard-move")
	return &task{at: v.provider.nodes[0], arguments: []string{"shard", "move", fmt.Sprint(shard.ID), "--from", from, "--to", comes}, came: func(ctx context.Context) (int, error) {
		times, wrong := done(ctx)
		return times, errors.Join(wrong, v.shows(ctx, func(s httpapi.ClusterStatus) error {
			now, err := shardIn(s, func(one httpapi.ShardStatus) bool { return one.ID == shard.ID })
			if err == nil && (hasReplica(now, from) || !hasReplica(now, comes) || len(now.Replicas) != len(shard.Replicas)) {
				err = fmt.Errorf("shard %d is on %+v", shard.ID, now.Replicas)
			}
			return err
		}))
	}}, err
}

func hasReplica(s httpapi.ShardStatus, node string) bool {
	return slices.ContainsFunc(s.Replicas, func(r httpapi.ReplicaStatus) bool { return r.Node == node })
}

// toHandOver has a shard led by another of its nodes.
func (v *verbs) toHandOver(ctx context.Context) (*task, error) {
	status, err := v.nodes.status(ctx)
	if err != nil {
		return nil, err
	}
	shard := serving(status)[0]
	to := slices.IndexFunc(shard.Replicas, func(r httpapi.ReplicaStatus) bool { return r.Node != shard.Leader })
	leads := shard.Replicas[to].Node
	return &task{at: v.provider.nodes[0], arguments: []string{"shard", "transfer-leader", fmt.Sprint(shard.ID), "--to", leads}, came: func(ctx context.Context) (int, error) {
		return 1, v.shows(ctx, func(s httpapi.ClusterStatus) error {
			now, err := shardIn(s, func(one httpapi.ShardStatus) bool { return one.ID == shard.ID })
			if err == nil && now.Leader != leads {
				err = fmt.Errorf("shard %d is led by %q", shard.ID, now.Leader)
			}
			return err
		})
	}}, nil
}

// shows asks the cluster's status once.
func (v *verbs) shows(ctx context.Context, look func(httpapi.ClusterStatus) error) error {
	status, err := v.nodes.status(ctx)
	if err != nil {
		return err
	}
	return look(status)
}
