package cluster

import (
	"slices"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

// Any node tells what waits for a peer, who delivers it, and what those have learnt who deliver; and which nodes do not answer.
func TestDeliveriesAreSeen(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	peer := provider(t, "b.example")
	r := c.openRoom("n1", "seen")
	propose(t, c, "n1", r.Commit(fsmtest.Next{Label: "c"}))
	since := time.Now().Round(0)
	for _, n := range c.nodes { // whoever delivers, which may change, has learnt the same
		n.ReportLanes(func() map[mimi.Provider]Lane {
			if !n.Delivers(fsm.SlotOfRoom(r.URI), peer) {
				return nil
			}
			return map[mimi.Provider]Lane{peer: {FailingSince: since, Error: "refused", Parked: []ParkedRoom{{Room: r.URI, Refusal: "400"}}}}
		})
	}
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	eventually(t, "all of it is seen", func() bool {
		seen, err := c.nodes["n2"].Deliveries(c.context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(seen.Peers, func(p PeerDelivery) bool { return p.Destination == peer })
		if i < 0 || len(seen.Failed) > 0 || len(seen.Peers) != 1 || len(seen.Peers[i].Shards) != 1 || len(seen.Peers[i].Lanes) != 1 {
			return false
		}
		s, l := seen.Peers[i].Shards[0], seen.Peers[i].Lanes[0]
		deliverer := c.deliverer(fsm.SlotOfRoom(r.URI), peer)
		return s.Shard == shard.ID && s.Leader == c.leaderNode(shard.ID) && s.Deliverer == deliverer.ID() && s.Waits.Items >= 1 && s.Waits.Rooms == 1 &&
			s.Waits.OldestMillis > 0 && l.Node == deliverer.ID() && l.Error == "refused" && l.FailingSince.Equal(since) && l.Parked[0].Room == r.URI
	})
	c.stop("n3")
	eventually(t, "n3 alone does not answer", func() bool {
		seen, err := c.nodes["n2"].Deliveries(c.context())
		return err == nil && seen.Failed["n3"] != "" && len(seen.Failed) == 1
	})
}
