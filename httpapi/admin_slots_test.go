package httpapi

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley/fsm"
)

func (a *fakeAdmin) SplitShard(_ context.Context, shard fsm.ShardID, r ShardSplit) (JobEntry, error) {
	return JobEntry{ID: 7, Kind: "shard-split", State: "running"}, a.note(shard, r)
}
func (a *fakeAdmin) MergeShard(_ context.Context, shard fsm.ShardID, r ShardMerge) (JobEntry, error) {
	return JobEntry{ID: 7, Kind: "shard-merge", State: "running"}, a.note(shard, r)
}
func (a *fakeAdmin) MoveSlots(_ context.Context, r SlotMove) (JobEntry, error) {
	return JobEntry{ID: 7, Kind: "slot-move", State: "running"}, a.note(r)
}

func TestSlotsAreMovedByJobs(t *testing.T) {
	admin, call := openAdminDoor(t)
	for _, test := range []struct {
		path, body string
		status     int
		holds      string
		asked      []any
	}{
		{"/v1/shards/3/split", `{}`, 200, `"kind":"shard-split"`, []any{fsm.ShardID(3), ShardSplit{}}},
		{"/v1/shards/3/split", `{"newShard":9,"replicas":["n1","n2"]}`, 200, `"id":7`, []any{fsm.ShardID(3), ShardSplit{NewShard: 9, Replicas: []string{"n1", "n2"}}}},
		{"/v1/shards/x/split", `{}`, 400, ``, nil},
		{"/v1/shards/3/split", `{"newShard":"x"}`, 400, ``, nil},
		{"/v1/shards/3/merge", `{"into":[1,2]}`, 200, `"kind":"shard-merge"`, []any{fsm.ShardID(3), ShardMerge{Into: []fsm.ShardID{1, 2}}}},
		{"/v1/slots/move", `{"slots":[7,8],"to":2}`, 200, `"kind":"slot-move"`, []any{SlotMove{Slots: []fsm.SlotID{7, 8}, To: 2}}},
		{"/v1/slots/move", `{"slots":7}`, 400, ``, nil},
		{"/v1/slots/move", `{"to":2}`, 400, `"field":"slots"`, nil},
		{"/v1/slots/move", `{"slots":[7]}`, 400, `"field":"to"`, nil},
	} {
		admin.asked = nil
		a := call("POST", test.path, test.body)
		if a.status != test.status || !strings.Contains(string(a.body), test.holds) || !cmp.Equal(admin.asked, test.asked) {
			t.Errorf("%s %s: %d %s, asked %v", test.path, test.body, a.status, a.body, admin.asked)
		}
	}
	admin.err = &RefusedError{Reason: "there is no shard 3", Blocker: "b", See: "s", Clear: "c"}
	if a := call("POST", "/v1/shards/3/merge", `{"into":[1]}`); a.status != 409 || !strings.Contains(string(a.body), "there is no shard 3") {
		t.Errorf("a refusal came to %d %s", a.status, a.body)
	}
}
