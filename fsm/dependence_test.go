package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

var carol, zoe = user("carol"), user("zoe")

const outsideParent = "the user is not in the room on which this one depends"

// openDependant opens a room of users that depends on another.
func (w *whole) openDependant(name string, parent mimi.RoomURI, users ...mimi.UserURI) *fsmtest.Room {
	w.t.Helper()
	r := fsmtest.NewRoom(room(name), 0, users, []mimi.Provider{hub})
	create := r.Create()
	create.Parent = parent
	outcomeOf[fsm.Accepted](w.t, w.apply(create))
	r.Incarnation = w.index
	return r
}

func (w *whole) openParent(users ...mimi.UserURI) *fsmtest.Room {
	w.t.Helper()
	r := fsmtest.NewRoom(club, 0, users, []mimi.Provider{hub})
	w.create(r)
	return r
}

// relist moves a room to an epoch with another list.
func (w *whole) relist(r *fsmtest.Room, label string, users ...mimi.UserURI) {
	w.t.Helper()
	c := r.Commit(fsmtest.Next{Label: label, Participants: fsmtest.ParticipantsOf(users)})
	c.Reads.Departures = w.room(r.URI).Departures
	w.commit(r, c)
}

func (w *whole) settle(r *fsmtest.Room, users ...mimi.UserURI) {
	w.t.Helper()
	c := fsm.SettleDepartures{Room: r.URI, GroupContextHash: r.ContextHash()}
	for _, u := range users {
		c.Gone = append(c.Gone, fsm.Departing{User: u})
	}
	outcomeOf[fsm.Done](w.t, w.apply(c))
}

func (w *whole) inParent(dependant mimi.RoomURI, user mimi.UserURI) bool {
	w.t.Helper()
	in, err := fsm.ReadInParent(w.store, dependant, user)
	check(w.t, err)
	return in
}

// A dependant learns who is in its parent, and has those leave who are not: from the first, and when they leave the parent.
func TestLeavingAParentLeavesItsDependants(t *testing.T) {
	w := newWholeOf(t, fsm.DefaultSettings(hub))
	parent := w.openParent(alice, bob, carol)
	d := w.openDependant("sub", club, alice, bob, zoe)
	if is, depends, err := fsm.ReadDependence(w.store, d.URI); err != nil || !depends || is.Known || is.Parent != club {
		t.Fatalf("%+v, %v, %v", is, depends, err)
	}
	w.carry()
	if is, _, err := fsm.ReadDependence(w.store, d.URI); err != nil || !is.Known {
		t.Fatalf("%+v, %v", is, err)
	}
	if got := w.departures(d.URI); !slices.Equal(got, []fsm.Departing{{User: zoe}}) {
		t.Fatalf("%v have to leave", got)
	}
	refused(t, w.apply(d.Message("of one outside", 0, zoe)), outsideParent)
	if !slices.Equal(w.departing, []mimi.RoomURI{d.URI}) {
		t.Errorf("told to look at %v", w.departing)
	}
	w.relist(d, "without zoe", alice, bob)
	w.settle(d, zoe)

	late := d.Commit(fsmtest.Next{Label: "late", Participants: fsmtest.ParticipantsOf([]mimi.UserURI{alice, bob, carol})})
	late.Reads.Departures = w.room(d.URI).Departures
	w.relist(parent, "without carol", alice, bob)
	w.carry()
	if got := w.departures(d.URI); len(got) != 0 {
		t.Errorf("%v have to leave, and were not there", got)
	}
	outcomeOf[fsm.ReadSetChanged](t, w.apply(late)) // it was judged with the list of before
	w.relist(parent, "without bob", alice)
	w.carry()
	if got := w.departures(d.URI); !slices.Equal(got, []fsm.Departing{{User: bob}}) || w.inParent(d.URI, bob) || !w.inParent(d.URI, alice) {
		t.Errorf("%v have to leave", got)
	}
	refused(t, w.apply(d.Message("of one who left", 1, bob)), outsideParent)
	outcomeOf[fsm.Accepted](t, w.apply(d.Message("of one who stays", 1, alice)))
}

