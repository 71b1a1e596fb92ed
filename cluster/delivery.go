package cluster

import (
	"cmp"
	"slices"

	"parley/fsm"
	"parley/mimi"
)

// replicasHere are this node's, by shard.
func (n *Node) replicasHere() []*replica {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*replica, 0, len(n.replicas))
	for _, r := range n.replicas {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *replica) int { return cmp.Compare(a.shard, b.shard) })
	return all
}

// delivering are the replicas from which this node may begin to send bodies to a destination now.
func (n *Node) delivering(destination mimi.Provider) []*replica {
	if n.Map().Paused(destination) {
		return nil
	}
	lot := lotOf(destination)
	return slices.DeleteFunc(n.replicasHere(), func(r *replica) bool { return !n.appointed.current(r).has(lot) })
}

// Delivers reports whether this node may begin to send what waits for a destination in a slot's outbox now. Whoever has had an item for a
// while asks before it sends it: another node may have been appointed meanwhile.
func (n *Node) Delivers(slot fsm.SlotID, destination mimi.Provider) bool {
	shard, found := n.servingSlot(slot)
	if !found || n.Map().Paused(destination) {
		return false
	}
	r := n.replica(shard.ID)
	return r != nil && n.appointed.current(r).has(lotOf(destination))
}

// Appointed is how much a node delivers, in lots of 64 a shard.
type Appointed struct {
	LeaderLots   int    // of shards that it leads
	FollowerLots int    // of shards that others lead
	Takeovers    uint64 // since it was opened: times that it gave, as a leader, to another what a deliverer had not let go of
}

// Appointed is what this node may deliver now.
func (n *Node) Appointed() (a Appointed) {
	for _, r := range n.replicasHere() {
		if count := n.appointed.current(r).count(); r.leads() {
			a.LeaderLots += count
		} else {
			a.FollowerLots += count
		}
	}
	a.Takeovers = n.appointer.takeovers()
	return a
}

// PausedPeers says of each peer, by its own domain, whether it is paused.
func (n *Node) PausedPeers() map[mimi.Provider]bool {
	current := n.Map()
	paused := make(map[mimi.Provider]bool)
	for _, p := range current.Peers() {
		hold, _ := current.HoldOf(p.Domain)
		paused[p.Domain] = hold.Paused
	}
	return paused
}
