package cluster

import (
	"context"

	"parley/fsm/judge"
	"parley/fsm/meta"
)

// awaitAcknowledged keeps the answer to an acknowledgement back until this node's replica has it: its outbox would show the items once
// more, and this node, which has delivered them, would send them once more. It does so whether or not the node is still appointed, for it
// may be again before its replica has caught up; others are appointed from the leader's commit index on. The error is the context's.
func (n *Node) awaitAcknowledged(ctx context.Context, request judge.Request, shard meta.Shard, index uint64) error {
	acknowledge, is := request.(*judge.Acknowledge)
	if !is || acknowledge.Destination() == n.localDestination() {
		return nil
	}
	if r := n.replica(shard.ID); r != nil {
		return r.machine.applied.wait(ctx, index)
	}
	return nil
}