// Who comes back into the parent before it was removed stays; who does so after can be added as anybody.
func TestComingBackToAParent(t *testing.T) {
	w := newWholeOf(t, fsm.DefaultSettings(hub))
	parent := w.openParent(alice, bob)
	d := w.openDependant("sub", club, alice, bob)
	w.carry()
	w.relist(parent, "without bob", alice)
	w.carry()
	w.relist(parent, "with bob", alice, bob)
	w.carry()
	if got := w.departures(d.URI); len(got) != 0 {
		t.Fatalf("%v have to leave", got)
	}
	outcomeOf[fsm.Accepted](t, w.apply(d.Message("of one who came back", 0, bob)))

	w.relist(parent, "without bob again", alice)
	w.carry()
	w.relist(d, "removed", alice)
	w.settle(d, bob)
	w.relist(parent, "with bob again", alice, bob)
	w.carry()
	w.relist(d, "added", alice, bob)
	if got := w.departures(d.URI); len(got) != 0 {
		t.Errorf("%v have to leave", got)
	}
	outcomeOf[fsm.Accepted](t, w.apply(d.Message("of one who was added", 2, bob)))
}

// Deletion counts for more than a parent: who is deleted cannot come back into the room by coming back into the parent.
func TestDeletedUserLeftAParent(t *testing.T) {
	for name, deletedFirst := range map[string]bool{"deleted, then left": true, "left, then deleted": false} {
		t.Run(name, func(t *testing.T) {
			w := newWholeOf(t, fsm.DefaultSettings(hub))
			parent := w.openParent(alice, bob)
			d := w.openDependant("sub", club, alice, bob)
			w.carry()
			for _, deleted := range []bool{deletedFirst, !deletedFirst} {
				if deleted {
					outcomeOf[fsm.Accepted](t, w.apply(fsm.RecordDeparture{User: bob}))
				} else {
					w.relist(parent, "without bob", alice)
				}
				w.carry()
			}
			w.relist(parent, "with bob", alice, bob)
			w.carry()
			refused(t, w.apply(d.Message("of one who was deleted", 0, bob)), "the user was deleted")
			if got := w.departures(d.URI); !slices.Equal(got, []fsm.Departing{{User: bob}}) {
				t.Errorf("%v have to leave", got)
			}
		})
	}
}

// A parent that is destroyed leaves its dependants empty, and so does one that is not there; a dependant that is destroyed hears no more.
func TestEndOfAParentAndOfADependant(t *testing.T) {
	w := newWholeOf(t, fsm.DefaultSettings(hub))
	w.openParent(alice, bob)
	d, gone := w.openDependant("sub", club, alice, bob), w.openDependant("gone", club, alice)
	w.carry()
	outcomeOf[fsm.Accepted](t, w.destroy(gone.URI))
	w.carry()
	if got, err := fsm.ReadDependants(w.store, club); err != nil || !slices.Equal(got, []mimi.RoomURI{d.URI}) {
		t.Errorf("%v depend on the room, %v", got, err)
	}
	outcomeOf[fsm.Accepted](t, w.destroy(club))
	w.carry()
	if got := w.departures(d.URI); len(got) != 2 {
		t.Errorf("of the dependant of a room that is no more, %v have to leave", got)
	}
	if got, err := fsm.ReadDependants(w.store, club); err != nil || len(got) != 0 {
		t.Errorf("%v depend on a room that is no more, %v", got, err)
	}
	late := w.openDependant("late", club, alice)
	lost := w.openDependant("lost", room("nowhere"), alice)
	w.carry()
	if a, b := w.departures(late.URI), w.departures(lost.URI); len(a) != 1 || len(b) != 1 {
		t.Errorf("of dependants of no room %v and %v have to leave", a, b)
	}
}

