package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// directMessage is the creation of a room of fixed membership by the first of the users, who is alone in the group.
func (w *world) directMessage(hub *station, name string, users ...mimi.UserURI) createRoomRequest {
	w.t.Helper()
	return w.newRoom(hub, name, mimi.BaseRoomPolicy{FixedMembership: true, MultiDevice: true}, users...)
}

// newRoom is the creation of a room of users by the first of them, who is alone in the group.
func (w *world) newRoom(hub *station, name string, base mimi.BaseRoomPolicy, users ...mimi.UserURI) createRoomRequest {
	w.t.Helper()
	var list mimi.ParticipantListData
	for _, u := range users {
		list.Participants = append(list.Participants, mimi.UserRolePair{User: u, Role: 1})
	}
	dictionary := mls.AppDataDictionary{}.With(mimi.ComponentParticipantList, list.Marshal()).
		With(mimi.ComponentBaseRoomPolicy, base.Marshal())
	sender := mls.ExternalSender{
		SignatureKey: hub.cluster.key.Public(), Credential: mls.BasicCredential{Identity: []byte("mimi://" + hub.domain.String())},
	}
	group, err := mlstest.New(mlstest.Config{
		Suite: 1, Seed: uint64(len(name)), Members: 1, GroupID: mls.GroupID("group of " + name),
		Extensions: mls.Extensions{}.With(mls.ExtensionExternalSenders, mls.ExternalSenders{sender}.Marshal()).
			With(mls.ExtensionAppDataDictionary, dictionary.Marshal()),
		Leaf: func(leaf *mls.LeafNode) { leaf.Credential = mls.BasicCredential{Identity: []byte(users[0].String())} },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	room, err := mimi.ParseRoomURI("mimi://" + hub.domain.String() + "/r/" + name)
	if err != nil {
		w.t.Fatal(err)
	}
	info := group.GroupInfo()
	return createRoomRequest{Room: room, Creator: users[0], GroupInfo: info.Marshal(), RatchetTree: group.Tree()}
}

func (s *station) create(r createRoomRequest) answered {
	s.world.t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		s.world.t.Fatal(err)
	}
	return s.ask("/v1/rooms", body, "Content-Type", "application/json")
}

// There is one room of fixed membership for a set of participants, in whatever order they are listed; who takes part is told which.
func TestOneFixedRoomForItsParticipants(t *testing.T) {
	us := alice.Provider()
	w := newWorld(t, us)
	s := w.providers[us]
	first := w.directMessage(s, "first", alice, bob, cathy)
	for range 2 {
		if a := s.create(first); a.status != http.StatusCreated {
			t.Fatalf("the first: %d %s", a.status, a.body)
		}
	}
	for name, r := range map[string]createRoomRequest{
		"the same": w.directMessage(s, "second", alice, bob, cathy), "in another order": w.directMessage(s, "third", alice, cathy, bob),
	} {
		a := s.create(r)
		if p := problemIn(t, a); a.status != http.StatusConflict || !strings.Contains(p.Detail, first.Room.String()) {
			t.Errorf("%s: %d %+v", name, a.status, p)
		}
	}
	if a := s.create(w.directMessage(s, "myself", alice)); a.status != http.StatusCreated {
		t.Errorf("another set: %d %s", a.status, a.body)
	}
	destroy, err := judge.NewDestroyRoom(first.Room)
	want[fsm.Accepted](t, s.hub, destroy, err)
	if a := s.create(w.directMessage(s, "after", alice, cathy, bob)); a.status != http.StatusCreated {
		t.Errorf("when the first is destroyed: %d %s", a.status, a.body)
	}
}

// A reservation of which no room came is in nobody's way, and its room does not come after all.
func TestFixedRoomThatNeverCame(t *testing.T) {
	us := alice.Provider()
	w := newWorld(t, us)
	s := w.providers[us]
	lost := w.directMessage(s, "lost", alice, bob)
	request, err := judge.NewCreateRoom(lost.Room, lost.Creator, lost.GroupInfo, lost.RatchetTree)
	if err != nil {
		t.Fatal(err)
	}
	late, err := s.desk.reserveMembers(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	next := w.directMessage(s, "next", alice, bob)
	if a := s.create(next); a.status != http.StatusCreated {
		t.Fatalf("the next: %d %s", a.status, a.body)
	}
	want[fsm.NotAllowed](t, s.hub, late, nil)
	if a := s.create(lost); a.status != http.StatusConflict || !strings.Contains(string(a.body), next.Room.String()) {
		t.Errorf("the one before: %d %s", a.status, a.body)
	}
}

// Of many that are asked for at the same time, one comes to be.
func TestFixedRoomsRace(t *testing.T) {
	us := alice.Provider()
	w := newWorld(t, us)
	s := w.providers[us]
	const racers = 8
	requests := make([]createRoomRequest, racers)
	for i := range requests {
		requests[i] = w.directMessage(s, "racer"+strings.Repeat("x", i), alice, bob)
	}
	var wait sync.WaitGroup
	answers := make([]answered, racers)
	for i := range racers {
		wait.Go(func() { answers[i] = s.create(requests[i]) })
	}
	wait.Wait()
	made := 0
	for _, a := range answers {
		switch a.status {
		case http.StatusCreated:
			made++
		case http.StatusConflict:
		default:
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if made != 1 {
		t.Errorf("%d rooms were made", made)
	}
}
