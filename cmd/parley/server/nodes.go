package server

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"parley/cluster"
	"parley/fsm"
	"parley/fsm/meta"
	"parley/httpapi"
	"parley/mls"
)

func (o *operations) Nodes(ctx context.Context) ([]httpapi.NodeEntry, error) {
	seen, err := o.node.Status(ctx)
	if err != nil {
		return nil, refusal(err)
	}
	var entries []httpapi.NodeEntry
	for _, n := range seen.Nodes {
		entries = append(entries, shownNode(n, seen.Shards))
	}
	return entries, nil
}

func shownNode(n cluster.NodeStatus, shards []cluster.ShardStatus) httpapi.NodeEntry {
	entry := httpapi.NodeEntry{
		ID: n.ID, Address: n.Address, Zone: n.Zone, Duty: n.Duty.Kind.String(), Successor: n.Duty.Successor, By: n.Duty.By, Why: n.Duty.Why,
		Since: shownMillis(n.Duty.Millis), Answers: n.Error == "", Error: n.Error, MapVoter: n.View.Meta.Voter, HeldItems: n.View.Held.Items,
		DiskLow: n.View.DiskLow,
	}
	for _, r := range n.View.Replicas {
		entry.Bytes += r.Bytes
	}
	for _, s := range shards {
		if s.Leader == n.ID {
			entry.Leads++
		}
		for _, r := range s.Replicas {
			if r.Node == n.ID {
				entry.Replicas++
				if r.Running && r.Voter {
					entry.Running++
				}
			}
		}
	}
	return entry
}

// known finds a node of the cluster.
func (o *operations) known(node string) error {
	if member, found := o.node.Map().Node(node); !found || member.State == meta.NodeRemoved {
		return &httpapi.NotFoundError{What: "node " + node}
	}
	return nil
}

func operatorBy(ctx context.Context) string {
	if operator := meta.OperatorOf(ctx); operator != nil {
		return operator.By
	}
	return ""
}

func checkWhy(why string) error {
	if len(why) > meta.DutyTextBytesMax {
		return &mls.MalformedError{Field: "why", Reason: fmt.Sprintf("it is longer than %d bytes", meta.DutyTextBytesMax)}
	}
	return nil
}

func (o *operations) AssignNode(ctx context.Context, node string, kind meta.DutyKind, r httpapi.NodeRequest) (httpapi.NodeEntry, error) {
	if err := errors.Join(o.known(node), checkWhy(r.Why)); err != nil {
		return httpapi.NodeEntry{}, err
	}
	if _, err := o.node.AssignNode(ctx, meta.Duty{Node: node, Kind: kind, By: operatorBy(ctx), Why: r.Why}); err != nil {
		return httpapi.NodeEntry{}, tooFew(err, node)
	}
	o.settle(ctx)
	seen, err := o.node.Status(ctx)
	if err != nil {
		return httpapi.NodeEntry{}, refusal(err)
	}
	i := slices.IndexFunc(seen.Nodes, func(n cluster.NodeStatus) bool { return n.ID == node })
	if i < 0 {
		return httpapi.NodeEntry{}, &httpapi.NotFoundError{What: "node " + node}
	}
	return shownNode(seen.Nodes[i], seen.Shards), nil
}

// tooFew tells what can be done where a node is needed.
func tooFew(err error, node string) error {
	return refusedFor(err, func(reason string) *httpapi.RefusedError {
		return &httpapi.RefusedError{
			Reason: reason, Blocker: "node " + node + " is needed as things are", See: "parley node list",
			Clear: "bring another node in with 'parley node invite' and 'parley node join', let one serve again with 'parley node recommission', or want fewer replicas with 'parley cluster placement set --replicas'",
		}
	})
}

func (o *operations) Decommission(ctx context.Context, node string, r httpapi.NodeRequest) (httpapi.JobEntry, error) {
	return o.takeOut(ctx, cluster.JobDecommission, cluster.DecommissionSpec{Node: node, Why: r.Why})
}

