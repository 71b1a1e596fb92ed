package cluster

import (
	"errors"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
)

// What waits for a peer that is paused waits on, and goes out when it is let go; others are not concerned. It is paused under any of its
// domains, and everywhere.
func TestPausedPeerWaits(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	n := c.add("n1")
	if err := n.Init(c.context(), InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	c.awaitActive(1)
	c.awaitSettings()
	peer := provider(t, "b.example")
	hold := meta.Hold{Domain: peer, Paused: true, By: "ann", Why: "maintenance"}
	var refused *RefusedError
	if err := n.HoldPeer(c.context(), hold); !errors.As(err, &refused) {
		t.Errorf("a peer that there is not was paused: %v", err)
	}
	if err := n.PutPeer(c.context(), meta.Peer{Domain: provider(t, "chat.b.example"), Domains: []mimi.Provider{peer, provider(t, "chat.b.example")}}); err != nil {
		t.Fatal(err)
	}
	r := c.openRoom("n1", "held")
	propose(t, c, "n1", r.Commit(fsmtest.Next{Label: "c"}))
	slot := fsm.SlotOfRoom(r.URI)
	c.deliverer(slot, peer)
	heads := func() int {
		heads, err := n.Heads(c.context(), peer, func(mimi.RoomURI) bool { return false }, fsm.OutboxPage{Rooms: 1, PerRoom: 1})
		if err != nil {
			t.Fatal(err)
		}
		return len(heads)
	}
	theirs, err := mimi.ParseRoomURI("mimi://b.example/r/theirs")
	if err != nil {
		t.Fatal(err)
	}
	queue, err := judge.NewQueue(theirs, []mimi.Submission{heldMessageFor(t, r, theirs)})
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := n.Do(c.context(), queue)
	if answered, ok := outcome.(fsm.SubmissionsQueued); !ok || err != nil || answered.Answers[0].State != mimi.SubmissionQueued {
		t.Fatalf("%+v, %v", outcome, err)
	}
	queued := func() int {
		items, err := n.QueueHeads(c.context(), peer, func(mimi.RoomURI) bool { return false }, fsm.OutboxPage{Rooms: 1, PerRoom: 1})
		if err != nil {
			t.Fatal(err)
		}
		return len(items)
	}
	if hubs := n.QueuedHubs(); !slices.Equal(hubs, []mimi.Provider{peer}) || queued() != 1 {
		t.Fatalf("queued for %v, %d heads", hubs, queued())
	}
	if err := n.HoldPeer(c.context(), hold); err != nil {
		t.Fatal(err)
	}
	if hubs := n.QueuedHubs(); len(hubs) > 0 || queued() > 0 {
		t.Errorf("it is paused, and what is queued is brought: for %v, %d heads", hubs, queued())
	}
	if waiting := n.Waiting(); len(waiting) > 0 || heads() > 0 || n.Delivers(slot, peer) {
		t.Errorf("it is paused, and delivered: %v waits, %d heads", waiting, heads())
	}
	last, known := n.Map().HoldOf(provider(t, "chat.b.example"))
	if !known || !last.Paused || last.By != "ann" || last.Why != "maintenance" || last.Millis == 0 {
		t.Errorf("%+v, %v", last, known)
	}
	select { // whatever has woken it before
	case <-n.OutboxChanged():
	default:
	}
	hold.Paused = false
	if err := n.HoldPeer(c.context(), hold); err != nil {
		t.Fatal(err)
	}
	<-n.OutboxChanged()
	eventually(t, "it goes on", func() bool {
		return n.Delivers(slot, peer) && heads() == 1 && queued() == 1 && len(n.QueuedHubs()) == 1
	})
}

// Every node is told that a peer is to be tried again.
func TestReplayReachesEveryNode(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	peer := provider(t, "b.example")
	var refused *RefusedError
	if _, _, err := c.nodes["n1"].Replay(c.context(), peer); !errors.As(err, &refused) {
		t.Errorf("an unknown peer: %v", err)
	}
	if err := c.nodes["n1"].PutPeer(c.context(), meta.Peer{Domain: peer, Domains: []mimi.Provider{peer, provider(t, "chat.b.example")}}); err != nil {
		t.Fatal(err)
	}
	for id, n := range c.nodes {
		eventually(t, id+" knows the peer", func() bool { _, known := n.Peer(peer); return known })
	}
	asked := uint64(0) // again where one does not answer in time
	eventually(t, "all are told", func() bool {
		asked++
		told, failed, err := c.nodes["n2"].Replay(c.context(), provider(t, "chat.b.example"))
		return err == nil && told == 3 && len(failed) == 0
	})
	for id, n := range c.nodes {
		if times := n.Replays(peer); times == 0 || times > asked || n.Replays(provider(t, "c.example")) != 0 {
			t.Errorf("%s was asked %d times for the peer", id, times)
		}
	}
	c.stop("n3")
	eventually(t, "all but n3 are told", func() bool {
		told, failed, err := c.nodes["n2"].Replay(c.context(), peer)
		return err == nil && told == 2 && len(failed) == 1 && failed["n3"] != nil
	})
}
