package fsm_test

import (
	"reflect"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

func (w *whole) destroy(uri mimi.RoomURI, farewell ...fsm.PendingProposal) fsm.Outcome {
	w.t.Helper()
	r := w.room(uri)
	return w.apply(fsm.DestroyRoom{Room: uri, Incarnation: r.Incarnation, GroupContextHash: r.GroupContextHash, Farewell: farewell})
}

// A destroyed room takes nothing more, and its URI is never a room's again; what it had accepted is answered as before for as long as a
// retry may come, and the users' slots know that they are not in it any more.
func TestDestroyedRoom(t *testing.T) {
	w := newWhole(t)
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	w.create(r)
	w.apply(fsm.RecordKeyPackageRefs{Room: club, Refs: []fsm.KeyPackageRoute{{Ref: "k", Provider: peer, User: bob, Client: client("bob1@b.example"), NotAfter: 5000}}})
	message, won, proposal := r.Message("m", 0, bob), r.Commit(fsmtest.Next{Label: "c"}), r.Propose(0, alice, "p")
	outcomeOf[fsm.Accepted](t, w.apply(proposal))
	outcomeOf[fsm.Accepted](t, w.apply(message))
	w.commit(r, won)
	w.apply(fsm.TakeLease{Room: club, Requester: bob, Client: "bob1"})
	w.apply(fsm.RecordDeparture{User: bob})
	w.carry()

	stale := fsm.DestroyRoom{Room: club, Incarnation: w.room(club).Incarnation, GroupContextHash: hashOf("another epoch")}
	outcomeOf[fsm.ReadSetChanged](t, w.apply(stale))
	destroyed := outcomeOf[fsm.Accepted](t, w.destroy(club, r.Propose(1, alice, "farewell").Proposals...))
	if again := w.apply(stale); again != fsm.Outcome(destroyed) {
		t.Errorf("destroyed again: %+v, first %+v", again, destroyed)
	}
	w.carry()
	ended := fsm.RoomEnded{Status: fsm.RoomDestroyed, Millis: destroyed.Millis}
	for name, c := range map[string]fsm.Command{
		"message": r.Message("late", 1, alice), "commit": r.Commit(fsmtest.Next{Label: "late"}), "proposal": r.Propose(1, alice, "late"),
		"lease": fsm.TakeLease{Room: club, Requester: alice, Client: "alice1"}, "creation": r.Create(),
		"another group": fsm.ContinueRoom{Ended: r.GroupID, Create: r.Successor("next").Create()},
	} {
		if o := w.apply(c); o != fsm.Outcome(ended) {
			t.Errorf("%s: %T%+v", name, o, o)
		}
	}
	outcomeOf[fsm.NoSuchRoom](t, w.apply(fsm.RecordKeyPackageRefs{Room: club, Refs: []fsm.KeyPackageRoute{{Ref: "k2", Provider: peer, NotAfter: 5000}}}))
	for name, c := range map[string]fsm.Command{"message": message, "commit": won, "proposal": proposal} {
		if _, ok := w.apply(c).(fsm.Accepted); !ok {
			t.Errorf("the retry of an accepted %s is refused", name)
		}
	}
	if _, found, err := fsm.ReadRoom(w.store, club); err != nil || found {
		t.Errorf("the room can be read: %v", err)
	}
	if rooms := append(w.rooms(alice), w.rooms(bob)...); len(rooms) != 0 {
		t.Errorf("the users are in %v", rooms)
	}
	local, foreign := w.items(hub), w.items(peer)
	last := local[len(local)-1]
	if !reflect.DeepEqual(last.Notes, []fsm.Note{fsm.RoomWasDestroyed{}}) || len(last.Body) == 0 {
		t.Errorf("the local provider is told %+v", last)
	}
	if last := foreign[len(foreign)-1]; len(last.Notes) != 0 || len(last.Body) == 0 {
		t.Errorf("the peer is told %+v", last)
	}
	w.now += 2 * 24 * 60 * 60 * 1000
	w.apply(fsm.Sweep{Max: 1000})
	if o := w.apply(won); o != fsm.Outcome(ended) {
		t.Errorf("after a day the Commit's retry gets %T%+v", o, o)
	}
	if o := w.apply(r.Create()); o != fsm.Outcome(ended) {
		t.Errorf("after a day the creation gets %T%+v", o, o)
	}
}

// Without Removes to send, only the local provider is told.
func TestDestroyedRoomWithoutFarewell(t *testing.T) {
	w := newWhole(t)
	w.create(fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer}))
	outcomeOf[fsm.Accepted](t, w.destroy(club))
	if local := w.items(hub); len(local) != 1 || len(local[0].Body) != 0 || len(local[0].Notes) != 1 {
		t.Errorf("the local provider is told %+v", local)
	}
	if foreign := w.items(peer); len(foreign) != 0 {
		t.Errorf("the peer is told %+v", foreign)
	}
	outcomeOf[fsm.NoSuchRoom](t, w.apply(fsm.DestroyRoom{Room: room("nowhere")}))
}

