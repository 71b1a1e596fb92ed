//go:build !seededbugs

package cluster

import "parley/fsm"

// Mistakes that a build with the tag seededbugs can make, to see that the tests find them. None is in any other build.
const (
	bugVerifyLeader    = false // a fence is Raft's VerifyLeader
	bugAckEarly        = false // an outcome is told before it is committed
	bugRestoreCheckOff = false // a replica starts whatever its stores say
	bugFollowerApply   = false // an outcome comes from what a follower would have applied
)

// seededAnswer answers nothing.
func (n *Node) seededAnswer(*replica, fsm.Command) (answer, bool) { return answer{}, false }
