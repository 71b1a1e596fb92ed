package cluster

// The kinds of jobs. A name is never given to another kind.
const (
	JobRebalance  = "rebalance"
	JobResize     = "resize"
	JobShardSplit = "shard-split"
	JobShardMerge = "shard-merge"
	JobSlotMove   = "slot-move"
	JobBackup     = "backup"
	JobRestore    = "restore"
)

// jobKinds are the jobs that this program can carry out.
func (n *Node) jobKinds() map[string]jobKind {
	plans := jobKind{runner: planRunner{n}, area: areaPlacement}
	return map[string]jobKind{
		JobRebalance: plans, JobResize: plans, JobShardSplit: plans, JobShardMerge: plans, JobSlotMove: plans,
		JobDecommission: {runner: decommission{n}, area: areaPlacement},
		JobReplaceNode:  {runner: decommission{n}, area: areaPlacement},
		JobMoveReplica:  {runner: replicaMove{n}, area: areaPlacement},
		JobBackup:       {runner: backupJob{n}},
		JobRestore:      {runner: restoreJob{n}, area: areaPlacement},
	}
}
