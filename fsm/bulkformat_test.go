package fsm_test

import (
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// busyIn lives through a bit of everything that there was before the format for bulk, in a shard of some format with all rules for bulk set.
func busyIn(t *testing.T, format fsm.Format) *whole {
	t.Helper()
	settings := fourthSettings(hub)
	settings.Format = format
	w := newWholeOf(t, settings)
	h := newHubHistory(t, "theirs@b.example", 5) // a room of another hub
	application := h.application("by a hub")
	w.apply(fsm.ReceiveFanout{Room: theirRoom, Hub: peer, BodyHash: hashOf("body"), Messages: []fsm.FanoutItem{{Hash: application.Hash, Bytes: application.Bytes}}})

	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	w.create(r)
	proposal := r.Propose(0, bob, "proposal")
	outcomeOf[fsm.Accepted](t, w.apply(proposal))
	outcomeOf[fsm.Accepted](t, w.apply(r.Message("message", 0, alice)))
	w.commit(r, r.Commit(fsmtest.Next{Label: "c", Proposals: []mls.ProposalRef{proposal.Proposals[0].Ref}}))
	outcomeOf[fsm.Accepted](t, w.apply(fsm.RecordDeparture{User: alice}))
	w.carry()
	for _, item := range w.items(peer)[:2] {
		w.apply(fsm.Acknowledge{At: item.Slot, Destination: peer, Sequences: []uint64{item.Sequence}})
	}
	outcomeOf[fsm.Accepted](t, w.destroy(club))
	return w
}

// busyOf counts the records of each kind that there are then, and the notices that anybody is told.
func busyOf(t *testing.T, format fsm.Format) (kinds map[uint8]int, told int) {
	t.Helper()
	w := busyIn(t, format)
	kinds, err := fsm.Kinds(w.store)
	check(t, err)
	for _, destination := range []mimi.Provider{hub, peer} {
		told += len(w.notices(destination))
	}
	return kinds, told
}

// A shard that has not been raised to the format for bulk has nothing of it, whatever its settings say: a program that knows only the older
// format would hold another state.
func TestNothingOfBulkBeforeItsFormat(t *testing.T) {
	kinds, told := busyOf(t, fsm.FormatExclusive)
	if told > 0 {
		t.Errorf("%d notices are told", told)
	}
	var of []uint8 // kinds that came with the format
	for kind := range kinds {
		if kind >= 0x3a && kind <= 0x3f || kind >= 0x41 && kind <= 0x4a || kind == 0x5a || kind == 0x5b || kind >= 0x5e && kind <= 0x61 {
			of = append(of, kind)
		}
	}
	if slices.Sort(of); len(of) > 0 {
		t.Errorf("records of the kinds %#x are there", of)
	}
	after, told := busyOf(t, fsm.FormatBulk)
	if told == 0 || after[0x3a]+after[0x3b] == 0 || after[0x47] == 0 {
		t.Errorf("in the format for bulk: %d notices, %v", told, after)
	}
}

// What a program of an older format could not read goes into no log of a shard of that format.
func TestCommandsOfBulkHaveItsFormat(t *testing.T) {
	for name, c := range map[string]fsm.Command{
		"SubmitBatch": fsm.SubmitBatch{}, "RecordVerdicts": fsm.RecordVerdicts{}, "AcknowledgeThrough": fsm.AcknowledgeThrough{},
		"AcknowledgeEvents": fsm.AcknowledgeEvents{}, "QueueSubmissions": fsm.QueueSubmissions{}, "SettleSubmissions": fsm.SettleSubmissions{},
		"ReserveMembers": fsm.ReserveMembers{}, "ForgoMembers": fsm.ForgoMembers{}, "ReceiveBodies": fsm.ReceiveBodies{}, "FollowGroup": fsm.FollowGroup{},
		"AcceptCommit with changes": fsm.AcceptCommit{PolicyChanges: mimi.RolesChanged},
		"an effect":                 fsm.ReceiveInternal{Effects: []fsm.Effect{fsm.WindowOpened{}}},
		"Judged":                    fsm.Judged{Command: fsm.SubmitBatch{}},
	} {
		if got := fsm.FormatOf(c); got != fsm.FormatBulk {
			t.Errorf("%s is of format %d", name, got)
		}
	}
}
