package httpapi

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// triangle is a world of three: a.example has the room with alice and bob in it, b.example's bob claims and commits, and c.example's
// cathy is claimed.
type triangle struct {
	*world
	a, b, c        *station
	room           *simulated
	bob            device
	cathy1, cathy2 device
}

func newTriangle(t *testing.T) *triangle {
	t.Helper()
	w := newWorld(t, hubDomain, peerDomain, thirdParty)
	f := &triangle{world: w, a: w.providers[hubDomain], b: w.providers[peerDomain], c: w.providers[thirdParty]}
	f.room = w.openRoom(f.a, ourRoom, newDevice(t, alice, "mimi://a.example/d/alice1"), newDevice(t, bob, "mimi://b.example/d/bob1"))
	f.bob = f.room.members[1]
	f.cathy1, f.cathy2 = newDevice(t, cathy, "mimi://c.example/d/cathy1"), newDevice(t, cathy, "mimi://c.example/d/cathy2")
	for _, d := range []device{f.cathy1, f.cathy2} {
		f.c.upload(d, packageOf(t, d, nil), packageOf(t, d, nil))
	}
	return f
}

// adding is bob's Commit that brings in whom he has claimed.
func (f *triangle) adding(claimed []clientRead, users ...mimi.UserURI) []byte {
	f.t.Helper()
	plan := mlstest.Plan{Committer: 1, Path: true}
	for _, u := range users {
		plan.Inline = append(plan.Inline, addUser(u))
	}
	for _, c := range claimed {
		k, err := mls.ParseKeyPackage(c.keyPackage)
		if err != nil {
			f.t.Fatal(err)
		}
		plan.Inline = append(plan.Inline, mls.Add{KeyPackage: k})
	}
	return bundleOf(f.room.commit(plan)).Marshal()
}

// inboxOf waits until so many events have come to a provider, and says of which kinds they are.
func (f *triangle) inboxOf(s *station, events int) (kinds []string) {
	f.t.Helper()
	deadline, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for poll := time.NewTicker(5 * time.Millisecond); ; {
		kinds = nil
		page, err := s.hub.ReadInbox(deadline, fsm.InboxQuery{Items: 100, Classes: fsm.AllClasses})
		if err != nil {
			f.t.Fatal(err)
		}
		for _, item := range page.Items {
			messages, err := mimi.ParseFanout(item.Body)
			if err != nil {
				f.t.Fatal(err)
			}
			for _, m := range messages {
				switch m.Event.(type) {
				case mimi.FanoutWelcome:
					kinds = append(kinds, "welcome")
				case mimi.FanoutCommit:
					kinds = append(kinds, "commit")
				default:
					kinds = append(kinds, "other")
				}
			}
		}
		if len(kinds) >= events {
			poll.Stop()
			slices.Sort(kinds)
			return kinds
		}
		select {
		case <-poll.C:
			s.hub.elapse(100) // what waits for something that never comes goes on
		case <-deadline.Done():
			f.t.Fatalf("%s has got %v", s.domain, kinds)
		}
	}
}

// welcomed hands bob's Commit in and checks that its Welcome goes to c.example, and nowhere else.
func (f *triangle) welcomed(commit []byte) {
	f.t.Helper()
	a := f.b.ask("/v1/rooms/"+mimi.PathSegment(ourRoom)+"/update", commit)
	if got := readUpdateAnswer(f.t, a.body); a.status != http.StatusOK || got.code != 0 {
		f.t.Fatalf("bob's Commit: %d %+v", a.status, got)
	}
	if got := f.inboxOf(f.c, 2); !slices.Equal(got, []string{"commit", "welcome"}) {
		f.t.Errorf("c.example got %v", got)
	}
	for _, s := range []*station{f.a, f.b} {
		if got := f.inboxOf(s, 1); !slices.Equal(got, []string{"commit"}) {
			f.t.Errorf("%s got %v", s.domain, got)
		}
	}
}

// unchanged checks that a body went from b.example to a.example to c.example as it was, and nothing else was asked there.
func (f *triangle) unchanged(path string, body []byte) {
	f.t.Helper()
	for s, from := range map[*station]string{f.a: "mimi@b.example", f.c: "mimi@a.example"} {
		if got := s.seen.of(path); len(got) != 1 || got[0].from != from || !bytes.Equal(got[0].body, body) {
			f.t.Errorf("%s was asked %+v", s.domain, got)
		}
	}
}

