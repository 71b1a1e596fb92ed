package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
)

// A read that another node was asked for, and did not answer in time, has put nothing into a log; anything else may have.
func TestUnansweredReadLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "read")
	shard, _ := c.newestMap().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	describe, err := judge.NewDescribeRoom(r.URI)
	if err != nil {
		t.Fatal(err)
	}
	for id, n := range c.nodes {
		asked := func(request judge.Request) error {
			q := newQuery(n, request)
			q.floor, q.floorOf, q.vouched = math.MaxUint64, shard.ID, vouchedAlways // which no replica ever reaches
			n.noteLeader(shard.ID, c.leaderNode(shard.ID))
			if outcome, err := q.handOver(shortly(t), shard); !errors.Is(err, errElsewhere) {
				t.Fatalf("%s, %T: %+v, %v", id, request, outcome, err)
			}
			return q.unavailable(context.DeadlineExceeded)
		}
		batch := batchFor(t, r, fmt.Sprint("from ", id))
		eventually(t, "a call is sent to the leader and not answered", func() bool {
			return c.leaderNode(shard.ID) == id || errors.Is(asked(batch), fsm.ErrUnknownOutcome)
		})
		if err := asked(describe); !errors.Is(err, fsm.ErrNotProposed) {
			t.Errorf("%s: a read ends with %v", id, err)
		}
	}
}
