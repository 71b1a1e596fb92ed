package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// elsewhere is other providers behind Poster, each with what it answers.
type elsewhere struct {
	providers map[mimi.Provider]func(ctx context.Context, target Target, body []byte, key string) (*Reply, error)

	mu   sync.Mutex
	sent []posted // under mu
}

func (e *elsewhere) Post(ctx context.Context, to mimi.Provider, target Target, body []byte, key string) (*Reply, error) {
	e.mu.Lock()
	e.sent = append(e.sent, posted{to, target, body, key})
	e.mu.Unlock()
	answer, known := e.providers[to]
	if !known {
		return nil, &SendError{To: to, Err: errNoPeer}
	}
	return answer(ctx, target, body, key)
}

// answering is a provider that answers a bulk claim with these parts.
func answering(parts ...mimi.BulkUserMaterial) func(context.Context, Target, []byte, string) (*Reply, error) {
	return replying(http.StatusOK, mimi.BulkKeyMaterialResponse{Users: parts}.Marshal())
}

func replying(status int, body []byte, header ...string) func(context.Context, Target, []byte, string) (*Reply, error) {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return func(context.Context, Target, []byte, string) (*Reply, error) {
		return &Reply{Status: status, Header: h, Body: body}, nil
	}
}

// bulkDesk is a desk of a.example, the hub of ourRoom, whose alice has KeyPackages.
type bulkDesk struct {
	t    *testing.T
	hub  *memoryHub
	desk *Desk
	bob  device
}

func newBulkDesk(t *testing.T, others *elsewhere) *bulkDesk {
	t.Helper()
	b := &bulkDesk{t: t, bob: newDevice(t, bob, "mimi://b.example/d/bob1")}
	cluster := &fakeCluster{domains: []mimi.Provider{hubDomain}, key: signingKey(t)}
	b.hub = newMemoryHub(t, func(*fsm.Settings) {}, hubDomain)
	b.desk = NewDesk(b.hub, cluster, cluster, others)
	b.desk.patience = bulkPatience{decide: time.Minute, forward: time.Minute, through: time.Minute}
	phone := newDevice(t, alice, "mimi://a.example/d/phone")
	request, err := judge.NewUpload(alice, phone.uri, [][]byte{packageOf(t, phone, nil).Marshal(), packageOf(t, phone, nil).Marshal()})
	want[fsm.Uploaded](t, b.hub, request, err)
	return b
}

func (b *bulkDesk) signed(room mimi.RoomURI, targets ...mimi.UserURI) bulk {
	b.t.Helper()
	claim, err := mimi.SignedBulkClaim{RequestingUser: bob, TargetUsers: targets, Room: room, Credential: b.bob.credential()}.Signed(b.bob.key)
	if err != nil {
		b.t.Fatal(err)
	}
	return bulk{request: claim, body: claim.Marshal(), idempotencyKey: "k"}
}

func (b *bulkDesk) separate(room mimi.RoomURI, targets ...mimi.UserURI) bulk {
	b.t.Helper()
	var claims mimi.SeparateClaims
	for _, target := range targets {
		r, err := mimi.KeyMaterialRequest{
			RequestingUser: bob, TargetUser: target, Room: room, Suites: []mls.CipherSuite{1}, Credential: b.bob.credential(),
		}.Signed(b.bob.key)
		if err != nil {
			b.t.Fatal(err)
		}
		claims.Requests = append(claims.Requests, r)
	}
	return bulk{request: claims, body: claims.Marshal(), idempotencyKey: "k"}
}

// claim decides a bulk claim of b.example's and checks that every target is answered in its place.
func (b *bulkDesk) claim(bulk bulk, forward bool) []materialRead {
	b.t.Helper()
	a, faults, err := b.desk.claimMany(context.Background(), peerDomain, bulk, forward)
	if err != nil || faults != nil {
		b.t.Fatalf("%v, %v", err, faults)
	}
	parts := readBulkMaterial(b.t, a.body)
	for i, target := range bulk.request.Targets() {
		if i >= len(parts) || parts[i].user != target.String() {
			b.t.Fatalf("%v was answered %+v", bulk.request.Targets(), parts)
		}
	}
	return parts
}

