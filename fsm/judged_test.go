package fsm_test

import (
	"errors"
	"testing"

	"parley/fsm"
	"parley/mls"
)

// A Commit has its settings in its read set, and a message waits for no second verdict; nothing is bound twice.
func TestBind(t *testing.T) {
	for _, s := range sampleCommands() {
		bound, yes := fsm.Bind(s.value, 7).(fsm.Judged)
		switch s.value.(type) {
		case fsm.CreateRoom, fsm.SubmitProposals, fsm.TakeLease, fsm.UploadKeyPackages, fsm.ClaimKeyPackages,
			fsm.SetConsents, fsm.SetConsentPolicy, fsm.DeleteKeyPackages,
			fsm.RecordDeparture, fsm.DestroyRoom, fsm.ContinueRoom, fsm.ForgoMembers,
			fsm.CreateJoiningCode, fsm.RevokeJoiningCode, fsm.FastForwardRoom:
			if !yes || bound.Settings != 7 || bound.Slot() != s.value.Slot() || bound.Lane() != s.value.Lane() {
				t.Errorf("%s is bound as %+v", s.name, bound)
			}
		case fsm.Judged:
			if bound.Settings == 7 {
				t.Error("a command was bound twice")
			}
		default:
			if yes {
				t.Errorf("%s is bound", s.name)
			}
		}
	}
}

// Only what Bind binds is read back: no command holds itself.
func TestJudgedHoldsNoOther(t *testing.T) {
	inner := fsm.Judged{Settings: 1, Command: fsm.TakeLease{Room: club, Requester: bob}}
	malformed := (*mls.MalformedError)(nil)
	for _, c := range []fsm.Command{inner, fsm.Fence{}, fsm.AcceptCommit{Room: club}} {
		if _, err := fsm.DecodeCommand(fsm.EncodeCommand(fsm.Judged{Settings: 2, Command: c})); !errors.As(err, &malformed) {
			t.Errorf("a judged %T was read: %v", c, err)
		}
	}
}
