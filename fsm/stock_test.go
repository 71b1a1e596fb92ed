package fsm_test

import (
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// KeyPackages of last resort go with their user, wherever they stand, and their references with their time.
func TestDepartureTakesLastResort(t *testing.T) {
	settings := fsm.DefaultSettings(hub)
	store := bornUsers(t, secondSettings(hub))
	upload := func(label string) fsm.UploadKeyPackages {
		return fsm.UploadKeyPackages{User: alice, Client: client("alice1"), Packages: []fsm.KeyPackageFacts{
			{Ref: ref(label), Suite: 1, NotAfter: 5000, LastResort: true}, {Ref: ref(label + "'s other"), Suite: 1, NotAfter: 5000},
		}}
	}
	applyTo(t, store, 2, 2000, upload("before the format"), fsm.EnterSettings{Version: 2, Settings: settings}, upload("in it"))
	check(t, fsm.VerifyState(store))
	kinds, err := fsm.Kinds(store)
	check(t, err)
	if kinds[0x23] != 3 || kinds[0x2a] != 1 {
		t.Fatalf("%d KeyPackages, and %d of last resort apart", kinds[0x23], kinds[0x2a])
	}
	applyTo(t, store, 3, 3000, fsm.RecordDeparture{User: alice})
	check(t, fsm.VerifyState(store))
	applyTo(t, store, 4, 6_000_000, fsm.Sweep{Max: 100})
	check(t, fsm.VerifyState(store))
	if kinds, err = fsm.Kinds(store); err != nil || kinds[0x23]+kinds[0x24]+kinds[0x2a] > 0 {
		t.Errorf("left are %v, %v", kinds, err)
	}
}

// KeyPackages of last resort from before they stood apart expire, are deleted and are never given like the others.
func TestLastResortFromBeforeTheFormat(t *testing.T) {
	store := bornUsers(t, secondSettings(hub))
	settings := fsm.DefaultSettings(hub)
	settings.Claims = fsm.ClaimRules{ConsentDefault: fsm.ConsentAllow}
	last := func(label string, until uint64) fsm.UploadKeyPackages {
		return fsm.UploadKeyPackages{User: alice, Client: client("alice1"), Packages: []fsm.KeyPackageFacts{
			{Ref: ref(label), Suite: 1, NotAfter: until, LastResort: true},
		}}
	}
	applyTo(t, store, 2, 2000, last("one", 5000), last("two", 4000), fsm.EnterSettings{Version: 2, Settings: settings})
	outcomes := applyTo(t, store, 3, 3000,
		fsm.ClaimKeyPackages{User: alice, Requester: bob, Provider: peer, Suites: []mls.CipherSuite{1}, ReplayMillis: 1000},
		fsm.DeleteKeyPackages{User: alice, Client: client("alice1"), Refs: []mls.KeyPackageRef{ref("one")}})
	if claimed := outcomes[0].(fsm.Claimed); claimed.Code != mimi.KeyMaterialNoCompatibleMaterial || claimed.Clients[0].Code != mimi.KeyMaterialClientExhausted {
		t.Errorf("a claim got %+v", claimed)
	}
	if deleted := outcomes[1].(fsm.KeyPackagesDeleted); deleted.Deleted != 1 {
		t.Errorf("deleted %+v", deleted)
	}
	applyTo(t, store, 4, 4_500_000, fsm.Sweep{Max: 100})
	check(t, fsm.VerifyState(store))
	read, err := fsm.ReadStocks(store, alice)
	if err != nil || len(read.Clients) != 1 || len(read.Clients[0].Stocks) != 0 {
		t.Errorf("read %+v, %v", read, err)
	}
}
