package judge

import (
	"slices"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// groupInfoRequest is one by a client, with the recorded key of that name.
func (m *maker) groupInfoRequest(name, from string) (Request, error) {
	m.t.Helper()
	return m.groupInfoOf(m.key(name), m.client(name).URI.String(), from, false)
}

func (m *maker) groupInfoOf(key *mls.SigningKey, identity, from string, spoil bool) (Request, error) {
	m.t.Helper()
	request, err := mimi.GroupInfoRequest{Suite: 1, Credential: basic(identity), HPKEKey: m.random(32)}.Signed(key)
	m.ok(err)
	if spoil {
		request.Signature[0] ^= 1
	}
	return constructed(NewGroupInfo(provider(m.t, from), m.recording.Room.URI, request.Marshal()))
}

// claimOf is a claim of bob's KeyPackages for alice, altered before it is signed.
func (m *maker) claimOf(alter func(*mimi.KeyMaterialRequest)) mimi.KeyMaterialRequest {
	m.t.Helper()
	request := mimi.KeyMaterialRequest{
		RequestingUser: m.client("alice1").User, TargetUser: m.client("bob1").User, Room: m.recording.Room.URI,
		Suites: []mls.CipherSuite{1}, Credential: basic(m.client("alice1").URI.String()),
	}
	if alter != nil {
		alter(&request)
	}
	request, err := request.Signed(m.key("alice1"))
	m.ok(err)
	return request
}

func (m *maker) claim(from string, request mimi.KeyMaterialRequest) (Request, error) {
	return constructed(NewClaim(provider(m.t, from), request.TargetUser, request.Marshal(), ""))
}

func TestClaims(t *testing.T) {
	alter := func(user, credential string) func(*mimi.KeyMaterialRequest) {
		return func(r *mimi.KeyMaterialRequest) {
			if user != "" {
				uri, err := mimi.ParseUserURI(user)
				if err != nil {
					panic(err)
				}
				r.RequestingUser = uri
			}
			if credential != "" {
				r.Credential = basic(credential)
			}
		}
	}
	m := openMaker(t)
	m.frozen = true
	spoilt := m.claimOf(nil)
	spoilt.Signature[3] ^= 1
	for name, c := range map[string]struct {
		from    string
		request mimi.KeyMaterialRequest
		allowed bool
	}{
		"by the requester's provider": {"a.example", m.claimOf(nil), true},
		"under the user's name":       {"a.example", m.claimOf(alter("", "mimi://a.example/u/alice")), true},
		"forwarded by the room's hub": {"a.example", m.claimOf(alter("mimi://c.example/u/carol", "mimi://c.example/d/carol1")), true},
		"bad signature":               {"a.example", spoilt, false},
		"of another user's name":      {"a.example", m.claimOf(alter("", "mimi://a.example/u/anna")), false},
		"of another provider's name":  {"a.example", m.claimOf(alter("", "mimi://c.example/d/carol1")), false},
		"foreign requester":           {"c.example", m.claimOf(nil), false},
		"no name":                     {"a.example", m.claimOf(alter("", "alice")), false},
	} {
		t.Run(name, func(t *testing.T) {
			m.t = t
			before := m.digest()
			outcome := m.do(m.claim(c.from, c.request))
			if c.allowed {
				want[fsm.Claimed](t, outcome)
			} else {
				want[fsm.NotAllowed](t, outcome)
			}
			if m.digest() != before {
				t.Error("a claim that took nothing changed the state")
			}
		})
	}
	if _, err := NewClaim(provider(t, "a.example"), m.client("alice1").User, m.claimOf(nil).Marshal(), ""); err == nil {
		t.Error("a claim for another user than its path's was read")
	}
}

func TestGroupInfoRequests(t *testing.T) {
	m := openMaker(t)
	m.frozen = true
	key := m.newKey()
	for name, r := range map[string]func() (Request, error){
		"stranger":          func() (Request, error) { return m.groupInfoOf(key, "mimi://b.example/u/eve", "b.example", false) },
		"stranger's client": func() (Request, error) { return m.groupInfoOf(key, "mimi://b.example/d/eve1", "b.example", false) },
		"nobody":            func() (Request, error) { return m.groupInfoOf(key, "eve", "b.example", false) },
		"bad signature":     func() (Request, error) { return m.groupInfoOf(key, "mimi://b.example/u/bob", "b.example", true) },
		"wrong provider":    func() (Request, error) { return m.groupInfoRequest("bob3", "a.example") },
	} {
		t.Run(name, func(t *testing.T) {
			m.t = t
			before := m.digest()
			want[fsm.NotAllowed](t, m.do(r()))
			if m.digest() != before {
				t.Error("the refusal changed the state")
			}
		})
	}
	m.t = t
	disclosed := want[fsm.Disclosed](t, m.do(m.groupInfoRequest("bob3", "b.example")))
	if info, err := mls.ParseGroupInfo(disclosed.GroupInfo); err != nil || info.Context.Epoch != 3 {
		t.Errorf("disclosed %v, %v", info.Context.Epoch, err)
	}
	want[fsm.LeaseHeld](t, m.do(m.groupInfoRequest("bob2", "b.example")))
}

// A lease whose answer is read only after its holder has been removed discloses nothing.
func TestGroupInfoIsNotDisclosedToRemoved(t *testing.T) {
	m := openMaker(t)
	request, err := m.groupInfoRequest("bob3", "b.example")
	m.ok(err)
	verdict, err := request.Judge(m.store)
	m.ok(err)
	granted := want[fsm.LeaseGranted](t, m.apply(verdict.(Propose).Command))
	leaves := []mls.LeafIndex{m.leaf("bob1"), m.leaf("bob2"), m.leaf("bob3")}
	list := inline(listUpdate(mimi.ParticipantListUpdate{Removed: []uint32{1}}))
	for _, leaf := range leaves {
		list = append(list, mls.InlineProposal{Proposal: mls.Remove{Removed: leaf}})
	}
	m.accepted("a.example", m.commit("alice1", true, list, leaves...))
	outcome, err := request.Complete(m.store, granted)
	m.ok(err)
	want[fsm.NotAllowed](t, outcome)
}

// granted takes a lease for a request and leaves its answer to be read later.
func (m *maker) granted(request Request) fsm.LeaseGranted {
	m.t.Helper()
	verdict, err := request.Judge(m.store)
	m.ok(err)
	return want[fsm.LeaseGranted](m.t, m.apply(verdict.(Propose).Command))
}

// A lease whose answer is read only after it has ended discloses nothing: the GroupInfo is another's by then, or may be.
func TestGroupInfoOfALeaseThatEnded(t *testing.T) {
	begin := func(t *testing.T) (*maker, Request, fsm.LeaseGranted) {
		m := openMaker(t)
		request, err := m.groupInfoRequest("bob3", "b.example")
		m.ok(err)
		return m, request, m.granted(request)
	}
	complete := func(m *maker, request Request, granted fsm.LeaseGranted) fsm.Outcome {
		m.t.Helper()
		outcome, err := request.Complete(m.store, granted)
		m.ok(err)
		return outcome
	}
	commit := func(m *maker) {
		m.t.Helper()
		m.accepted("a.example", m.commit("alice1", false, inline(m.rename())))
	}
	t.Run("by a Commit", func(t *testing.T) {
		m, request, granted := begin(t)
		commit(m)
		if held := want[fsm.LeaseHeld](t, complete(m, request, granted)); held != (fsm.LeaseHeld{UntilMillis: m.now, NowMillis: m.now}) {
			t.Errorf("told %+v at %d", held, m.now)
		}
	})
	t.Run("by a Commit, and lent to another", func(t *testing.T) {
		m, request, granted := begin(t)
		commit(m)
		other := want[fsm.Disclosed](t, m.do(m.groupInfoRequest("bob2", "b.example")))
		if held := want[fsm.LeaseHeld](t, complete(m, request, granted)); held != (fsm.LeaseHeld{UntilMillis: other.Lease.UntilMillis, NowMillis: m.now}) {
			t.Errorf("told %+v at %d, the other has it until %d", held, m.now, other.Lease.UntilMillis)
		}
	})
	t.Run("by a Commit, and lent to the same again", func(t *testing.T) {
		m, request, granted := begin(t)
		commit(m)
		newer := want[fsm.Disclosed](t, m.do(request, nil))
		again := want[fsm.Disclosed](t, complete(m, request, granted))
		if again.Lease != newer.Lease || again.Lease.Token <= granted.Token || again.Epoch != newer.Lease.Epoch {
			t.Errorf("disclosed %+v of epoch %d, the lease is %+v", again.Lease, again.Epoch, newer.Lease)
		}
	})
	t.Run("by its time", func(t *testing.T) {
		m, request, granted := begin(t)
		m.now = granted.UntilMillis
		m.apply(fsm.Fence{})
		want[fsm.LeaseHeld](t, complete(m, request, granted))
	})
}

// Two devices of one user may have the same credential; the lease is one device's all the same.
func TestGroupInfoIsLentToOneDevice(t *testing.T) {
	m := openMaker(t)
	first, second := m.newKey(), m.newKey()
	ask := func(key *mls.SigningKey) fsm.Outcome {
		m.t.Helper()
		return m.do(m.groupInfoOf(key, m.client("bob1").User.String(), "b.example", false))
	}
	granted := want[fsm.Disclosed](t, ask(first))
	want[fsm.LeaseHeld](t, ask(second))
	if again := want[fsm.Disclosed](t, ask(first)); again.Lease != granted.Lease {
		t.Errorf("the same device got %+v, and then %+v", granted.Lease, again.Lease)
	}
}

func TestNoSuchRoom(t *testing.T) {
	h := newHub(t)
	race := h.recording.Race.Alice
	want[fsm.NoSuchRoom](t, h.update(race))
	m := openMaker(t)
	request, err := m.groupInfoRequest("bob3", "b.example")
	m.ok(err)
	want[fsm.NoSuchRoom](t, h.do(request, nil))
	want[fsm.NoSuchRoom](t, h.do(constructed(NewDescribeRoom(h.recording.Room.URI))))
}

func TestUploads(t *testing.T) {
	m := openMaker(t)
	alice, bob := m.client("alice1"), m.client("bob1")
	make := func(identity string) []byte { return m.keyPackage(m.newKey(), basic(identity)).Marshal() }
	spoilt := make(alice.URI.String())
	spoilt[len(spoilt)-1] ^= 1
	for name, packages := range map[string][][]byte{
		"none":               {},
		"foreign credential": {make(bob.URI.String())},
		"bad signature":      {spoilt},
		"two clients":        {make(alice.URI.String()), make("mimi://a.example/d/alice2")},
		"cut short":          {spoilt[:40]},
	} {
		if _, err := NewUpload(alice.User, alice.URI, packages); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	if _, err := NewUpload(alice.User, bob.URI, [][]byte{make(alice.URI.String())}); err == nil {
		t.Error("another provider's client of a user was taken")
	}
	want[fsm.NotAllowed](t, m.do(constructed(NewUpload(bob.User, bob.URI, [][]byte{make(bob.URI.String())}))))
	taken := want[fsm.Uploaded](t, m.do(constructed(NewUpload(alice.User, alice.URI,
		[][]byte{make(alice.URI.String()), make(alice.User.String())}))))
	if taken.Stored != 2 {
		t.Errorf("%+v", taken)
	}
}

func TestRoutesStayWithinAProvider(t *testing.T) {
	m := openMaker(t)
	alice, bob := m.client("alice1"), m.client("bob1")
	for name, route := range map[string]fsm.KeyPackageRoute{
		"another's user":   {Ref: "r", Provider: bob.User.Provider(), User: alice.User, Client: bob.URI},
		"another's client": {Ref: "r", Provider: bob.User.Provider(), User: bob.User, Client: alice.URI},
		"no reference":     {Provider: bob.User.Provider(), User: bob.User, Client: bob.URI},
		"nobody":           {Ref: "r"},
	} {
		if _, err := NewRecordRoutes(m.recording.Room.URI, []fsm.KeyPackageRoute{route}); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}

func TestSubmitAndNotifyOfOthers(t *testing.T) {
	m := openMaker(t)
	m.frozen = true
	hello := m.recording.Steps[slices.IndexFunc(m.recording.Steps, func(s step) bool { return s.Kind == "message" })]
	message, err := mls.ParseMLSMessage(hello.Message)
	m.ok(err)
	body := mimi.SubmitMessageRequest{Message: message.Body.(*mls.PrivateMessage), Sender: m.client("alice1").User}.Marshal()
	room := m.recording.Room.URI
	elsewhere, err := mimi.ParseRoomURI("mimi://c.example/r/den")
	m.ok(err)
	fanout := mimi.FanoutMessage{Millis: 1, Event: mimi.FanoutApplication{Message: message.Body.(*mls.PrivateMessage)}}.Marshal()
	before := m.digest()
	want[fsm.NotAllowed](t, m.do(constructed(NewSubmit(provider(t, "b.example"), room, body))))
	want[fsm.NotAllowed](t, m.do(constructed(NewNotify(provider(t, "b.example"), elsewhere, fanout))))
	want[fsm.NotAllowed](t, m.do(constructed(NewNotify(provider(t, "a.example"), room, fanout))))
	item, err := ReadDelivered(fanout, nil)
	m.ok(err)
	deliver := func(hub string, at mimi.RoomURI, lookedUp ...mls.GroupID) fsm.Outcome {
		return m.do(constructed(NewReceiveBodies(provider(t, hub), at, []Delivered{item, item}, lookedUp)))
	}
	for hub, at := range map[string]mimi.RoomURI{"b.example": elsewhere, "a.example": room} {
		if got, refused := deliver(hub, at).(fsm.NotAllowed); !refused {
			t.Errorf("%s delivers of %s: %+v", hub, at, got)
		}
	}
	group := message.Body.(*mls.PrivateMessage).GroupID
	if got := want[fsm.BodiesReceived](t, deliver("c.example", elsewhere)); got.Stop != fsm.StopGroups || !slices.Equal(got.Groups, []mls.GroupID{group}) {
		t.Errorf("a group that nobody has looked up: %+v", got)
	}
	if m.digest() != before {
		t.Error("a refusal changed the state")
	}
	if got := want[fsm.BodiesReceived](t, deliver("c.example", elsewhere, group)); got.Taken != 2 {
		t.Errorf("%+v", got)
	}
	want[fsm.Accepted](t, m.do(constructed(NewNotify(provider(t, "c.example"), elsewhere, fanout))))
	if _, err := NewReceiveBodies(provider(t, "c.example"), mimi.RoomURI{}, []Delivered{item}, nil); err == nil {
		t.Error("a body of no room was read")
	}
}
