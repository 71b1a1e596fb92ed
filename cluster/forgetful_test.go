package cluster

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

// A node that lost its directory has forgotten for whom it voted. If it could vote again under its old ID, it would form a quorum with a
// node that is behind, and a second Commit would be accepted for an epoch that is taken.
func TestNodeThatLostItsDirectoryStaysOut(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "forgotten")
	c.digests("n1")
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	c.stop("n2") // it will be behind
	eventually(t, "a leader among n1 and n3", func() bool {
		return c.nodes["n1"].replica(shard.ID).leads() || c.nodes["n3"].replica(shard.ID).leads()
	})
	one, two := r.Commit(fsmtest.Next{Label: "one"}), r.Commit(fsmtest.Next{Label: "two"})
	if first, _ := propose(t, c, "n1", one); first != (fsm.Accepted{Millis: first.(fsm.Accepted).Millis, Epoch: one.Facts.Epoch}) {
		t.Fatalf("the first Commit: %+v", first)
	}
	c.stop("n1")
	c.stop("n3")
	if err := os.RemoveAll(c.configs["n3"].DataDir); err != nil {
		t.Fatal(err)
	}
	c.start("n2")
	c.start("n3")

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	outcome, _, err := c.nodes["n2"].Propose(ctx, two)
	if !errors.Is(err, fsm.ErrNotProposed) && !errors.Is(err, fsm.ErrUnknownOutcome) {
		t.Errorf("without a quorum that remembers, the second Commit got %+v, %v", outcome, err)
	}

	// With n1, who remembers, there is a quorum again: the first Commit stands, and n3 is told why it may not come back.
	c.start("n1")
	if outcome, _ := propose(t, c, "n2", two); outcome.(fsm.WrongEpoch).Winner != one.CommitHash {
		t.Errorf("the second Commit got %+v", outcome)
	}
	var refused *RefusedError
	if err := c.nodes["n3"].Join(c.context(), c.nodes["n1"].ClusterAddr()); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "new ID") {
		t.Errorf("n3 joined under its old ID: %v", err)
	}
}
