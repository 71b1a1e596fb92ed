package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// claimTable is a provider with users in every state that a claim can find them in, and b.example, whose bob claims.
type claimTable struct {
	*world
	a, b *station
	bob  device
	key  int // of the last request
}

func userHere(name string) mimi.UserURI { return user("mimi://a.example/u/" + name) }

func deviceHere(name string) string { return "mimi://a.example/d/" + name }

// stock gives a user of a.example devices with so many KeyPackages each, altered before they are signed.
func (c *claimTable) stock(name string, count int, alter func(*mls.KeyPackage), devices ...string) {
	c.t.Helper()
	for _, d := range devices {
		owner := newDevice(c.t, userHere(name), deviceHere(d))
		var packages []mls.KeyPackage
		for range count {
			packages = append(packages, packageOf(c.t, owner, alter))
		}
		c.a.upload(owner, packages...)
	}
}

// consent and policy are what a user has said about claims.
func (c *claimTable) consent(name string, entry fsm.ConsentEntry) {
	c.t.Helper()
	request, err := judge.NewSetConsents(userHere(name), []fsm.ConsentEntry{entry})
	want[fsm.Done](c.t, c.a.hub, request, err)
}

func (c *claimTable) policy(name string, policy fsm.ConsentPolicy) {
	c.t.Helper()
	request, err := judge.NewSetConsentPolicy(userHere(name), policy)
	want[fsm.Done](c.t, c.a.hub, request, err)
}

func (c *claimTable) depart(name string) {
	c.t.Helper()
	request, err := judge.NewDepart(hubDomain, userHere(name), mimi.ClientURI{})
	want[fsm.Accepted](c.t, c.a.hub, request, err)
}

const claimsOfTheTable = 16 // KeyPackages of each device that are there to be taken

func newClaimTable(t *testing.T) *claimTable {
	t.Helper()
	w := newWorld(t, hubDomain, peerDomain)
	c := &claimTable{world: w, a: w.providers[hubDomain], b: w.providers[peerDomain], bob: newDevice(t, bob, "mimi://b.example/d/bob1")}
	lastResort := func(k *mls.KeyPackage) {
		k.Extensions = mls.Extensions{}.With(mls.ExtensionAppDataDictionary, mls.AppDataDictionary{}.With(mls.ComponentLastResort, nil).Marshal())
	}
	lifetime := func(from, until uint64) func(*mls.KeyPackage) {
		return func(k *mls.KeyPackage) { k.Leaf.Source = mls.Lifetime{NotBefore: from, NotAfter: until} }
	}
	c.stock("all", claimsOfTheTable, nil, "all1", "all2")
	c.stock("some", claimsOfTheTable, nil, "some1")
	c.stock("some", 1, nil, "some2")
	c.stock("none", 1, nil, "none1")
	c.stock("reserve", 1, lastResort, "reserve1")
	c.stock("expired", 1, lifetime(mlstest.Now-10, mlstest.Now+5), "expired1")
	c.stock("early", 1, lifetime(mlstest.Now+1000, mlstest.Now+2000), "early1")
	c.a.hub.pass(6000)
	for _, name := range []string{"shy", "away", "choosy"} {
		c.stock(name, claimsOfTheTable, nil, name+"1")
	}
	c.consent("shy", fsm.ConsentEntry{Requester: bob, Consent: fsm.ConsentRevoked})
	c.consent("choosy", fsm.ConsentEntry{Requester: bob, Room: ourRoom, Consent: fsm.ConsentGranted})
	c.policy("away", fsm.ConsentNobody)
	c.policy("choosy", fsm.ConsentAsk)
	c.stock("gone", claimsOfTheTable, nil, "gone1")
	c.depart("gone")
	for _, name := range []string{"some", "none"} {
		c.claim(bob, userHere(name), nil)
	}
	return c
}

