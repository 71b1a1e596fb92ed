package cluster

import (
	"errors"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

// A leader that has not applied yet what raised the format finds out by a fence, and takes the command.
func TestFormatIsDeniedAfterAFence(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	n := c.add("n1")
	options := InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}
	if err := n.Init(c.context(), options); err != nil {
		t.Fatal(err)
	}
	c.awaitActive(1)
	c.awaitSettings()
	n.replica(1).format.Store(uint32(fsm.FormatFirst)) // as before it has applied anything
	piece := fsm.PutPiece{At: fsm.SlotOfRoom(room(t, "early")), Bytes: []byte("piece")}
	if reply := n.proposeHere(c.context(), 1, piece); reply.outcome != (fsm.Done{}) {
		t.Errorf("the piece got %+v", reply)
	}
}

// A state that a newer program wrote is quarantined, not misread.
func TestUnknownFormatIsQuarantined(t *testing.T) {
	state := fsmtest.NewStore()
	r := &replica{}
	if err := r.recallFormat(state); err != nil || r.format.Load() != uint32(fsm.FormatFirst) {
		t.Fatalf("a new state: format %d, %v", r.format.Load(), err)
	}
	if err := state.Set([]byte{0xff, 0xff, 6}, []byte{1, 0, 0, 0, byte(fsm.FormatNewest) + 1}); err != nil {
		t.Fatal(err)
	}
	var quarantined *quarantine
	if err := r.recallFormat(state); !errors.As(err, &quarantined) {
		t.Errorf("a state of a newer format: %v", err)
	}
}
