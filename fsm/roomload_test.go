package fsm_test

import (
	"fmt"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mls"
)

// propose submits Proposals numbered from one up to another.
func proposeNumbered(t *testing.T, store *fsmtest.Store, index uint64, r *fsmtest.Room, from, to int) fsm.Outcome {
	t.Helper()
	var labels []string
	for i := from; i < to; i++ {
		labels = append(labels, fmt.Sprint("p", i))
	}
	return applyTo(t, store, index, 2000, r.Propose(r.Epoch, alice, labels...))[0]
}

// So many Proposals wait in an epoch and no more, until a Commit settles them. What is known already is answered, also at the bound.
func TestPendingIsBounded(t *testing.T) {
	store, r := bornRoomOf(t, secondSettings(hub))
	for i := range 10 {
		if _, ok := proposeNumbered(t, store, uint64(2+i), r, i*100, i*100+100).(fsm.Accepted); !ok {
			t.Fatalf("bundle %d was refused", i)
		}
	}
	check(t, fsm.VerifyState(store))
	if _, refused := proposeNumbered(t, store, 20, r, fsm.PendingMax-1, fsm.PendingMax+1).(fsm.NotAllowed); !refused {
		t.Error("a Proposal beyond the bound was taken")
	}
	if got := proposeNumbered(t, store, 21, r, 900, 1000); got != (fsm.Accepted{Millis: 2000, Epoch: 0}) {
		t.Errorf("a retry at the bound got %+v", got)
	}
	c := r.Commit(fsmtest.Next{Label: "c", Proposals: []mls.ProposalRef{"p5"}})
	applyTo(t, store, 22, 2000, c)
	r.Advance(c)
	if _, ok := proposeNumbered(t, store, 23, r, 0, 1000).(fsm.Accepted); !ok {
		t.Error("the next epoch has no room for Proposals")
	}
	check(t, fsm.VerifyState(store))
}

func TestPendingBytesAreBounded(t *testing.T) {
	store, r := bornRoomOf(t, secondSettings(hub))
	taken := 0
	for i := range 6 {
		c := r.Propose(0, alice, fmt.Sprint("p", i))
		c.Proposals[0].Message = append(c.Proposals[0].Message, make([]byte, 1<<20)...)
		if _, ok := applyTo(t, store, uint64(2+i), 2000, c)[0].(fsm.Accepted); ok {
			taken++
		}
	}
	if taken != 3 {
		t.Errorf("%d Proposals of more than 1 MiB wait", taken)
	}
}

// A shard of the first format counts nothing; once it is raised, what was there before counts as well.
func TestLoadIsCountedFromItsFormatOn(t *testing.T) {
	store, r := bornRoom(t)
	routes := fsm.RecordKeyPackageRefs{Room: club, Refs: []fsm.KeyPackageRoute{
		{Ref: "one", Provider: peer, User: bob, Client: client("bob1@b.example"), NotAfter: 1 << 40}, {Ref: "two", Provider: peer, NotAfter: 5},
	}}
	applyTo(t, store, 2, 2000, routes)
	if _, ok := proposeNumbered(t, store, 3, r, 0, fsm.PendingMax+5).(fsm.Accepted); !ok {
		t.Fatal("the first format has a bound")
	}
	applyTo(t, store, 4, 2000, fsm.EnterSettings{Version: 2, Settings: secondSettings(hub)})
	if _, refused := proposeNumbered(t, store, 5, r, 2000, 2001).(fsm.NotAllowed); !refused {
		t.Error("a Proposal was taken where more than the bound wait already")
	}
	routes.Refs = append(routes.Refs, fsm.KeyPackageRoute{Ref: "three", Provider: peer, User: alice, Client: client("alice1"), NotAfter: 1 << 40})
	if got := applyTo(t, store, 6, 2000, routes)[0]; got != (fsm.Done{}) {
		t.Errorf("a route was refused for the Proposals: %+v", got)
	}
	check(t, fsm.VerifyState(store))
	applyTo(t, store, 7, 10_000, fsm.Sweep{Max: 100})
	check(t, fsm.VerifyState(store))
	if route, found, err := fsm.ReadRoute(store, club, "three"); err != nil || !found || route.NotAfter > 2+92*24*60*60 {
		t.Errorf("another provider's KeyPackage is remembered until %d, %v", route.NotAfter, err)
	}
}

// Claims pile up only so many routes and clients at a room.
func TestRoutesAndClientsAreBounded(t *testing.T) {
	for name, load := range map[string][2]uint32{"routes": {fsm.RoutesMax, 0}, "clients": {0, fsm.MappedClientsMax}} {
		store, r := bornRoomOf(t, secondSettings(hub))
		check(t, fsm.SetRoomLoad(store, club, load[0], load[1]))
		c := fsm.RecordKeyPackageRefs{Room: club, Refs: []fsm.KeyPackageRoute{
			{Ref: "one", Provider: peer, User: bob, Client: client("bob1@b.example"), NotAfter: 5000},
		}}
		if _, refused := applyTo(t, store, 2, 2000, c)[0].(fsm.NotAllowed); !refused {
			t.Errorf("at the bound for %s a claim was recorded", name)
		}
		if _, ok := proposeNumbered(t, store, 3, r, 0, 1).(fsm.Accepted); !ok {
			t.Errorf("the bound for %s refuses Proposals", name)
		}
	}
	fresh := fsmtest.NewStore()
	applyTo(t, fresh, 1, 1000, fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1}, fsm.EnterSettings{Version: 1, Settings: secondSettings(hub)})
	check(t, fsm.SetRoomLoad(fresh, club, 0, fsm.MappedClientsMax))
	_, r := bornRoom(t)
	create := r.Create()
	create.Clients = []fsm.ClientOfUser{{Client: client("alice1"), User: alice}}
	if _, refused := applyTo(t, fresh, 2, 2000, create)[0].(fsm.NotAllowed); !refused {
		t.Error("at the bound for clients a room was created with one more")
	}
}

// A Commit that brings more clients than the room may know changes nothing, not even for the first of them.
func TestCommitIntroducesAllClientsOrNone(t *testing.T) {
	store, r := bornRoomOf(t, thirdSettings(hub))
	check(t, fsm.SetRoomLoad(store, club, 0, fsm.MappedClientsMax-1))
	before, err := fsm.ContentDigest(store)
	check(t, err)
	commit := r.Commit(fsmtest.Next{Label: "two devices"})
	commit.Ruling = fsm.Ruling{Made: true, Clients: []fsm.ClientOfUser{
		{Client: client("alice1"), User: alice}, {Client: client("alice2"), User: alice},
	}}
	got := applyTo(t, store, 2, 1000, commit)[0]
	after, err := fsm.ContentDigest(store)
	check(t, err)
	if _, refused := got.(fsm.NotAllowed); !refused || after != before {
		t.Errorf("got %+v; the state changed: %v", got, after != before)
	}
	commit.Ruling.Clients = append(commit.Ruling.Clients[:1], commit.Ruling.Clients[0])
	if got, ok := applyTo(t, store, 3, 1000, commit)[0].(fsm.Accepted); !ok {
		t.Errorf("one client, named twice, got %+v", got)
	}
}