// After a ReInit the room takes nothing in the old group, then goes on in the next one from its first epoch, with the old one's answers.
func TestReInit(t *testing.T) {
	w := newWhole(t)
	r := fsmtest.NewRoom(club, 5, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	w.create(r)
	message := r.Message("m", 5, bob)
	outcomeOf[fsm.Accepted](t, w.apply(message))
	last := r.Commit(fsmtest.Next{Label: "reinit"})
	last.ReInit = []byte("parameters")
	w.commit(r, last)
	end, ended, err := fsm.ReadRoomEnd(w.store, club)
	check(t, err)
	if !ended || end.Status != fsm.RoomReinitialised || string(end.ReInit) != "parameters" || end.GroupID != r.GroupID || end.Epoch != 6 {
		t.Errorf("ended: %+v", end)
	}
	answer := fsm.RoomEnded{Status: fsm.RoomReinitialised, Millis: end.Millis}
	for name, c := range map[string]fsm.Command{
		"message": r.Message("late", 6, alice), "commit": r.Commit(fsmtest.Next{Label: "late"}), "proposal": r.Propose(6, alice, "late"),
		"lease": fsm.TakeLease{Room: club, Requester: alice, Client: "alice1"},
	} {
		if o := w.apply(c); o != fsm.Outcome(answer) {
			t.Errorf("%s: %T%+v", name, o, o)
		}
	}
	next := r.Successor("next group")
	outcomeOf[fsm.ReadSetChanged](t, w.apply(fsm.ContinueRoom{Ended: "another", Create: next.Create()}))
	refused(t, w.apply(fsm.ContinueRoom{Ended: r.GroupID, Create: r.Successor(r.GroupID).Create()}), "the room has had a group of this group_id before")
	proceed := fsm.ContinueRoom{Ended: r.GroupID, Create: next.Create()}
	outcomeOf[fsm.Accepted](t, w.apply(proceed))
	next.Incarnation = w.index
	if o := outcomeOf[fsm.Accepted](t, w.apply(proceed)); o.Epoch != 0 {
		t.Errorf("continued again: %+v", o)
	}
	outcomeOf[fsm.Accepted](t, w.apply(last)) // its retry
	outcomeOf[fsm.Accepted](t, w.apply(next.Message("first", 0, bob)))
	refused(t, w.apply(message), "the message is of another group")
	w.commit(next, next.Commit(fsmtest.Next{Label: "one"}))
	w.carry()
	if rooms := w.rooms(bob); len(rooms) != 1 {
		t.Errorf("bob is in %v", rooms)
	}
}

// A Welcome tells the local provider whose KeyPackages it names, of its own rooms and of other hubs', and there too ends their reservation.
func TestWelcomesNameTheirClients(t *testing.T) {
	w := newWhole(t)
	carol := user("carol")
	elsewhere := room("elsewhere@b.example")
	w.apply(upload(carol, client("carol1"), "a", "b"))
	routes := func(uri mimi.RoomURI, label string) fsm.RecordKeyPackageRefs {
		return fsm.RecordKeyPackageRefs{Room: uri, Refs: []fsm.KeyPackageRoute{{Ref: ref(label), Provider: hub, User: carol, Client: client("carol1"), NotAfter: 5000}}}
	}
	claim := claimOf(carol, "one")
	outcomeOf[fsm.Claimed](t, w.apply(claim))
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, carol}, []mimi.Provider{hub, peer})
	w.create(r)
	w.apply(routes(club, "a"))
	w.commit(r, r.Commit(fsmtest.Next{Label: "add", Welcomes: []fsm.WelcomeDelivery{fsmtest.Welcome(hub, ref("a"), ref("unknown"))}}))
	check := func(want fsm.Note) {
		t.Helper()
		items := w.items(hub)
		found := 0
		for _, item := range items {
			for _, n := range item.Notes {
				if n == want {
					found++
				}
			}
		}
		if found != 1 {
			t.Errorf("%+v stands %d times in %+v", want, found, items)
		}
	}
	check(fsm.WelcomeFor{Ref: ref("a"), User: carol, Client: client("carol1")})
	for _, item := range w.items(peer) {
		if len(item.Notes) != 0 {
			t.Errorf("a peer is told %+v", item.Notes)
		}
	}

	claim.ReplayKey, claim.Room = hashOf("two"), elsewhere
	second := outcomeOf[fsm.Claimed](t, w.apply(claim))
	w.apply(routes(elsewhere, "b"))
	var body mls.Writer
	delivery := fsmtest.Welcome(hub, ref("b"))
	mimi.AppendFanoutWelcome(&body, 7, delivery.Welcome, delivery.RatchetTree)
	w.apply(fsm.ReceiveFanout{Room: elsewhere, Hub: peer, BodyHash: hashOf("body"), Messages: []fsm.FanoutItem{{Hash: hashOf("m"), Bytes: body.Bytes()}}})
	check(fsm.WelcomeFor{Ref: ref("b"), User: carol, Client: client("carol1")})
	w.carry()
	if second.Clients[0].Ref != ref("b") {
		t.Fatalf("claimed %+v", second)
	}
	again := outcomeOf[fsm.Claimed](t, w.apply(claim))
	if again.Code == mimi.KeyMaterialSuccess {
		t.Error("the claim was answered again with a KeyPackage that a Welcome has used")
	}
}

