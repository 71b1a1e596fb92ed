package cluster

import (
	"context"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/meta"
)

// replicaMove moves one replica of a shard: it has the map begin (meta.ChangeReplicas), and waits. The shard's leader lets the new one in,
// and when that votes the rules of placement let the old one go.
type replicaMove struct{ node *Node }

func (m replicaMove) step(ctx context.Context, job meta.Job) (jobProgress, error) {
	spec, err := decodeSpec[ReplicaMoveSpec](job)
	if err != nil {
		return jobProgress{}, err
	}
	p, err := m.node.moveReplica(ctx, spec)
	return jobProgress{done: p.done, text: p.text, bytes: p.bytes, bytesTotal: p.bytesTotal, units: uint64(truth(p.done)), unitsTotal: 1}, err
}

// cancel takes the new one out again, if the old one is still there.
func (m replicaMove) cancel(ctx context.Context, job meta.Job) (done bool, err error) {
	spec, err := decodeSpec[ReplicaMoveSpec](job)
	if err != nil {
		return true, nil // nothing was begun
	}
	return m.node.takeBackMove(ctx, spec)
}

// takeBackMove ends a move that is under way with all as it was.
func (n *Node) takeBackMove(ctx context.Context, spec ReplicaMoveSpec) (done bool, err error) {
	under, moving := n.Map().Succession(spec.Shard)
	place, _ := n.Map().Shard(spec.Shard)
	if !moving || under.Joins != spec.To || under.Leaves != spec.From {
		return true, nil
	}
	err = n.change(ctx, changeWithout(place, spec.To))
	return err == nil, err
}

func changeWithout(place meta.Shard, node string) meta.ChangeReplicas {
	rest := slices.DeleteFunc(slices.Clone(place.Replicas), func(o string) bool { return o == node })
	return meta.ChangeReplicas{Shard: place.ID, Was: place.Replicas, Replicas: rest}
}

// replicaProgress is how far a change of replicas is.
type replicaProgress struct {
	done              bool
	text              string
	bytes, bytesTotal uint64 // of the state that is on its way; none where the log is enough
}

// moveReplica does the next thing to have a shard's replica go from one node to another. It is done when the map has it so, and the new one
// votes. It may be repeated.
func (n *Node) moveReplica(ctx context.Context, spec ReplicaMoveSpec) (p replicaProgress, err error) {
	current := n.Map()
	place, known := current.Shard(spec.Shard)
	under, moving := current.Succession(spec.Shard)
	switch {
	case !known || place.State != meta.ShardActive:
		return p, fmt.Errorf("%w: there is no shard %d that serves", errJobFailed, spec.Shard)
	case moving && (under.Joins != spec.To || under.Leaves != spec.From):
		p.text = fmt.Sprintf("shard %d is being moved from node %s to node %s", spec.Shard, under.Leaves, under.Joins)
		return p, nil
	case moving:
		return n.coming(ctx, spec.Shard, spec.To), nil
	case !replicates(place, spec.From) && replicates(place, spec.To):
		p = n.coming(ctx, spec.Shard, spec.To)
		if p.done {
			p.text = fmt.Sprintf("shard %d is on node %s, and not on node %s any more", spec.Shard, spec.To, spec.From)
		}
		return p, nil
	case !replicates(place, spec.From):
		return p, fmt.Errorf("%w: node %s has no replica of shard %d", errJobFailed, spec.From, spec.Shard)
	case replicates(place, spec.To):
		return p, fmt.Errorf("%w: node %s has a replica of shard %d already", errJobFailed, spec.To, spec.Shard)
	}
	change := meta.ChangeReplicas{Shard: place.ID, Was: place.Replicas, Replicas: append(slices.Clone(place.Replicas), spec.To), Leaves: spec.From}
	return n.changeReplicas(ctx, current, change, spec.To)
}

// addReplica does the next thing to have a replica of a shard on a node. It is done when it votes.
func (n *Node) addReplica(ctx context.Context, shard fsm.ShardID, node string) (p replicaProgress, err error) {
	current := n.Map()
	place, known := current.Shard(shard)
	switch {
	case !known || place.State != meta.ShardActive:
		return p, fmt.Errorf("%w: there is no shard %d that serves", errJobFailed, shard)
	case replicates(place, node):
		return n.coming(ctx, shard, node), nil
	}
	return n.changeReplicas(ctx, current, meta.ChangeReplicas{Shard: shard, Was: place.Replicas, Replicas: append(slices.Clone(place.Replicas), node)}, node)
}

