package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"parley/cluster"
	"parley/fsm"
	"parley/fsm/meta"
	"parley/httpapi"
	"parley/ops/plan"
)

// planAbout is what a plan's job keeps for people beside its steps.
type planAbout struct {
	Bytes    uint64              `json:"bytes"`
	Seconds  uint64              `json:"seconds"`
	Survives bool                `json:"survives"`
	Weak     []fsm.ShardID       `json:"weak"`
	Before   httpapi.PlanBalance `json:"before"`
	After    httpapi.PlanBalance `json:"after"`
	// Wanted is what was asked for, by which the same again is known.
	Wanted httpapi.PlanRequest `json:"wanted"`
}

// balanceNodesMost is how many nodes a plan lists: of more, the sums have to do.
const balanceNodesMost = 200

func (o *operations) MakePlan(ctx context.Context, r httpapi.PlanRequest) (httpapi.PlanEntry, error) {
	if plan, same, err := o.resizing(r); same || err != nil {
		return plan, err
	}
	layout, err := o.node.Layout(ctx)
	if err != nil {
		return httpapi.PlanEntry{}, refusal(err)
	}
	before := described(layout)
	goal, err := goalOf(before, r)
	if err != nil {
		return httpapi.PlanEntry{}, err
	}
	made, err := plan.Make(before, goal)
	if refused := (*plan.RefusedError)(nil); errors.As(err, &refused) {
		return httpapi.PlanEntry{}, &httpapi.RefusedError{
			Reason: refused.Reason, Blocker: "what is there and what is wanted", See: "parley cluster status, parley node list", Clear: refused.Clear,
		}
	}
	if err != nil {
		return httpapi.PlanEntry{}, err
	}
	about := planAbout{
		Bytes: made.Bytes, Seconds: made.Bytes / max(1, layout.BytesPerSecond), Survives: made.Survives, Weak: []fsm.ShardID{},
		Before: shownBalance(made.Before), After: shownBalance(made.After), Wanted: r,
	}
	for _, id := range made.Weak {
		about.Weak = append(about.Weak, fsm.ShardID(id))
	}
	encoded, err := json.Marshal(about)
	if err != nil {
		return httpapi.PlanEntry{}, err
	}
	spec := cluster.PlanSpec{MapVersion: layout.MapVersion, Layout: layout.Fingerprint, Steps: stepsOf(made.Steps), About: encoded}
	kind := cmp.Or(r.Kind, cluster.JobRebalance)
	if len(made.Steps) == 0 {
		return shownPlan(meta.Job{Kind: kind, State: meta.JobDone}, spec)
	}
	packed, err := cluster.EncodePlan(spec)
	if err != nil {
		return httpapi.PlanEntry{}, refusal(err)
	}
	request := cluster.JobRequest{Kind: kind, Spec: packed, Planned: true}
	if operator := meta.OperatorOf(ctx); operator != nil {
		request.By = operator.By
		operator.Says(fmt.Sprintf("a plan of %d steps", len(made.Steps)))
	}
	job, err := o.node.StartJob(ctx, request)
	if err != nil {
		return httpapi.PlanEntry{}, refusal(err)
	}
	return shownPlan(job, spec)
}

// resizing is the plan by which a resize goes on that was asked for in the same words. A plan of what is left of it would be another, and
// be refused: who repeats a command wants the one that he has begun.
func (o *operations) resizing(r httpapi.PlanRequest) (httpapi.PlanEntry, bool, error) {
	if r.Kind != cluster.JobResize {
		return httpapi.PlanEntry{}, false, nil
	}
	jobs, err := o.node.Jobs()
	if err != nil {
		return httpapi.PlanEntry{}, false, refusal(err)
	}
	for _, job := range jobs {
		if job.Kind != cluster.JobResize || !job.State.Live() {
			continue
		}
		spec, err := cluster.DecodePlan(job.Spec)
		var about planAbout
		if err == nil && json.Unmarshal(spec.About, &about) == nil && reflect.DeepEqual(about.Wanted, r) {
			plan, err := shownPlan(job, spec)
			return plan, true, err
		}
	}
	return httpapi.PlanEntry{}, false, nil
}

// described is a layout in the planner's words.
func described(l cluster.Layout) plan.Cluster {
	c := plan.Cluster{Replication: l.Replication, NextShard: uint32(l.NextShard)}
	for _, n := range l.Nodes {
		c.Nodes = append(c.Nodes, plan.Node{Name: n.ID, Zone: n.Zone, Serves: n.Serves, Leaves: n.Leaves, Alive: n.Answers})
	}
	for _, s := range l.Shards {
		shard := plan.Shard{ID: uint32(s.ID), Replicas: s.Replicas, Leader: s.Leader}
		for _, slot := range s.Slots {
			shard.Slots = append(shard.Slots, plan.Slot{ID: uint16(slot.Slot), Bytes: slot.Bytes, Load: slot.Load})
		}
		c.Shards = append(c.Shards, shard)
	}
	return c
}

