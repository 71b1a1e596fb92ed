//go:build seededbugs

package cluster

import (
	"context"

	"parley/fsm"
)

// The mistakes, off until SeedBug.
var (
	bugVerifyLeader    bool // a fence is Raft's VerifyLeader
	bugAckEarly        bool // an outcome is told before it is committed
	bugRestoreCheckOff bool // a replica starts whatever its stores say
	bugFollowerApply   bool // an outcome comes from what a follower would have applied
	bugClaimUnlogged   bool // a claim is answered from a replica, and nothing of it is in the log
	bugLeaseClock      bool // whether a lease is over is judged by the clock of the node that leads; see fsm
)

// SeedBug switches a mistake on or off by its name, and reports whether it is one of this package's. It must be called while no
// node runs.
func SeedBug(name string, on bool) bool {
	bug, known := map[string]*bool{
		"verify-leader":     &bugVerifyLeader,
		"ack-early":         &bugAckEarly,
		"restore-check-off": &bugRestoreCheckOff,
		"follower-apply":    &bugFollowerApply,
		"claim-unlogged":    &bugClaimUnlogged,
		"lease-local-clock": &bugLeaseClock,
	}[name]
	if known {
		*bug = on
	}
	return known
}

// seededAnswer makes the mistakes that concern who decides.
func (n *Node) seededAnswer(r *replica, command fsm.Command) (answer, bool) {
	if judged, yes := command.(fsm.Judged); yes {
		command = judged.Command
	}
	_, fence := command.(fsm.Fence)
	_, claim := command.(fsm.ClaimKeyPackages)
	lease, leasing := command.(fsm.TakeLease)
	switch {
	case bugVerifyLeader && fence && r.leads():
		if r.raft.VerifyLeader().Error() != nil {
			return answer{code: answerNotLeader}, true
		}
		return answer{code: answerOutcome, outcome: fsm.Done{}, index: r.machine.applied.current()}, true
	case bugAckEarly && !fence && r.leads():
		if _, err := r.proposer.propose(command); err != nil {
			return answerOf(err), true
		}
		return r.speculate(command), true
	case bugFollowerApply && !r.leads():
		return r.speculate(command), true
	case bugClaimUnlogged && claim:
		return r.speculate(command), true
	case bugLeaseClock && leasing && r.leads():
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		return r.decide(ctx, fsm.ByLocalClock(lease, uint64(r.node.config.Clock.Wall().UnixMilli()))), true
	default:
		return answer{}, false
	}
}

// speculate is what the command would come to if it were applied here and now.
func (r *replica) speculate(command fsm.Command) answer {
	batch := r.machine.state.NewBatch()
	defer batch.Close()
	index := r.machine.applied.current() + 1
	result, err := fsm.Apply(batch, index, fsm.EncodeEntry(fsm.Entry{StampMillis: r.time.stamp(), Commands: []fsm.Command{command}}))
	if err != nil {
		return answer{code: answerFault}
	}
	return answer{code: answerOutcome, outcome: result.Outcomes[0], index: index}
}
