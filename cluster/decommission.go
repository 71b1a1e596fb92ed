package cluster

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"parley/fsm/meta"
)

// decommission brings a node out of the cluster for good. It says that the node leaves, and waits: the rules of placement and the shards'
// leaders move its replicas, its leads and its vote in the meta group (placing.go, members.go, metamembers.go). What the node alone has, a
// journal of submissions that were taken while their shards had no leader, has to be empty, by the word of a node which knows that it leaves:
// it takes no more of them then (held.go). Then it is dismissed, with its certificates. The job's Step is the most replicas that it has seen on the node.
type decommission struct{ node *Node }

func (d decommission) step(ctx context.Context, job meta.Job) (jobProgress, error) {
	spec, err := decodeSpec[DecommissionSpec](job)
	if err != nil {
		return jobProgress{}, err
	}
	n, current := d.node, d.node.Map()
	member, known := current.Node(spec.Node)
	switch {
	case !known:
		return jobProgress{}, fmt.Errorf("%w: there is no node %s", errJobFailed, spec.Node)
	case member.State == meta.NodeRemoved:
		return jobProgress{done: true, text: "node " + spec.Node + " belongs to the cluster no more", units: job.UnitsTotal, unitsTotal: job.UnitsTotal, cursor: job.Step}, nil
	}
	if is := current.Duty(spec.Node); is.Kind != meta.Leaving || is.Successor != spec.Successor {
		n.reached("node.leave")
		duty := meta.Duty{Node: spec.Node, Kind: meta.Leaving, Successor: spec.Successor, By: job.By, Why: spec.Why}
		if err := n.change(ctx, meta.AssignNode{Duty: duty}); err != nil {
			return jobProgress{}, failedIfRefused(err)
		}
		current = n.Map()
	}
	view, answer := n.statusWithin(ctx, spec.Node)
	p := d.progress(current, spec.Node, view, job)
	p.text = d.waitsFor(current, spec, view, answer)
	if p.text != "" {
		return p, nil
	}
	n.reached("node.dismiss")
	if err := n.change(ctx, meta.DismissNode{Node: spec.Node}); err != nil {
		return jobProgress{}, err // a replica may have come back meanwhile
	}
	p.done, p.text = true, fmt.Sprintf("node %s belongs to the cluster no more: stop its process", spec.Node)
	return p, nil
}

// progress counts the replicas that are still on the node.
func (d decommission) progress(current *meta.Map, node string, view NodeView, job meta.Job) jobProgress {
	left := uint64(len(replicasOn(current, node)))
	most := max(job.Step, left)
	p := jobProgress{units: most - left, unitsTotal: most, cursor: most, bytesTotal: job.BytesTotal}
	var bytes uint64
	for _, r := range view.Replicas {
		bytes += r.Bytes
	}
	p.bytesTotal = max(p.bytesTotal, bytes)
	p.bytes = p.bytesTotal - bytes
	return p
}

// waitsFor says what is still in the way, or nothing.
func (d decommission) waitsFor(current *meta.Map, spec DecommissionSpec, view NodeView, answer error) string {
	rules, _ := current.Placement()
	left := replicasOn(current, spec.Node)
	switch {
	case len(left) > 0 && rules.Paused:
		return fmt.Sprintf("%d replicas are on node %s, and placement is paused: see 'parley cluster placement show', go on with 'parley cluster placement resume'", len(left), spec.Node)
	case len(left) > 0 && d.node.placer.unplaced.Load() > 0:
		return fmt.Sprintf("%d replicas are on node %s, and no node can take one of them: see 'parley node list'", len(left), spec.Node)
	case len(left) > 0:
		return fmt.Sprintf("%d replicas are on node %s", len(left), spec.Node)
	case answer != nil && spec.Lost:
		return ""
	case answer != nil:
		return fmt.Sprintf("node %s does not answer, and whether its journal is empty cannot be seen: start it, or give it up with 'parley node forget %s'", spec.Node, spec.Node)
	case view.MapVersion < current.Version():
		return fmt.Sprintf("node %s has not heard yet that it leaves", spec.Node)
	case len(view.Replicas) > 0:
		return fmt.Sprintf("node %s is still clearing %d replicas", spec.Node, len(view.Replicas))
	case view.Meta.Role == raft.Leader.String() || view.Meta.Voter:
		return fmt.Sprintf("node %s still votes on the map", spec.Node)
	case view.Held.Items > 0:
		return fmt.Sprintf("the journal of node %s holds %d submissions that wait for their shards: see 'parley cluster status'", spec.Node, view.Held.Items)
	case view.Held.Damaged > 0:
		return fmt.Sprintf("the journal of node %s has %d parts that could not be read: look at its data directory, and take them away", spec.Node, view.Held.Damaged)
	default:
		return ""
	}
}

// cancel has the node serve again. What has moved does not come back by itself.
func (d decommission) cancel(ctx context.Context, job meta.Job) (done bool, err error) {
	spec, err := decodeSpec[DecommissionSpec](job)
	if err != nil {
		return true, nil // nothing was begun
	}
	member, known := d.node.Map().Node(spec.Node)
	if !known || member.State == meta.NodeRemoved || d.node.Map().Duty(spec.Node).Kind != meta.Leaving {
		return true, nil
	}
	err = d.node.change(ctx, meta.AssignNode{Duty: meta.Duty{Node: spec.Node, Kind: meta.Serving, By: job.By, Why: "the job was cancelled"}})
	return err == nil, err
}

// replicasOn are the shards that have a replica on a node by the map.
func replicasOn(current *meta.Map, node string) []meta.Shard {
	return slices.DeleteFunc(slices.Clone(current.Shards()), func(s meta.Shard) bool { return !replicates(s, node) })
}