func codesOf(parts []materialRead) (codes []uint8) {
	for _, p := range parts {
		codes = append(codes, p.code)
	}
	return codes
}

// routed reports whether the hub's room knows where a KeyPackage belongs.
func (b *bulkDesk) routed(room mimi.RoomURI, keyPackage []byte) bool {
	b.t.Helper()
	k, err := mls.ParseKeyPackage(keyPackage)
	if err != nil {
		b.t.Fatal(err)
	}
	ref, err := k.Ref()
	if err != nil {
		b.t.Fatal(err)
	}
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	_, found, err := fsm.ReadRoute(b.hub.store, room, ref)
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

// partFor is another provider's answer for a user with a client.
func partFor(t *testing.T, user mimi.UserURI, client string) (mimi.BulkUserMaterial, device) {
	t.Helper()
	d := newDevice(t, user, client)
	return mimi.BulkUserMaterial{User: user, Clients: []mimi.ClientKeyMaterial{
		{Client: d.uri, Material: mimi.ClaimedKeyPackage{KeyPackage: packageOf(t, d, nil)}},
	}}, d
}

// What other providers do is told of their users, and of nobody else's.
func TestBulkClaimAbroad(t *testing.T) {
	dave := user("mimi://d.example/u/dave")
	good, _ := partFor(t, cathy, "mimi://c.example/d/cathy1")
	foreign, _ := partFor(t, cathy, "mimi://d.example/d/cathy1")
	lasting := good
	lasting.Clients = []mimi.ClientKeyMaterial{{Client: good.Clients[0].Client, Material: mimi.ClaimedKeyPackage{KeyPackage: func() mls.KeyPackage {
		k := good.Clients[0].Material.(mimi.ClaimedKeyPackage).KeyPackage
		k.Leaf.Source = mls.LeafUpdate{}
		return k
	}()}}}
	reply := func(r *Reply, err error) func(context.Context, Target, []byte, string) (*Reply, error) {
		return func(context.Context, Target, []byte, string) (*Reply, error) { return r, err }
	}
	for name, test := range map[string]struct {
		answer func(context.Context, Target, []byte, string) (*Reply, error)
		code   uint8
		wait   uint32
	}{
		"it answers":                 {answering(good), 0, 0},
		"unknown":                    {answering(mimi.BulkUserMaterial{Status: 4, User: cathy}), 4, 0},
		"throttled":                  {answering(mimi.BulkUserMaterial{Status: mimi.BulkThrottled, User: cathy, RetryAfterSeconds: 9}), 0x80, 9},
		"it answers more than asked": {answering(mimi.BulkUserMaterial{Status: 4, User: bob}, good), 0, 0},
		"it leaves the user out":     {answering(), 0x86, 0},
		"it answers twice":           {answering(good, good), 0x86, 0},
		"another provider's client":  {answering(foreign), 0x86, 0},
		"a KeyPackage without end":   {answering(lasting), 0x86, 0},
		"nonsense":                   {replying(http.StatusOK, []byte{9}), 0x86, 0},
		"it refuses":                 {replying(http.StatusForbidden, nil), 0x86, 0},
		"it is busy":                 {replying(http.StatusTooManyRequests, nil, "Retry-After", "7"), 0x80, 7},
		"it does not know":           {replying(http.StatusServiceUnavailable, nil, "Retry-After", "3"), 0x82, 3},
		"it is broken":               {replying(http.StatusInternalServerError, nil), 0x82, 1},
		"unreachable":                {reply(nil, &SendError{To: thirdParty}), 0x81, 1},
		"cut off":                    {reply(nil, &SendError{To: thirdParty, MaybeSent: true}), 0x82, 1},
		"it takes no bulk claims":    {reply(nil, &SendError{To: thirdParty, Err: fmt.Errorf("x: %w", errNotOffered)}), 0x85, 0},
	} {
		t.Run(name, func(t *testing.T) {
			others := &elsewhere{providers: map[mimi.Provider]func(context.Context, Target, []byte, string) (*Reply, error){thirdParty: test.answer}}
			b := newBulkDesk(t, others)
			bulk := b.signed(ourRoom, alice, cathy, dave)
			parts := b.claim(bulk, true)
			if got := codesOf(parts); !slices.Equal(got, []uint8{0, test.code, 0x81}) || parts[1].wait != test.wait {
				t.Fatalf("%+v", parts)
			}
			for _, p := range others.sent {
				if !bytes.Equal(p.body, bulk.body) || p.key != "k" || p.target != BulkKeyMaterialTarget() {
					t.Errorf("%s was sent %+v", p.to, p)
				}
			}
			for _, p := range parts {
				for _, c := range p.clients {
					if !b.routed(ourRoom, c.keyPackage) {
						t.Errorf("the room does not know the KeyPackage of %s", c.client)
					}
				}
			}
		})
	}
}

// Separate claims go in bulk to who takes that, with those requests alone that are for it, and one by one to who does not.
func TestBulkClaimOneByOne(t *testing.T) {
	carl, dave := user("mimi://c.example/u/carl"), user("mimi://d.example/u/dave")
	good, _ := partFor(t, cathy, "mimi://c.example/d/cathy1")
	forDave, _ := partFor(t, dave, "mimi://d.example/d/dave1")
	others := &elsewhere{providers: map[mimi.Provider]func(context.Context, Target, []byte, string) (*Reply, error){
		provider("d.example"): answering(forDave),
		thirdParty: func(_ context.Context, target Target, body []byte, key string) (*Reply, error) {
			if target == BulkKeyMaterialTarget() {
				return nil, &SendError{To: thirdParty, Err: errNotOffered}
			}
			request, err := mimi.ParseKeyMaterialRequest(body)
			if err != nil || !request.VerifySignature() || target != KeyMaterialTarget(request.TargetUser) {
				t.Errorf("sent %s: %v", target, err)
			}
			if key != keyOfOne("k", request.TargetUser) || key == keyOfOne("k", alice) || key == keyOfOne("l", request.TargetUser) {
				t.Errorf("sent with the key %q", key)
			}
			if request.TargetUser == carl {
				return &Reply{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"30"}}}, nil
			}
			return &Reply{Status: http.StatusOK, Body: mimi.KeyMaterialResponse{User: cathy, Clients: good.Clients}.Marshal()}, nil
		},
	}}
	b := newBulkDesk(t, others)
	parts := b.claim(b.separate(ourRoom, carl, alice, dave, cathy), true)
	if got := codesOf(parts); !slices.Equal(got, []uint8{0x80, 0, 0, 0}) || parts[0].wait != 30 {
		t.Fatalf("%+v", parts)
	}
	for _, p := range others.sent {
		if request, err := mimi.ParseBulkKeyMaterialRequest(p.body); p.to == provider("d.example") && (err != nil || !slices.Equal(request.Targets(), []mimi.UserURI{dave})) {
			t.Errorf("d.example was sent %+v, %v", request, err)
		}
	}
}

