package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"parley/httpapi"
)

// planVerbs carry plans out, of all kinds of steps.
func planVerbs() []verb {
	ofPlan := []moment{beforeRequest, behindRequest, beforeApplied, behindApplied, whileItWaits, halfWay, behindTheEnd}
	return []verb{
		{"rebalance apply", (*verbs).toRebalance, ofJob, both, nil},
		{"resize --shards", (*verbs).toChangeShards, ofPlan, both, nil},
		{"resize --replicas", (*verbs).toChangeReplicas, ofPlan, both, nil},
		{"resize --leave", (*verbs).toLeave, ofPlan, both, nil},
	}
}

// toRebalance has a plan carried out that moves leads, and what else there is to move.
func (v *verbs) toRebalance(ctx context.Context) (*task, error) {
	if err := v.allServe(ctx); err != nil {
		return nil, err
	}
	status, err := v.nodes.status(ctx)
	if err != nil {
		return nil, err
	}
	leads := v.provider.nodes[v.turn%3].ID
	for v.turn++; ; {
		for _, shard := range serving(status) {
			if shard.Leader != leads && hasReplica(shard, leads) {
				if _, err := v.quiet(ctx, "shard", "transfer-leader", fmt.Sprint(shard.ID), "--to", leads); err != nil {
					return nil, err
				}
			}
		}
		shard := serving(status)[0]
		to := slices.IndexFunc(v.provider.nodes, func(n *node) bool { return !hasReplica(shard, n.ID) && n.ID != leads })
		from := slices.IndexFunc(shard.Replicas, func(r httpapi.ReplicaStatus) bool { return r.Node != leads })
		if to >= 0 {
			if _, err := v.quiet(ctx, "shard", "move", fmt.Sprint(shard.ID), "--from", shard.Replicas[from].Node, "--to", v.provider.nodes[to].ID); err != nil {
				return nil, err
			}
		}
		plan, err := v.plan(ctx, "rebalance", "plan")
		if err != nil {
			return nil, err
		}
		if len(plan.Steps) > 0 {
			done, err := v.jobsOf(ctx, "rebalance")
			return &task{at: v.provider.nodes[0], arguments: []string{"rebalance", "apply", fmt.Sprint(plan.ID)}, came: func(ctx context.Context) (int, error) {
				_, wrong := done(ctx)
				times, err := v.carriedOut(ctx, plan.ID)
				return times, errors.Join(wrong, err)
			}}, err
		}
		if status, err = v.nodes.status(ctx); err != nil {
			return nil, err
		}
	}
}

// plan has a plan made.
func (v *verbs) plan(ctx context.Context, arguments ...string) (plan httpapi.PlanEntry, err error) {
	out, err := v.quiet(ctx, arguments...)
	if err == nil {
		err = json.Unmarshal(out, &plan)
	}
	return plan, err
}

// carriedOut says that one plan was, to its end.
func (v *verbs) carriedOut(ctx context.Context, id uint64) (int, error) {
	jobs, err := v.jobs(ctx)
	for _, j := range jobs {
		if j.ID == id && j.State == httpapi.JobStateDone {
			return 1, err
		}
	}
	return 0, errors.Join(err, fmt.Errorf("plan %d is not carried out", id))
}

// toChangeShards has one shard more, or one fewer.
func (v *verbs) toChangeShards(ctx context.Context) (*task, error) {
	if err := v.allServe(ctx); err != nil {
		return nil, err
	}
	status, err := v.nodes.status(ctx)
	if err != nil {
		return nil, err
	}
	want := len(serving(status)) + 1
	if want > v.size.Shards+1 {
		want -= 2
	}
	done, err := v.jobsOf(ctx, "resize")
	return &task{at: v.provider.nodes[0], arguments: []string{"resize", "--shards", fmt.Sprint(want), "--yes"}, came: func(ctx context.Context) (times int, err error) {
		_, wrong := done(ctx)
		return times, errors.Join(wrong, v.shows(ctx, func(s httpapi.ClusterStatus) error {
			for _, shard := range s.Shards {
				v.number = max(v.number, shard.ID)
			}
			times = changedShards(status, s)
			if n := len(serving(s)); n != want {
				return fmt.Errorf("%d shards serve", n)
			}
			return nil
		}))
	}}, err
}

// changedShards counts the shards that were opened or have ended. How often a resize was carried out does not count: the last one may find
// something to even out that was none of the first, such as the leads of a node that was killed.
func changedShards(before, after httpapi.ClusterStatus) (count int) {
	for _, pair := range [][2]httpapi.ClusterStatus{{before, after}, {after, before}} {
		for _, shard := range serving(pair[0]) {
			if _, err := shardIn(pair[1], func(one httpapi.ShardStatus) bool { return one.ID == shard.ID }); err != nil {
				count++
			}
		}
	}
	return count
}

// toChangeReplicas has four replicas of each shard, or three.
func (v *verbs) toChangeReplicas(ctx context.Context) (*task, error) {
	if err := v.allServe(ctx); err != nil {
		return nil, err
	}
	status, err := v.nodes.status(ctx)
	if err != nil {
		return nil, err
	}
	want := 7 - len(serving(status)[0].Replicas)
	done, err := v.jobsOf(ctx, "resize")
	return &task{at: v.provider.nodes[0], arguments: []string{"resize", "--replicas", fmt.Sprint(want), "--yes"}, came: func(ctx context.Context) (int, error) {
		_, wrong := done(ctx)
		return 1, errors.Join(wrong, v.shows(ctx, func(s httpapi.ClusterStatus) error {
			for _, shard := range serving(s) {
				if len(shard.Replicas) != want {
					return fmt.Errorf("shard %d is on %+v", shard.ID, shard.Replicas)
				}
			}
			return nil
		}))
	}}, err
}

// toLeave has a node lose all that it has.
func (v *verbs) toLeave(ctx context.Context) (*task, error) {
	if err := v.allServe(ctx); err != nil {
		return nil, err
	}
	if plan, err := v.plan(ctx, "resize", "--replicas", "3", "--nodes", fmt.Sprint(len(v.provider.nodes)), "--plan"); err != nil {
		return nil, err
	} else if len(plan.Steps) > 0 {
		if _, err := v.quiet(ctx, "rebalance", "apply", fmt.Sprint(plan.ID)); err != nil {
			return nil, err
		}
	}
	leaves := v.provider.nodes[len(v.provider.nodes)-1]
	done, err := v.jobsOf(ctx, "resize")
	return &task{at: v.provider.nodes[0], arguments: []string{"resize", "--leave", leaves.ID, "--yes"}, came: func(ctx context.Context) (int, error) {
		_, wrong := done(ctx)
		is, _, err := v.member(ctx, leaves.ID)
		if err == nil && (is.Duty != "leaving" || is.Replicas > 0) {
			err = fmt.Errorf("%s is %s, and has %d replicas", is.ID, is.Duty, is.Replicas)
		}
		return 1, errors.Join(wrong, err)
	}}, err
}
