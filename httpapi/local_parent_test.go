package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// A room that depends on another is created where that is there and has its participants, and the reason is told where not; the same request
// again is answered as before, whatever has become of the parent.
func TestRoomsThatDependOnAParent(t *testing.T) {
	us := alice.Provider()
	w := newWorld(t, us)
	s := w.providers[us]
	under := func(name string, parent string, users ...mimi.UserURI) createRoomRequest {
		return w.newRoom(s, name, mimi.BaseRoomPolicy{MultiDevice: true, ParentDependent: true, ParentRooms: []string{parent}}, users...)
	}
	parent := w.newRoom(s, "parent", mimi.BaseRoomPolicy{MultiDevice: true}, alice, bob)
	early := s.create(under("early", parent.Room.String(), alice))
	if p := problemIn(t, early); early.status != http.StatusConflict || !strings.Contains(p.Detail, "there is no parent room") {
		t.Errorf("before its parent: %d %+v", early.status, p)
	}
	if a := s.create(parent); a.status != http.StatusCreated {
		t.Fatalf("the parent: %d %s", a.status, a.body)
	}
	first := under("first", parent.Room.String(), alice, bob)
	if a := s.create(first); a.status != http.StatusCreated {
		t.Fatalf("a dependant: %d %s", a.status, a.body)
	}
	for because, r := range map[string]createRoomRequest{
		"is not a participant of the parent room": under("second", parent.Room.String(), alice, cathy),
		"is of another provider":                  under("third", "mimi://elsewhere.example/r/parent", alice),
		"cannot depend on itself":                 under("fourth", "mimi://"+us.String()+"/r/fourth", alice),
	} {
		a := s.create(r)
		if p := problemIn(t, a); a.status != http.StatusConflict || !strings.Contains(p.Detail, because) {
			t.Errorf("%d %+v, not because it %s", a.status, p, because)
		}
	}
	destroy, err := judge.NewDestroyRoom(parent.Room)
	want[fsm.Accepted](t, s.hub, destroy, err)
	if a := s.create(first); a.status != http.StatusCreated {
		t.Errorf("the dependant again: %d %s", a.status, a.body)
	}
}
