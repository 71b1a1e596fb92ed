package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mls"
)

// Repair has a replica rebuilt that differs from what the majority of its group's replicas holds: its node holds it back, durably, as it
// does one that is damaged, and what follows is the same (rebuild.go). It checks first, and refuses for a replica that does not differ, or
// where no majority agrees: then nobody knows which of them is right. It returns when the replica is held back, not when it is whole. A lead
// that lies with a replica of the minority goes to one of the majority before.
func (n *Node) Repair(ctx context.Context, shard fsm.ShardID, node string) error {
	ctx, cancel := atMost(ctx, checkTimeout)
	defer cancel()
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	c, err := n.check(ctx, uint32(shard))
	if err != nil {
		return err
	}
	i := slices.IndexFunc(c.Replicas, func(r ReplicaCheck) bool { return r.Node == node })
	switch {
	case i < 0:
		return &RefusedError{fmt.Sprintf("node %s has no replica of group %d", node, shard)}
	case c.Replicas[i].Err != nil:
		return &RefusedError{fmt.Sprintf("the replica of group %d on %s could not be compared: %v", shard, node, c.Replicas[i].Err)}
	case c.Equal():
		return &RefusedError{fmt.Sprintf("all replicas of group %d are equal at index %d", shard, c.Index)}
	case !c.Replicas[i].Differs && !slices.ContainsFunc(c.Replicas, func(r ReplicaCheck) bool { return r.Differs }):
		return &RefusedError{fmt.Sprintf("no majority of the replicas of group %d holds the same: nobody knows which is right", shard)}
	case !c.Replicas[i].Differs:
		return &RefusedError{fmt.Sprintf("the replica of group %d on %s holds what the majority holds", shard, node)}
	}
	if err := n.leadByMajority(ctx, c); err != nil {
		return err
	}
	reason := fmt.Sprintf("it differs from the other replicas at index %d, first in %s", c.Index, c.Replicas[i].Section)
	return n.holdBackAt(ctx, node, uint32(shard), reason)
}

// leadByMajority moves the lead away from a replica that differs: what is rebuilt is fetched from the leader.
func (n *Node) leadByMajority(ctx context.Context, c GroupCheck) error {
	var same []string
	wrong := make(map[string]bool)
	for _, r := range c.Replicas {
		switch {
		case r.Differs:
			wrong[r.Node] = true
		case r.Err == nil:
			same = append(same, r.Node)
		}
	}
	var failed error
	for _, to := range same {
		leader := n.leadOf(uint32(c.Shard)).node
		if leader == "" {
			leader = n.leaderOf(c.Shard)
		}
		if !wrong[leader] {
			return nil
		}
		refusal, err := n.yieldAt(ctx, leader, uint32(c.Shard), to)
		if err == nil && refusal == "" {
			return n.awaitLeaderAmong(ctx, uint32(c.Shard), same)
		}
		failed = errors.Join(failed, err, errors.New(refusal))
	}
	return &RefusedError{fmt.Sprintf("the lead of group %d lies with a replica that differs, and could not be moved: %v", c.Shard, failed)}
}

// awaitLeaderAmong waits until one of some nodes leads a group, as far as this node's own replica knows, or another node's.
func (n *Node) awaitLeaderAmong(ctx context.Context, group uint32, nodes []string) error {
	var pause backoff
	for {
		if found := n.rounds.ask(ctx, n, group, nodes); slices.Contains(nodes, found.node) {
			return nil
		}
		if err := pause.wait(ctx); err != nil {
			return fmt.Errorf("group %d has no leader among %v yet: %w", group, nodes, err)
		}
	}
}

// yieldAt has a node hand the lead of a group to another.
func (n *Node) yieldAt(ctx context.Context, leader string, group uint32, to string) (refusal string, err error) {
	var w mls.Writer
	w.Uint8(transferVersion)
	w.Uint32(group)
	w.Opaque([]byte(to))
	return n.transferAt(ctx, leader, w.Bytes())
}

// holdBackAt has a node keep its replica of a group from running:
//
//	struct { uint8 version = 1; uint32 group; opaque reason<V>; } HoldBackRequest;
//	struct {} HoldBackAnswer;
func (n *Node) holdBackAt(ctx context.Context, id string, group uint32, reason string) error {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Uint32(group)
	w.Opaque([]byte(reason))
	_, err := n.askNode(ctx, id, methodHoldBack, w.Bytes(), n.serveHoldBack)
	if err != nil {
		return fmt.Errorf("hold back the replica of group %d on %s: %w", group, id, err)
	}
	return nil
}

func (n *Node) serveHoldBack(_ context.Context, from string, payload []byte) ([]byte, error) {
	r := mls.NewReader("HoldBackRequest", payload)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	group, reason := r.Uint32("group"), string(r.Opaque("reason"))
	if err := r.Close(); err != nil {
		return nil, err
	}
	g := n.groupOf(group)
	if g == nil {
		return nil, fmt.Errorf("group %d does not run here", group)
	}
	n.log.Warn("a replica is held back, to be rebuilt", "group", group, "asked_by", from, "reason", reason)
	if err := n.stores.hold([]uint32{group}, reason); err != nil {
		return nil, err
	}
	g.spoil(reason) // it is closed by who opens replicas again, and found to be held back
	return []byte{answerVersion}, nil
}
