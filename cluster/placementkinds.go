package cluster

// The kinds of jobs by which single nodes and replicas move.
const (
	jobDecommission = "node-decommission"
	jobReplace      = "node-replace"
	jobMoveReplica  = "shard-move"
)

// planUnderWay reports whether a job moves replicas by a plan of its own, so that nothing else should begin to.
func (n *Node) planUnderWay() (bool, error) {
	jobs, err := n.Jobs()
	for _, j := range jobs {
		if j.State.Live() && j.Area == areaPlacement && j.Kind != jobDecommission && j.Kind != jobReplace && j.Kind != jobMoveReplica {
			return true, err
		}
	}
	return false, err
}
