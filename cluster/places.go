package cluster

import (
	"slices"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/meta"
)

// serverOf is a node in a Raft configuration. The address is the ID: the transport finds the node at each dial, so that a node
// that moves needs no change of any configuration.
func serverOf(node string, suffrage raft.ServerSuffrage) raft.Server {
	return raft.Server{ID: raft.ServerID(node), Address: raft.ServerAddress(node), Suffrage: suffrage}
}

// birth is the configuration that every replica of a shard is born with, the same on each, or nothing for a shard that has
// been born: who lost what it had of an active shard must not make another one.
func birth(shard meta.Shard) []raft.Server {
	if shard.State != meta.ShardCreating {
		return nil
	}
	nodes := slices.Sorted(slices.Values(shard.Replicas))
	servers := make([]raft.Server, len(nodes))
	for i, node := range nodes {
		servers[i] = serverOf(node, raft.Voter)
	}
	return servers
}

// replicates reports whether a node is to have a replica of a shard.
func replicates(shard meta.Shard, node string) bool { return slices.Contains(shard.Replicas, node) }

// replica is this node's copy of a shard, or nil.
func (n *Node) replica(shard fsm.ShardID) *replica {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.replicas[shard]
}

// machineOf is the state machine of this node's replica of a group, or nil.
func (n *Node) machineOf(group uint32) *machine {
	if group == metaGroup {
		if n.meta.started.Load() == nil {
			return nil
		}
		return n.meta.machine
	}
	if replica := n.replica(fsm.ShardID(group)); replica != nil {
		return replica.machine
	}
	return nil
}

// leaderOf is the node that leads a shard as far as is known here, or none.
func (n *Node) leaderOf(shard fsm.ShardID) string {
	if replica := n.replica(shard); replica != nil {
		return replica.leader()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leaders[shard]
}

// noteLeader remembers who led a shard of which there is no replica here.
func (n *Node) noteLeader(shard fsm.ShardID, node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leaders[shard] = node
}

// forgetLeader drops what noteLeader noted, if it is still that node.
func (n *Node) forgetLeader(shard fsm.ShardID, node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leaders[shard] == node {
		delete(n.leaders, shard)
	}
}

// addressOf finds where a node is reached: where it says it is now, else where the map has it, else where a member said it was
// when this node joined. Whoever answers there has to prove that it is the node, so a wrong hint costs a dial.
func (n *Node) addressOf(node string) (string, bool) {
	if node == n.id {
		return n.advertise, true
	}
	if address, ok := n.gossip.Lookup(node); ok {
		return address, true
	}
	if member, ok := n.Map().Node(node); ok {
		return member.ClusterAddr, true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	address, ok := n.hints[node]
	return address, ok
}
