package fsm_test

import (
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

var couple = fsm.MemberSetOf([]mimi.UserURI{alice, bob})

// fixedRoom is a room of alice and bob that is created with a number.
func fixedRoom(name string, number uint64) (*fsmtest.Room, fsm.CreateRoom) {
	r := fsmtest.NewRoom(room(name), 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	create := r.Create()
	create.Members = number
	return r, create
}

func TestMemberSetHasNoOrder(t *testing.T) {
	if fsm.MemberSetOf([]mimi.UserURI{bob, alice, bob}) != couple {
		t.Error("the order, or a name that stands twice, makes another set")
	}
	if fsm.MemberSetOf([]mimi.UserURI{alice}) == couple {
		t.Error("fewer are the same set")
	}
}

// A set that is reserved for one room can be taken by another once the first has forgone it, and not by the first any more.
func TestMembersAreReservedForOneRoom(t *testing.T) {
	w := newWholeOf(t, fsm.DefaultSettings(hub))
	reserve := func(name string, instead uint64) fsm.MembersReserved {
		return outcomeOf[fsm.MembersReserved](t, w.apply(fsm.ReserveMembers{Set: couple, Room: room(name), Instead: instead}))
	}
	first := reserve("first", 0)
	if again := reserve("first", 0); again != first || first.Room != room("first") {
		t.Fatalf("reserved %+v, again %+v", first, again)
	}
	if o := reserve("second", 0); o != first {
		t.Fatalf("another room gets %+v", o)
	}
	if o := reserve("second", first.Number+1); o != first {
		t.Fatalf("another room gets %+v for a number that is not the first one's", o)
	}
	outcomeOf[fsm.Done](t, w.apply(fsm.ForgoMembers{Room: room("first"), Set: couple, Number: first.Number}))
	second := reserve("second", first.Number)
	if second.Room != room("second") || second.Number <= first.Number {
		t.Fatalf("then it gets %+v", second)
	}
	_, late := fixedRoom("first", first.Number)
	refused(t, w.apply(late), "the participants were promised to another room of fixed membership meanwhile; ask again")
	_, create := fixedRoom("second", second.Number)
	accepted := outcomeOf[fsm.Accepted](t, w.apply(create))
	if again := outcomeOf[fsm.Accepted](t, w.apply(create)); again != accepted {
		t.Errorf("created again: %+v", again)
	}
	if set, held, err := fsm.ReadHeldMembers(w.store, room("second")); err != nil || !held || set != couple {
		t.Errorf("the room has %x, %v, %v", set, held, err)
	}
}

// Whoever saw that a room is not there must not make it forgo what it has by then.
func TestForgoingRestsOnWhatWasSeen(t *testing.T) {
	w := newWholeOf(t, fsm.DefaultSettings(hub))
	forgo := fsm.ForgoMembers{Room: room("first"), Set: couple, Number: 1}
	r, create := fixedRoom("first", 1)
	outcomeOf[fsm.Accepted](t, w.apply(create))
	outcomeOf[fsm.ReadSetChanged](t, w.apply(forgo))
	forgo.GroupContextHash = r.ContextHash()
	outcomeOf[fsm.Done](t, w.apply(forgo)) // it was judged in this epoch that the room is of another membership
	r.Incarnation = w.index
	w.destroy(room("first"))
	forgo.GroupContextHash = [32]byte{}
	outcomeOf[fsm.Done](t, w.apply(forgo))
	if _, held, err := fsm.ReadHeldMembers(w.store, room("first")); err != nil || held {
		t.Errorf("a room that was destroyed has participants: %v", err)
	}
}

// What was forgone is remembered for a day.
func TestForgoneIsForgotten(t *testing.T) {
	w := newWholeOf(t, fsm.DefaultSettings(hub))
	_, create := fixedRoom("first", 1)
	w.apply(fsm.ForgoMembers{Room: room("first"), Set: couple, Number: 1})
	const day = 24 * 60 * 60 * 1000
	w.now += day - 10
	w.apply(fsm.Sweep{Max: 100})
	refused(t, w.apply(create), "the participants were promised to another room of fixed membership meanwhile; ask again")
	w.now += 10
	w.apply(fsm.Sweep{Max: 100})
	outcomeOf[fsm.Accepted](t, w.apply(create))
}
