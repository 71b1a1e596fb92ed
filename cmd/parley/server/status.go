package server

import (
	"context"
	"slices"
	"time"

	"parley/cluster"
	"parley/httpapi"
	"parley/mimi"
)

// share gives one of several attempts its part of the time that is left.
func share(ctx context.Context, attempts int) (context.Context, context.CancelFunc) {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(attempts))
}

// settleMax is how long a change may take to reach the other nodes before it is answered for all the same.
const settleMax = 3 * time.Second

// settle waits until every node that answers has the map that this one has: a token that was made is then known everywhere, and
// one that was revoked nowhere. A node that does not answer is not waited for; it has the change before it serves again, or
// learns of it later.
func (o *operations) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleMax)
	defer cancel()
	version := o.node.Map().Version()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, err := o.node.Status(ctx)
		if err == nil && !slices.ContainsFunc(status.Nodes, func(n cluster.NodeStatus) bool {
			return n.Error == "" && n.View.MapVersion < version
		}) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (o *operations) Status(ctx context.Context) (httpapi.ClusterStatus, error) {
	seen, err := o.node.Status(ctx)
	if err != nil {
		return httpapi.ClusterStatus{}, refusal(err)
	}
	current := o.node.Map()
	settings, _ := current.Settings()
	status := httpapi.ClusterStatus{
		ClusterID: seen.ClusterID, Node: seen.Node, MapVersion: seen.MapVersion, Generation: uint64(seen.Generation), MetaLeader: seen.Meta.Leader,
		Domains: append([]mimi.Provider{}, settings.Domains...),
		Nodes:   []httpapi.NodeStatus{}, Shards: []httpapi.ShardStatus{}, Outbox: []httpapi.OutboxStatus{},
	}
	leads := make(map[string]int)
	for _, shard := range seen.Shards {
		leads[shard.Leader]++
		status.Shards = append(status.Shards, shardStatus(shard))
	}
	for _, node := range seen.Nodes {
		state := "active"
		if node.Error != "" {
			state = "unreachable"
		}
		status.Nodes = append(status.Nodes, httpapi.NodeStatus{
			ID: node.ID, Address: node.Address, State: state, Alive: node.Alive, Leads: leads[node.ID],
			ClockOffsetMillis: node.View.ClockOffsetMillis, MapReason: node.View.Meta.Quarantined, Cleared: node.View.Cleared,
		})
		if node.Error == "" {
			held := httpapi.HeldStatus(node.View.Held)
			status.Nodes[len(status.Nodes)-1].Held = &held
		}
	}
	return status, o.outbox(ctx, &status)
}

func shardStatus(seen cluster.ShardStatus) httpapi.ShardStatus {
	shard := httpapi.ShardStatus{
		ID: seen.Shard.ID, Generation: seen.Shard.Generation, FirstSlot: seen.Shard.First, LastSlot: seen.Shard.Last,
		Slots: seen.Slots, Moving: seen.Moving,
		State: seen.Shard.State.String(), Leader: seen.Leader, Term: seen.Term, Replicas: []httpapi.ReplicaStatus{},
	}
	for _, r := range seen.Replicas {
		replica := httpapi.ReplicaStatus{
			Node: r.Node, Voter: r.Voter, Running: r.Running, Reason: r.Quarantined, Rebuilding: r.Rebuilding, Applied: r.Applied, Commit: r.Commit,
		}
		if f := r.Fetching; f != nil {
			replica.Fetching = &httpapi.FetchStatus{
				Source: f.Source, FetchedBytes: f.Fetched, ReusedBytes: f.Reused, HereBytes: f.Here, WrittenBytes: f.Written, TotalBytes: f.Total,
			}
		}
		shard.Replicas = append(shard.Replicas, replica)
	}
	return shard
}

// outbox sums up what waits, on the shards that this node leads.
func (o *operations) outbox(ctx context.Context, status *httpapi.ClusterStatus) error {
	backlog, err := o.node.Backlog(ctx)
	if err != nil {
		return err
	}
	for destination, b := range backlog {
		status.Outbox = append(status.Outbox, httpapi.OutboxStatus{
			Destination: destination, Items: b.Items, Bytes: b.Bytes, Rooms: b.Rooms, Handshakes: b.Handshakes,
			OldestMillis: b.OldestMillis, DroppedItems: b.Dropped,
		})
	}
	slices.SortFunc(status.Outbox, func(a, b httpapi.OutboxStatus) int { return a.Destination.Compare(b.Destination) })
	return nil
}
