package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

func TestLocalConsents(t *testing.T) {
	d := openLocalDoor(t)
	all := "/v1/users/" + mimi.PathSegment(alice) + "/consents"
	one := all + "/" + mimi.PathSegment(bob)
	inRoom := one + "?room=" + url.QueryEscape(theirRoom.String())
	set := func(entries ...fsm.ConsentEntry) judge.Request {
		r, err := judge.NewSetConsents(alice, entries)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, test := range map[string]struct {
		method, path string
		body         any
		asks         judge.Request
	}{
		"grant":        {http.MethodPut, one, consentDecision{"granted"}, set(fsm.ConsentEntry{Requester: bob, Consent: fsm.ConsentGranted})},
		"revoke":       {http.MethodPut, one, consentDecision{"revoked"}, set(fsm.ConsentEntry{Requester: bob, Consent: fsm.ConsentRevoked})},
		"for one room": {http.MethodPut, inRoom, consentDecision{"granted"}, set(fsm.ConsentEntry{Requester: bob, Room: theirRoom, Consent: fsm.ConsentGranted})},
		"forget":       {http.MethodDelete, inRoom, nil, set(fsm.ConsentEntry{Requester: bob, Room: theirRoom})},
		"many": {http.MethodPost, all, consentChanges{[]consentEntry{{Requester: bob, Consent: "none"}, {Requester: cathy, Room: theirRoom, Consent: "revoked"}}},
			set(fsm.ConsentEntry{Requester: bob}, fsm.ConsentEntry{Requester: cathy, Room: theirRoom, Consent: fsm.ConsentRevoked})},
	} {
		t.Run(name, func(t *testing.T) {
			d.hub.set(fsm.Done{}, nil)
			if a := d.json(t, test.method, test.path, test.body); a.status != http.StatusNoContent {
				t.Errorf("got %d %s", a.status, a.body)
			}
			if asked := d.hub.asked(); len(asked) != 1 || !reflect.DeepEqual(judge.EncodeRequest(asked[0]), judge.EncodeRequest(test.asks)) {
				t.Errorf("asked %+v", asked)
			}
		})
	}
	for name, test := range map[string]struct {
		method, path string
		body         any
		want         int
	}{
		"another provider's user": {http.MethodPut, "/v1/users/" + mimi.PathSegment(bob) + "/consents/" + mimi.PathSegment(alice), consentDecision{"granted"}, http.StatusForbidden},
		"to itself":               {http.MethodPut, all + "/" + mimi.PathSegment(alice), consentDecision{"granted"}, http.StatusBadRequest},
		"neither":                 {http.MethodPut, one, consentDecision{"none"}, http.StatusBadRequest},
		"no room's name":          {http.MethodPut, one + "?room=den", consentDecision{"granted"}, http.StatusBadRequest},
		"nothing":                 {http.MethodPost, all, consentChanges{}, http.StatusBadRequest},
		"unknown policy":          {http.MethodPut, all, consentPolicy{"friends"}, http.StatusBadRequest},
		"a page of nothing":       {http.MethodGet, all + "?max=0", nil, http.StatusBadRequest},
		"another's cursor":        {http.MethodGet, all + "?from=*", nil, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			d.hub.set(fsm.Done{}, nil)
			a := d.json(t, test.method, test.path, test.body)
			if a.status != test.want || len(d.hub.asked()) != 0 {
				t.Errorf("got %d %s, and asked %v", a.status, a.body, d.hub.asked())
			}
			problemIn(t, a)
		})
	}
	d.hub.set(fsm.NotAllowed{Reason: "too many"}, nil)
	if a := d.json(t, http.MethodPut, one, consentDecision{"granted"}); a.status != http.StatusConflict || problemIn(t, a).Detail != "too many" {
		t.Errorf("a refusal came as %d %s", a.status, a.body)
	}
}

func TestLocalConsentPolicyAndList(t *testing.T) {
	d := openLocalDoor(t)
	all := "/v1/users/" + mimi.PathSegment(alice) + "/consents"
	if a := d.json(t, http.MethodPut, all, consentPolicy{"provider"}); a.status != http.StatusNoContent {
		t.Errorf("got %d %s", a.status, a.body)
	}
	wanted, err := judge.NewSetConsentPolicy(alice, fsm.ConsentProvider)
	if asked := d.hub.asked(); err != nil || len(asked) != 1 || !reflect.DeepEqual(asked[0], judge.Request(wanted)) {
		t.Errorf("asked %+v", asked)
	}
	d.hub.set(fsm.ConsentsRead{
		User: alice, Policy: fsm.ConsentAsCluster, InForce: fsm.ConsentAsk, Count: 3, Continue: []byte{0xff, 0xfe},
		Entries: []fsm.ConsentEntry{
			{Requester: bob, Consent: fsm.ConsentGranted, Millis: 5}, {Requester: bob, Room: theirRoom, Consent: fsm.ConsentRevoked, Millis: 6},
		},
	}, nil)
	a := d.json(t, http.MethodGet, all+"?requester="+url.QueryEscape(bob.String())+"&from=AAE&max=2", nil)
	var list consentList
	if err := json.Unmarshal(a.body, &list); err != nil || a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	want := consentList{Policy: "cluster", InForce: "ask", Count: 3, Next: "__4", Entries: []consentEntry{
		{Requester: bob, Consent: "granted", SinceMillis: 5}, {Requester: bob, Room: theirRoom, Consent: "revoked", SinceMillis: 6},
	}}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v", list)
	}
	page, err := judge.NewReadConsents(alice, bob, []byte{0, 1}, 2)
	if asked := d.hub.asked(); err != nil || len(asked) != 1 || !reflect.DeepEqual(asked[0], judge.Request(page)) {
		t.Errorf("asked %+v", asked)
	}
}
