package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// A peer may refuse one room for hours. However much waits for that room, what waits for another room of the same slot goes out.
func TestParkedRoomHidesNoOther(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	n := c.add("n1")
	if err := n.Init(c.context(), InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	c.awaitActive(1)
	c.awaitSettings()
	parked := c.openRoom("n1", "parked")
	for i := range 600 {
		propose(t, c, "n1", parked.Message(fmt.Sprint(i), parked.Epoch, user(t, "alice")))
	}
	other := c.openRoom("n1", sameSlot(t, "parked"))
	propose(t, c, "n1", other.Commit(fsmtest.Next{Label: "c"}))
	eventually(t, "the other room's Commit is found", func() bool { // by whoever is appointed, as a node is for a second each time
		heads, err := n.Heads(c.context(), provider(t, "b.example"), func(r mimi.RoomURI) bool { return r == parked.URI }, fsm.OutboxPage{Rooms: 32, PerRoom: 1})
		return err == nil && len(heads) == 1 && heads[0].Room == other.URI
	})
}

// sameSlot is the name of another room in the slot of a room.
func sameSlot(t *testing.T, name string) string {
	t.Helper()
	slot := fsm.SlotOfRoom(room(t, name))
	for i := 0; ; i++ {
		if other := fmt.Sprint("other", i); fsm.SlotOfRoom(room(t, other)) == slot {
			return other
		}
	}
}

// What an earlier attempt may have got accepted is never refused because the record of it is gone.
func TestForgottenIsNotRefused(t *testing.T) {
	for _, outcome := range []fsm.Outcome{fsm.EpochTooOld{Current: 5}, fsm.WrongEpoch{Current: 90}} {
		q := &query{}
		if got, err := q.known(outcome); err != nil || got != outcome {
			t.Errorf("a first attempt got %v, %v for %T", got, err, outcome)
		}
		q.open = true
		if got, err := q.known(outcome); err == nil {
			t.Errorf("an attempt after an unknown one got %v for %T", got, outcome)
		}
		won := fsm.WrongEpoch{Current: 6, Winner: [32]byte{1}}
		if got, err := q.known(won); err != nil || got != won {
			t.Errorf("a known winner became %v, %v", got, err)
		}
	}
}

// A fault after the decision, or a complaint about the request, must not read as a failure.
func TestFaultAfterDecisionIsUnknown(t *testing.T) {
	q := &query{tries: tries{node: &Node{log: slog.New(slog.DiscardHandler)}}}
	for _, cause := range []error{errors.New("the disk"), &mls.MalformedError{Field: "f", Reason: "r"}, fsm.ErrNotProposed} {
		q.open = false
		if err := q.final(cause); !errors.Is(err, cause) || errors.Is(err, fsm.ErrUnknownOutcome) {
			t.Errorf("before a decision %v became %v", cause, err)
		}
		q.open = true
		if err := q.final(cause); !errors.Is(err, fsm.ErrUnknownOutcome) || errors.Is(err, cause) {
			t.Errorf("after a decision %v became %v", cause, err)
		}
	}
}
