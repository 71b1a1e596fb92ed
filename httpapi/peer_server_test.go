package httpapi

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// peerDoor is a running peer listener of a.example, with b.example and c.example as its peers.
type peerDoor struct {
	hub      *fakeHub
	cluster  *fakeCluster
	outbound *fakePoster
	ca       *authority
	address  string
	client   *http.Client // b.example
}

func openPeerDoor(t *testing.T, change func(*PeerConfig)) *peerDoor {
	t.Helper()
	d := &peerDoor{hub: answers(fsm.Done{}), outbound: &fakePoster{}, ca: newAuthority(t, "test CA")}
	d.cluster = &fakeCluster{domains: []mimi.Provider{hubDomain}, key: signingKey(t)}
	d.cluster.setPeers(
		meta.Peer{Domain: peerDomain, Domains: []mimi.Provider{peerDomain, provider("b2.example")}, TrustPEM: d.ca.pem},
		meta.Peer{Domain: thirdParty, Domains: []mimi.Provider{thirdParty}, TrustPEM: d.ca.pem},
	)
	cfg := PeerConfig{PublicURL: "https://mimi.a.example"}
	if change != nil {
		change(&cfg)
	}
	desk := NewDesk(d.hub, d.cluster, d.cluster, d.outbound)
	s, err := NewPeerServer(cfg, desk, d.cluster, d.cluster, always(d.ca.issue(bothUsages, "a.example")), requestMetrics(t), quiet())
	if err != nil {
		t.Fatal(err)
	}
	d.address = serve(t, s)
	d.client = httpClient(t, d.ca, d.ca.issue(bothUsages, "b.example"))
	return d
}

func (d *peerDoor) request(t *testing.T, path string, from string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "https://"+d.address+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if from != "" {
		r.Header.Set("From", from)
	}
	return r
}

func (d *peerDoor) post(t *testing.T, path string, body []byte) answered {
	t.Helper()
	return do(t, d.client, d.request(t, path, "mimi@b.example", body))
}

// problemIn reads a problem and checks its media type.
func problemIn(t testing.TB, a answered) Problem {
	t.Helper()
	var p Problem
	if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != ProblemMediaType {
		t.Fatalf("status %d: no problem but %q (%s): %v", a.status, a.body, a.header.Get("Content-Type"), err)
	}
	if p.Status != a.status {
		t.Errorf("the problem says %d, the answer %d", p.Status, a.status)
	}
	return p
}

func path(endpoint string, value interface{ String() string }) string {
	return "/v1/" + endpoint + "/" + mimi.PathSegment(value)
}