// A group is one room's.
func TestGroupsBelongToOneRoom(t *testing.T) {
	w := newWhole(t)
	w.apply(fsm.ReserveGroup{Group: "group", Room: club})
	if o := w.apply(fsm.ReserveGroup{Group: "group", Room: club}); o != fsm.Outcome(fsm.Done{}) {
		t.Errorf("reserved again: %+v", o)
	}
	refused(t, w.apply(fsm.ReserveGroup{Group: "group", Room: room("other")}), "the group_id is that of another room of this hub")
	outcomeOf[fsm.Done](t, w.apply(fsm.ReserveGroup{Group: "another", Room: room("other")}))
}

// Who took part in the group that has ended, and does not in the next, takes no part any more.
func TestReInitForgetsWhoTookPart(t *testing.T) {
	w := newWhole(t)
	r := fsmtest.NewRoom(club, 5, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	w.create(r)
	last := r.Commit(fsmtest.Next{Label: "reinit"})
	last.ReInit = []byte("parameters")
	w.commit(r, last)
	fewer := *r
	fewer.Participants = fsmtest.ParticipantsOf([]mimi.UserURI{alice})
	next := fewer.Successor("next group")
	outcomeOf[fsm.Accepted](t, w.apply(fsm.ContinueRoom{Ended: r.GroupID, Create: next.Create()}))
	outcomeOf[fsm.Accepted](t, w.apply(next.Message("of alice", 0, alice)))
	refused(t, w.apply(next.Message("of bob", 0, bob)), "the sender is not a participant")
	w.carry()
	if rooms := w.rooms(bob); len(rooms) != 0 {
		t.Errorf("bob is in %v", rooms)
	}
}