// A room has so many dependants and no more: the next finds nobody in it.
func TestDependantsAreBounded(t *testing.T) {
	w := newWholeOf(t, fsm.DefaultSettings(hub))
	w.openParent(alice)
	others := fsm.ReceiveInternal{At: fsm.SlotOfRoom(club), From: fsm.SlotOfUser(zoe), First: 1}
	for i := range fsm.DependantsMax {
		others.Effects = append(others.Effects, fsm.DependsOn{Parent: club, Dependant: room(fmt.Sprint("other", i))})
	}
	w.apply(others)
	one := fsm.DependsOn{Parent: club, Dependant: room("one-more")}
	others.First, others.Effects = fsm.DependantsMax+1, []fsm.Effect{one}
	w.apply(others)
	if got, err := fsm.ReadDependants(w.store, club); err != nil || len(got) != fsm.DependantsMax {
		t.Errorf("%d depend on the room, %v", len(got), err)
	}
	told := w.waiting(fsm.SlotOfRoom(club), fsm.SlotOfRoom(one.Dependant))
	if want := (fsm.ParentParticipants{Dependant: one.Dependant, Whole: true}); !reflect.DeepEqual(told, []fsm.Effect{want}) {
		t.Errorf("one too many is told %+v", told)
	}
}

// After a ReInit a room depends on the room on which it depended.
func TestNextGroupKeepsItsParent(t *testing.T) {
	w := newWholeOf(t, fsm.DefaultSettings(hub))
	w.openParent(alice, bob)
	d := w.openDependant("sub", club, alice)
	w.carry()
	c := d.Commit(fsmtest.Next{Label: "ReInit"})
	c.ReInit = []byte("re_init")
	w.commit(d, c)
	next := fsm.ContinueRoom{Ended: d.GroupID, Create: d.Successor("next group").Create()}
	for _, other := range []mimi.RoomURI{{}, room("other")} {
		next.Create.Parent = other
		refused(t, w.apply(next), "a room that depends on another depends on the same one until its end")
	}
	next.Create.Parent = club
	next.Create.Facts.Participants = fsmtest.ParticipantsOf([]mimi.UserURI{alice, bob, zoe})
	outcomeOf[fsm.Accepted](t, w.apply(next))
	if is, _, err := fsm.ReadDependence(w.store, d.URI); err != nil || !is.Known {
		t.Errorf("the room has forgotten who is in its parent: %+v, %v", is, err)
	}
	if got := w.departures(d.URI); !slices.Equal(got, []fsm.Departing{{User: zoe}}) {
		t.Errorf("%v have to leave", got)
	}
}