func (o *operations) ReplaceNode(ctx context.Context, node string, r httpapi.ReplaceRequest) (httpapi.JobEntry, error) {
	return o.takeOut(ctx, cluster.JobReplaceNode, cluster.DecommissionSpec{Node: node, Successor: r.With, Why: r.Why, Lost: r.Lost})
}

func (o *operations) takeOut(ctx context.Context, kind string, spec cluster.DecommissionSpec) (httpapi.JobEntry, error) {
	if _, found := o.node.Map().Node(spec.Node); !found {
		return httpapi.JobEntry{}, &httpapi.NotFoundError{What: "node " + spec.Node}
	}
	if err := checkWhy(spec.Why); err != nil {
		return httpapi.JobEntry{}, err
	}
	if spec.Node == o.node.ID() { // once it is out it hears nothing more of the cluster, not even that it is out
		return httpapi.JobEntry{}, &httpapi.RefusedError{
			Reason: "Node " + spec.Node + " is the one that was asked, and cannot say how its own leaving ends.", Blocker: "which node is asked",
			See: "parley node list", Clear: "the same command at another node: --admin or --context",
		}
	}
	job, err := o.node.Decommission(ctx, kind, spec, operatorBy(ctx))
	if member, _ := o.node.Map().Node(spec.Node); err != nil && member.State == meta.NodeRemoved {
		return httpapi.JobEntry{}, &httpapi.RefusedError{
			Reason: fmt.Sprintf("Node %s belongs to the cluster no more.", spec.Node), Blocker: "nothing: it has left, or was forgotten",
			See: "parley node list, parley audit", Clear: "nothing; stop its process, if it runs still",
		}
	}
	if err != nil {
		return httpapi.JobEntry{}, tooFew(err, spec.Node)
	}
	return shownJob(job), nil
}

func (o *operations) ForgetNode(ctx context.Context, node string) error {
	if _, found := o.node.Map().Node(node); !found {
		return &httpapi.NotFoundError{What: "node " + node}
	}
	err := o.node.ForgetNode(ctx, node)
	if refused := (*cluster.RefusedError)(nil); errors.As(err, &refused) {
		return &httpapi.RefusedError{
			Reason: refused.Reason, Blocker: "node " + node + " is alive, or has replicas", See: "parley node list",
			Clear: "parley node decommission " + node + "; or, where it is lost, parley node replace " + node + " --lost --with NODE",
		}
	}
	o.settle(ctx)
	return refusal(err)
}

func (o *operations) MoveReplica(ctx context.Context, shard fsm.ShardID, r httpapi.ReplicaMoveRequest) (httpapi.JobEntry, error) {
	if _, known := o.node.Map().Shard(shard); !known {
		return httpapi.JobEntry{}, &httpapi.NotFoundError{What: fmt.Sprintf("shard %d", shard)}
	}
	job, err := o.node.MoveReplica(ctx, cluster.ReplicaMoveSpec{Shard: shard, From: r.From, To: r.To}, operatorBy(ctx))
	return shownJob(job), refusedFor(err, func(reason string) *httpapi.RefusedError {
		return &httpapi.RefusedError{
			Reason: reason, Blocker: "where the replicas are, or what the nodes are wanted for", See: "parley shard list, parley node list, parley cluster placement show",
			Clear: "name a node that has the shard and one that serves and has it not; parley cluster placement resume",
		}
	})
}

func (o *operations) Placement(context.Context) (httpapi.PlacementEntry, error) {
	rules, _ := o.node.Map().Placement()
	return o.shownPlacement(rules), nil
}

func (o *operations) shownPlacement(r meta.PlacementRules) httpapi.PlacementEntry {
	entry := httpapi.PlacementEntry{
		Paused: r.Paused, ReplaceAfterSeconds: r.ReplaceAfterMillis / 1000, BytesPerSecond: r.BytesPerSecond, Replicas: r.ReplicationFactor,
		By: r.By, Why: r.Why, Since: shownMillis(r.Millis), Moves: []httpapi.ReplicaMove{},
	}
	for _, s := range o.node.Map().Successions() {
		entry.Moves = append(entry.Moves, httpapi.ReplicaMove{Shard: s.Shard, From: s.Leaves, To: s.Joins})
	}
	return entry
}