// A hub passes nothing on that it can see to be forged.
func TestBulkClaimForged(t *testing.T) {
	others := &elsewhere{}
	b := newBulkDesk(t, others)
	separate, signed := b.separate(ourRoom, alice, cathy), b.signed(ourRoom, alice, cathy)
	claims := separate.request.(mimi.SeparateClaims)
	claims.Requests[1].Signature[0] ^= 1
	once := signed.request.(mimi.SignedBulkClaim)
	once.Signature[0] ^= 1
	signed.body = once.Marshal()
	before := b.hub.entries()
	for field, forged := range map[string]bulk{"BulkKeyMaterialRequest.requests[1]": separate, "BulkKeyMaterialRequest.claim": signed} {
		var problem *Problem
		if _, _, err := b.desk.claimMany(context.Background(), peerDomain, forged, true); !errors.As(err, &problem) || problem.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	var problem *Problem
	single := claim{target: cathy, request: claims.Requests[1], body: claims.Requests[1].Marshal()}
	if _, err := b.desk.claim(context.Background(), peerDomain, single); !errors.As(err, &problem) || problem.Status != http.StatusForbidden {
		t.Errorf("a single claim: %v", err)
	}
	if len(others.sent) != 0 || b.hub.entries() != before {
		t.Errorf("%d requests were passed on, %d decided", len(others.sent), b.hub.entries()-before)
	}
}

// A provider that is slow holds the rest up no longer than the deadline.
func TestBulkClaimOfASlowProvider(t *testing.T) {
	others := &elsewhere{providers: map[mimi.Provider]func(context.Context, Target, []byte, string) (*Reply, error){
		thirdParty: func(ctx context.Context, _ Target, _ []byte, _ string) (*Reply, error) {
			<-ctx.Done()
			return nil, &SendError{To: thirdParty, MaybeSent: true, Err: ctx.Err()}
		},
	}}
	b := newBulkDesk(t, others)
	b.desk.patience.forward = 20 * time.Millisecond
	if got := codesOf(b.claim(b.signed(ourRoom, cathy, alice), true)); !slices.Equal(got, []uint8{0x82, 0}) {
		t.Errorf("codes %v", got)
	}
}

// Who is neither the users' provider nor the hub of the room asks nobody.
func TestBulkClaimElsewhere(t *testing.T) {
	others := &elsewhere{}
	b := newBulkDesk(t, others)
	if got := codesOf(b.claim(b.signed(theirRoom, cathy, alice), false)); !slices.Equal(got, []uint8{0x84, 0}) || len(others.sent) != 0 {
		t.Errorf("codes %v, asked %d", got, len(others.sent))
	}
}

// Nothing is given out whose way the room does not know: then it is claimed, and the same request again gets it.
func TestBulkClaimWithoutRoutes(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		code uint8
	}{"not written": {fsm.ErrNotProposed, 0x82}, "unknown": {fsm.ErrUnknownOutcome, 0x82}} {
		t.Run(name, func(t *testing.T) {
			b := newBulkDesk(t, &elsewhere{})
			bulk := b.signed(ourRoom, alice, user("mimi://a.example/u/nobody"))
			b.hub.lead(func(slot fsm.SlotID) error {
				if slot == fsm.SlotOfRoom(ourRoom) {
					return test.err
				}
				return nil
			})
			if got := b.claim(bulk, true); !slices.Equal(codesOf(got), []uint8{test.code, 4}) {
				t.Fatalf("%+v", got)
			}
			b.hub.lead(nil)
			first := b.claim(bulk, true)
			again := b.claim(bulk, true)
			if first[0].code != 0 || !slices.EqualFunc(first[0].clients, again[0].clients, sameClient) || !b.routed(ourRoom, first[0].clients[0].keyPackage) {
				t.Errorf("%+v, then %+v", first, again)
			}
			request, err := judge.NewClaim(peerDomain, alice, b.separate(ourRoom, alice).request.(mimi.SeparateClaims).Requests[0].Marshal(), "")
			if left := want[fsm.Claimed](t, b.hub, request, err); left.Code != mimi.KeyMaterialSuccess {
				t.Errorf("the claims used more than one KeyPackage: %s", left.Code)
			}
		})
	}
}