func TestPeerUpdate(t *testing.T) {
	d := openPeerDoor(t, nil)
	for name, test := range map[string]struct {
		outcome fsm.Outcome
		want    mimi.UpdateRoomResponse
		winner  string
	}{
		"accepted": {outcome: fsm.Accepted{Millis: 5, Epoch: 8}, want: mimi.UpdateRoomResponse{Result: mimi.UpdateSuccess{AcceptedMillis: 5}}},
		"wrong epoch": {outcome: fsm.WrongEpoch{Current: 9, Winner: [32]byte{0xab}},
			want:   mimi.UpdateRoomResponse{Description: "the group is in another epoch", Result: mimi.UpdateWrongEpoch{Current: 9}},
			winner: "ab" + hex.EncodeToString(make([]byte, 31))},
		"wrong epoch, winner forgotten": {outcome: fsm.WrongEpoch{Current: 9},
			want: mimi.UpdateRoomResponse{Description: "the group is in another epoch", Result: mimi.UpdateWrongEpoch{Current: 9}}},
		"not allowed": {outcome: fsm.NotAllowed{Reason: "banned"},
			want: mimi.UpdateRoomResponse{Description: "banned", Result: mimi.UpdateNotAllowed{}}},
		"no such room": {outcome: fsm.NoSuchRoom{},
			want: mimi.UpdateRoomResponse{Description: "there is no such room", Result: mimi.UpdateNotAllowed{}}},
		"invalid proposal": {outcome: fsm.InvalidProposal{Refs: []mls.ProposalRef{"ref"}, Reason: "gone"},
			want: mimi.UpdateRoomResponse{Description: "gone", Result: mimi.UpdateInvalidProposal{Proposals: []mls.ProposalRef{"ref"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			d.hub.set(test.outcome, nil)
			a := d.post(t, path("update", ourRoom), updateBody())
			if a.status != http.StatusOK || !bytes.Equal(a.body, test.want.Marshal()) {
				t.Errorf("got %d %x, want %x", a.status, a.body, test.want.Marshal())
			}
			if got := a.header.Get("Content-Type"); got != mimi.MediaType {
				t.Errorf("media type %q", got)
			}
			if got := a.header.Get("Mimi-Epoch-Winner"); got != test.winner {
				t.Errorf("winner %q, want %q", got, test.winner)
			}
		})
	}
}

// Every endpoint goes through the same function for errors; one endpoint shows it.
func TestPeerUnavailable(t *testing.T) {
	d := openPeerDoor(t, nil)
	for name, test := range map[string]struct {
		err    error
		status int
		kind   string
		retry  bool
	}{
		"not proposed": {fmt.Errorf("do: %w", fsm.ErrNotProposed), http.StatusServiceUnavailable, problemNotProposed, true},
		"overloaded":   {fmt.Errorf("do: %w", fsm.ErrOverloaded), http.StatusTooManyRequests, problemOverloaded, true},
		"unknown":      {fmt.Errorf("do: %w", fsm.ErrUnknownOutcome), http.StatusServiceUnavailable, problemUnknownOutcome, true},
		"malformed":    {&mls.MalformedError{Field: "Commit.path", Reason: "odd"}, http.StatusBadRequest, problemMalformed, false},
		"fault":        {fmt.Errorf("secret detail"), http.StatusInternalServerError, problemInternal, false},
	} {
		t.Run(name, func(t *testing.T) {
			d.hub.set(nil, test.err)
			a := d.post(t, path("update", ourRoom), updateBody())
			p := problemIn(t, a)
			if a.status != test.status || p.Type != "urn:parley:problem:"+test.kind {
				t.Errorf("got %d %s", a.status, p.Type)
			}
			if got := a.header.Get("Retry-After"); (got == "1") != test.retry {
				t.Errorf("Retry-After %q", got)
			}
			if bytes.Contains(a.body, []byte("secret")) {
				t.Errorf("internal detail reached the peer: %s", a.body)
			}
			if name == "malformed" && p.Field != "Commit.path" {
				t.Errorf("field %q", p.Field)
			}
		})
	}
}

func TestPeerSubmitMessage(t *testing.T) {
	d := openPeerDoor(t, nil)
	for name, test := range map[string]struct {
		outcome fsm.Outcome
		want    mimi.SubmitMessageResponse
	}{
		"accepted":     {fsm.Accepted{Millis: 6}, mimi.SubmitAccepted{AcceptedMillis: 6}},
		"too old":      {fsm.EpochTooOld{Current: 12}, mimi.SubmitEpochTooOld{Current: 12}},
		"future epoch": {fsm.WrongEpoch{Current: 3}, mimi.SubmitNotAllowed{}},
		"not allowed":  {fsm.NotAllowed{Reason: "x"}, mimi.SubmitNotAllowed{}},
		"no such room": {fsm.NoSuchRoom{}, mimi.SubmitNotAllowed{}},
	} {
		t.Run(name, func(t *testing.T) {
			d.hub.set(test.outcome, nil)
			a := d.post(t, path("submitMessage", ourRoom), submitBody(bob))
			if a.status != http.StatusOK || !bytes.Equal(a.body, test.want.Marshal()) {
				t.Errorf("got %d %x, want %x", a.status, a.body, test.want.Marshal())
			}
		})
	}
}

func TestPeerNotify(t *testing.T) {
	d := openPeerDoor(t, nil)
	d.hub.set(fsm.Accepted{Millis: 1}, nil)
	for range 2 { // the hub tells duplicates; both get the same answer
		if a := d.post(t, path("notify", theirRoom), fanoutBody()); a.status != http.StatusCreated || len(a.body) != 0 {
			t.Errorf("got %d %q", a.status, a.body)
		}
	}
	for name, room := range map[string]mimi.RoomURI{"ours": ourRoom, "a third provider's": room("mimi://c.example/r/x")} {
		d.hub.set(fsm.Accepted{}, nil)
		a := d.post(t, path("notify", room), fanoutBody())
		if p := problemIn(t, a); a.status != http.StatusForbidden || p.Field == "" || len(d.hub.asked()) != 0 {
			t.Errorf("%s room: got %d %+v, hub asked %d times", name, a.status, p, len(d.hub.asked()))
		}
	}
	d.hub.set(fsm.Accepted{}, nil)
	if a := d.post(t, path("notify", room("mimi://b2.example/r/x")), fanoutBody()); a.status != http.StatusCreated {
		t.Errorf("a room of the peer's other domain: got %d %s", a.status, a.body)
	}
}

func TestPeerGroupInfo(t *testing.T) {
	d := openPeerDoor(t, nil)
	entry := mls.ExternalSender{SignatureKey: d.cluster.key.Public(), Credential: mls.BasicCredential{Identity: []byte("as the room has it")}}
	info := mls.GroupInfo{
		Context: mls.GroupContext{Suite: 1, GroupID: "group", Epoch: 7, TreeHash: []byte{1}, ConfirmedTranscriptHash: []byte{2},
			Extensions: mls.Extensions{}.With(mls.ExtensionExternalSenders, mls.ExternalSenders{entry}.Marshal())},
		Extensions: mls.Extensions{}.With(mls.ExtensionExternalPub, mls.ExternalPub{Key: []byte{9}}.Marshal()),
		Signature:  []byte{3},
	}
	leaf := keyPackage(clientURI("mimi://a.example/d/1")).Leaf
	var node mls.Writer
	node.Bool(true)
	node.Uint8(1)
	leaf.AppendTo(&node)
	var tree mls.Writer
	tree.Opaque(node.Bytes())
	pending := proposal()
	d.hub.set(fsm.Disclosed{
		Suite: 1, Epoch: 7, GroupInfo: info.Marshal(), RatchetTree: tree.Bytes(),
		Pending: []fsm.PendingProposal{{Ref: "r", Message: pending.Marshal(), AcceptedMillis: 44}},
	}, nil)
	body, private := groupInfoBody(t, bob)
	a := d.post(t, path("groupInfo", ourRoom), body)
	response, err := mimi.ParseGroupInfoResponse(a.body)
	if err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	granted, ok := response.(mimi.GroupInfoGranted)
	if !ok || !granted.VerifySignature() || granted.Room != ourRoom || granted.Suite != 1 {
		t.Fatalf("not a signed grant: %+v", response)
	}
	if !bytes.Equal(granted.HubSender.Marshal(), entry.Marshal()) {
		t.Errorf("hub_sender is not the room's entry: %+v", granted.HubSender)
	}
	plain, err := granted.Open(private)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(plain.GroupInfo.Marshal(), info.Marshal()) || len(plain.Pending) != 1 || plain.Pending[0].AcceptedMillis != 44 ||
		!bytes.Equal(plain.Tree.(mimi.FullTree).Encoded, tree.Bytes()) {
		t.Errorf("disclosed %+v", plain)
	}

	d.hub.set(fsm.LeaseHeld{NowMillis: 1000, UntilMillis: 4001}, nil)
	if a := d.post(t, path("groupInfo", ourRoom), body); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "4" {
		t.Errorf("lease held: %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	for outcome, want := range map[fsm.Outcome]mimi.GroupInfoResponse{
		fsm.NotAllowed{Reason: "x"}: mimi.GroupInfoNotAuthorized{Room: ourRoom},
		fsm.NoSuchRoom{}:            mimi.GroupInfoNoSuchRoom{Room: ourRoom},
	} {
		d.hub.set(outcome, nil)
		if a := d.post(t, path("groupInfo", ourRoom), body); a.status != http.StatusOK || !bytes.Equal(a.body, want.Marshal()) {
			t.Errorf("%T: got %d %x", outcome, a.status, a.body)
		}
	}

	// A key that nothing can be encrypted to is refused before a lease is taken.
	bad, err := mimi.GroupInfoRequest{Suite: 1, Credential: mls.BasicCredential{Identity: []byte(bob.String())}, HPKEKey: []byte{1}}.Signed(signingKey(t))
	if err != nil {
		t.Fatal(err)
	}
	d.hub.set(fsm.NoSuchRoom{}, nil)
	a = d.post(t, path("groupInfo", ourRoom), bad.Marshal())
	if p := problemIn(t, a); a.status != http.StatusBadRequest || p.Field != "GroupInfoRequest.groupInfoPublicKey" || len(d.hub.asked()) != 0 {
		t.Errorf("got %d %+v, hub asked %d times", a.status, p, len(d.hub.asked()))
	}
}

// hubOfClaims answers a claim with one KeyPackage of alice's client, and remembers routes.
func hubOfClaims() (*fakeHub, mls.KeyPackage) {
	k := keyPackage(clientURI("mimi://a.example/d/phone"))
	return &fakeHub{answer: func(r judge.Request) (fsm.Outcome, error) {
		if _, claim := r.(*judge.Claim); !claim {
			return fsm.Done{}, nil
		}
		return fsm.Claimed{User: alice, Code: mimi.KeyMaterialPartialSuccess, Clients: []fsm.ClaimedClient{
			{Client: clientURI("mimi://a.example/d/phone"), Code: mimi.KeyMaterialClientSuccess, KeyPackage: k.Marshal()},
			{Client: clientURI("mimi://a.example/d/tablet"), Code: mimi.KeyMaterialClientExhausted},
		}}, nil
	}}, k
}

func TestPeerKeyMaterialAsTarget(t *testing.T) {
	d := openPeerDoor(t, nil)
	hub, k := hubOfClaims()
	d.hub.answer = hub.answer
	a := d.post(t, path("keyMaterial", alice), claimBody(t, bob, alice, theirRoom))
	response, err := mimi.ParseKeyMaterialResponse(a.body)
	if err != nil || response.User != alice || len(response.Clients) != 2 {
		t.Fatalf("got %d %s: %v", a.status, a.body, err)
	}
	got, ok := response.Clients[0].Material.(mimi.ClaimedKeyPackage)
	if !ok || !bytes.Equal(got.KeyPackage.Marshal(), k.Marshal()) {
		t.Errorf("KeyPackage %+v", response.Clients[0])
	}
	asked := d.hub.asked()
	if len(asked) != 2 {
		t.Fatalf("the hub was asked %T", asked)
	}
	if _, routes := asked[1].(*judge.RecordRoutes); !routes || asked[1].Slot() != fsm.SlotOfRoom(theirRoom) {
		t.Errorf("routes were not recorded at the room but %T", asked[1])
	}

	// Until the routes are written nobody gets the KeyPackages, and nobody is told that nothing was written: they are claimed.
	d.hub.answer = func(r judge.Request) (fsm.Outcome, error) {
		if _, routes := r.(*judge.RecordRoutes); routes {
			return nil, fsm.ErrNotProposed
		}
		return hub.answer(r)
	}
	if a := d.post(t, path("keyMaterial", alice), claimBody(t, bob, alice, theirRoom)); a.status != http.StatusServiceUnavailable || !bytes.Contains(a.body, []byte("unknown")) {
		t.Errorf("got %d %s", a.status, a.body)
	}
	d.hub.set(fsm.NotAllowed{Reason: "x"}, nil)
	want := mimi.KeyMaterialResponse{Status: mimi.KeyMaterialNoConsent, User: alice}
	if a := d.post(t, path("keyMaterial", alice), claimBody(t, bob, alice, theirRoom)); !bytes.Equal(a.body, want.Marshal()) {
		t.Errorf("not allowed: %d %x", a.status, a.body)
	}
}

func TestPeerKeyMaterialAsHub(t *testing.T) {
	d := openPeerDoor(t, nil)
	k := keyPackage(clientURI("mimi://c.example/d/1"))
	upstream := mimi.KeyMaterialResponse{User: cathy, Clients: []mimi.ClientKeyMaterial{
		{Client: clientURI("mimi://c.example/d/1"), Material: mimi.ClaimedKeyPackage{KeyPackage: k}},
	}}.Marshal()
	d.outbound.reply = func(mimi.Provider, Target, []byte, string) (*Reply, error) {
		return &Reply{Status: http.StatusOK, Header: http.Header{}, Body: upstream}, nil
	}
	body := claimBody(t, bob, cathy, ourRoom)
	r := d.request(t, path("keyMaterial", cathy), "mimi@b.example", body)
	r.Header.Set("Idempotency-Key", "once")
	a := do(t, d.client, r)
	if a.status != http.StatusOK || !bytes.Equal(a.body, upstream) {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	if len(d.outbound.sent) != 1 || d.outbound.sent[0].to != thirdParty || !bytes.Equal(d.outbound.sent[0].body, body) || d.outbound.sent[0].key != "once" {
		t.Errorf("forwarded %+v", d.outbound.sent)
	}
	if asked := d.hub.asked(); len(asked) != 1 || asked[0].Slot() != fsm.SlotOfRoom(ourRoom) {
		t.Errorf("the hub was asked %T", asked)
	}

	other := mimi.KeyMaterialResponse{User: bob}.Marshal()
	for name, test := range map[string]struct {
		reply  *Reply
		err    error
		status int
	}{
		"another user's answer": {&Reply{Status: 200, Header: http.Header{}, Body: other}, nil, http.StatusBadGateway},
		"an unreadable answer":  {&Reply{Status: 200, Header: http.Header{}, Body: []byte{1}}, nil, http.StatusBadGateway},
		"a failure":             {&Reply{Status: 500, Header: http.Header{}}, nil, http.StatusBadGateway},
		"busy":                  {&Reply{Status: 429, Header: http.Header{"Retry-After": {"7"}}}, nil, http.StatusTooManyRequests},
		"down":                  {&Reply{Status: 503, Header: http.Header{"Retry-After": {"7"}}}, nil, http.StatusServiceUnavailable},
		"unreachable":           {nil, &SendError{To: thirdParty}, http.StatusServiceUnavailable},
		"cut off":               {nil, &SendError{To: thirdParty, MaybeSent: true}, http.StatusServiceUnavailable},
	} {
		d.outbound.reply = func(mimi.Provider, Target, []byte, string) (*Reply, error) { return test.reply, test.err }
		d.hub.set(fsm.Done{}, nil)
		a := d.post(t, path("keyMaterial", cathy), body)
		if a.status != test.status || len(d.hub.asked()) != 0 {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
		if (name == "busy" || name == "down") && a.header.Get("Retry-After") != "7" {
			t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
		}
	}
}

func TestPeerKeyMaterialInWhoseName(t *testing.T) {
	d := openPeerDoor(t, nil)
	for name, test := range map[string]struct {
		requester, target mimi.UserURI
		room              mimi.RoomURI
	}{
		"another provider's user":              {cathy, alice, ourRoom},
		"another provider's user for no room":  {cathy, alice, mimi.RoomURI{}},
		"a target elsewhere, a room elsewhere": {bob, cathy, theirRoom},
	} {
		a := d.post(t, path("keyMaterial", test.target), claimBody(t, test.requester, test.target, test.room))
		if p := problemIn(t, a); a.status != http.StatusForbidden || p.Field == "" {
			t.Errorf("%s: got %d %+v", name, a.status, p)
		}
	}
	if len(d.hub.asked()) != 0 || len(d.outbound.sent) != 0 {
		t.Error("a refused claim went on")
	}
	// b.example as the hub of the room passes on cathy's claim for alice.
	hub, _ := hubOfClaims()
	d.hub.answer = hub.answer
	if a := d.post(t, path("keyMaterial", alice), claimBody(t, cathy, alice, theirRoom)); a.status != http.StatusOK {
		t.Errorf("forwarded claim: %d %s", a.status, a.body)
	}
}

func TestPeerPaths(t *testing.T) {
	d := openPeerDoor(t, nil)
	d.hub.set(fsm.Accepted{}, nil)
	for _, p := range []string{
		"/v1/submitMessage/mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse",
		"/v1/submitMessage/mimi://a.example/r/clubhouse",
		"/v1/submitMessage/a.example/r/clubhouse",
		"/v1/submitMessage/a.example%2Fr%2Fclubhouse",
	} {
		if a := d.post(t, p, submitBody(bob)); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", p, a.status, a.body)
		}
	}
	// A room whose own URI has percent-encoding: the bare form is not unescaped, the encoded one once.
	percent, err := mimi.ParseRoomURI("mimi://a.example/r/50%25")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"/v1/submitMessage/mimi://a.example/r/50%25", path("submitMessage", percent)} {
		d.hub.set(fsm.Accepted{}, nil)
		if a := d.post(t, p, submitBody(bob)); a.status != http.StatusOK || d.hub.asked()[0].Slot() != fsm.SlotOfRoom(percent) {
			t.Errorf("%s: %d %s", p, a.status, a.body)
		}
	}
	for p, want := range map[string]int{
		"/v1/submitMessage/mimi%253A%252F%252Fa.example%252Fr%252Fclubhouse": http.StatusBadRequest, // encoded twice
		"/v1/submitMessage/nonsense":                                         http.StatusBadRequest,
		path("submitMessage", theirRoom):                                     http.StatusNotFound, // not hosted here
		"/v1/nothing/here":                                                   http.StatusNotFound,
		path("keyMaterial", cathy):                                           http.StatusBadRequest, // the body names alice
		"/v1/keyMaterial/mimi%3A%2F%2Fa.":                                    http.StatusBadRequest,
	} {
		body := submitBody(bob)
		if p == path("keyMaterial", cathy) {
			body = claimBody(t, bob, alice, ourRoom)
		}
		r, err := http.NewRequest(http.MethodPost, "https://"+d.address+"/", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = "//" + d.address + p // as it is, also where its percent-encoding is broken
		r.Header.Set("From", "mimi@b.example")
		a := do(t, d.client, r)
		if problemIn(t, a); a.status != want {
			t.Errorf("%s: got %d %s, want %d", p, a.status, a.body, want)
		}
	}
}

func TestPeerLimits(t *testing.T) {
	d := openPeerDoor(t, func(c *PeerConfig) { c.Limit = RateLimit{PerSecond: 0.001, Burst: 2, InFlight: 4} })
	d.hub.set(fsm.Accepted{}, nil)
	var statuses []int
	for range 3 {
		statuses = append(statuses, d.post(t, path("submitMessage", ourRoom), submitBody(bob)).status)
	}
	if fmt.Sprint(statuses) != "[200 200 429]" {
		t.Errorf("statuses %v", statuses)
	}
	third := httpClient(t, d.ca, d.ca.issue(bothUsages, "c.example"))
	if a := do(t, third, d.request(t, path("submitMessage", ourRoom), "mimi@c.example", submitBody(cathy))); a.status != http.StatusOK {
		t.Errorf("one peer's limit held another back: %d", a.status)
	}
}

func TestPeerDirectory(t *testing.T) {
	d := openPeerDoor(t, nil)
	r, err := http.NewRequest(http.MethodGet, "https://"+d.address+mimi.DirectoryPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := do(t, d.client, r) // no From: the certificate is enough
	directory, err := mimi.ParseDirectory(a.body)
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if got, _ := directory.URL(mimi.EndpointUpdate, ourRoom); got != "https://mimi.a.example/v1/update/mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse" {
		t.Errorf("update at %s", got)
	}
	if got, _ := directory.URL(mimi.EndpointBulkKeyMaterial, noVariable{}); got != "https://mimi.a.example/v1/bulkKeyMaterial" {
		t.Errorf("bulk claims at %s", got)
	}
	if got, _ := directory.URL(mimi.EndpointBulkNotify, noVariable{}); got != "https://mimi.a.example/v1/bulkNotify" {
		t.Errorf("bulk deliveries at %s", got)
	}
	for endpoint, want := range map[mimi.Endpoint]string{mimi.EndpointBulkSubmit: "/v1/bulkSubmit", mimi.EndpointSubmissions: "/v1/submissions", mimi.EndpointRoomEpoch: "/v1/roomEpoch"} {
		if got, _ := directory.URL(endpoint, noVariable{}); got != "https://mimi.a.example"+want {
			t.Errorf("%s at %s", endpoint, got)
		}
	}
	if n := len(directory.Endpoints()); n != 10 {
		t.Errorf("%d endpoints listed", n)
	}
}