// removeReplica does the next thing to have no replica of a shard on a node. It is done when the shard's group is without it.
func (n *Node) removeReplica(ctx context.Context, shard fsm.ShardID, node string) (p replicaProgress, err error) {
	current := n.Map()
	place, known := current.Shard(shard)
	if !known || place.State != meta.ShardActive {
		return p, fmt.Errorf("%w: there is no shard %d that serves", errJobFailed, shard)
	}
	if replicates(place, node) {
		return n.changeReplicas(ctx, current, changeWithout(place, node), "")
	}
	leader, led := leaderStatus(n.statusOfAll(ctx).Nodes, shard)
	p.done = led && !slices.ContainsFunc(leader.Members, func(m Member) bool { return m.Node == node })
	p.text = fmt.Sprintf("shard %d is to be without node %s", shard, node)
	return p, nil
}

// changeReplicas has the map begin. Where it says no because somebody else was faster, it is looked at anew; for any other reason it ends
// the job.
func (n *Node) changeReplicas(ctx context.Context, current *meta.Map, change meta.ChangeReplicas, comes string) (p replicaProgress, err error) {
	if rules, _ := current.Placement(); rules.Paused {
		p.text = "placement is paused: see 'parley cluster placement show', go on with 'parley cluster placement resume'"
		return p, nil
	}
	if comes != "" && !current.Serves(comes) {
		return p, fmt.Errorf("%w: node %s is none that serves", errJobFailed, comes)
	}
	if comes != "" {
		if _, err := n.statusWithin(ctx, comes); err != nil {
			p.text = fmt.Sprintf("node %s does not answer", comes)
			return p, nil
		}
	}
	n.reached("replica.change")
	if err := n.change(ctx, change); err != nil {
		if now, _ := n.Map().Shard(change.Shard); !slices.Equal(now.Replicas, change.Was) {
			return p, err
		}
		return p, failedIfRefused(err)
	}
	p.text = fmt.Sprintf("the replicas of shard %d are to be on %v", change.Shard, change.Replicas)
	return p, nil
}

// coming is how far a replica is that comes to a node.
func (n *Node) coming(ctx context.Context, shard fsm.ShardID, node string) (p replicaProgress) {
	view, err := n.statusWithin(ctx, node)
	is := view.of(shard)
	switch {
	case err != nil:
		p.text = fmt.Sprintf("node %s does not answer", node)
	case is.Fetching != nil:
		p.bytes, p.bytesTotal = is.Fetching.Here, is.Fetching.Total
		p.text = fmt.Sprintf("the replica of shard %d on node %s gets its state from node %s", shard, node, is.Fetching.Source)
	case !is.Running:
		p.text = fmt.Sprintf("the replica of shard %d on node %s is being opened", shard, node)
	case !is.Voter || is.Rebuilding:
		p.text = fmt.Sprintf("the replica of shard %d on node %s catches up", shard, node)
	default:
		_, moving := n.Map().Succession(shard)
		p.done = !moving
		p.text = fmt.Sprintf("the replica of shard %d on node %s votes", shard, node)
	}
	return p
}

// stepMoveReplica takes the step of a plan by which a replica moves.
func (n *Node) stepMoveReplica(ctx context.Context, _ meta.Job, s PlanStep) (stepProgress, error) {
	p, err := n.moveReplica(ctx, ReplicaMoveSpec{Shard: s.Shard, From: s.From, To: s.Node})
	return p.ofStep(), err
}

// stepAddReplica takes the step of a plan by which a replica comes.
func (n *Node) stepAddReplica(ctx context.Context, _ meta.Job, s PlanStep) (stepProgress, error) {
	p, err := n.addReplica(ctx, s.Shard, s.Node)
	return p.ofStep(), err
}

// stepRemoveReplica takes the step of a plan by which a replica goes.
func (n *Node) stepRemoveReplica(ctx context.Context, _ meta.Job, s PlanStep) (stepProgress, error) {
	p, err := n.removeReplica(ctx, s.Shard, s.From)
	return p.ofStep(), err
}

// stepMoveLead takes the step of a plan by which a node leads a shard.
func (n *Node) stepMoveLead(ctx context.Context, _ meta.Job, s PlanStep) (stepProgress, error) {
	place, known := n.Map().Shard(s.Shard)
	if !known || !replicates(place, s.Node) {
		return stepProgress{}, fmt.Errorf("%w: node %s has no replica of shard %d", errJobFailed, s.Node, s.Shard)
	}
	if leader, led := leaderStatus(n.statusOfAll(ctx).Nodes, s.Shard); led && leader.Node == s.Node {
		return stepProgress{done: true}, nil
	}
	n.reached("shard.lead")
	return stepProgress{text: fmt.Sprintf("shard %d is handed to node %s", s.Shard, s.Node)}, n.TransferLeadership(ctx, s.Shard, s.Node)
}

// stepTakeBackMove brings a move that is under way to an end, with all as it was.
func (n *Node) stepTakeBackMove(ctx context.Context, _ meta.Job, s PlanStep) (done bool, err error) {
	return n.takeBackMove(ctx, ReplicaMoveSpec{Shard: s.Shard, From: s.From, To: s.Node})
}

func (p replicaProgress) ofStep() stepProgress {
	return stepProgress{done: p.done, text: p.text, bytes: p.bytes}
}