// A room that takes no more routes: nobody gets a KeyPackage that it does not know.
func TestBulkClaimForAFullRoom(t *testing.T) {
	desk := &Desk{hub: answers(fsm.NotAllowed{Reason: "enough"})}
	part, err := desk.recordSome(context.Background(), ourRoom, nil)
	if err != nil || part == nil || part.Status != mimi.BulkRoomFull {
		t.Errorf("%+v, %v", part, err)
	}
	d := openPeerDoor(t, nil)
	hub, _ := hubOfClaims()
	d.hub.answer = func(r judge.Request) (fsm.Outcome, error) {
		if _, routes := r.(*judge.RecordRoutes); routes {
			return fsm.NotAllowed{Reason: "enough"}, nil
		}
		return hub.answer(r)
	}
	a := d.post(t, path("keyMaterial", alice), claimBody(t, bob, alice, theirRoom))
	if p := problemIn(t, a); a.status != http.StatusConflict || p.Field != "roomId" || p.Detail != "enough" {
		t.Errorf("a single claim: %d %+v", a.status, p)
	}
}

// Routes go in few records, and a user's are not apart.
func TestBulkRecords(t *testing.T) {
	d := newDevice(t, cathy, "mimi://c.example/d/cathy")
	keyPackage := packageOf(t, d, nil)
	var targets []mimi.UserURI
	for i := range 100 {
		targets = append(targets, user(fmt.Sprintf("mimi://c.example/u/%d", i)))
	}
	a := newBulkAnswer(targets)
	for i, target := range targets {
		part := mimi.BulkUserMaterial{}
		for j := range i % 6 {
			part.Clients = append(part.Clients, mimi.ClientKeyMaterial{
				Client: clientURI(fmt.Sprintf("mimi://c.example/d/%d-%d", i, j)), Material: mimi.ClaimedKeyPackage{KeyPackage: keyPackage},
			})
		}
		a.put(target, part)
	}
	routes := 0
	records := a.records()
	users := map[mimi.UserURI]bool{}
	for _, r := range records {
		routes += len(r.routes)
		if len(r.routes) > routesPerRecordMax {
			t.Errorf("a record of %d routes", len(r.routes))
		}
		for _, u := range r.users {
			if users[u] {
				t.Errorf("%s is in two records", u)
			}
			users[u] = true
		}
	}
	if routes != 246 || len(records) != 2 {
		t.Errorf("%d routes in %d records", routes, len(records))
	}
}

