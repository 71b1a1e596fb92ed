package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"parley/fsm"
	"parley/fsm/meta"
)

// weighedAtOnce is of how many shards at once it is asked what their slots weigh.
const weighedAtOnce = 16

// Layout is which node has which replica and which shard which slots, with what that weighs: what plans are made from.
type Layout struct {
	MapVersion  uint64
	Fingerprint string // of all of it that the map says; a plan fits as long as it is the same
	Nodes       []LayoutNode
	Shards      []LayoutShard // active ones
	Replication int           // replicas of a shard that are wanted
	NextShard   fsm.ShardID   // no shard had this number, nor any above
	// BytesPerSecond is what a node may read and send for replicas and slots elsewhere.
	BytesPerSecond uint64
}

// LayoutNode is an active node.
type LayoutNode struct {
	ID      string
	Zone    string
	Serves  bool // it leads and takes replicas
	Leaves  bool
	Answers bool
}

// LayoutShard is an active shard.
type LayoutShard struct {
	ID       fsm.ShardID
	Replicas []string
	Leader   string // empty: nobody is known to lead
	Slots    []LayoutSlot
}

// LayoutSlot is a slot, with what it weighs; 0 where that is not known.
type LayoutSlot struct {
	Slot  fsm.SlotID
	Bytes uint64
	Load  uint64 // requests of late
}

// Layout asks all nodes how they are and what they have had to do, and the shards' leaders what their slots weigh. A shard that could say so and
// does not makes it an error: a plan for slots that weigh nothing would be wrong. Of one without a majority nothing can be moved in any case.
func (n *Node) Layout(ctx context.Context) (Layout, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return Layout{}, err
	}
	defer done()
	current := n.Map()
	if !current.Initialised() {
		return Layout{}, ErrNotInitialised
	}
	status := n.statusOfAll(ctx)
	rules, _ := current.Placement()
	l := Layout{
		MapVersion: current.Version(), Fingerprint: fingerprintOf(current), Replication: current.ReplicationFactor(), NextShard: 1,
		BytesPerSecond: rules.BytesPerSecond,
	}
	if l.BytesPerSecond == 0 {
		l.BytesPerSecond = uint64(n.statePace.Limit())
	}
	for _, node := range status.Nodes {
		zone, _ := current.ZoneOf(node.ID)
		l.Nodes = append(l.Nodes, LayoutNode{
			ID: node.ID, Zone: zone, Serves: current.Serves(node.ID), Leaves: current.Duty(node.ID).Kind == meta.Leaving, Answers: node.Error == "",
		})
	}
	for _, shard := range current.Shards() {
		l.NextShard = max(l.NextShard, shard.ID+1)
	}
	loads := n.slotLoads(ctx)
	for _, shard := range current.ActiveShards() {
		one := LayoutShard{ID: shard.ID, Replicas: shard.Replicas}
		if i := slices.IndexFunc(status.Shards, func(s ShardStatus) bool { return s.Shard.ID == shard.ID }); i >= 0 {
			one.Leader = status.Shards[i].Leader
		}
		for _, slot := range current.SlotsOf(shard.ID) {
			one.Slots = append(one.Slots, LayoutSlot{Slot: slot, Load: loads[slot]})
		}
		l.Shards = append(l.Shards, one)
	}
	return l, n.weighAll(ctx, l)
}

// weighAll asks for what the slots of each shard weigh, of a few shards at a time.
func (n *Node) weighAll(ctx context.Context, l Layout) error {
	answers := make(map[string]bool)
	for _, node := range l.Nodes {
		answers[node.ID] = node.Answers
	}
	turns := make(chan struct{}, weighedAtOnce)
	errs := make([]error, len(l.Shards))
	var wait sync.WaitGroup
	for i := range l.Shards {
		s := &l.Shards[i]
		answering := slices.DeleteFunc(slices.Clone(s.Replicas), func(node string) bool { return !answers[node] })
		if 2*len(answering) <= len(s.Replicas) {
			continue
		}
		turns <- struct{}{}
		wait.Go(func() {
			defer func() { <-turns }()
			if err := n.weighShard(ctx, s); err != nil {
				errs[i] = fmt.Errorf("what the slots of shard %d weigh: %w", s.ID, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (n *Node) weighShard(ctx context.Context, s *LayoutShard) error {
	weights, err := n.SlotWeights(ctx, s.ID)
	for _, w := range weights {
		if i, has := slices.BinarySearchFunc(s.Slots, w.Slot, func(one LayoutSlot, slot fsm.SlotID) int { return cmp.Compare(one.Slot, slot) }); has {
			s.Slots[i].Bytes = w.Bytes
		}
	}
	return err
}

// fingerprintOf is of what plans change, and of what they go by.
func fingerprintOf(current *meta.Map) string {
	h := sha256.New()
	for _, node := range current.Nodes() {
		zone, _ := current.ZoneOf(node.ID)
		fmt.Fprintf(h, "node %s %d %d %s\n", node.ID, node.State, current.Duty(node.ID).Kind, zone)
	}
	for _, shard := range current.Shards() {
		fmt.Fprintf(h, "shard %d %d %q %v\n", shard.ID, shard.State, shard.Replicas, current.SlotsOf(shard.ID))
	}
	fmt.Fprintf(h, "moves %v %v replication %d\n", current.Moves(), current.Successions(), current.ReplicationFactor())
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// StalePlanError says that a plan does not fit any more: nothing was begun.
type StalePlanError struct {
	ID           uint64
	Version, Now uint64 // of the map, when the plan was made and by now
}

func (e *StalePlanError) Error() string {
	return fmt.Sprintf("plan %d was made for version %d of the map; by version %d nodes, replicas or slots have changed", e.ID, e.Version, e.Now)
}

// StalePlans are the jobs among some that are planned and that BeginPlan would refuse now, by their number. What they were made for may come
// again.
func (n *Node) StalePlans(jobs []meta.Job) map[uint64]*StalePlanError {
	current, stale := n.Map(), make(map[uint64]*StalePlanError)
	layout := sync.OnceValue(func() string { return fingerprintOf(current) })
	for _, job := range jobs {
		if job.State != meta.JobPlanned {
			continue
		}
		p, err := DecodePlan(job.Spec)
		if err == nil && p.Layout != "" && p.Layout != layout() {
			stale[job.ID] = &StalePlanError{ID: job.ID, Version: p.MapVersion, Now: current.Version()}
		}
	}
	return stale
}

// BeginPlan begins a job that is planned, if the cluster is laid out as the plan was made for; else the error is a *StalePlanError. What
// changes between that look and the beginning is found by the steps themselves, each of which looks what it finds.
func (n *Node) BeginPlan(ctx context.Context, id uint64) (meta.Job, error) {
	job, found, err := n.Job(id)
	switch {
	case err != nil:
		return meta.Job{}, err
	case !found:
		return meta.Job{}, &RefusedError{fmt.Sprintf("there is no plan %d", id)}
	case job.State == meta.JobPlanned:
		if _, err := DecodePlan(job.Spec); err != nil {
			return meta.Job{}, &RefusedError{fmt.Sprintf("job %d is no plan: %v", id, err)}
		}
		if stale := n.StalePlans([]meta.Job{job})[id]; stale != nil {
			return meta.Job{}, stale
		}
	}
	return n.SteerJob(ctx, id, meta.WishBegin)
}
