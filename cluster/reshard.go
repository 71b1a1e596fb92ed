package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/meta"
)

// What an operator asks of slots and shards becomes a job: a plan of few steps.

// MoveSlotsRequest is what an operator wants of slots.
type MoveSlotsRequest struct {
	Slots []fsm.SlotID
	To    fsm.ShardID
	By    string
	Key   string // see JobRequest
}

// MoveSlots begins a job that moves slots to a shard. The errors are those of StartJob.
func (n *Node) MoveSlots(ctx context.Context, r MoveSlotsRequest) (meta.Job, error) {
	slots := slices.Compact(slices.Sorted(slices.Values(r.Slots)))
	if len(slots) == 0 || slots[len(slots)-1] >= fsm.SlotCount {
		return meta.Job{}, &RefusedError{fmt.Sprintf("slots are numbers from 0 to %d, and at least one is needed", fsm.SlotCount-1)}
	}
	if _, err := n.activeShard(r.To); err != nil {
		return meta.Job{}, err
	}
	return n.startSteps(ctx, JobSlotMove, r.By, r.Key, n.moveSteps(slots, r.To, nil)...)
}

// SplitRequest is what an operator wants of a shard.
type SplitRequest struct {
	Shard    fsm.ShardID
	Replicas []string // of the new shard, the one to lead it first; none: where the shard has its own
	By       string
	Key      string // see JobRequest
}

// SplitShard begins a job that opens a shard and moves half of another's slots to it, by what they have. The errors are those of StartJob.
func (n *Node) SplitShard(ctx context.Context, r SplitRequest) (meta.Job, error) {
	shard, err := n.activeShard(r.Shard)
	if err != nil {
		return meta.Job{}, err
	}
	weights, err := n.SlotWeights(ctx, r.Shard)
	if err != nil {
		return meta.Job{}, err
	}
	if len(weights) < 2 {
		return meta.Job{}, &RefusedError{fmt.Sprintf("shard %d has %d slots, and cannot be split", r.Shard, len(weights))}
	}
	if len(r.Replicas) == 0 {
		r.Replicas = slices.Concat(shard.Replicas[1:], shard.Replicas[:1]) // who leads the old one by preference is the last to lead the new one
	}
	id := nextShard(n.Map())
	steps := []PlanStep{{Kind: StepOpenShard, Shard: id, Replicas: r.Replicas}}
	return n.startSteps(ctx, JobShardSplit, r.By, r.Key, append(steps, n.moveSteps(heavierHalf(weights), id, weights)...)...)
}

// MergeRequest is what an operator wants of a shard.
type MergeRequest struct {
	Shard fsm.ShardID
	Into  []fsm.ShardID // that get its slots, in equal numbers
	By    string
	Key   string // see JobRequest
}

// MergeShard begins a job that moves all slots of a shard to others, and retires it. The errors are those of StartJob.
func (n *Node) MergeShard(ctx context.Context, r MergeRequest) (meta.Job, error) {
	into := slices.Compact(slices.Sorted(slices.Values(r.Into)))
	for _, id := range append([]fsm.ShardID{r.Shard}, into...) {
		if _, err := n.activeShard(id); err != nil {
			return meta.Job{}, err
		}
	}
	if len(into) == 0 || slices.Contains(into, r.Shard) {
		return meta.Job{}, &RefusedError{fmt.Sprintf("shard %d is to be merged into at least one shard other than itself", r.Shard)}
	}
	weights, err := n.SlotWeights(ctx, r.Shard)
	if err != nil {
		return meta.Job{}, err
	}
	owned := n.Map().SlotsOf(r.Shard)
	var steps []PlanStep
	for i, to := range into {
		steps = append(steps, n.moveSteps(owned[i*len(owned)/len(into):(i+1)*len(owned)/len(into)], to, weights)...)
	}
	return n.startSteps(ctx, JobShardMerge, r.By, r.Key, append(steps, PlanStep{Kind: StepRetireShard, Shard: r.Shard})...)
}

// moveSteps moves slots to a shard from wherever they are by the map, a step for each of those shards.
func (n *Node) moveSteps(slots []fsm.SlotID, to fsm.ShardID, weights []SlotWeight) (steps []PlanStep) {
	current := n.Map()
	for _, slot := range slots {
		from, found := current.ShardOfSlot(slot)
		if !found {
			continue
		}
		at := slices.IndexFunc(steps, func(s PlanStep) bool { return s.Shard == from.ID })
		if at < 0 {
			at, steps = len(steps), append(steps, PlanStep{Kind: StepMoveSlots, Shard: from.ID, To: to})
		}
		steps[at].Slots = append(steps[at].Slots, slot)
		if i, known := slices.BinarySearchFunc(weights, slot, func(w SlotWeight, slot fsm.SlotID) int { return cmp.Compare(w.Slot, slot) }); known {
			steps[at].Bytes += weights[i].Bytes
		}
	}
	return steps
}

func (n *Node) startSteps(ctx context.Context, kind, by, key string, steps ...PlanStep) (meta.Job, error) {
	spec, err := EncodePlan(PlanSpec{MapVersion: n.Map().Version(), Steps: steps})
	if err != nil {
		return meta.Job{}, err
	}
	return n.StartJob(ctx, JobRequest{Kind: kind, Spec: spec, Key: key, By: by})
}

// activeShard is a shard that serves.
func (n *Node) activeShard(id fsm.ShardID) (meta.Shard, error) {
	shard, found := n.Map().Shard(id)
	switch {
	case !found:
		return shard, &RefusedError{fmt.Sprintf("there is no shard %d", id)}
	case shard.State != meta.ShardActive:
		return shard, &RefusedError{fmt.Sprintf("shard %d is %s", id, shard.State)}
	default:
		return shard, nil
	}
}

// nextShard is a number that no shard has had.
func nextShard(current *meta.Map) (next fsm.ShardID) {
	for _, shard := range current.Shards() {
		next = max(next, shard.ID)
	}
	return next + 1
}

// slotWeightLeast is what a slot weighs at least: one that has nothing gets its share of what comes.
const slotWeightLeast = 4 << 10

// heavierHalf are about half of the slots, which have about half of all: each goes to the side that has less so far, the heavy ones first.
func heavierHalf(weights []SlotWeight) (slots []fsm.SlotID) {
	weights = slices.Clone(weights)
	slices.SortStableFunc(weights, func(a, b SlotWeight) int { return cmp.Compare(b.Bytes, a.Bytes) })
	var stays, goes uint64
	for _, weight := range weights {
		if goes < stays {
			slots, goes = append(slots, weight.Slot), goes+max(weight.Bytes, slotWeightLeast)
		} else {
			stays += max(weight.Bytes, slotWeightLeast)
		}
	}
	slices.Sort(slots)
	return slots
}
