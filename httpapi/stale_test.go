package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// relapse takes a hub back to an earlier state, as from a backup, in another generation.
func (h *memoryHub) relapse(to *memoryHub, generation fsm.Generation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store = to.store.Clone()
	h.now += 10_000
	h.apply(fsm.BeginGeneration{Generation: generation})
	h.apply(fsm.Sweep{Max: 1_000_000})
}

func (h *memoryHub) kept() *memoryHub {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &memoryHub{store: h.store.Clone()}
}

// A hub that was restored takes nothing for a room before a member has said where the group is, at an epoch no lower than another provider has seen; and
// no Commit of an epoch that was used.
func TestRestoredRoomGoesForward(t *testing.T) {
	f := newTriangle(t)
	at := "/v1/rooms/" + mimi.PathSegment(ourRoom)
	commit := func(label byte) answered {
		t.Helper()
		step := f.room.commit(mlstest.Plan{Committer: 1, Path: true, AuthenticatedData: []byte{label}})
		a := f.b.ask(at+"/update", bundleOf(step).Marshal())
		f.room.group = step.After
		return a
	}
	commit(1)
	f.inboxOf(f.b, 1)
	kept, before := f.a.hub.kept(), f.room.group
	commit(2)
	f.inboxOf(f.b, 2)
	f.a.hub.relapse(kept, 2)

	second, err := before.Commit(mlstest.Plan{Committer: 1, Path: true, AuthenticatedData: []byte("second")})
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]answered{
		"through its provider": f.b.ask(at+"/update", bundleOf(second).Marshal()),
		"of the hub's own":     f.a.ask(at+"/update", bundleOf(second).Marshal()),
	} {
		if p := problemIn(t, a); a.status != http.StatusServiceUnavailable || p.Type != problemType(problemRoomStale) || a.header.Get("Retry-After") != "60" {
			t.Errorf("a second Commit of an epoch %s: %d %s", name, a.status, a.body)
		}
	}
	forward := func(group *mlstest.Group, waive ...mimi.Provider) answered {
		t.Helper()
		info := group.GroupInfo()
		body, err := json.Marshal(fastForwardRequest{GroupInfo: info.Marshal(), RatchetTree: group.Tree(), Waive: waive})
		if err != nil {
			t.Fatal(err)
		}
		return f.a.ask(at+"/fastForward", body, "Content-Type", "application/json")
	}
	if a := forward(before, peerDomain); a.status != http.StatusConflict {
		t.Errorf("to an epoch that b.example has seen end: %d %s", a.status, a.body)
	}
	a := forward(f.room.group)
	if a.status != http.StatusOK {
		t.Fatalf("to where the group is: %d %s", a.status, a.body)
	}
	if again := forward(f.room.group); again.status != http.StatusOK || string(again.body) != string(a.body) {
		t.Errorf("again: %d %s", again.status, again.body)
	}
	if got := readUpdateAnswer(t, f.b.ask(at+"/update", bundleOf(second).Marshal()).body); got.code != 1 {
		t.Errorf("the second Commit then: %+v", got)
	}
	if got := readUpdateAnswer(t, commit(3).body); got.code != 0 {
		t.Errorf("the next Commit: %+v", got)
	}
}

// Whoever follows the room and does not say what it has seen has to be waived, by name.
func TestFastForwardHearsAll(t *testing.T) {
	d := openLocalDoor(t)
	body := forwardBody(t)
	at := "/v1/rooms/" + mimi.PathSegment(ourRoom) + "/fastForward"
	stale := fsm.StaleRoomDescribed{Room: fsm.RoomDescribed{Room: ourRoom, Destinations: []mimi.Provider{hubDomain, peerDomain}}, Stale: fsm.StaleRoom{Generation: 2}}
	for name, test := range map[string]struct {
		reply  func(mimi.Provider, Target, []byte, string) (*Reply, error)
		waive  []mimi.Provider
		status int
		name   string
	}{
		"silent":            {nil, nil, http.StatusConflict, problemNotAsked},
		"another is waived": {nil, []mimi.Provider{thirdParty}, http.StatusConflict, problemNotAsked},
		"another group": {func(mimi.Provider, Target, []byte, string) (*Reply, error) {
			return &Reply{Status: http.StatusOK, Body: mimi.RoomEpochResponse{Known: true, GroupID: "another"}.Marshal()}, nil
		}, nil, http.StatusConflict, problemConflict},
		"what cannot be read": {func(mimi.Provider, Target, []byte, string) (*Reply, error) {
			return &Reply{Status: http.StatusOK, Body: []byte("?")}, nil
		}, nil, http.StatusConflict, problemNotAsked},
		"it fails": {func(mimi.Provider, Target, []byte, string) (*Reply, error) {
			return nil, errors.New("no")
		}, nil, http.StatusConflict, problemNotAsked},
	} {
		t.Run(name, func(t *testing.T) {
			d.hub.set(stale, nil)
			d.outbound.reply = test.reply
			body.Waive = test.waive
			a := d.json(t, http.MethodPost, at, body)
			if p := problemIn(t, a); a.status != test.status || p.Type != problemType(test.name) {
				t.Errorf("it got %d %s", a.status, a.body)
			}
		})
	}
}

// forwardBody brings a room of alice and bob forward to where a group is.
func forwardBody(t *testing.T) fastForwardRequest {
	t.Helper()
	list := mimi.ParticipantListData{Participants: []mimi.UserRolePair{{User: alice, Role: 1}, {User: bob, Role: 1}}}
	dictionary := mls.AppDataDictionary{}.With(mimi.ComponentParticipantList, list.Marshal())
	group, err := mlstest.New(mlstest.Config{
		Suite: 1, Seed: 1, Members: 1, Epoch: 4, Extensions: mls.Extensions{}.With(mls.ExtensionAppDataDictionary, dictionary.Marshal()), Components: appliers(),
	})
	if err != nil {
		t.Fatal(err)
	}
	info := group.GroupInfo()
	return fastForwardRequest{GroupInfo: info.Marshal(), RatchetTree: group.Tree()}
}

// Only the room's own provider learns in which epoch it was seen.
func TestRoomEpochIsTheHubsAlone(t *testing.T) {
	d := openPeerDoor(t, nil)
	d.hub.set(fsm.FollowedEpoch{Known: true, GroupID: "g", Epoch: 7}, nil)
	a := d.post(t, roomEpochPath, mimi.RoomEpochRequest{Room: theirRoom}.Marshal())
	if got, err := mimi.ParseRoomEpochResponse(a.body); a.status != http.StatusOK || err != nil || got.Epoch != 7 || !got.Known {
		t.Errorf("it got %d %+v: %v", a.status, got, err)
	}
	if a := d.post(t, roomEpochPath, mimi.RoomEpochRequest{Room: ourRoom}.Marshal()); a.status != http.StatusForbidden {
		t.Errorf("of a room that is not its own: %d", a.status)
	}
	if len(d.hub.asked()) != 1 {
		t.Errorf("%d requests went on", len(d.hub.asked()))
	}
}
