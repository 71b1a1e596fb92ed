package httpapi

import (
	"encoding/json"
	"testing"

	"parley/fsm"
	"parley/mimi"
)

// Every notice is an event of the inbox under its name; one that this program does not know is left out, and spoils nothing.
func TestNoticesInTheInbox(t *testing.T) {
	item := fsm.OutboxItem{Slot: 1, Sequence: 2, Hub: hubDomain, Millis: 5}
	kinds := []string{"verdict", "proposalFate", "roomDestroyed", "policyChanged", "voiceChanged", "userDeleted", "streamGap"}
	for _, n := range []mimi.Notice{
		mimi.Verdict{Code: mimi.VerdictEpochTooOld, Current: 3}, mimi.ProposalFate{Ref: "r", End: mimi.ProposalDropped}, mimi.RoomDestroyed{},
		mimi.PolicyChanged{Changes: mimi.RolesChanged | mimi.CharacteristicsChanged}, mimi.VoiceChanged{Lost: []mimi.UserURI{alice}},
		mimi.UserDeleted{User: alice}, mimi.StreamGap{Items: 2}, mimi.UnknownNotice{Kind: 200},
	} {
		item.Notes = append(item.Notes, fsm.Noticed{Notice: n})
	}
	shown, err := present(item, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range shown.Events {
		got = append(got, e.Kind)
	}
	if len(got) != len(kinds) {
		t.Fatalf("events %v", got)
	}
	for i, kind := range kinds {
		if got[i] != kind {
			t.Errorf("event %d is %s, not %s", i, got[i], kind)
		}
	}
	encoded, err := json.Marshal(shown.Events[0])
	if err != nil {
		t.Fatal(err)
	}
	var verdict map[string]any
	if err := json.Unmarshal(encoded, &verdict); err != nil {
		t.Fatal(err)
	}
	if verdict["verdict"] != "epochTooOld" || verdict["currentEpoch"] != 3.0 {
		t.Errorf("the verdict reads %s", encoded)
	}
}
