package cluster

import (
	"slices"
	"time"

	"parley/fsm/meta"
)

// metaSilenceMax is how long a node may be out of contact with the meta group's leader before it takes no new sessions of peers: its
// allow-list may be old by then. The shards go on deciding; they need the meta group for nothing.
const metaSilenceMax = 10 * time.Second

// MetaSilence is how long ago the meta group's leader was heard of: no time on the leader itself, which has a majority, and since
// the process began where it has not been heard of at all.
func (n *Node) MetaSilence() time.Duration {
	if g := n.meta.started.Load(); g != nil {
		if g.leads() {
			return 0
		}
		if last := g.raft.LastContact(); !last.IsZero() {
			return time.Since(last)
		}
	}
	return time.Since(n.opened)
}

// TakesPeers reports whether new sessions of peers may begin here. A node that has just started waits until it has heard of the leader.
func (n *Node) TakesPeers() bool {
	g := n.meta.started.Load()
	if g == nil || !g.leads() && g.raft.LastContact().IsZero() {
		return false
	}
	return n.MetaSilence() <= metaSilenceMax
}

// Leaves reports whether this node leaves the cluster for good and has no replica any more, by its map: it may be out at any moment.
func (n *Node) Leaves() bool {
	current := n.Map()
	return current.Duty(n.id).Kind == meta.Leaving &&
		!slices.ContainsFunc(current.Shards(), func(s meta.Shard) bool { return slices.Contains(s.Replicas, n.id) })
}
