package judge

import (
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// Consent is kept for local users alone, never for a user towards itself, and a claim goes by it.
func TestConsentRequests(t *testing.T) {
	m := openMaker(t)
	alice, bob := m.client("alice1").User, m.client("bob1").User
	granted := []fsm.ConsentEntry{{Requester: bob, Consent: fsm.ConsentGranted}}
	for name, test := range map[string]struct {
		user    mimi.UserURI
		entries []fsm.ConsentEntry
	}{
		"none":             {alice, nil},
		"for nobody":       {alice, []fsm.ConsentEntry{{Consent: fsm.ConsentGranted}}},
		"for itself":       {alice, []fsm.ConsentEntry{{Requester: alice, Consent: fsm.ConsentGranted}}},
		"unknown consent":  {alice, []fsm.ConsentEntry{{Requester: bob, Consent: 3}}},
		"too many entries": {alice, make([]fsm.ConsentEntry, 501)},
	} {
		if _, err := NewSetConsents(test.user, test.entries); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	want[fsm.NotAllowed](t, m.do(constructed(NewSetConsents(bob, []fsm.ConsentEntry{{Requester: alice, Consent: fsm.ConsentGranted}}))))
	want[fsm.NotAllowed](t, m.do(constructed(NewSetConsentPolicy(bob, fsm.ConsentAllow))))
	want[fsm.NotAllowed](t, m.do(constructed(NewReadConsents(bob, mimi.UserURI{}, nil, 10))))
	want[fsm.Done](t, m.do(constructed(NewSetConsents(alice, granted))))
	want[fsm.Done](t, m.do(constructed(NewSetConsentPolicy(alice, fsm.ConsentProvider))))
	page := want[fsm.ConsentsRead](t, m.do(constructed(NewReadConsents(alice, bob, nil, 10))))
	if page.InForce != fsm.ConsentProvider || len(page.Entries) != 1 || page.Entries[0].Requester != bob || page.Entries[0].Millis == 0 {
		t.Errorf("read %+v", page)
	}
	for name, err := range map[string]error{
		"a policy": errorOf(NewSetConsentPolicy(alice, 9)), "no page": errorOf(NewReadConsents(alice, bob, nil, 0)),
		"a long cursor": errorOf(NewReadConsents(alice, bob, make([]byte, 65), 1)),
	} {
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// An inventory is told and emptied for local users alone.
func TestInventoryRequests(t *testing.T) {
	m := openMaker(t)
	alice, bob := m.client("alice1"), m.client("bob1")
	want[fsm.NotAllowed](t, m.do(constructed(NewReadInventory(bob.User))))
	want[fsm.NotAllowed](t, m.do(constructed(NewDeleteKeyPackages(bob.User, bob.URI, nil))))
	packages := [][]byte{
		m.keyPackage(m.newKey(), basic(alice.URI.String())).Marshal(), m.keyPackage(m.newKey(), basic(alice.URI.String())).Marshal(),
	}
	want[fsm.Uploaded](t, m.do(constructed(NewUpload(alice.User, alice.URI, packages))))
	k, err := mls.ParseKeyPackage(packages[0])
	m.ok(err)
	ref, err := k.Ref()
	m.ok(err)
	if got := want[fsm.KeyPackagesDeleted](t, m.do(constructed(NewDeleteKeyPackages(alice.User, alice.URI, []mls.KeyPackageRef{ref})))); got.Deleted != 1 || got.Left != 1 {
		t.Errorf("deleted %+v", got)
	}
	stocks := want[fsm.InventoryRead](t, m.do(constructed(NewReadInventory(alice.User))))
	if len(stocks.Clients) != 1 || stocks.Clients[0].Client != alice.URI || len(stocks.Clients[0].Stocks) != 1 || stocks.Clients[0].Stocks[0].Count != 1 {
		t.Errorf("read %+v", stocks)
	}
	for name, err := range map[string]error{
		"a foreign client": errorOf(NewDeleteKeyPackages(alice.User, bob.URI, nil)),
		"too many":         errorOf(NewDeleteKeyPackages(alice.User, alice.URI, make([]mls.KeyPackageRef, 1001))),
		"an empty one":     errorOf(NewDeleteKeyPackages(alice.User, alice.URI, []mls.KeyPackageRef{""})),
	} {
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func errorOf[T any](_ T, err error) error { return err }
