package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/meta"
)

// What an operator asks of slots and shards becomes a job: a plan of few steps. Who asks for the same again while it goes on gets the same job,
// for what he wanted stands in it beside the steps, which depend on how the cluster is.

// MoveSlotsRequest is what an operator wants of slots.
type MoveSlotsRequest struct {
	Slots []fsm.SlotID `json:"slots"`
	To    fsm.ShardID  `json:"to"`
	By    string       `json:"-"`
	Key   string       `json:"-"` // see JobRequest
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
	r.Slots = slots
	return n.startSteps(ctx, JobRequest{Kind: JobSlotMove, By: r.By, Key: r.Key}, r, n.moveSteps(slots, r.To, nil)...)
}

// SplitRequest is what an operator wants of a shard.
type SplitRequest struct {
	Shard    fsm.ShardID `json:"shard"`
	Open     fsm.ShardID `json:"open,omitempty"`     // the number of the new shard; 0: the next that no shard has had
	Replicas []string    `json:"replicas,omitempty"` // of the new shard, the one to lead it first; none: where the shard has its own
	By       string      `json:"-"`
	Key      string      `json:"-"` // see JobRequest
}

// SplitShard begins a job that opens a shard and moves half of another's slots to it, by what they have. The errors are those of StartJob.
func (n *Node) SplitShard(ctx context.Context, r SplitRequest) (meta.Job, error) {
	if job, same, err := n.sameJob(JobShardSplit, r, r.Open != 0); same || err != nil {
		return job, err
	}
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
	replicas := r.Replicas
	if len(replicas) == 0 {
		replicas = slices.Concat(shard.Replicas[1:], shard.Replicas[:1]) // who leads the old one by preference is the last to lead the new one
	}
	id := cmp.Or(r.Open, nextShard(n.Map()))
	if _, taken := n.Map().Shard(id); taken {
		return meta.Job{}, &RefusedError{fmt.Sprintf("there is a shard %d, or was", id)}
	}
	steps := []PlanStep{{Kind: StepOpenShard, Shard: id, Replicas: replicas}}
	return n.startSteps(ctx, JobRequest{Kind: JobShardSplit, By: r.By, Key: r.Key}, r, append(steps, n.moveSteps(heavierHalf(weights), id, weights)...)...)
}

// MergeRequest is what an operator wants of a shard.
type MergeRequest struct {
	Shard fsm.ShardID   `json:"shard"`
	Into  []fsm.ShardID `json:"into"` // that get its slots, in equal numbers
	By    string        `json:"-"`
	Key   string        `json:"-"` // see JobRequest
}

// MergeShard begins a job that moves all slots of a shard to others, and retires it. The errors are those of StartJob.
func (n *Node) MergeShard(ctx context.Context, r MergeRequest) (meta.Job, error) {
	into := slices.Compact(slices.Sorted(slices.Values(r.Into)))
	r.Into = into
	if job, same, err := n.sameJob(JobShardMerge, r, true); same || err != nil {
		return job, err
	}
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
	steps = append(steps, PlanStep{Kind: StepRetireShard, Shard: r.Shard})
	return n.startSteps(ctx, JobRequest{Kind: JobShardMerge, By: r.By, Key: r.Key}, r, steps...)
}

// moveSteps moves slots to a shard from wherever else they are by the map, a step for each of those shards.
func (n *Node) moveSteps(slots []fsm.SlotID, to fsm.ShardID, weights []SlotWeight) (steps []PlanStep) {
	current := n.Map()
	for _, slot := range slots {
		from, found := current.ShardOfSlot(slot)
		if _, moving := current.MoveOf(slot); !found || from.ID == to && !moving {
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

// startSteps begins a job of some steps, unless one that was asked for in the same words goes on.
func (n *Node) startSteps(ctx context.Context, request JobRequest, about any, steps ...PlanStep) (meta.Job, error) {
	if job, same, err := n.sameJob(request.Kind, about, false); same || err != nil {
		return job, err
	}
	words, err := json.Marshal(about)
	if err != nil {
		return meta.Job{}, err
	}
	request.Spec, err = EncodePlan(PlanSpec{MapVersion: n.Map().Version(), Steps: steps, About: words})
	if err != nil {
		return meta.Job{}, err
	}
	return n.StartJob(ctx, request)
}

// sameJob is the last job that was asked for in the same words and goes on, or, where what was done by it cannot be wanted twice, is done.
func (n *Node) sameJob(kind string, about any, once bool) (job meta.Job, same bool, err error) {
	words, err := json.Marshal(about)
	if err != nil {
		return job, false, err
	}
	jobs, err := n.Jobs()
	if err != nil {
		return job, false, err
	}
	for _, job := range slices.Backward(jobs) {
		if job.Kind != kind || !job.State.Live() && !(once && job.State == meta.JobDone) {
			continue
		}
		if spec, err := DecodePlan(job.Spec); err == nil && bytes.Equal(spec.About, words) {
			return job, true, nil
		}
	}
	return job, false, nil
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
