package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/meta"
)

// Inboxes are read at the leader of a shard, so that what was acknowledged is gone from the moment on at which that was answered. An answer comes
// from the leader's own apply; so one that has decided something in its term has applied all that was ever answered before it, and what it
// answers itself. A leader decides on a fence once a term before it serves inboxes, and nothing for each reading. One that was stopped, and
// does not know yet that others have elected another, may show again what that other one took: readers have to know an item when it comes twice.

// errNotLeading: the replica does not lead, or has decided nothing in its term yet.
var errNotLeading = errors.New("the replica does not lead its shard")

// serving returns once this replica may serve inboxes as the shard's leader.
func (r *replica) serving(ctx context.Context) error {
	if !r.leads() {
		return errNotLeading
	}
	term := r.raft.CurrentTerm()
	if r.fencedTerm.Load() == term {
		return nil
	}
	if reply := r.decide(ctx, fsm.Fence{}); reply.code != answerOutcome || !r.leads() || r.raft.CurrentTerm() != term {
		return fmt.Errorf("%w: answer %d to a fence", errNotLeading, reply.code)
	}
	r.fencedTerm.Store(term)
	return nil
}

// askLeading puts a request to the nodes that have a shard, whoever may lead it first, until one serves it.
func (n *Node) askLeading(ctx context.Context, shard meta.Shard, method string, request []byte) ([]byte, error) {
	asked := []string{n.id}
	failed := []error{fmt.Errorf("shard %d has no leader", shard.ID)}
	ask := func(target string) ([]byte, bool) {
		asked = append(asked, target)
		raw, _, err := n.call(ctx, target, method, request)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", target, err))
		}
		return raw, err == nil
	}
	if leader := n.leaderOf(shard.ID); leader != "" && leader != n.id {
		if raw, served := ask(leader); served {
			return raw, nil
		}
		n.forgetLeader(shard.ID, leader)
	}
	for _, target := range shard.Replicas {
		if slices.Contains(asked, target) {
			continue
		}
		if raw, served := ask(target); served {
			n.noteLeader(shard.ID, target)
			return raw, nil
		}
	}
	return nil, errors.Join(failed...)
}