// goalOf is what is wanted, in the planner's words. A number of nodes below those that serve means that those leave which have least, the
// last by name: of more it is refused, since a node comes only by joining.
func goalOf(c plan.Cluster, r httpapi.PlanRequest) (plan.Goal, error) {
	goal := plan.Goal{Leave: r.Leave, Shards: r.Shards, Replication: r.Replicas}
	if r.Shards > meta.ShardsMax {
		return goal, &httpapi.RefusedError{
			Reason: fmt.Sprintf("A cluster has at most %d shards.", meta.ShardsMax), Blocker: "the number that is asked for",
			See: "parley cluster status", Clear: "fewer",
		}
	}
	if r.Nodes == 0 {
		return goal, nil
	}
	has := make(map[string]int)
	for _, s := range c.Shards {
		for _, node := range s.Replicas {
			has[node]++
		}
	}
	var stay []string
	for _, n := range c.Nodes {
		if n.Serves && !slices.Contains(r.Leave, n.Name) {
			stay = append(stay, n.Name)
		}
	}
	if len(stay) < r.Nodes {
		return goal, &httpapi.RefusedError{
			Reason:  fmt.Sprintf("%d nodes are to serve, and there are %d that could.", r.Nodes, len(stay)),
			Blocker: "nodes that have not joined yet, or are drained", See: "parley node list",
			Clear: "parley node invite here and parley node join there, or parley node recommission; then the same command",
		}
	}
	slices.SortStableFunc(stay, func(a, b string) int { return cmp.Or(cmp.Compare(has[b], has[a]), cmp.Compare(a, b)) })
	goal.Leave = append(slices.Clone(goal.Leave), stay[r.Nodes:]...)
	slices.Sort(goal.Leave)
	return goal, nil
}

func stepsOf(steps []plan.Step) []cluster.PlanStep {
	list := make([]cluster.PlanStep, len(steps))
	for i, s := range steps {
		list[i] = cluster.PlanStep{
			Kind: cluster.StepKind(s.Kind), Shard: fsm.ShardID(s.Shard), To: fsm.ShardID(s.To), From: s.From, Node: s.Node, Replicas: s.Replicas,
			Factor: s.Factor, Bytes: s.Bytes,
		}
		for _, slot := range s.Slots {
			list[i].Slots = append(list[i].Slots, fsm.SlotID(slot))
		}
	}
	return list
}

func (o *operations) Plan(ctx context.Context, id uint64) (httpapi.PlanEntry, error) {
	job, found, err := o.node.FindJob(ctx, id)
	if err != nil {
		return httpapi.PlanEntry{}, refusal(err)
	}
	spec, err := cluster.DecodePlan(job.Spec)
	if !found || err != nil {
		return httpapi.PlanEntry{}, &httpapi.NotFoundError{What: fmt.Sprintf("plan %d", id)}
	}
	return shownPlan(job, spec)
}

func (o *operations) ApplyPlan(ctx context.Context, id uint64) (httpapi.JobEntry, error) {
	if _, err := o.Plan(ctx, id); err != nil {
		return httpapi.JobEntry{}, err
	}
	job, err := o.node.BeginPlan(ctx, id)
	var stale *cluster.StalePlanError
	var refused *cluster.RefusedError
	switch {
	case errors.As(err, &stale):
		return httpapi.JobEntry{}, &httpapi.RefusedError{
			Reason: stale.Error(), Blocker: "the plan is for another cluster than this has become", See: "parley cluster status",
			Clear: "another plan: parley rebalance plan, or the same parley resize again",
		}
	case errors.As(err, &refused):
		return httpapi.JobEntry{}, &httpapi.RefusedError{
			Reason: refused.Reason, Blocker: "another job, or this one's state", See: "parley job list",
			Clear: "wait for it with parley job wait, or end it with parley job cancel",
		}
	}
	return shownJob(job), refusal(err)
}

func shownPlan(job meta.Job, spec cluster.PlanSpec) (httpapi.PlanEntry, error) {
	about := planAbout{Weak: []fsm.ShardID{}}
	if len(spec.About) > 0 {
		if err := json.Unmarshal(spec.About, &about); err != nil {
			return httpapi.PlanEntry{}, err
		}
	}
	entry := httpapi.PlanEntry{
		ID: job.ID, Kind: job.Kind, State: job.State.String(), MapVersion: spec.MapVersion, By: job.By, Created: shownMillis(job.CreatedMillis),
		Steps: []httpapi.PlanStep{}, Bytes: about.Bytes, Seconds: about.Seconds, Survives: about.Survives, Weak: about.Weak,
		Before: about.Before, After: about.After,
	}
	for i, s := range spec.Steps {
		entry.Steps = append(entry.Steps, httpapi.PlanStep{Kind: string(s.Kind), Text: s.String(), Bytes: s.Bytes, Done: uint64(i) < job.Step})
	}
	return entry, nil
}

func shownBalance(b plan.Balance) httpapi.PlanBalance {
	shown := httpapi.PlanBalance{
		Nodes: []httpapi.PlanNode{}, Shards: b.Shards, SlotsLow: b.SlotsLow, SlotsHigh: b.SlotsHigh, ShardBytesSpread: b.ShardBytesSpread,
		NodeBytesSpread: b.NodeBytesSpread, NodeReplicasSpread: b.NodeReplicasSpread, NodeLeadsSpread: b.NodeLeadsSpread, CrowdedShards: b.CrowdedShards,
	}
	for _, n := range b.Nodes[:min(len(b.Nodes), balanceNodesMost)] {
		shown.Nodes = append(shown.Nodes, httpapi.PlanNode{
			Node: n.Node, Zone: n.Zone, Replicas: n.Replicas, Leads: n.Leads, Bytes: n.Bytes, Serves: n.Serves,
		})
	}
	return shown
}

func (l *lobby) MakePlan(ctx context.Context, r httpapi.PlanRequest) (httpapi.PlanEntry, error) {
	return ask(l, func(o *operations) (httpapi.PlanEntry, error) { return o.MakePlan(ctx, r) })
}

func (l *lobby) Plan(ctx context.Context, id uint64) (httpapi.PlanEntry, error) {
	return ask(l, func(o *operations) (httpapi.PlanEntry, error) { return o.Plan(ctx, id) })
}

func (l *lobby) ApplyPlan(ctx context.Context, id uint64) (httpapi.JobEntry, error) {
	return ask(l, func(o *operations) (httpapi.JobEntry, error) { return o.ApplyPlan(ctx, id) })
}