// What does not fit into the answer is left out of it, and the same key gets it for those users alone.
func TestBulkAnswerFull(t *testing.T) {
	part, _ := partFor(t, cathy, "mimi://c.example/d/cathy1")
	short := mimi.BulkUserMaterial{Status: mimi.BulkUserCode(mimi.KeyMaterialUserUnknown)}
	a := newBulkAnswer([]mimi.UserURI{cathy, bob, alice})
	a.put(cathy, part)
	a.put(bob, part)
	a.put(alice, short)
	whole := a.within(1 << 20)
	if got := whole.Marshal(); len(got) > 1<<20 || whole.Users[1].Status != 0 {
		t.Errorf("%d bytes, %+v", len(got), whole)
	}
	for limit := len(whole.Marshal()); limit > len(whole.Marshal())/2+100; limit -= 10 {
		cut := a.within(limit)
		if got := cut.Marshal(); len(got) > limit {
			t.Errorf("%d bytes, the limit is %d", len(got), limit)
		}
		if cut.Users[0].Status != 0 || cut.Users[2].Status != short.Status {
			t.Errorf("within %d: %+v", limit, cut)
		}
	}
	if cut := a.within(len(whole.Marshal()) / 2); cut.Users[1].Status != mimi.BulkAnswerFull || len(cut.Users[1].Clients) != 0 {
		t.Errorf("%+v", cut.Users[1])
	}
}

