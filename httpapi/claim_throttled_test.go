package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"parley/fsm"
	"parley/mimi"
)

// A claim that comes too soon is 429 with the time that is left by hub time, rounded up, and the reason; no KeyPackage is said to be
// there or not.
func TestThrottledClaims(t *testing.T) {
	peer, local := openPeerDoor(t, nil), openLocalDoor(t)
	for name, test := range map[string]struct {
		outcome fsm.ClaimThrottled
		wait    string
	}{
		"in a while": {fsm.ClaimThrottled{UntilMillis: 61_001, NowMillis: 1000, Reason: "the requester has claimed enough"}, "61"},
		"at once":    {fsm.ClaimThrottled{UntilMillis: 1000, NowMillis: 1000, Reason: "the requester has claimed enough"}, "1"},
		"in between": {fsm.ClaimThrottled{UntilMillis: 900, NowMillis: 1000, Reason: "the requester has claimed enough"}, "1"},
	} {
		peer.hub.set(test.outcome, nil)
		local.hub.set(test.outcome, nil)
		for door, a := range map[string]answered{
			"peer":  peer.post(t, path("keyMaterial", alice), claimBody(t, bob, alice, theirRoom)),
			"local": local.call(t, http.MethodPost, path("keyMaterial", alice), "everything", "application/octet-stream", claimBody(t, alice, alice, ourRoom)),
		} {
			p := problemIn(t, a)
			if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != test.wait || p.Detail != "The requester has claimed enough." {
				t.Errorf("%s, %s: %d, Retry-After %q, %+v", name, door, a.status, a.header.Get("Retry-After"), p)
			}
		}
	}
}

// What the backend is told of its own users comes as events in either form, without a room and without a body.
func TestInboxNotices(t *testing.T) {
	d := openLocalDoor(t)
	low := fsm.KeyPackagesLow{User: alice, Client: clientURI("mimi://a.example/d/1"), Left: 19}
	none := fsm.KeyPackagesLow{User: alice, Client: clientURI("mimi://a.example/d/2")}
	item := fsm.OutboxItem{
		Slot: fsm.SlotOfUser(alice), Destination: hubDomain, Sequence: 5, Hub: hubDomain, Millis: 7,
		Notes: []fsm.Note{low, none},
	}
	d.inbox.put(item)
	for _, query := range []string{"", "?form=raw"} {
		a := d.json(t, http.MethodGet, "/v1/inbox"+query, nil)
		var batch inboxBatch
		if err := json.Unmarshal(a.body, &batch); err != nil || len(batch.Items) != 1 || len(batch.Items[0].Events) != 2 {
			t.Fatalf("%d %s: %v", a.status, a.body, err)
		}
		for i, want := range []fsm.KeyPackagesLow{low, none} {
			got := batch.Items[0].Events[i]
			if got.Kind != "keyPackagesLow" || got.User != want.User || got.Client != want.Client || got.Left == nil || *got.Left != want.Left || got.AcceptedMillis != 7 {
				t.Errorf("%s: event %+v", query, got)
			}
		}
		for _, absent := range []string{`"room"`, `"body"`, `"message"`} {
			if strings.Contains(string(a.body), absent) {
				t.Errorf("a notice has %s: %s", absent, a.body)
			}
		}
	}
}

// In a bulk claim it is the one user's part.
func TestThrottledPart(t *testing.T) {
	cluster := &fakeCluster{domains: []mimi.Provider{hubDomain}}
	desk := NewDesk(answers(fsm.ClaimThrottled{UntilMillis: 61_001, NowMillis: 1000, Reason: "x"}), cluster, cluster, &fakePoster{})
	part, fault := desk.claimPart(t.Context(), nil)
	if fault != nil || part.Status != mimi.BulkThrottled || part.RetryAfterSeconds != 61 || part.Clients != nil {
		t.Errorf("got %+v, %v", part, fault)
	}
}