// requestFor is bob's claim for a target, altered before it is signed.
func (c *claimTable) requestFor(requester, target mimi.UserURI, alter func(*mimi.KeyMaterialRequest)) mimi.KeyMaterialRequest {
	c.t.Helper()
	r := mimi.KeyMaterialRequest{
		RequestingUser: requester, TargetUser: target, Suites: []mls.CipherSuite{1}, Credential: mls.BasicCredential{Identity: []byte(requester.String())},
	}
	if alter != nil {
		alter(&r)
	}
	r, err := r.Signed(c.bob.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// inBulk is the same claim signed once, with another target behind it.
func (c *claimTable) inBulk(r mimi.KeyMaterialRequest, others ...mimi.UserURI) mimi.SignedBulkClaim {
	c.t.Helper()
	claim, err := mimi.SignedBulkClaim{
		RequestingUser: r.RequestingUser, TargetUsers: append([]mimi.UserURI{r.TargetUser}, others...), Room: r.Room, Suites: r.Suites,
		RequiredCapabilities: r.RequiredCapabilities, Credential: r.Credential,
	}.Signed(c.bob.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return claim
}

// fresh is an Idempotency-Key that no request has had.
func (c *claimTable) fresh() []string {
	c.key++
	return []string{"Idempotency-Key", fmt.Sprint(c.key)}
}

func (c *claimTable) claim(requester, target mimi.UserURI, alter func(*mimi.KeyMaterialRequest)) materialRead {
	c.t.Helper()
	a := c.b.post(c.a, path("keyMaterial", target), c.requestFor(requester, target, alter).Marshal(), c.fresh()...)
	if a.status != http.StatusOK {
		c.t.Fatalf("%d %s", a.status, a.body)
	}
	return readMaterial(c.t, a.body)
}

// claimRow is a claim and what has to be told of its target: the user's code, and that of each client.
type claimRow struct {
	name    string
	target  mimi.UserURI
	alter   func(*mimi.KeyMaterialRequest)
	code    uint8
	clients []string // the client's name and its code
}

func claimRows() []claimRow {
	ofSuite := func(s mls.CipherSuite) func(*mimi.KeyMaterialRequest) {
		return func(r *mimi.KeyMaterialRequest) { r.Suites = []mls.CipherSuite{s} }
	}
	forRoom := func(room mimi.RoomURI) func(*mimi.KeyMaterialRequest) {
		return func(r *mimi.KeyMaterialRequest) { r.Room = room }
	}
	return []claimRow{
		{"a KeyPackage of every client", userHere("all"), nil, 0, []string{"all1 0", "all2 0"}},
		{"of some clients", userHere("some"), nil, 1, []string{"some1 0", "some2 1"}},
		{"of no client", userHere("none"), nil, 3, []string{"none1 1"}},
		{"last-resort KeyPackages only", userHere("reserve"), nil, 3, []string{"reserve1 1"}},
		{"expired ones only", userHere("expired"), nil, 3, []string{"expired1 1"}},
		{"not yet valid ones only", userHere("early"), nil, 3, []string{"early1 1"}},
		{"of another suite", userHere("all"), ofSuite(3), 3, []string{"all1 2", "all2 2"}},
		{"a suite among others", userHere("all"), func(r *mimi.KeyMaterialRequest) { r.Suites = []mls.CipherSuite{3, 1} }, 0, []string{"all1 0", "all2 0"}},
		{"without a required extension", userHere("all"), func(r *mimi.KeyMaterialRequest) {
			r.RequiredCapabilities.Extensions = []mls.ExtensionType{0xf123}
		}, 3, []string{"all1 2", "all2 2"}},
		{"without a required proposal", userHere("all"), func(r *mimi.KeyMaterialRequest) {
			r.RequiredCapabilities.Proposals = []mls.ProposalType{0xf123}
		}, 3, []string{"all1 2", "all2 2"}},
		{"with what is required", userHere("all"), func(r *mimi.KeyMaterialRequest) {
			r.RequiredCapabilities = mls.RequiredCapabilities{
				Extensions: []mls.ExtensionType{mls.ExtensionAppDataDictionary}, Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate},
				Credentials: []mls.CredentialType{mls.CredentialBasic},
			}
		}, 0, []string{"all1 0", "all2 0"}},
		{"exhausted and of another suite", userHere("some"), ofSuite(3), 3, []string{"some1 2", "some2 1"}},
		{"whom the user has refused", userHere("shy"), nil, 5, nil},
		{"of a user who lets nobody claim", userHere("away"), nil, 5, nil},
		{"for another room than the user has agreed to", userHere("choosy"), forRoom(theirRoom), 6, nil},
		{"for no room where the user has agreed to one", userHere("choosy"), nil, 6, nil},
		{"for the room that the user has agreed to", userHere("choosy"), forRoom(ourRoom), 0, []string{"choosy1 0"}},
		{"a user who is deleted", userHere("gone"), nil, 7, nil},
		{"an unknown user", userHere("nobody"), nil, 4, nil},
	}
}

// Every answer to a claim, by each of the ways to ask.
func TestClaimTable(t *testing.T) {
	c := newClaimTable(t)
	given := map[string]string{} // each KeyPackage, and to which row it went
	for form, ask := range map[string]func(claimRow) materialRead{
		"alone": func(row claimRow) materialRead { return c.claim(bob, row.target, row.alter) },
		"signed once": func(row claimRow) materialRead {
			claim := c.inBulk(c.requestFor(bob, row.target, row.alter), userHere("stranger"))
			a := c.b.post(c.a, bulkKeyMaterialPath, claim.Marshal(), c.fresh()...)
			return c.first(a)
		},
		"separate": func(row claimRow) materialRead {
			all := mimi.SeparateClaims{Requests: []mimi.KeyMaterialRequest{
				c.requestFor(bob, row.target, row.alter), c.requestFor(bob, userHere("stranger"), func(r *mimi.KeyMaterialRequest) {
					r.Room = c.requestFor(bob, row.target, row.alter).Room
				}),
			}}
			return c.first(c.b.post(c.a, bulkKeyMaterialPath, all.Marshal(), c.fresh()...))
		},
	} {
		for _, row := range claimRows() {
			t.Run(form+"/"+row.name, func(t *testing.T) {
				got := ask(row)
				var clients []string
				for _, client := range got.clients {
					clients = append(clients, fmt.Sprintf("%s %d", client.client[len(deviceHere("")):], client.code))
					if client.code != 0 {
						continue
					}
					if client.suite != 1 {
						t.Errorf("a KeyPackage of suite %d", client.suite)
					}
					if other, twice := given[string(client.keyPackage)]; twice {
						t.Errorf("a KeyPackage was given out for %q and again", other)
					}
					given[string(client.keyPackage)] = form + "/" + row.name
				}
				if got.code != row.code || got.user != row.target.String() || !slices.Equal(clients, row.clients) {
					t.Errorf("code %d for %s, clients %v", got.code, got.user, clients)
				}
			})
		}
	}
	if len(given) == 0 {
		t.Error("nothing was given out")
	}
}

// first is what a bulk answer says of its first target; the second is nobody.
func (c *claimTable) first(a answered) materialRead {
	c.t.Helper()
	if a.status != http.StatusOK {
		c.t.Fatalf("%d %s", a.status, a.body)
	}
	parts := readBulkMaterial(c.t, a.body)
	if len(parts) != 2 || parts[1].code != 4 {
		c.t.Fatalf("%+v", parts)
	}
	return parts[0]
}

// A claim of a protocol that nobody here speaks, in the ways there are to say so.
func TestClaimOfAnotherProtocol(t *testing.T) {
	c := newClaimTable(t)
	all := userHere("all")
	var w mls.Writer
	w.Uint8(2)
	for _, uri := range []string{bob.String(), all.String(), ""} {
		w.Opaque([]byte(uri))
	}
	w.Fixed([]byte("whatever that protocol has here"))
	before := c.a.hub.entries()
	a := c.b.post(c.a, path("keyMaterial", all), w.Bytes())
	if got := readMaterial(t, a.body); a.status != http.StatusOK || got.code != 2 || got.user != all.String() || len(got.clients) != 0 {
		t.Errorf("%d %+v", a.status, got)
	}
	claim, err := mimi.SignedBulkClaim{
		RequestingUser: bob, TargetUsers: []mimi.UserURI{all, userHere("nobody")}, Versions: []mls.Version{0x0a0a},
		Credential: c.bob.credential(),
	}.Signed(c.bob.key)
	if err != nil {
		t.Fatal(err)
	}
	a = c.b.post(c.a, bulkKeyMaterialPath, claim.Marshal())
	for _, part := range readBulkMaterial(t, a.body) {
		if part.code != 2 || len(part.clients) != 0 {
			t.Errorf("%+v", part)
		}
	}
	if c.a.hub.entries() != before {
		t.Error("something was decided")
	}
}

// Who claims for its own user gets the other clients' KeyPackages.
func TestClaimOfOnesOwnClients(t *testing.T) {
	c := newClaimTable(t)
	all := userHere("all")
	asClient := func(r *mimi.KeyMaterialRequest) {
		r.Credential = mls.BasicCredential{Identity: []byte(deviceHere("all2"))}
	}
	request := c.requestFor(all, all, asClient)
	for name, got := range map[string]materialRead{
		"alone":       readMaterial(t, c.a.ask(path("keyMaterial", all), request.Marshal()).body),
		"signed once": readBulkMaterial(t, c.a.ask(bulkKeyMaterialPath, c.inBulk(request).Marshal()).body)[0],
	} {
		if got.code != 0 || len(got.clients) != 1 || got.clients[0].client != deviceHere("all1") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// claimFault is a claim that is refused as a whole, with the field and a reason that says what to change.
type claimFault struct {
	name   string
	path   string
	body   []byte
	status int
	kind   string
	field  string
	reason string
}

func (c *claimTable) faults() []claimFault {
	all := userHere("all")
	whole := c.requestFor(bob, all, nil)
	request := func(requester mimi.UserURI, alter func(*mimi.KeyMaterialRequest)) mimi.KeyMaterialRequest {
		return c.requestFor(requester, all, alter)
	}
	as := func(identity string) func(*mimi.KeyMaterialRequest) {
		return func(r *mimi.KeyMaterialRequest) { r.Credential = mls.BasicCredential{Identity: []byte(identity)} }
	}
	spoilt, spoiltBulk := whole, c.inBulk(whole)
	spoilt.Signature = append([]byte{spoilt.Signature[0] ^ 1}, spoilt.Signature[1:]...)
	spoiltBulk.Signature = append([]byte{spoiltBulk.Signature[0] ^ 1}, spoiltBulk.Signature[1:]...)
	single, twice := path("keyMaterial", all), c.inBulk(whole, all)
	rows := []claimFault{
		{"another user in the path", path("keyMaterial", userHere("some")), whole.Marshal(), 400, problemMalformed, "KeyMaterialRequest.targetUser", "not the user that the path names"},
		{"no suites", single, request(bob, func(r *mimi.KeyMaterialRequest) { r.Suites = nil }).Marshal(), 400, problemMalformed, "KeyMaterialRequest.acceptableCiphersuites", "empty"},
		{"cut short", single, whole.Marshal()[:40], 400, problemMalformed, "KeyMaterialRequest.targetUser", ""},
		{"a trailing octet", single, append(whole.Marshal(), 0), 400, problemMalformed, "KeyMaterialRequest", "trailing"},
		{"empty", single, nil, 400, problemMalformed, "KeyMaterialRequest.protocol", ""},
		{"too long", single, make([]byte, RequestBytesMax+1), 400, problemBodyTooLarge, "body", "limit"},
		{"a user twice", bulkKeyMaterialPath, twice.Marshal(), 400, problemMalformed, "BulkKeyMaterialRequest.targetUsers", "twice"},
		{"no users", bulkKeyMaterialPath, mimi.SeparateClaims{}.Marshal(), 400, problemMalformed, "BulkKeyMaterialRequest.targetUsers", "between 1 and 100"},
		{"not a bulk claim", bulkKeyMaterialPath, whole.Marshal(), 400, problemMalformed, "BulkKeyMaterialRequest.form", ""},
	}
	for _, bad := range []struct {
		name, kind, reason string
		request            mimi.KeyMaterialRequest
	}{
		{"a wrong signature", problemNotBorneOut, "signature is wrong", spoilt},
		{"another user's credential", problemNotBorneOut, "names another user", request(bob, as("mimi://b.example/u/betty"))},
		{"another provider's credential", problemNotBorneOut, "requestingUser's provider", request(bob, as("mimi://c.example/d/carol1"))},
		{"a credential that names nobody", problemNotBorneOut, "requestingUser's provider", request(bob, as("bob"))},
		{"another provider's user", problemNotYours, "neither the provider", request(cathy, nil)},
	} {
		once := c.inBulk(bad.request)
		if bad.name == "a wrong signature" {
			once = spoiltBulk
		}
		fields := []string{"KeyMaterialRequest", "BulkKeyMaterialRequest.claim", "BulkKeyMaterialRequest.requests[0]"}
		if bad.kind == problemNotYours {
			fields = []string{"KeyMaterialRequest.requestingUser", "BulkKeyMaterialRequest.requestingUser", "BulkKeyMaterialRequest.requestingUser"}
		}
		rows = append(rows,
			claimFault{bad.name, single, bad.request.Marshal(), 403, bad.kind, fields[0], bad.reason},
			claimFault{bad.name + ", signed once", bulkKeyMaterialPath, once.Marshal(), 403, bad.kind, fields[1], bad.reason},
			claimFault{bad.name + ", separate", bulkKeyMaterialPath, mimi.SeparateClaims{Requests: []mimi.KeyMaterialRequest{bad.request}}.Marshal(), 403, bad.kind, fields[2], bad.reason})
	}
	return rows
}

// A claim that is refused as a whole consumes nothing and is told why.
func TestClaimFaults(t *testing.T) {
	c := newClaimTable(t)
	before := c.a.hub.entries()
	for _, fault := range c.faults() {
		t.Run(fault.name, func(t *testing.T) {
			a := c.b.post(c.a, fault.path, fault.body)
			p := problemIn(t, a)
			if a.status != fault.status || p.Type != "urn:parley:problem:"+fault.kind || p.Field != fault.field || !bytes.Contains([]byte(p.Detail), []byte(fault.reason)) {
				t.Errorf("%d %+v", a.status, p)
			}
		})
	}
	long := string(bytes.Repeat([]byte("k"), idempotencyKeyBytesMax+1))
	for _, to := range []string{path("keyMaterial", userHere("all")), bulkKeyMaterialPath} {
		a := c.b.post(c.a, to, c.requestFor(bob, userHere("all"), nil).Marshal(), "Idempotency-Key", long)
		if p := problemIn(t, a); a.status != http.StatusBadRequest || p.Field != "Idempotency-Key" {
			t.Errorf("a long key: %d %+v", a.status, p)
		}
	}
	if c.a.hub.entries() != before {
		t.Error("something was decided")
	}
}

// A shard that does not decide holds nobody else up, whatever is known of the outcome; the same request again gets the same for those
// that were decided, and what was missing for the rest.
func TestBulkClaimWithoutALeader(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		code uint8
	}{
		"nothing written": {fsm.ErrNotProposed, 0x81}, "overloaded": {fsm.ErrOverloaded, 0x81}, "unknown": {fsm.ErrUnknownOutcome, 0x82},
		"a fault": {fmt.Errorf("a fault of the node"), 0x82},
	} {
		for form, key := range map[string][]string{"with a key": {"Idempotency-Key", "k"}, "without": nil} {
			t.Run(name+"/"+form, func(t *testing.T) {
				c := newClaimTable(t)
				all, some := userHere("all"), userHere("some")
				body := c.inBulk(c.requestFor(bob, all, nil), some).Marshal()
				c.a.hub.lead(func(slot fsm.SlotID) error {
					if slot == fsm.SlotOfUser(some) {
						return test.err
					}
					return nil
				})
				partial := readBulkMaterial(t, c.b.post(c.a, bulkKeyMaterialPath, body, key...).body)
				if len(partial) != 2 || partial[0].code != 0 || partial[1].code != test.code || partial[1].wait != 1 || len(partial[1].clients) != 0 {
					t.Fatalf("%+v", partial)
				}
				c.a.hub.lead(nil)
				whole := readBulkMaterial(t, c.b.post(c.a, bulkKeyMaterialPath, body, key...).body)
				if len(whole) != 2 || whole[1].code != 1 || !slices.EqualFunc(whole[0].clients, partial[0].clients, sameClient) {
					t.Errorf("%+v after %+v", whole, partial)
				}
			})
		}
	}
}

func sameClient(a, b clientRead) bool {
	return a.client == b.client && a.code == b.code && bytes.Equal(a.keyPackage, b.keyPackage)
}

// Who has claimed enough is told when to come again; what it was given before is given to it again meanwhile.
func TestClaimQuota(t *testing.T) {
	c := newClaimTable(t)
	c.a.hub.change(func(s *fsm.Settings) { s.Claims.WindowMillis, s.Claims.PerPairMax, s.Claims.PerRoomMax = 60_000, 4, 2 })
	all := userHere("all")
	request := c.requestFor(bob, all, func(r *mimi.KeyMaterialRequest) { r.Room = ourRoom })
	single := func(key string) answered {
		return c.b.post(c.a, path("keyMaterial", all), request.Marshal(), "Idempotency-Key", key)
	}
	bulk := func(key string) materialRead {
		a := c.b.post(c.a, bulkKeyMaterialPath, c.inBulk(request, userHere("stranger")).Marshal(), "Idempotency-Key", key)
		return c.first(a)
	}
	first, second := readMaterial(t, single("one").body), bulk("two")
	if first.code != 0 || second.code != 0 {
		t.Fatalf("%+v, %+v", first, second)
	}
	for _, key := range []string{"three", "four"} {
		a := single(key)
		if p := problemIn(t, a); a.status != http.StatusTooManyRequests || p.Type != "urn:parley:problem:"+problemTooMany || p.Detail == "" || a.header.Get("Retry-After") != "60" {
			t.Errorf("%d, Retry-After %q, %+v", a.status, a.header.Get("Retry-After"), p)
		}
		if part := bulk(key); part.code != 0x80 || part.wait != 60 || len(part.clients) != 0 {
			t.Errorf("in bulk: %+v", part)
		}
	}
	if again := readMaterial(t, single("one").body); !slices.EqualFunc(again.clients, first.clients, sameClient) {
		t.Errorf("the first claim again got %+v", again)
	}
	if again := bulk("two"); !slices.EqualFunc(again.clients, second.clients, sameClient) {
		t.Errorf("the second claim again got %+v", again)
	}
	c.a.hub.pass(60_000)
	if part := bulk("three"); part.code != 0 {
		t.Errorf("after the window: %+v", part)
	}
}

// What a claim gets when it comes again: the same within its window, other KeyPackages after it.
func TestBulkClaimAgain(t *testing.T) {
	c := newClaimTable(t)
	all, some := userHere("all"), userHere("some")
	both := c.inBulk(c.requestFor(bob, all, nil), some)
	alone := c.inBulk(c.requestFor(bob, all, nil))
	ask := func(claim mimi.SignedBulkClaim, key ...string) []clientRead {
		t.Helper()
		return readBulkMaterial(t, c.b.post(c.a, bulkKeyMaterialPath, claim.Marshal(), key...).body)[0].clients
	}
	same := func(a, b []clientRead) bool { return slices.EqualFunc(a, b, sameClient) }
	key := []string{"Idempotency-Key", "k"}
	first := ask(both, key...)
	if !same(first, ask(both, key...)) || !same(first, ask(alone, key...)) {
		t.Error("with a key it got others")
	}
	if same(first, ask(both, "Idempotency-Key", "l")) || same(first, ask(both)) {
		t.Error("another key, or none, got the same")
	}
	plain := ask(both)
	if !same(plain, ask(both)) || same(plain, ask(alone)) {
		t.Error("without a key it is not the bytes that count")
	}
	c.a.hub.pass(61_000)
	if same(plain, ask(both)) {
		t.Error("the same bytes got the same after a minute")
	}
	if !same(first, ask(both, key...)) {
		t.Error("with a key it got others after a minute")
	}
}
