//go:build !seededbugs

package cluster

import "parley/fsm"

// Mistakes that a build with the tag seededbugs can make, to see that the tests find them. None is in any other build.
const (
	bugVerifyLeader    = false // a fence is Raft's VerifyLeader
	bugAckEarly        = false // an outcome is told before it is committed
	bugRestoreCheckOff = false // a replica starts whatever its stores say
	bugFollowerApply   = false // an outcome comes from what a follower would have applied
	bugClaimUnlogged   = false // a claim is answered from a replica, and nothing of it is in the log
	bugLeaseClock      = false // whether a lease is over is judged by the clock of the node that leads; see fsm
)

// seededAnswer answers nothing.
func (n *Node) seededAnswer(*replica, fsm.Command) (answer, bool) { return answer{}, false }
