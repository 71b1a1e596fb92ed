package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/meta"
)

// AssignNode changes what a node is wanted for, and returns what it is wanted for then. It is refused while a job takes the node out. The
// errors are those of Change.
func (n *Node) AssignNode(ctx context.Context, duty meta.Duty) (meta.Duty, error) {
	if err := n.resizeRefusal(); err != nil {
		return meta.Duty{}, err
	}
	jobs, err := n.Jobs()
	if err != nil {
		return meta.Duty{}, err
	}
	for _, j := range jobs {
		if spec, err := decodeSpec[DecommissionSpec](j); j.State.Live() && (j.Kind == JobDecommission || j.Kind == JobReplaceNode) && err == nil && spec.Node == duty.Node {
			return meta.Duty{}, &RefusedError{fmt.Sprintf("job %d takes node %s out; 'parley job cancel %d' ends that, and the node serves again", j.ID, duty.Node, j.ID)}
		}
	}
	err = n.Change(ctx, meta.AssignNode{Duty: duty})
	return n.Map().Duty(duty.Node), err
}

// lastLike is the last job of a kind, of those that go on or are done, that is to do what somebody asks for now, and the map as it is with what
// that job has done: both as the meta group had decided them when it was asked. A node that was away would else begin anew, or refuse, what is done.
func lastLike[T any](ctx context.Context, n *Node, kind string, same func(spec T) bool) (job meta.Job, found bool, current *meta.Map, err error) {
	if !n.Map().Initialised() {
		return meta.Job{}, false, nil, ErrNotInitialised
	}
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return meta.Job{}, false, nil, err
	}
	defer done()
	if err := n.hearMap(ctx); err != nil {
		return meta.Job{}, false, nil, err
	}
	var jobs []meta.Job
	err = n.viewMeta(func(r fsm.Reader) (err error) {
		if jobs, err = meta.ReadJobs(r); err == nil {
			current, err = meta.ReadMap(r)
		}
		return err
	})
	for _, j := range slices.Backward(jobs) {
		if j.Kind != kind || !j.State.Live() && j.State != meta.JobDone {
			continue
		}
		if spec, err := decodeSpec[T](j); err == nil && same(spec) {
			return j, true, current, nil
		}
	}
	return meta.Job{}, false, current, err
}

// Decommission begins to bring a node out of the cluster for good; as JobReplaceNode to another's place. It is refused where too few nodes
// would be left for the replicas of each shard. The same again is the same job, also when it is done: a node leaves once.
func (n *Node) Decommission(ctx context.Context, kind string, spec DecommissionSpec, by string) (meta.Job, error) {
	job, found, current, err := lastLike(ctx, n, kind, func(was DecommissionSpec) bool {
		return was.Node == spec.Node && was.Successor == spec.Successor && was.Lost == spec.Lost
	})
	if err != nil {
		return meta.Job{}, err
	}
	member, known := current.Node(spec.Node)
	if found && (job.State.Live() || member.State == meta.NodeRemoved) {
		return job, nil
	}
	switch {
	case !known:
		return meta.Job{}, &RefusedError{fmt.Sprintf("there is no node %s", spec.Node)}
	case member.State == meta.NodeRemoved:
		return meta.Job{}, &RefusedError{fmt.Sprintf("node %s belongs to the cluster no more", spec.Node)}
	}
	if reason := current.DutyFault(meta.Duty{Node: spec.Node, Kind: meta.Leaving, Successor: spec.Successor}); reason != "" {
		return meta.Job{}, &RefusedError{fmt.Sprintf("node %s: %s", spec.Node, reason)}
	}
	encoded, err := json.Marshal(spec)
	if err != nil {
		return meta.Job{}, err
	}
	return n.StartJob(ctx, JobRequest{Kind: kind, Spec: encoded, By: by})
}

// MoveReplica begins to move a shard's replica from one node to another. The same again is the same job, also when it is done and the
// replica is where it was to go.
func (n *Node) MoveReplica(ctx context.Context, spec ReplicaMoveSpec, by string) (meta.Job, error) {
	job, found, current, err := lastLike(ctx, n, JobMoveReplica, func(was ReplicaMoveSpec) bool { return was == spec })
	if err != nil {
		return meta.Job{}, err
	}
	place, known := current.Shard(spec.Shard)
	if found && (job.State.Live() || !replicates(place, spec.From) && replicates(place, spec.To)) {
		return job, nil
	}
	rules, _ := current.Placement()
	switch {
	case !known || place.State != meta.ShardActive:
		return meta.Job{}, &RefusedError{fmt.Sprintf("there is no shard %d that serves", spec.Shard)}
	case !replicates(place, spec.From):
		return meta.Job{}, &RefusedError{fmt.Sprintf("node %s has no replica of shard %d", spec.From, spec.Shard)}
	case replicates(place, spec.To):
		return meta.Job{}, &RefusedError{fmt.Sprintf("node %s has a replica of shard %d already", spec.To, spec.Shard)}
	case !current.Serves(spec.To):
		return meta.Job{}, &RefusedError{fmt.Sprintf("node %s is none that serves", spec.To)}
	case rules.Paused:
		return meta.Job{}, &RefusedError{fmt.Sprintf("placement is paused by %q: %q", rules.By, rules.Why)}
	}
	encoded, err := json.Marshal(spec)
	if err != nil {
		return meta.Job{}, err
	}
	return n.StartJob(ctx, JobRequest{Kind: JobMoveReplica, Spec: encoded, By: by})
}

// ForgetNode takes a dead node out of the cluster for good. It is refused while the node answers, or has a replica by the map.
func (n *Node) ForgetNode(ctx context.Context, node string) error {
	if err := n.resizeRefusal(); err != nil {
		return err
	}
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	member, known := n.Map().Node(node)
	switch {
	case !known:
		return &RefusedError{fmt.Sprintf("there is no node %s", node)}
	case member.State == meta.NodeRemoved:
		return nil
	}
	if _, err := n.statusWithin(ctx, node); err == nil {
		return &RefusedError{fmt.Sprintf("node %s answers", node)}
	}
	return n.change(ctx, meta.DismissNode{Node: node})
}

// ChangePlacement lets change make new rules of placement of those in force, and returns what they are then. Where somebody else was faster
// it is asked again, with what the other has made of them. The errors are those of change, and of Change.
func (n *Node) ChangePlacement(ctx context.Context, change func(in meta.PlacementRules) meta.PlacementRules) (meta.PlacementRules, error) {
	if err := n.resizeRefusal(); err != nil {
		return meta.PlacementRules{}, err
	}
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return meta.PlacementRules{}, err
	}
	defer done()
	if !n.Map().Initialised() {
		return meta.PlacementRules{}, ErrNotInitialised
	}
	for round := 1; ; round++ {
		in, version := n.Map().Placement()
		index, err := n.changeAt(ctx, meta.ChangePlacement{Version: version, Rules: change(in)})
		if err == nil {
			is, _ := n.Map().Placement()
			return is, nil
		}
		var refused *RefusedError
		if !errors.As(err, &refused) || round == settingsRoundsMax {
			return in, err
		}
		if err := n.meta.machine.applied.wait(ctx, index); err != nil { // this node's map may be behind what refused the change
			return in, fmt.Errorf("%w: %v", fsm.ErrNotProposed, err)
		}
		if _, now := n.Map().Placement(); now == version {
			return in, refused // it was not for the version
		}
	}
}
