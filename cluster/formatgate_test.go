package cluster

import (
	"errors"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

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
