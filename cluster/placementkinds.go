package cluster

import (
	"encoding/json"
	"fmt"

	"parley/fsm"
	"parley/fsm/meta"
)

// The kinds of jobs by which single nodes and replicas move.
const (
	JobDecommission = "node-decommission"
	JobReplaceNode  = "node-replace"
	JobMoveReplica  = "shard-move"
)

// DecommissionSpec is what a job of JobDecommission or JobReplaceNode is to do, in JSON.
type DecommissionSpec struct {
	Node string `json:"node"`
	// Successor has all that the node has, wherever it can; empty: each replica goes where it is best.
	Successor string `json:"successor,omitempty"`
	Why       string `json:"why,omitempty"`
	// Lost says that the node does not come back: what it may hold in its journal is given up.
	Lost bool `json:"lost,omitempty"`
}

// ReplicaMoveSpec is what a job of JobMoveReplica is to do, in JSON.
type ReplicaMoveSpec struct {
	Shard fsm.ShardID `json:"shard"`
	From  string      `json:"from"`
	To    string      `json:"to"`
}

// decodeSpec reads what a job is to do.
func decodeSpec[T any](job meta.Job) (spec T, err error) {
	if err := json.Unmarshal(job.Spec, &spec); err != nil {
		return spec, fmt.Errorf("%w: what it is to do cannot be read: %v", errJobFailed, err)
	}
	return spec, nil
}

// planUnderWay reports whether a job moves replicas by a plan of its own, so that nothing else should begin to.
func (n *Node) planUnderWay() (bool, error) {
	jobs, err := n.Jobs()
	for _, j := range jobs {
		if j.State.Live() && j.Area == areaPlacement && j.Kind != JobDecommission && j.Kind != JobReplaceNode && j.Kind != JobMoveReplica {
			return true, err
		}
	}
	return false, err
}
