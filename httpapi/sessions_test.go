package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"parley/fsm"
)

// TestWhoLeavesSendsAllAway: on connections too that were there before, and ends them.
func TestWhoLeavesSendsAllAway(t *testing.T) {
	peer, local := openPeerDoor(t, nil), openLocalDoor(t)
	peer.hub.set(fsm.Accepted{Millis: 5, Epoch: 8}, nil)
	asked := map[string]func() answered{
		"peer": func() answered {
			return do(t, peer.client, peer.request(t, path("update", ourRoom), "mimi@b.example", updateBody()))
		},
		"local": func() answered { return local.call(t, http.MethodGet, "/v1/hub-keys", "everything", "", nil) },
	}
	for name, cluster := range map[string]*fakeCluster{"peer": peer.cluster, "local": local.cluster} {
		ask := asked[name]
		if a := ask(); a.status != http.StatusOK {
			t.Fatalf("%s, before: %d", name, a.status)
		}
		cluster.setLeaving(true)
		a := ask()
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "5" || !strings.Contains(problemIn(t, a).Detail, "leaves its cluster") {
			t.Errorf("%s: %d, Retry-After %q", name, a.status, a.header.Get("Retry-After"))
		}
		cluster.setLeaving(false)
		if a := ask(); a.status != http.StatusOK {
			t.Errorf("%s, when it stays after all: %d", name, a.status)
		}
	}
}

// A node that is out of contact sends new peers away, answers those that were there before, and takes all again afterwards.
func TestNewSessionsAreRefusedOutOfContact(t *testing.T) {
	d := openPeerDoor(t, nil)
	d.hub.set(fsm.Accepted{Millis: 5, Epoch: 8}, nil)
	ask := func(client *http.Client) answered {
		return do(t, client, d.request(t, path("update", ourRoom), "mimi@b.example", updateBody()))
	}
	newcomer := func() *http.Client { return httpClient(t, d.ca, d.ca.issue(bothUsages, "b.example")) }
	if a := ask(d.client); a.status != http.StatusOK {
		t.Fatalf("in contact: %d", a.status)
	}
	d.cluster.setAlone(true)
	if a := ask(d.client); a.status != http.StatusOK {
		t.Errorf("a session that was there before: %d", a.status)
	}
	waiting := newcomer()
	for range 2 {
		a := ask(waiting)
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "5" {
			t.Errorf("a new session: %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
		}
		if p := problemIn(t, a); p.Type != "urn:parley:problem:"+problemNotProposed {
			t.Errorf("it is told %s", p.Type)
		}
	}
	d.cluster.setAlone(false)
	for name, client := range map[string]*http.Client{"who was sent away": waiting, "who comes now": newcomer()} {
		if a := ask(client); a.status != http.StatusOK {
			t.Errorf("%s: %d", name, a.status)
		}
	}
}
