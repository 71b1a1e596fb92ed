package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

func codesPath(room mimi.RoomURI) string {
	return "/v1/rooms/" + mimi.PathSegment(room) + "/joiningCodes"
}

// A code is shown once; what goes to the cluster admits nobody.
func TestLocalCodes(t *testing.T) {
	d := openLocalDoor(t)
	stored := fsm.JoiningCode{Creator: alice, Role: 2, Uses: 1, CreatedMillis: 5, ExpiresMillis: 6, Lock: fsm.PassphraseLock{Salt: []byte{1}}}
	d.hub.set(fsm.JoiningCodeMade{Code: stored}, nil)
	terms := createCodeRequest{Creator: alice, Role: 2, Uses: 1, LifetimeSeconds: 60, Passphrase: "open sesame"}
	var codes []string
	for range 2 {
		a := d.json(t, http.MethodPost, codesPath(ourRoom), terms)
		var made joiningCode
		if err := json.Unmarshal(a.body, &made); err != nil || a.status != http.StatusCreated {
			t.Fatalf("%d %s: %v", a.status, a.body, err)
		}
		if len(made.Code) != 24 || strings.Contains(made.Code, ".") || !made.Passphrase || made.State != "open" || made.ExpiresMillis != 6 {
			t.Errorf("made %+v", made)
		}
		codes = append(codes, made.Code)
	}
	if codes[0] == codes[1] {
		t.Error("two codes are the same")
	}
	for i, r := range d.hub.asked() {
		request := judge.EncodeRequest(r)
		id := fsm.CodeIDOf([]byte(codes[i]))
		if bytes.Contains(request, []byte(codes[i])) || bytes.Contains(request, []byte("sesame")) || !bytes.Contains(request, id[:]) {
			t.Errorf("the cluster is told %x", request)
		}
	}

	d.hub.set(fsm.JoiningCodes{Codes: []fsm.JoiningCode{stored, {ID: fsm.CodeIDOf([]byte("x")), Creator: alice, Role: 3, State: fsm.CodeUsedUp}}}, nil)
	a := d.json(t, http.MethodGet, codesPath(ourRoom), nil)
	var list joiningCodeList
	if err := json.Unmarshal(a.body, &list); err != nil || a.status != http.StatusOK || len(list.Codes) != 2 {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if list.Codes[0].Code != "" || list.Codes[1].State != "usedUp" || list.Codes[1].Passphrase {
		t.Errorf("listed %+v", list)
	}

	revoke := codesPath(ourRoom) + "/" + list.Codes[1].ID + "?by=" + url.QueryEscape(alice.String())
	d.hub.set(fsm.Done{}, nil)
	if a := d.json(t, http.MethodDelete, revoke, nil); a.status != http.StatusNoContent {
		t.Errorf("revoked: %d %s", a.status, a.body)
	}
	d.hub.set(fsm.NotAllowed{Reason: "this takes canDeleteJoinCode"}, nil)
	if a := d.json(t, http.MethodDelete, revoke, nil); a.status != http.StatusConflict || !strings.Contains(string(a.body), "canDeleteJoinCode") {
		t.Errorf("refused: %d %s", a.status, a.body)
	}
	d.hub.set(fsm.RoomEnded{Status: fsm.RoomDestroyed}, nil)
	if a := d.json(t, http.MethodGet, codesPath(ourRoom), nil); a.status != http.StatusGone || !strings.Contains(string(a.body), "destroyed") {
		t.Errorf("of a room that is gone: %d %s", a.status, a.body)
	}
	d.hub.set(fsm.NoSuchRoom{}, nil)
	for name, a := range map[string]answered{
		"revoke": d.json(t, http.MethodDelete, revoke, nil), "list": d.json(t, http.MethodGet, codesPath(ourRoom), nil),
		"create": d.json(t, http.MethodPost, codesPath(ourRoom), terms),
	} {
		if a.status != http.StatusNotFound {
			t.Errorf("%s of no room: %d %s", name, a.status, a.body)
		}
	}
}

// What a code cannot be is refused before the cluster hears of it, and the field is named.
func TestLocalCodesMalformed(t *testing.T) {
	d := openLocalDoor(t)
	good := createCodeRequest{Creator: alice, Role: 2}
	altered := func(change func(*createCodeRequest)) createCodeRequest {
		r := good
		change(&r)
		return r
	}
	for field, c := range map[string]struct {
		body   createCodeRequest
		status int
	}{
		"role":            {altered(func(r *createCodeRequest) { r.Role = 0 }), http.StatusBadRequest},
		"uses":            {altered(func(r *createCodeRequest) { r.Uses = codeUsesMax + 1 }), http.StatusBadRequest},
		"lifetimeSeconds": {altered(func(r *createCodeRequest) { r.LifetimeSeconds = codeSecondsMax + 1 }), http.StatusBadRequest},
		"passphrase":      {altered(func(r *createCodeRequest) { r.Passphrase = "abc" }), http.StatusBadRequest},
		"creator":         {altered(func(r *createCodeRequest) { r.Creator = bob }), http.StatusForbidden},
	} {
		a := d.json(t, http.MethodPost, codesPath(ourRoom), c.body)
		if p := problemIn(t, a); a.status != c.status || p.Field != field {
			t.Errorf("%s: got %d %+v", field, a.status, p)
		}
	}
	if a := d.json(t, http.MethodPost, codesPath(theirRoom), good); a.status != http.StatusNotFound {
		t.Errorf("another hub's room: %d %s", a.status, a.body)
	}
	id := fsm.CodeIDOf([]byte("x")).String()
	for path, field := range map[string]string{
		"/zz?by=" + url.QueryEscape(alice.String()):       "code",
		"/" + id[2:] + "?by=" + alice.String():            "code",
		"/" + id:                                          "by",
		"/" + id + "?by=" + url.QueryEscape(bob.String()): "by",
	} {
		a := d.json(t, http.MethodDelete, codesPath(ourRoom)+path, nil)
		if p := problemIn(t, a); a.status >= 500 || p.Field != field {
			t.Errorf("%s: got %d %+v", path, a.status, p)
		}
	}
	if n := len(d.hub.asked()); n != 0 {
		t.Errorf("the hub was asked %d times", n)
	}
}
