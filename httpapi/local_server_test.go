package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// localDoor is a running local listener of a.example.
type localDoor struct {
	hub      *fakeHub
	cluster  *fakeCluster
	outbound *fakePoster
	inbox    *fakeInbox
	address  string
	client   *http.Client
}

// fakeInbox gives out what the test puts in.
type fakeInbox struct {
	mu      sync.Mutex
	items   []fsm.OutboxItem
	events  []fsm.ClientEvent // of whichever client is asked for
	queries []fsm.EventQuery
	wake    chan struct{}
	reads   chan struct{} // one element per read, for tests that wait for one
}

func (i *fakeInbox) ReadInbox(_ context.Context, query fsm.InboxQuery) (fsm.InboxPage, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case i.reads <- struct{}{}:
	default:
	}
	return fitting(i.items, query)
}

func (i *fakeInbox) ReadEvents(_ context.Context, query fsm.EventQuery) (fsm.EventPage, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case i.reads <- struct{}{}:
	default:
	}
	i.queries = append(i.queries, query)
	return fsm.EventPage{Events: slices.Clone(i.events[:min(query.Items, len(i.events))]), Whole: len(i.events) <= query.Items}, nil
}

// fitting is a page of some items in their order.
func fitting(items []fsm.OutboxItem, query fsm.InboxQuery) (fsm.InboxPage, error) {
	page := fsm.InboxPage{Whole: true}
	for _, item := range items {
		classes, err := item.Classes()
		if err != nil {
			return fsm.InboxPage{}, err
		}
		if classes&query.Classes == 0 || item.Sequence <= query.After.Of(item.Slot) {
			continue
		}
		if page.Whole = len(page.Items) < query.Items; !page.Whole {
			break
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

func (i *fakeInbox) put(items ...fsm.OutboxItem) {
	i.mu.Lock()
	i.items = items
	i.mu.Unlock()
	i.wake <- struct{}{}
}

func openLocalDoor(t *testing.T) *localDoor {
	t.Helper()
	d := &localDoor{hub: answers(fsm.Done{}), outbound: &fakePoster{}}
	d.inbox = &fakeInbox{wake: make(chan struct{}, 1), reads: make(chan struct{}, 100)}
	d.cluster = &fakeCluster{domains: []mimi.Provider{hubDomain}, key: signingKey(t), tokens: map[[32]byte]meta.Token{
		sha256.Sum256([]byte("everything")): {ID: "1", Scopes: meta.Scopes()},
		sha256.Sum256([]byte("writer")):     {ID: "3", Scopes: []meta.Scope{meta.ScopeMessagesWrite}},
		sha256.Sum256([]byte("reader")):     {ID: "2", Scopes: []meta.Scope{meta.ScopeInboxRead}},
	}}
	ca := newAuthority(t, "CA")
	pulse := NewPulse(d.inbox.wake)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { pulse.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	desk := NewDesk(d.hub, d.cluster, d.cluster, d.outbound)
	s := NewLocalServer(LocalConfig{BodyBytesMax: 10_000}, desk, d.inbox, pulse, d.cluster, d.cluster, always(ca.issue(bothUsages, "a.example")), requestMetrics(t), quiet())
	d.address = "https://" + serve(t, s)
	d.client = httpClient(t, ca)
	return d
}

func (d *localDoor) call(t *testing.T, method, path, token, contentType string, body []byte) answered {
	t.Helper()
	r, err := http.NewRequest(method, d.address+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Content-Type", contentType)
	return do(t, d.client, r)
}

func (d *localDoor) json(t *testing.T, method, path string, body any) answered {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return d.call(t, method, path, "everything", "application/json", encoded)
}

func TestLocalTokens(t *testing.T) {
	d := openLocalDoor(t)
	for name, test := range map[string]struct {
		header []string
		path   string
		want   int
	}{
		"none":              {nil, "/v1/inbox", http.StatusUnauthorized},
		"unknown":           {[]string{"Bearer nobody"}, "/v1/inbox", http.StatusUnauthorized},
		"empty":             {[]string{"Bearer "}, "/v1/inbox", http.StatusUnauthorized},
		"another scheme":    {[]string{"Basic reader"}, "/v1/inbox", http.StatusUnauthorized},
		"two":               {[]string{"Bearer reader", "Bearer reader"}, "/v1/inbox", http.StatusUnauthorized},
		"too long":          {[]string{"Bearer " + strings.Repeat("x", 600)}, "/v1/inbox", http.StatusUnauthorized},
		"with the scope":    {[]string{"bearer reader"}, "/v1/inbox", http.StatusOK},
		"without the scope": {[]string{"Bearer reader"}, "/v1/rooms/" + mimi.PathSegment(ourRoom), http.StatusForbidden},
		"any scope":         {[]string{"Bearer reader"}, "/v1/hub-keys", http.StatusOK},
		"nothing needed":    {nil, "/openapi.json", http.StatusOK},
	} {
		r, err := http.NewRequest(http.MethodGet, d.address+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Authorization"] = test.header
		a := do(t, d.client, r)
		if a.status != test.want {
			t.Errorf("%s: got %d %s, want %d", name, a.status, a.body, test.want)
		}
		if a.status >= 400 {
			problemIn(t, a)
		}
		if (a.header.Get("WWW-Authenticate") != "") != (a.status == http.StatusUnauthorized) {
			t.Errorf("%s: WWW-Authenticate %q", name, a.header.Get("WWW-Authenticate"))
		}
	}
	if len(d.hub.asked()) != 0 {
		t.Error("a request without leave went on")
	}
}

// What is wrong in the query is told by the name of its parameter.
func TestLocalQueryFields(t *testing.T) {
	d := openLocalDoor(t)
	consents := "/v1/users/" + mimi.PathSegment(alice) + "/consents"
	for target, field := range map[string]string{
		"GET /v1/staleRooms?after=somewhere":                                           "after",
		"GET " + consents + "?requester=somebody":                                      "requester",
		"GET " + consents + "?max=0":                                                   "max",
		"PUT " + consents + "/" + mimi.PathSegment(bob) + "?room=mimi://b.example/u/x": "room",
		"GET /v1/inbox?waitSeconds=61":                                                 "waitSeconds",
		"GET /v1/inbox?after=x":                                                        "after",
		"GET /v1/inbox?classes=none":                                                   "classes",
	} {
		method, path, _ := strings.Cut(target, " ")
		a := d.call(t, method, path, "everything", "application/json", []byte("{}"))
		if p := problemIn(t, a); a.status != http.StatusBadRequest || p.Field != field {
			t.Errorf("%s: %d %+v", target, a.status, p)
		}
	}
	if len(d.hub.asked()) > 0 {
		t.Error("a malformed request went on")
	}
}

func TestLocalUpload(t *testing.T) {
	d := openLocalDoor(t)
	target := "/v1/users/" + mimi.PathSegment(alice) + "/clients/" + mimi.PathSegment(clientURI("mimi://a.example/d/1")) + "/keyPackages"
	k := signedKeyPackage(t, "mimi://a.example/d/1")
	d.hub.set(fsm.Uploaded{Stored: 1, Refused: []mls.KeyPackageRef{"r"}, Left: 4}, nil)
	a := d.json(t, http.MethodPost, target, uploadRequest{KeyPackages: [][]byte{k.Marshal()}})
	if want := `{"stored":1,"known":0,"refused":["cg=="],"left":4}`; a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != want {
		t.Errorf("got %d %s", a.status, a.body)
	}
	d.hub.set(fsm.Uploaded{}, nil)
	theirs := "/v1/users/" + mimi.PathSegment(bob) + "/clients/" + mimi.PathSegment(clientURI("mimi://b.example/d/1")) + "/keyPackages"
	for name, test := range map[string]struct {
		path, body, contentType, field string
		status                         int
	}{
		"another provider's user": {theirs, `{"keyPackages":["AA=="]}`, "application/json", "user", 403},
		"no KeyPackages":          {target, `{}`, "application/json", "keyPackages", 400},
		"a broken KeyPackage":     {target, `{"keyPackages":["AAAA"]}`, "application/json", "keyPackages[0]", 400},
		"not base64":              {target, `{"keyPackages":["?"]}`, "application/json", "keyPackages", 400},
		"a wrong type":            {target, `{"keyPackages":7}`, "application/json", "keyPackages", 400},
		"an unknown field":        {target, `{"keypackage":[]}`, "application/json", "keypackage", 400},
		"trailing bytes":          {target, `{"keyPackages":["AA=="]} x`, "application/json", "body", 400},
		"cut short":               {target, `{"keyPackages":["AA=="`, "application/json", "body", 400},
		"over the limit":          {target, `{"keyPackages":["` + strings.Repeat("A", 20_000) + `"]}`, "application/json", "body", 400},
		"not JSON":                {target, `x`, "text/plain", "Content-Type", 415},
		"a broken path":           {"/v1/users/alice/clients/phone/keyPackages", `{"keyPackages":["AA=="]}`, "application/json", "path", 400},
	} {
		a := d.call(t, http.MethodPost, test.path, "everything", test.contentType, []byte(test.body))
		if p := problemIn(t, a); a.status != test.status || p.Field != test.field {
			t.Errorf("%s: got %d %+v", name, a.status, p)
		}
	}
	if n := len(d.hub.asked()); n != 0 {
		t.Errorf("the hub was asked %d times", n)
	}
}

func TestLocalRooms(t *testing.T) {
	d := openLocalDoor(t)
	target := "/v1/rooms/" + mimi.PathSegment(ourRoom)
	d.hub.set(fsm.RoomDescribed{Room: ourRoom, GroupID: "g", Suite: 1, Epoch: 3, TreeHash: []byte{1},
		Participants: []fsm.Participant{{User: alice, Role: 2}}, Destinations: []mimi.Provider{peerDomain}, Pending: 1}, nil)
	a := d.json(t, http.MethodGet, target, nil)
	want := `{"room":"mimi://a.example/r/clubhouse","groupId":"Zw==","cipherSuite":1,"epoch":3,"treeHash":"AQ==",` +
		`"participants":[{"user":"mimi://a.example/u/alice","role":2}],"destinations":["b.example"],"pendingProposals":1}`
	if a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != want {
		t.Errorf("got %d %s", a.status, a.body)
	}
	d.hub.set(fsm.NoSuchRoom{}, nil)
	if a := d.json(t, http.MethodGet, target, nil); a.status != http.StatusNotFound {
		t.Errorf("no such room: %d", a.status)
	}
	if a := d.json(t, http.MethodGet, "/v1/rooms/"+mimi.PathSegment(theirRoom), nil); a.status != http.StatusNotFound {
		t.Errorf("a room elsewhere: %d", a.status)
	}
	d.hub.set(fsm.Accepted{}, nil)
	for field, request := range map[string]createRoomRequest{
		"room": {Room: theirRoom, Creator: alice}, "creator": {Room: ourRoom, Creator: bob}, "GroupInfo.group_context.version": {Room: ourRoom, Creator: alice},
	} {
		a := d.json(t, http.MethodPost, "/v1/rooms", request)
		if p := problemIn(t, a); p.Field != field || a.status >= 500 {
			t.Errorf("%s: got %d %+v", field, a.status, p)
		}
	}
	if n := len(d.hub.asked()); n != 0 {
		t.Errorf("the hub was asked %d times", n)
	}
}

func TestLocalDraftEndpoints(t *testing.T) {
	d := openLocalDoor(t)
	join, _ := groupInfoBody(t, alice)
	foreignJoin, _ := groupInfoBody(t, bob)
	at := func(room mimi.RoomURI, endpoint string) string {
		return "/v1/rooms/" + mimi.PathSegment(room) + "/" + endpoint
	}
	for name, test := range map[string]struct {
		endpoint string
		body     []byte
		outcome  fsm.Outcome
		want     interface{ Marshal() []byte }
	}{
		"update":        {"update", updateBody(), fsm.Accepted{Millis: 3}, mimi.UpdateRoomResponse{Result: mimi.UpdateSuccess{AcceptedMillis: 3}}},
		"submitMessage": {"submitMessage", submitBody(alice), fsm.Accepted{Millis: 3}, mimi.SubmitAccepted{AcceptedMillis: 3}},
		"groupInfo":     {"groupInfo", join, fsm.NotAllowed{}, mimi.GroupInfoNotAuthorized{Room: ourRoom}},
	} {
		d.hub.set(test.outcome, nil)
		a := d.call(t, http.MethodPost, at(ourRoom, test.endpoint), "everything", mimi.MediaType, test.body)
		if a.status != http.StatusOK || !bytes.Equal(a.body, test.want.Marshal()) || len(d.hub.asked()) != 1 {
			t.Errorf("%s here: got %d %x", name, a.status, a.body)
		}
		// A room elsewhere: the body goes to that hub unchanged, and its answer comes back unchanged.
		d.hub.set(fsm.Done{}, nil)
		d.outbound.sent = nil
		d.outbound.reply = func(mimi.Provider, Target, []byte, string) (*Reply, error) {
			return &Reply{Status: 429, Header: http.Header{"Retry-After": {"3"}, mimi.HeaderEpochWinner: {"ab"}, "Content-Type": {"text/odd"}, "Secret": {"x"}}, Body: []byte("wait")}, nil
		}
		a = d.call(t, http.MethodPost, at(theirRoom, test.endpoint), "everything", mimi.MediaType, test.body)
		if a.status != 429 || string(a.body) != "wait" || a.header.Get("Retry-After") != "3" || a.header.Get(mimi.HeaderEpochWinner) != "ab" || a.header.Get("Secret") != "" {
			t.Errorf("%s there: got %d %s %v", name, a.status, a.body, a.header)
		}
		if len(d.outbound.sent) != 1 || d.outbound.sent[0].to != peerDomain || !bytes.Equal(d.outbound.sent[0].body, test.body) ||
			d.outbound.sent[0].target.String() != test.endpoint || len(d.hub.asked()) != 0 {
			t.Errorf("%s there: sent %+v", name, d.outbound.sent)
		}
		d.outbound.reply = func(to mimi.Provider, _ Target, _ []byte, _ string) (*Reply, error) {
			return nil, &SendError{To: to, MaybeSent: true}
		}
		a = d.call(t, http.MethodPost, at(theirRoom, test.endpoint), "everything", mimi.MediaType, test.body)
		if p := problemIn(t, a); a.status != 503 || p.Type != "urn:parley:problem:"+problemUnknownOutcome {
			t.Errorf("%s cut off: %d %+v", name, a.status, p)
		}
	}
	// A room of a provider that is no peer: nothing was sent, and waiting does not help.
	d.outbound.reply = func(to mimi.Provider, _ Target, _ []byte, _ string) (*Reply, error) {
		return nil, &SendError{To: to, Err: errNoPeer}
	}
	a := d.call(t, http.MethodPost, at(theirRoom, "update"), "everything", mimi.MediaType, updateBody())
	if p := problemIn(t, a); a.status != http.StatusNotFound || p.Type != "urn:parley:problem:"+problemNoPeer || a.header.Get("Retry-After") != "" {
		t.Errorf("no peer: %d %+v", a.status, p)
	}
	d.outbound.sent = nil
	for endpoint, body := range map[string][]byte{"submitMessage": submitBody(bob), "groupInfo": foreignJoin} {
		for _, room := range []mimi.RoomURI{ourRoom, theirRoom} {
			a := d.call(t, http.MethodPost, at(room, endpoint), "everything", mimi.MediaType, body)
			if p := problemIn(t, a); a.status != http.StatusForbidden || p.Field == "" {
				t.Errorf("%s for another provider's user: %d %+v", endpoint, a.status, p)
			}
		}
	}
	if len(d.outbound.sent) != 0 || len(d.hub.asked()) != 0 {
		t.Error("a refused request went on")
	}
}

func TestLocalKeyMaterial(t *testing.T) {
	d := openLocalDoor(t)
	hub, _ := hubOfClaims()
	k := keyPackage(clientURI("mimi://b.example/d/1"))
	upstream := mimi.KeyMaterialResponse{User: bob, Clients: []mimi.ClientKeyMaterial{
		{Client: clientURI("mimi://b.example/d/1"), Material: mimi.ClaimedKeyPackage{KeyPackage: k}},
	}}.Marshal()
	d.outbound.reply = func(mimi.Provider, Target, []byte, string) (*Reply, error) {
		return &Reply{Status: 200, Header: http.Header{}, Body: upstream}, nil
	}
	zoe := user("mimi://a.example/u/zoe")
	for name, test := range map[string]struct {
		requester, target mimi.UserURI
		room              mimi.RoomURI
		sent              mimi.Provider
		asked             int
		status            int
	}{
		"a local user, a room here":         {zoe, alice, ourRoom, mimi.Provider{}, 2, 200},
		"a local user, no room":             {zoe, alice, mimi.RoomURI{}, mimi.Provider{}, 1, 200},
		"a local user, a room elsewhere":    {zoe, alice, theirRoom, peerDomain, 0, 200},
		"a user elsewhere, a room here":     {zoe, bob, ourRoom, peerDomain, 1, 200},
		"a user elsewhere, no room":         {zoe, bob, mimi.RoomURI{}, peerDomain, 0, 200},
		"a user elsewhere, room at a third": {zoe, bob, room("mimi://c.example/r/x"), thirdParty, 0, 200},
		"in another provider's name":        {bob, alice, ourRoom, mimi.Provider{}, 0, 403},
	} {
		d.hub.set(nil, nil)
		d.hub.answer = hub.answer
		d.outbound.sent = nil
		a := d.call(t, http.MethodPost, "/v1/keyMaterial/"+mimi.PathSegment(test.target), "everything", mimi.MediaType,
			claimBody(t, test.requester, test.target, test.room))
		var sent mimi.Provider
		if len(d.outbound.sent) == 1 {
			sent = d.outbound.sent[0].to
		}
		if a.status != test.status || sent != test.sent || len(d.hub.asked()) != test.asked {
			t.Errorf("%s: got %d %q, sent to %q, hub asked %d times", name, a.status, a.body, sent, len(d.hub.asked()))
		}
	}
}

func TestLocalHubKeys(t *testing.T) {
	d := openLocalDoor(t)
	a := d.json(t, http.MethodGet, "/v1/hub-keys", nil)
	var list hubKeyList
	if err := json.Unmarshal(a.body, &list); err != nil || len(list.Keys) != 1 {
		t.Fatalf("%s: %v", a.body, err)
	}
	sender, err := mls.ParseExternalSender(list.Keys[0].ExternalSender)
	if err != nil || !bytes.Equal(sender.SignatureKey, d.cluster.key.Public()) || list.Keys[0].SignatureScheme != "Ed25519" || len(list.Keys[0].CipherSuites) != 2 {
		t.Errorf("%+v: %v", list, err)
	}
	if len(list.Suites) != 1 || list.Suites[0].CipherSuite != 1 { // the hub has both of what is published for it alone
		t.Fatalf("%+v", list.Suites)
	}
	agent, err := mls.ParseExternalSender(list.Suites[0].FrankingAgent)
	if err != nil || string(agent.SignatureKey) != "franking" {
		t.Errorf("franking agent %+v: %v", agent, err)
	}
	receiver, err := mimi.ParseExternalReceiver(list.Suites[0].ExternalReceiver)
	if err != nil || string(receiver.Key) != "receiver" || string(receiver.Credential.(mls.BasicCredential).Identity) != "mimi://a.example" {
		t.Errorf("external receiver %+v: %v", receiver, err)
	}
}

func TestInboxIDs(t *testing.T) {
	for _, item := range []fsm.OutboxItem{{Slot: 0, Sequence: 1}, {Slot: 4095, Sequence: 1<<64 - 1}, {Slot: 0x0a3, Sequence: 15}} {
		slot, sequence, err := parseItemID(itemID(item))
		if err != nil || slot != item.Slot || sequence != item.Sequence {
			t.Errorf("%s: %d %d %v", itemID(item), slot, sequence, err)
		}
	}
	for _, id := range []string{"", "-", "0a3", "0a3-", "a3-1", "00a3-1", "0a3--1", "xyz-1", "0a3-99999999999999999999"} {
		if _, _, err := parseItemID(id); err == nil {
			t.Errorf("%q was taken", id)
		}
	}
}

func TestLocalInbox(t *testing.T) {
	d := openLocalDoor(t)
	item := fsm.OutboxItem{Slot: 0xabc, Destination: hubDomain, Sequence: 5, Room: theirRoom, Hub: peerDomain, Millis: 9, Body: fanoutBody()}
	read := func(query string) (inboxBatch, answered) {
		a := d.json(t, http.MethodGet, "/v1/inbox"+query, nil)
		var batch inboxBatch
		if err := json.Unmarshal(a.body, &batch); err != nil {
			t.Fatalf("%d %s: %v", a.status, a.body, err)
		}
		return batch, a
	}
	if batch, a := read(""); a.status != 200 || len(batch.Items) != 0 || !bytes.Contains(a.body, []byte("[]")) {
		t.Errorf("empty inbox: %d %s", a.status, a.body)
	}
	<-d.inbox.reads
	// A reader waits, and is woken.
	type result struct {
		batch inboxBatch
		a     answered
	}
	waited := make(chan result, 1)
	go func() {
		batch, a := read("?waitSeconds=60")
		waited <- result{batch, a}
	}()
	<-d.inbox.reads // it has looked and found nothing
	d.inbox.put(item)
	got := (<-waited).batch
	if len(got.Items) != 1 || got.Items[0].ID != "abc-5" || got.Items[0].Room != theirRoom || got.Items[0].Hub != peerDomain || len(got.Items[0].Events) != 2 {
		t.Fatalf("got %+v", got)
	}
	first, second := got.Items[0].Events[0], got.Items[0].Events[1]
	message := proposal()
	if first.Kind != "proposal" || *first.Epoch != 7 || string(first.GroupID) != "group" || !bytes.Equal(first.Message, message.Marshal()) ||
		second.Kind != "application" || second.AcceptedMillis != 1001 {
		t.Errorf("events %+v %+v", first, second)
	}
	if batch, _ := read("?form=raw"); len(batch.Items) != 1 || !bytes.Equal(batch.Items[0].Body, item.Body) || batch.Items[0].Events != nil {
		t.Errorf("raw: %+v", batch)
	}
	for query, field := range map[string]string{"?max=0": "max", "?max=1001": "max", "?waitSeconds=61": "waitSeconds", "?waitSeconds=x": "waitSeconds", "?form=x": "form"} {
		if a := d.json(t, http.MethodGet, "/v1/inbox"+query, nil); a.status != 400 || problemIn(t, a).Field != field {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestLocalInboxStream(t *testing.T) {
	d := openLocalDoor(t)
	item := func(sequence uint64) fsm.OutboxItem {
		return fsm.OutboxItem{Slot: 1, Destination: hubDomain, Sequence: sequence, Room: theirRoom, Hub: peerDomain, Body: fanoutBody()}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.address+"/v1/inbox", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer reader")
	r.Header.Set("Accept", "application/x-ndjson")
	response, err := d.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := json.NewDecoder(response.Body)
	next := func(want string) {
		t.Helper()
		var got inboxItem
		if err := lines.Decode(&got); err != nil || got.ID != want {
			t.Fatalf("got %+v, want %s: %v", got, want, err)
		}
	}
	d.inbox.put(item(1))
	next("001-1")
	d.inbox.put(item(1), item(2)) // the first is not acknowledged yet, and does not come again
	next("001-2")
	d.inbox.put(item(3))
	next("001-3")
}

func TestLocalAcknowledge(t *testing.T) {
	d := openLocalDoor(t)
	d.hub.set(fsm.Done{}, nil)
	a := d.json(t, http.MethodPost, "/v1/inbox/acknowledge", acknowledgeRequest{IDs: []string{"001-1", "001-2", "fff-9", "001-1"}})
	if a.status != 200 || strings.TrimSpace(string(a.body)) != `{"acknowledged":3}` {
		t.Errorf("got %d %s", a.status, a.body)
	}
	sequences := map[fsm.SlotID][]uint64{}
	for _, r := range d.hub.asked() {
		verdict, err := r.Judge(nil)
		if err != nil {
			t.Fatal(err)
		}
		command := verdict.(judge.Propose).Command.(fsm.Acknowledge)
		sequences[command.At] = command.Sequences
		if command.Destination != hubDomain {
			t.Errorf("destination %s", command.Destination)
		}
	}
	if len(sequences) != 2 || len(sequences[1]) != 2 || len(sequences[0xfff]) != 1 {
		t.Errorf("acknowledged %v", sequences)
	}
	if a := d.json(t, http.MethodPost, "/v1/inbox/acknowledge", acknowledgeRequest{IDs: []string{"x"}}); a.status != 400 || problemIn(t, a).Field != "ids" {
		t.Errorf("a made-up ID: %d", a.status)
	}
	d.hub.set(nil, fsm.ErrUnknownOutcome)
	if a := d.json(t, http.MethodPost, "/v1/inbox/acknowledge", acknowledgeRequest{IDs: []string{"001-1"}}); a.status != 503 {
		t.Errorf("unknown: %d", a.status)
	}
}
