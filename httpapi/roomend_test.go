package httpapi

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

func TestLocalDepartures(t *testing.T) {
	d := openLocalDoor(t)
	at := "/v1/users/" + mimi.PathSegment(alice)
	phone := at + "/clients/" + mimi.PathSegment(clientURI("mimi://a.example/d/phone"))
	d.hub.set(fsm.Accepted{Millis: 7}, nil)
	for path, want := range map[string]string{
		at:    `{"user":"mimi://a.example/u/alice","departedMillis":7}`,
		phone: `{"user":"mimi://a.example/u/alice","client":"mimi://a.example/d/phone","departedMillis":7}`,
	} {
		for range 2 {
			if a := d.json(t, http.MethodDelete, path, nil); a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != want {
				t.Errorf("%s: got %d %s", path, a.status, a.body)
			}
		}
	}
	for _, r := range d.hub.asked() {
		if _, departs := r.(*judge.Depart); !departs || r.Slot() != fsm.SlotOfUser(alice) {
			t.Errorf("the hub was asked %T", r)
		}
	}
	d.hub.set(fsm.Accepted{}, nil)
	for name, test := range map[string]struct {
		path   string
		status int
		field  string
	}{
		"another provider's user":   {"/v1/users/" + mimi.PathSegment(bob), http.StatusForbidden, "user"},
		"another provider's client": {at + "/clients/" + mimi.PathSegment(clientURI("mimi://b.example/d/bob1")), http.StatusForbidden, "client"},
	} {
		if a := d.json(t, http.MethodDelete, test.path, nil); a.status != test.status || problemIn(t, a).Field != test.field {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
	if len(d.hub.asked()) != 0 {
		t.Error("a refused request went on")
	}
	if a := d.call(t, http.MethodDelete, at, "reader", "", nil); a.status != http.StatusForbidden {
		t.Errorf("without the scope: %d", a.status)
	}
	d.hub.set(fsm.FormatNotReached{Needs: 4, Has: 3}, nil)
	if a := d.json(t, http.MethodDelete, at, nil); a.status != http.StatusConflict {
		t.Errorf("in an older format: %d", a.status)
	}
}

func TestLocalDestroyRoom(t *testing.T) {
	d := openLocalDoor(t)
	at := "/v1/rooms/" + mimi.PathSegment(ourRoom)
	d.hub.set(fsm.Accepted{Millis: 9}, nil)
	want := `{"room":"mimi://a.example/r/clubhouse","destroyedMillis":9}`
	if a := d.json(t, http.MethodDelete, at, nil); a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != want {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if _, destroys := d.hub.asked()[0].(*judge.DestroyRoom); !destroys {
		t.Errorf("the hub was asked %T", d.hub.asked()[0])
	}
	for outcome, status := range map[fsm.Outcome]int{fsm.NoSuchRoom{}: http.StatusNotFound, fsm.FormatNotReached{}: http.StatusConflict} {
		d.hub.set(outcome, nil)
		if a := d.json(t, http.MethodDelete, at, nil); a.status != status {
			t.Errorf("%T: got %d", outcome, a.status)
		}
	}
	if a := d.json(t, http.MethodDelete, "/v1/rooms/"+mimi.PathSegment(theirRoom), nil); a.status != http.StatusNotFound {
		t.Errorf("a room elsewhere: %d", a.status)
	}
}

// A room that was destroyed is gone, whatever is asked of it; one whose group a ReInit has ended says so.
func TestEndedRooms(t *testing.T) {
	local, peer := openLocalDoor(t), openPeerDoor(t, nil)
	own, _ := groupInfoBody(t, alice)
	theirs, _ := groupInfoBody(t, bob)
	destroyed, reinitialised := fsm.RoomEnded{Status: fsm.RoomDestroyed, Millis: 5}, fsm.RoomEnded{Status: fsm.RoomReinitialised, Millis: 5}
	at := "/v1/rooms/" + mimi.PathSegment(ourRoom)
	ask := func(outcome fsm.Outcome) map[string]answered {
		local.hub.set(outcome, nil)
		peer.hub.set(outcome, nil)
		return map[string]answered{
			"update":              peer.post(t, path("update", ourRoom), updateBody()),
			"submitMessage":       peer.post(t, path("submitMessage", ourRoom), submitBody(bob)),
			"groupInfo":           peer.post(t, path("groupInfo", ourRoom), theirs),
			"local update":        local.call(t, http.MethodPost, at+"/update", "everything", mimi.MediaType, updateBody()),
			"local submitMessage": local.call(t, http.MethodPost, at+"/submitMessage", "everything", mimi.MediaType, submitBody(alice)),
			"local groupInfo":     local.call(t, http.MethodPost, at+"/groupInfo", "everything", mimi.MediaType, own),
		}
	}
	for name, a := range ask(destroyed) {
		if strings.HasSuffix(name, "groupInfo") {
			if a.status != http.StatusOK || !bytes.Equal(a.body, mimi.GroupInfoNoSuchRoom{Room: ourRoom}.Marshal()) {
				t.Errorf("%s of a destroyed room: %d %x", name, a.status, a.body)
			}
			continue
		}
		if p := problemIn(t, a); a.status != http.StatusGone || p.Type != "urn:parley:problem:"+problemRoomEnded || p.Detail != "the room was destroyed" {
			t.Errorf("%s of a destroyed room: %d %+v", name, a.status, p)
		}
	}
	if a := local.json(t, http.MethodGet, at, nil); a.status != http.StatusGone {
		t.Errorf("a look at a destroyed room: %d", a.status)
	}
	for name, a := range ask(reinitialised) {
		want := mimi.UpdateRoomResponse{Description: reinitialised.Reason(), Result: mimi.UpdateNotAllowed{}}.Marshal()
		switch {
		case strings.HasSuffix(name, "groupInfo"):
			want = mimi.GroupInfoNotAuthorized{Room: ourRoom}.Marshal()
		case strings.HasSuffix(name, "submitMessage"):
			want = mimi.SubmitNotAllowed{}.Marshal()
		}
		if a.status != http.StatusOK || !bytes.Equal(a.body, want) {
			t.Errorf("%s after a ReInit: %d %x", name, a.status, a.body)
		}
	}
	local.hub.set(fsm.RoomAwaits{Room: fsm.RoomDescribed{Room: ourRoom, GroupID: "g"}, GroupID: "next", Suite: 3}, nil)
	var described roomDescription
	if a := local.json(t, http.MethodGet, at, nil); a.status != http.StatusOK || json.Unmarshal(a.body, &described) != nil ||
		described.Next == nil || string(described.Next.GroupID) != "next" || described.Next.CipherSuite != 3 {
		t.Errorf("a look after a ReInit: %d %s", a.status, a.body)
	}
}

func TestInboxNotes(t *testing.T) {
	d := openLocalDoor(t)
	phone := clientURI("mimi://a.example/d/phone")
	d.inbox.put(fsm.OutboxItem{
		Slot: 1, Sequence: 2, Room: ourRoom, Hub: hubDomain, Millis: 3, Body: fanoutBody(),
		Notes: []fsm.Note{fsm.WelcomeFor{Ref: "ref", User: alice, Client: phone}, fsm.WelcomeFor{Ref: "other", User: alice}},
	}, fsm.OutboxItem{Slot: 1, Sequence: 3, Room: ourRoom, Hub: hubDomain, Millis: 4, Notes: []fsm.Note{fsm.RoomWasDestroyed{}}})
	for _, form := range []string{"events", "raw"} {
		var batch inboxBatch
		a := d.json(t, http.MethodGet, "/v1/inbox?form="+form, nil)
		if err := json.Unmarshal(a.body, &batch); err != nil || len(batch.Items) != 2 {
			t.Fatalf("%s: %d %s: %v", form, a.status, a.body, err)
		}
		want := []welcomeFor{{KeyPackageRef: []byte("ref"), User: alice, Client: &phone}, {KeyPackageRef: []byte("other"), User: alice}}
		if welcome := batch.Items[0]; !reflect.DeepEqual(welcome.WelcomeFor, want) || welcome.RoomDestroyed {
			t.Errorf("%s: the Welcome's item is %+v", form, welcome)
		}
		if last := batch.Items[1]; !last.RoomDestroyed || len(last.Events)+len(last.Body)+len(last.WelcomeFor) != 0 {
			t.Errorf("%s: the room's last item is %+v", form, last)
		}
	}
}

// A group that is another room's is refused before the room is created.
func TestCreateRoomReservesItsGroup(t *testing.T) {
	d := openLocalDoor(t)
	group, err := mlstest.New(mlstest.Config{Suite: 1, Seed: 1, Members: 1})
	if err != nil {
		t.Fatal(err)
	}
	info := group.GroupInfo()
	body := createRoomRequest{Room: ourRoom, Creator: alice, GroupInfo: info.Marshal(), RatchetTree: group.Tree()}
	desk := NewDesk(&fakeHub{answer: func(judge.Request) (fsm.Outcome, error) { return fsm.Done{}, nil }}, d.cluster, d.cluster, d.outbound)
	request, err := judge.NewCreateRoom(body.Room, body.Creator, body.GroupInfo, body.RatchetTree)
	if err != nil {
		t.Fatal(err)
	}
	if err := desk.reserveGroup(t.Context(), request); err != nil {
		t.Errorf("a free group: %v", err)
	}
	d.hub.reserve = fsm.NotAllowed{Reason: "taken"}
	a := d.json(t, http.MethodPost, "/v1/rooms", body)
	if p := problemIn(t, a); a.status != http.StatusConflict || p.Field != "groupInfo" || p.Detail != "taken" || len(d.hub.asked()) != 0 {
		t.Errorf("a group that is taken: %d %+v, and the hub was asked %d times", a.status, p, len(d.hub.asked()))
	}
	d.hub.reserve = nil
	d.hub.set(fsm.Accepted{Millis: 1}, nil)
	if a := d.json(t, http.MethodPost, "/v1/rooms", body); a.status != http.StatusCreated || len(d.hub.asked()) != 1 {
		t.Errorf("a free group: %d %s", a.status, a.body)
	}
	d.hub.set(fsm.RoomEnded{Status: fsm.RoomDestroyed}, nil)
	if a := d.json(t, http.MethodPost, "/v1/rooms", body); a.status != http.StatusGone {
		t.Errorf("a room that was destroyed: %d %s", a.status, a.body)
	}
}

// The hub signs a GroupInfoResponse with a key that the room lists, be it one that new rooms do not get any more.
func TestGroupInfoIsSignedWithTheRoomsKey(t *testing.T) {
	d := openPeerDoor(t, nil)
	retired := signingKey(t)
	d.cluster.retired = []*mls.SigningKey{retired}
	entry := mls.ExternalSender{SignatureKey: retired.Public(), Credential: mls.BasicCredential{Identity: []byte("mimi://a.example")}}
	group, err := mlstest.New(mlstest.Config{Suite: 1, Seed: 1, Members: 1,
		Extensions: mls.Extensions{}.With(mls.ExtensionExternalSenders, mls.ExternalSenders{entry}.Marshal())})
	if err != nil {
		t.Fatal(err)
	}
	info := group.GroupInfo()
	d.hub.set(fsm.Disclosed{Suite: 1, GroupInfo: info.Marshal(), RatchetTree: group.Tree()}, nil)
	body, _ := groupInfoBody(t, bob)
	a := d.post(t, path("groupInfo", ourRoom), body)
	response, err := mimi.ParseGroupInfoResponse(a.body)
	granted, ok := response.(mimi.GroupInfoGranted)
	if err != nil || !ok || !bytes.Equal(granted.HubSender.SignatureKey, retired.Public()) || !granted.VerifySignature() {
		t.Errorf("got %d %+v, %v", a.status, response, err)
	}
}

// commitBundle is one whose GroupInfo has the extensions that a test wants, and behind which stands the tree that it wants.
func commitBundle(t *testing.T, option func(mls.Extensions) []byte, tree []byte) []byte {
	t.Helper()
	group, err := mlstest.New(mlstest.Config{Suite: 1, Seed: 1, Members: 2})
	if err != nil {
		t.Fatal(err)
	}
	step, err := group.Commit(mlstest.Plan{Path: true})
	if err != nil {
		t.Fatal(err)
	}
	var w mls.Writer
	mls.MLSMessage{Body: step.Message}.AppendTo(&w)
	w.Bool(false)
	w.Fixed(option(step.GroupInfo.Extensions.With(mls.ExtensionRatchetTree, group.Tree())))
	w.Fixed(tree)
	return w.Bytes()
}

// What a standard update does not take is refused with the field that is wrong and why.
func TestUpdateContainers(t *testing.T) {
	d := openPeerDoor(t, nil)
	octets := make([]byte, 32)
	if _, err := rand.Read(octets); err != nil {
		t.Fatal(err)
	}
	partial := func(presence mimi.RatchetTreePresence, extensions mls.Extensions) []byte {
		return mimi.PartialGroupInfo{Presence: presence, Extensions: extensions, Signature: octets}.Marshal()
	}
	bare := func(extensions mls.Extensions) mls.Extensions { return extensions[:1] } // external_pub
	plain := func(extensions mls.Extensions) []byte { return partial(mimi.NoRatchetTree, bare(extensions)) }
	none := mimi.DistributionServiceTree{}.Marshal()
	semi := commitBundle(t, plain, none)
	semi[2], semi[3] = 0xf0, 0x01
	for name, test := range map[string]struct {
		body          []byte
		field, reason string
	}{
		"ratchet_tree in full": {commitBundle(t, func(extensions mls.Extensions) []byte {
			return mimi.FullGroupInfo{GroupInfo: mls.GroupInfo{Context: mls.GroupContext{Suite: 1}, Extensions: extensions}}.Marshal()
		}, none), "groupInfoOption.groupInfo.extensions", "the ratchet_tree must not be in the GroupInfo"},
		"ratchet_tree in partial": {commitBundle(t, func(extensions mls.Extensions) []byte { return partial(mimi.NoRatchetTree, extensions) }, none),
			"groupInfoOption.partialGroupInfo.group_info_extensions", "the ratchet_tree must not be in the GroupInfo"},
		"ratchet_tree present": {commitBundle(t, func(extensions mls.Extensions) []byte { return partial(mimi.RatchetTreePresent, bare(extensions)) }, none),
			"groupInfoOption.partialGroupInfo.ratchet_tree_presence", "present: a GroupInfo with an embedded tree cannot be rebuilt"},
		"ratchet_tree added": {commitBundle(t, func(extensions mls.Extensions) []byte { return partial(mimi.RatchetTreeAdded, bare(extensions)) }, none),
			"groupInfoOption.partialGroupInfo.ratchet_tree_presence", "added: a GroupInfo with an embedded tree cannot be rebuilt"},
		"compressed tree": {commitBundle(t, plain, []byte{byte(mimi.TreeRepresentationCompressed), 0}),
			"ratchetTreeOption.representation", "compressed: it is negotiated for extension endpoints, and not taken here"},
		"patch": {commitBundle(t, plain, []byte{byte(mimi.TreeRepresentationDelta), 0}),
			"ratchetTreeOption.representation", "delta: it is negotiated for extension endpoints, and not taken here"},
		"unknown tree": {commitBundle(t, plain, []byte{9}), "ratchetTreeOption.representation", "value 9 is not defined"},
		"SemiPrivateMessage": {semi, "proposalOrCommit.wire_format",
			"wire format 0xf001 is of the private range: no SemiPrivateMessage, which has no number yet, is taken"},
	} {
		a := d.post(t, path("update", ourRoom), test.body)
		if p := problemIn(t, a); a.status != http.StatusBadRequest || !strings.HasSuffix(p.Field, test.field) || p.Detail != test.reason {
			t.Errorf("%s: got %d %+v", name, a.status, p)
		}
	}
	d.hub.set(fsm.Accepted{}, nil)
	for name, tree := range map[string]mimi.RatchetTreeOption{
		"httpsUri": mimi.HTTPSTree{URL: "https://b.example/tree", Signature: octets}, "outOfBand": mimi.OutOfBandTree{Signature: octets},
		"distributionService": mimi.DistributionServiceTree{},
	} {
		if a := d.post(t, path("update", ourRoom), commitBundle(t, plain, tree.Marshal())); a.status != http.StatusOK {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
}

// A follower can do nothing with a tree that it would have to have already.
func TestFanoutContainers(t *testing.T) {
	d := openPeerDoor(t, nil)
	welcome := mls.MLSMessage{Body: &mls.Welcome{Suite: 1, EncryptedGroupInfo: []byte{1}, Secrets: []mls.EncryptedGroupSecrets{
		{NewMember: "ref", Secrets: mls.HPKECiphertext{KEMOutput: []byte{1}, Ciphertext: []byte{1}}},
	}}}.Marshal()
	for name, tree := range map[string]mimi.RatchetTreeOption{"outOfBand": mimi.OutOfBandTree{}, "distributionService": mimi.DistributionServiceTree{}} {
		var w mls.Writer
		mimi.AppendFanoutWelcome(&w, 1, welcome, tree.Marshal())
		a := d.post(t, path("notify", theirRoom), w.Bytes())
		if p := problemIn(t, a); a.status != http.StatusBadRequest || !strings.HasSuffix(p.Field, "ratchetTreeOption") || p.Detail != name+": a new follower has no such tree" {
			t.Errorf("%s: got %d %+v", name, a.status, p)
		}
	}
}