// B claims C's user through hub A: the bytes and the signature arrive unchanged at C, and the Welcome reaches only C.
func TestThreeProviderClaim(t *testing.T) {
	f := newTriangle(t)
	request, err := mimi.KeyMaterialRequest{
		RequestingUser: bob, TargetUser: cathy, Room: ourRoom, Suites: []mls.CipherSuite{1}, Credential: f.bob.credential(),
	}.Signed(f.bob.key)
	if err != nil {
		t.Fatal(err)
	}
	a := f.b.ask(path("keyMaterial", cathy), request.Marshal())
	got := readMaterial(t, a.body)
	if a.status != http.StatusOK || got.code != 0 || len(got.clients) != 2 {
		t.Fatalf("%d %+v", a.status, got)
	}
	f.unchanged(path("keyMaterial", cathy), request.Marshal())
	if arrived, err := mimi.ParseKeyMaterialRequest(f.c.seen.of(path("keyMaterial", cathy))[0].body); err != nil || !arrived.VerifySignature() {
		t.Errorf("what arrived is not signed: %v", err)
	}
	f.welcomed(f.adding(got.clients, cathy))
}

func TestThreeProviderBulkClaim(t *testing.T) {
	betty, carl := user("mimi://b.example/u/betty"), user("mimi://c.example/u/carl")
	requests := func(t *testing.T, f *triangle, targets ...mimi.UserURI) mimi.SeparateClaims {
		var all mimi.SeparateClaims
		for _, target := range targets {
			r, err := mimi.KeyMaterialRequest{
				RequestingUser: bob, TargetUser: target, Room: ourRoom, Suites: []mls.CipherSuite{1}, Credential: f.bob.credential(),
			}.Signed(f.bob.key)
			if err != nil {
				t.Fatal(err)
			}
			all.Requests = append(all.Requests, r)
		}
		return all
	}
	for name, form := range map[string]func(t *testing.T, f *triangle) (body, arrives []byte){
		"signed once": func(t *testing.T, f *triangle) ([]byte, []byte) {
			claim, err := mimi.SignedBulkClaim{
				RequestingUser: bob, TargetUsers: []mimi.UserURI{carl, betty, cathy}, Room: ourRoom, Credential: f.bob.credential(),
			}.Signed(f.bob.key)
			if err != nil {
				t.Fatal(err)
			}
			return claim.Marshal(), claim.Marshal()
		},
		"separate": func(t *testing.T, f *triangle) ([]byte, []byte) {
			all := requests(t, f, carl, betty, cathy)
			return all.Marshal(), mimi.SeparateClaims{Requests: []mimi.KeyMaterialRequest{all.Requests[0], all.Requests[2]}}.Marshal()
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newTriangle(t)
			betty1 := newDevice(t, betty, "mimi://b.example/d/betty1")
			f.b.upload(betty1, packageOf(t, betty1, nil))
			body, arrives := form(t, f)
			a := f.b.ask("/v1/bulkKeyMaterial", body)
			got := readBulkMaterial(t, a.body)
			if a.status != http.StatusOK || len(got) != 3 {
				t.Fatalf("%d %+v", a.status, got)
			}
			for i, want := range []materialRead{{code: 4, user: carl.String()}, {user: betty.String()}, {user: cathy.String()}} {
				if got[i].code != want.code || got[i].user != want.user {
					t.Errorf("part %d: %d %s", i, got[i].code, got[i].user)
				}
			}
			if len(got[1].clients) != 1 || len(got[2].clients) != 2 {
				t.Fatalf("%+v", got)
			}
			seen := f.c.seen.of("/v1/bulkKeyMaterial")
			if len(seen) != 1 || !bytes.Equal(seen[0].body, arrives) || seen[0].from != "mimi@a.example" {
				t.Errorf("c.example was asked %+v", seen)
			}
			// The requester's own provider is asked by the hub as any other.
			if back := f.b.seen.of("/v1/bulkKeyMaterial"); len(back) != 1 || back[0].from != "mimi@a.example" {
				t.Errorf("b.example was asked %+v", back)
			}
			f.welcomed(f.adding(got[2].clients, cathy))
		})
	}
}