// Whatever happens in whatever order, in the end each dependant knows exactly who is in its parent, and who is in the dependant and not in
// the parent has to leave it, and nobody else.
func TestDependenceModel(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { modelDependence(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func modelDependence(t *testing.T, random *rand.Rand) {
	all := []mimi.UserURI{alice, bob, carol, zoe}
	some := func() []mimi.UserURI {
		users := []mimi.UserURI{alice} // who commits
		for _, u := range all[1:] {
			if random.IntN(2) == 0 {
				users = append(users, u)
			}
		}
		return users
	}
	w := newWholeOf(t, fsm.DefaultSettings(hub))
	parent := w.openParent(some()...)
	var dependants []*fsmtest.Room
	for i := range 40 {
		switch n := random.IntN(10); {
		case n == 0 && len(dependants) < 3:
			dependants = append(dependants, w.openDependant(fmt.Sprint("sub", i), club, some()...))
		case n < 4:
			w.relist(parent, fmt.Sprint(i), some()...)
		case n < 7 && len(dependants) > 0:
			w.relist(dependants[random.IntN(len(dependants))], fmt.Sprint(i), some()...)
		case n == 7 && len(dependants) > 0:
			d := dependants[random.IntN(len(dependants))]
			for _, who := range w.departures(d.URI) {
				if !takesPart(d, who.User) {
					w.settle(d, who.User)
				}
			}
		default:
			w.carry()
		}
	}
	w.carry()
	for _, d := range dependants {
		for _, u := range all {
			in := takesPart(parent, u)
			if w.inParent(d.URI, u) != in {
				t.Errorf("%s knows of %s in the parent: %v, not %v", d.URI, u, !in, in)
			}
			leaves := slices.Contains(w.departures(d.URI), fsm.Departing{User: u})
			if takesPart(d, u) && leaves == in {
				t.Errorf("%s is in the parent: %v, and has to leave %s: %v", u, in, d.URI, leaves)
			}
			if leaves && in {
				t.Errorf("%s is in the parent and has to leave %s", u, d.URI)
			}
		}
	}
}

func takesPart(r *fsmtest.Room, user mimi.UserURI) bool {
	return slices.ContainsFunc(r.Participants, func(p fsm.Participant) bool { return p.User == user })
}

// A long list is told in pieces, and a dependant knows it when it has the last.
func TestLongListsOfParentsComeInPieces(t *testing.T) {
	w := newWholeOf(t, fsm.DefaultSettings(hub))
	users := []mimi.UserURI{alice}
	for i := range 1000 {
		users = append(users, user(fmt.Sprint("user", i)))
	}
	parent := w.openParent(users...)
	d := w.openDependant("sub", club, alice, users[1000])
	w.carryAt(fsm.SlotOfRoom(d.URI), fsm.SlotOfRoom(club))
	pieces := w.waiting(fsm.SlotOfRoom(club), fsm.SlotOfRoom(d.URI))
	if len(pieces) != 3 {
		t.Errorf("the list comes in %d pieces", len(pieces))
	}
	for i, piece := range pieces {
		if p := piece.(fsm.ParentParticipants); len(p.Joined) > 500 || p.Whole != (i == 2) {
			t.Errorf("piece %d has %d users, and is the last: %v", i, len(p.Joined), p.Whole)
		}
	}
	w.carryAt(fsm.SlotOfRoom(club), fsm.SlotOfRoom(d.URI))
	if !w.inParent(d.URI, users[1000]) || len(w.departures(d.URI)) != 0 {
		t.Errorf("%v have to leave", w.departures(d.URI))
	}
	w.relist(parent, "all but one leave", alice)
	if pieces := w.waiting(fsm.SlotOfRoom(club), fsm.SlotOfRoom(d.URI)); len(pieces) != 2 {
		t.Errorf("who leaves is told in %d pieces", len(pieces))
	}
}

// waiting are the effects on their way from one slot to another.
func (w *whole) waiting(from, to fsm.SlotID) (effects []fsm.Effect) {
	w.t.Helper()
	check(w.t, fsm.ReadInternal(w.store, from, to, func(item fsm.InternalItem) (bool, error) {
		effects = append(effects, item.Effect)
		return true, nil
	}))
	return effects
}

// carryAt brings over what waits in one queue.
func (w *whole) carryAt(from, to fsm.SlotID) {
	w.t.Helper()
	next, err := fsm.ReadReceived(w.store, to, from)
	check(w.t, err)
	received := outcomeOf[fsm.Received](w.t, w.apply(fsm.ReceiveInternal{At: to, From: from, First: next, Effects: w.waiting(from, to)}))
	w.apply(fsm.DropInternal{At: from, To: to, Next: received.Next})
}

// A parent that goes on in another group after a ReInit tells who is in that.
func TestNextGroupOfAParentTellsItsDependants(t *testing.T) {
	w := newWholeOf(t, fsm.DefaultSettings(hub))
	parent := w.openParent(alice, bob)
	d := w.openDependant("sub", club, alice, bob)
	w.carry()
	c := parent.Commit(fsmtest.Next{Label: "ReInit"})
	c.ReInit = []byte("re_init")
	w.commit(parent, c)
	next := fsm.ContinueRoom{Ended: parent.GroupID, Create: parent.Successor("next group").Create()}
	next.Create.Facts.Participants = fsmtest.ParticipantsOf([]mimi.UserURI{alice})
	outcomeOf[fsm.Accepted](t, w.apply(next))
	w.carry()
	if got := w.departures(d.URI); !slices.Equal(got, []fsm.Departing{{User: bob}}) {
		t.Errorf("%v have to leave", got)
	}
}
