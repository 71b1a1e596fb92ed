package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

func TestLocalInventory(t *testing.T) {
	d := openLocalDoor(t)
	phone := clientURI("mimi://a.example/d/1")
	target := "/v1/users/" + mimi.PathSegment(alice) + "/keyPackages"
	d.hub.set(fsm.InventoryRead{User: alice, Known: true, Clients: []fsm.ClientStock{
		{Client: phone, Reserved: 4, Stocks: []fsm.SuiteStock{
			{Suite: 1, Count: 3, Earliest: 10, Latest: 20}, {Suite: 1, LastResort: true, Count: 1, Earliest: 30, Latest: 30}, {Suite: 2, Count: 5, Earliest: 11, Latest: 12},
		}},
		{Client: clientURI("mimi://a.example/d/2")},
	}}, nil)
	a := d.json(t, http.MethodGet, target, nil)
	var got inventory
	if err := json.Unmarshal(a.body, &got); err != nil || a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	want := inventory{Clients: []clientInventory{
		{Client: phone, SingleUse: 8, LastResort: 1, Reserved: 4, Suites: []suiteStock{
			{CipherSuite: 1, Count: 3, FirstExpiry: 10, LastExpiry: 20}, {CipherSuite: 1, LastResort: true, Count: 1, FirstExpiry: 30, LastExpiry: 30},
			{CipherSuite: 2, Count: 5, FirstExpiry: 11, LastExpiry: 12},
		}},
		{Client: clientURI("mimi://a.example/d/2"), Suites: []suiteStock{}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	d.hub.set(fsm.InventoryRead{User: alice}, nil)
	if a := d.json(t, http.MethodGet, target, nil); a.status != http.StatusNotFound || problemIn(t, a).Field != "user" {
		t.Errorf("an unknown user: %d %s", a.status, a.body)
	}
	if a := d.json(t, http.MethodGet, "/v1/users/"+mimi.PathSegment(bob)+"/keyPackages", nil); a.status != http.StatusForbidden {
		t.Errorf("another provider's user: %d %s", a.status, a.body)
	}
}

func TestLocalDeletion(t *testing.T) {
	d := openLocalDoor(t)
	phone := clientURI("mimi://a.example/d/1")
	all := "/v1/users/" + mimi.PathSegment(alice) + "/clients/" + mimi.PathSegment(phone) + "/keyPackages"
	outcome := fsm.KeyPackagesDeleted{Deleted: 2, Claimed: []mls.KeyPackageRef{"taken"}, Left: 7}
	for name, test := range map[string]struct {
		method, path string
		body         any
		refs         []mls.KeyPackageRef
	}{
		"some": {http.MethodPost, all + "/delete", deletionRequest{[][]byte{[]byte("one"), []byte("taken")}}, []mls.KeyPackageRef{"one", "taken"}},
		"all":  {http.MethodDelete, all, nil, nil},
	} {
		d.hub.set(outcome, nil)
		a := d.json(t, test.method, test.path, test.body)
		var got deletionResult
		if err := json.Unmarshal(a.body, &got); err != nil || a.status != http.StatusOK || !reflect.DeepEqual(got, deletionResult{2, [][]byte{[]byte("taken")}, 7}) {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
		wanted, err := judge.NewDeleteKeyPackages(alice, phone, test.refs)
		if asked := d.hub.asked(); err != nil || len(asked) != 1 || !reflect.DeepEqual(asked[0], judge.Request(wanted)) {
			t.Errorf("%s: asked %+v", name, asked)
		}
	}
	d.hub.set(outcome, nil)
	foreign := "/v1/users/" + mimi.PathSegment(alice) + "/clients/" + mimi.PathSegment(clientURI("mimi://b.example/d/1")) + "/keyPackages"
	for name, a := range map[string]answered{
		"no list":          d.json(t, http.MethodPost, all+"/delete", deletionRequest{}), // never a deletion of all
		"an empty one":     d.json(t, http.MethodPost, all+"/delete", deletionRequest{[][]byte{{}}}),
		"too many":         d.json(t, http.MethodPost, all+"/delete", deletionRequest{make([][]byte, 1001)}),
		"a foreign client": d.json(t, http.MethodDelete, foreign, nil),
	} {
		problemIn(t, a)
		if a.status != http.StatusBadRequest && a.status != http.StatusForbidden || len(d.hub.asked()) != 0 {
			t.Errorf("%s: got %d, and asked %v", name, a.status, d.hub.asked())
		}
	}
}
