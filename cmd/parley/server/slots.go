package server

import (
	"context"

	"parley/cluster"
	"parley/fsm"
	"parley/fsm/meta"
	"parley/httpapi"
)

func (o *operations) SplitShard(ctx context.Context, shard fsm.ShardID, r httpapi.ShardSplit) (httpapi.JobEntry, error) {
	job, err := o.node.SplitShard(ctx, cluster.SplitRequest{Shard: shard, Open: r.NewShard, Replicas: r.Replicas, By: asker(ctx)})
	return shownJob(job), slotRefusal(err)
}

func (o *operations) MergeShard(ctx context.Context, shard fsm.ShardID, r httpapi.ShardMerge) (httpapi.JobEntry, error) {
	job, err := o.node.MergeShard(ctx, cluster.MergeRequest{Shard: shard, Into: r.Into, By: asker(ctx)})
	return shownJob(job), slotRefusal(err)
}

func (o *operations) MoveSlots(ctx context.Context, r httpapi.SlotMove) (httpapi.JobEntry, error) {
	job, err := o.node.MoveSlots(ctx, cluster.MoveSlotsRequest{Slots: r.Slots, To: r.To, By: asker(ctx)})
	return shownJob(job), slotRefusal(err)
}

// asker is who asks, as he called himself.
func asker(ctx context.Context) string {
	if operator := meta.OperatorOf(ctx); operator != nil {
		return operator.By
	}
	return ""
}

// slotRefusal says what stands in the way of moving slots, and how to see it.
func slotRefusal(err error) error {
	return refusedFor(err, func(reason string) *httpapi.RefusedError {
		return &httpapi.RefusedError{Reason: reason, Blocker: "the shards as they are", See: "parley cluster status", Clear: "another shard"}
	})
}

func (l *lobby) SplitShard(ctx context.Context, shard fsm.ShardID, r httpapi.ShardSplit) (httpapi.JobEntry, error) {
	return ask(l, func(o *operations) (httpapi.JobEntry, error) { return o.SplitShard(ctx, shard, r) })
}

func (l *lobby) MergeShard(ctx context.Context, shard fsm.ShardID, r httpapi.ShardMerge) (httpapi.JobEntry, error) {
	return ask(l, func(o *operations) (httpapi.JobEntry, error) { return o.MergeShard(ctx, shard, r) })
}

func (l *lobby) MoveSlots(ctx context.Context, r httpapi.SlotMove) (httpapi.JobEntry, error) {
	return ask(l, func(o *operations) (httpapi.JobEntry, error) { return o.MoveSlots(ctx, r) })
}