func (o *operations) ChangePlacement(ctx context.Context, c httpapi.PlacementChange) (httpapi.PlacementEntry, error) {
	if err := checkWhy(c.Why); err != nil {
		return httpapi.PlacementEntry{}, err
	}
	if c.ReplaceAfterSeconds != nil && *c.ReplaceAfterSeconds > secondsPerDay*366 {
		return httpapi.PlacementEntry{}, &mls.MalformedError{Field: "replaceAfterSeconds", Reason: "it is more than a year; 0 means never"}
	}
	rules, err := o.node.ChangePlacement(ctx, func(in meta.PlacementRules) meta.PlacementRules {
		if c.Paused != nil {
			in.Paused = *c.Paused
		}
		if c.ReplaceAfterSeconds != nil {
			in.ReplaceAfterMillis = *c.ReplaceAfterSeconds * 1000
		}
		if c.BytesPerSecond != nil {
			in.BytesPerSecond = *c.BytesPerSecond
		}
		if c.Replicas != nil {
			in.ReplicationFactor = *c.Replicas
		}
		in.By, in.Why = operatorBy(ctx), c.Why
		return in
	})
	if refused := (*cluster.RefusedError)(nil); errors.As(err, &refused) {
		return httpapi.PlacementEntry{}, &httpapi.RefusedError{
			Reason: refused.Reason, Blocker: "the bounds of the rules, or how many nodes serve", See: "parley cluster placement show, parley node list",
			Clear: "another value; for more replicas more nodes, by 'parley node invite' and 'parley node join'",
		}
	}
	if err != nil {
		return httpapi.PlacementEntry{}, refusal(err)
	}
	o.settle(ctx)
	return o.shownPlacement(rules), nil
}

func (l *lobby) Nodes(ctx context.Context) ([]httpapi.NodeEntry, error) {
	return ask(l, func(o *operations) ([]httpapi.NodeEntry, error) { return o.Nodes(ctx) })
}

func (l *lobby) AssignNode(ctx context.Context, node string, kind meta.DutyKind, r httpapi.NodeRequest) (httpapi.NodeEntry, error) {
	return ask(l, func(o *operations) (httpapi.NodeEntry, error) { return o.AssignNode(ctx, node, kind, r) })
}

func (l *lobby) Decommission(ctx context.Context, node string, r httpapi.NodeRequest) (httpapi.JobEntry, error) {
	return ask(l, func(o *operations) (httpapi.JobEntry, error) { return o.Decommission(ctx, node, r) })
}

func (l *lobby) ReplaceNode(ctx context.Context, node string, r httpapi.ReplaceRequest) (httpapi.JobEntry, error) {
	return ask(l, func(o *operations) (httpapi.JobEntry, error) { return o.ReplaceNode(ctx, node, r) })
}

func (l *lobby) ForgetNode(ctx context.Context, node string) error {
	return tell(l, func(o *operations) error { return o.ForgetNode(ctx, node) })
}

func (l *lobby) MoveReplica(ctx context.Context, shard fsm.ShardID, r httpapi.ReplicaMoveRequest) (httpapi.JobEntry, error) {
	return ask(l, func(o *operations) (httpapi.JobEntry, error) { return o.MoveReplica(ctx, shard, r) })
}

func (l *lobby) Placement(ctx context.Context) (httpapi.PlacementEntry, error) {
	return ask(l, func(o *operations) (httpapi.PlacementEntry, error) { return o.Placement(ctx) })
}

func (l *lobby) ChangePlacement(ctx context.Context, c httpapi.PlacementChange) (httpapi.PlacementEntry, error) {
	return ask(l, func(o *operations) (httpapi.PlacementEntry, error) { return o.ChangePlacement(ctx, c) })
}
