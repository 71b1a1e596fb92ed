package cluster

import (
	"parley/fsm/meta"
)

// PlacementCounts is what a node can tell of how replicas are placed, for its metrics.
type PlacementCounts struct {
	Paused   bool
	Moves    int // replicas that are on their way, by the map
	Unplaced int // for which there is no place; 0 where the node does not lead the meta group
	Joins    uint64
	Leaves   uint64                   // changes of the map that this node has made since it was opened: replicas that were to come, or to go
	Duties   map[string]meta.DutyKind // of each node of the cluster

	Running, Rebuilding, Held, Departing int    // replicas on this node
	FetchedBytes                         uint64 // of the states that are being fetched here
}

// PlacementCounts counts now.
func (n *Node) PlacementCounts() PlacementCounts {
	current := n.Map()
	rules, _ := current.Placement()
	c := PlacementCounts{
		Paused: rules.Paused, Moves: len(current.Successions()), Unplaced: int(n.placer.unplaced.Load()),
		Joins: n.placer.joins.Load(), Leaves: n.placer.leaves.Load(), Duties: make(map[string]meta.DutyKind),
	}
	for _, node := range activeNodes(current) {
		c.Duties[node] = current.Duty(node).Kind
	}
	for _, r := range n.view().Replicas {
		switch {
		case r.Departing:
			c.Departing++
		case r.Quarantined != "":
			c.Held++
		case r.Rebuilding:
			c.Rebuilding++
		default:
			c.Running++
		}
		if r.Fetching != nil {
			c.FetchedBytes += r.Fetching.Fetched
		}
	}
	return c
}
