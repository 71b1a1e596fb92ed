package plan

import (
	"maps"
	"slices"
)

// weakThroughout are the shards that would be without a majority at some point of the steps if one more node failed. While a replica moves,
// both the old node and the new one vote.
func weakThroughout(c Cluster, steps []Step) []uint32 {
	alive := make(map[string]bool)
	for _, n := range c.Nodes {
		alive[n.Name] = n.Alive
	}
	voters := make(map[uint32][]string)
	weak := make(map[uint32]bool)
	look := func(shard uint32, nodes []string) {
		if !survivesOne(nodes, alive) {
			weak[shard] = true
		}
	}
	for _, shard := range c.Shards {
		voters[shard.ID] = slices.Clone(shard.Replicas)
		look(shard.ID, shard.Replicas)
	}
	for _, step := range steps {
		now := voters[step.Shard]
		switch step.Kind {
		case OpenShard:
			now = slices.Clone(step.Replicas)
		case AddReplica:
			now = append(now, step.Node)
		case MoveReplica:
			now = append(now, step.Node)
			look(step.Shard, now)
			now = slices.DeleteFunc(now, func(node string) bool { return node == step.From })
		case RemoveReplica:
			now = slices.DeleteFunc(now, func(node string) bool { return node == step.From })
		default:
			continue
		}
		voters[step.Shard] = now
		look(step.Shard, now)
	}
	return slices.Sorted(maps.Keys(weak))
}

// survivesOne reports whether a majority of the voters answers also when one of those that answer does not any more.
func survivesOne(voters []string, alive map[string]bool) bool {
	answering := 0
	for _, node := range voters {
		if alive[node] {
			answering++
		}
	}
	return 2*(answering-1) > len(voters)
}