// The requester's provider brings the claim to the hub, and says what the hub says.
func TestBulkClaimThroughTheHub(t *testing.T) {
	d := openLocalDoor(t)
	aliceKey := newDevice(t, alice, "mimi://a.example/d/phone")
	claim, err := mimi.SignedBulkClaim{RequestingUser: alice, TargetUsers: []mimi.UserURI{bob, cathy}, Room: theirRoom, Credential: aliceKey.credential()}.Signed(aliceKey.key)
	if err != nil {
		t.Fatal(err)
	}
	good, _ := partFor(t, bob, "mimi://b.example/d/bob1")
	answer := mimi.BulkKeyMaterialResponse{Users: []mimi.BulkUserMaterial{good, {Status: mimi.BulkUnavailable, User: cathy, RetryAfterSeconds: 2}}}.Marshal()
	d.outbound.reply = func(to mimi.Provider, target Target, body []byte, key string) (*Reply, error) {
		if to != peerDomain || target != BulkKeyMaterialTarget() || !bytes.Equal(body, claim.Marshal()) || key != "" {
			t.Errorf("sent %s to %s", target, to)
		}
		return &Reply{Status: http.StatusOK, Body: answer}, nil
	}
	a := d.call(t, http.MethodPost, bulkKeyMaterialPath, "everything", "", claim.Marshal())
	if a.status != http.StatusOK || !bytes.Equal(a.body, answer) {
		t.Errorf("%d %s", a.status, a.body)
	}
	d.outbound.reply = func(mimi.Provider, Target, []byte, string) (*Reply, error) {
		return &Reply{Status: http.StatusForbidden, Header: http.Header{"Content-Type": {ProblemMediaType}}, Body: []byte(`{"status":403}`)}, nil
	}
	if a := d.call(t, http.MethodPost, bulkKeyMaterialPath, "everything", "", claim.Marshal()); a.status != http.StatusForbidden {
		t.Errorf("a refusal came back as %d %s", a.status, a.body)
	}
	d.outbound.reply = func(mimi.Provider, Target, []byte, string) (*Reply, error) {
		return nil, &SendError{To: peerDomain, Err: errNotOffered}
	}
	a = d.call(t, http.MethodPost, bulkKeyMaterialPath, "everything", "", claim.Marshal())
	if got := codesOf(readBulkMaterial(t, a.body)); !slices.Equal(got, []uint8{0x85, 0x85}) {
		t.Errorf("a hub without the extension: %d %v", a.status, got)
	}
	// One that takes no bulk claims is asked one by one, where there is a request for each.
	request, err := mimi.KeyMaterialRequest{
		RequestingUser: alice, TargetUser: cathy, Room: theirRoom, Suites: []mls.CipherSuite{1}, Credential: aliceKey.credential(),
	}.Signed(aliceKey.key)
	if err != nil {
		t.Fatal(err)
	}
	d.outbound.reply = func(to mimi.Provider, target Target, body []byte, _ string) (*Reply, error) {
		if target == BulkKeyMaterialTarget() {
			return nil, &SendError{To: peerDomain, Err: errNotOffered}
		}
		if to != peerDomain || !bytes.Equal(body, request.Marshal()) {
			t.Errorf("sent %s to %s", target, to)
		}
		return &Reply{Status: http.StatusOK, Body: mimi.KeyMaterialResponse{Status: mimi.KeyMaterialNoConsent, User: cathy}.Marshal()}, nil
	}
	a = d.call(t, http.MethodPost, bulkKeyMaterialPath, "everything", "", mimi.SeparateClaims{Requests: []mimi.KeyMaterialRequest{request}}.Marshal())
	if got := codesOf(readBulkMaterial(t, a.body)); !slices.Equal(got, []uint8{5}) {
		t.Errorf("one by one: %d %v", a.status, got)
	}
	foreign, err := mimi.SignedBulkClaim{RequestingUser: bob, TargetUsers: []mimi.UserURI{alice}, Credential: mls.BasicCredential{Identity: []byte(bob.String())}}.Signed(aliceKey.key)
	if err != nil {
		t.Fatal(err)
	}
	a = d.call(t, http.MethodPost, bulkKeyMaterialPath, "everything", "", foreign.Marshal())
	if p := problemIn(t, a); a.status != http.StatusForbidden || p.Field != "BulkKeyMaterialRequest.requestingUser" {
		t.Errorf("another provider's user: %d %+v", a.status, p)
	}
	if len(d.hub.asked()) != 0 {
		t.Error("something was decided here")
	}
}
