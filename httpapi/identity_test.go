package httpapi

import (
	"crypto/sha256"
	"crypto/tls"
	"net/http"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
)

func TestPeerIdentity(t *testing.T) {
	d := openPeerDoor(t, nil)
	d.hub.set(fsm.Accepted{}, nil)
	strangers := newAuthority(t, "strangers")
	for name, test := range map[string]struct {
		certificate *tls.Certificate
		from        string
		status      int // 0: the handshake fails
	}{
		"the peer":                          {certificate: pointer(d.ca.issue(bothUsages, "b.example")), from: "mimi@b.example", status: http.StatusOK},
		"in capitals":                       {certificate: pointer(d.ca.issue(bothUsages, "B.Example")), from: "MIMI@B.EXAMPLE", status: http.StatusOK},
		"one certificate for two peers":     {certificate: pointer(d.ca.issue(bothUsages, "c.example", "b.example")), from: "mimi@b.example", status: http.StatusOK},
		"another peer's From":               {certificate: pointer(d.ca.issue(bothUsages, "b.example")), from: "mimi@c.example", status: http.StatusForbidden},
		"another domain of the peer":        {certificate: pointer(d.ca.issue(bothUsages, "b.example", "b2.example")), from: "mimi@b2.example", status: http.StatusForbidden},
		"our own From":                      {certificate: pointer(d.ca.issue(bothUsages, "b.example")), from: "mimi@a.example", status: http.StatusForbidden},
		"no From":                           {certificate: pointer(d.ca.issue(bothUsages, "b.example")), from: "", status: http.StatusForbidden},
		"a From of another form":            {certificate: pointer(d.ca.issue(bothUsages, "b.example")), from: "bob@b.example", status: http.StatusBadRequest},
		"no certificate":                    {certificate: nil, from: "mimi@b.example"},
		"an unknown provider":               {certificate: pointer(d.ca.issue(bothUsages, "d.example")), from: "mimi@d.example"},
		"an unknown provider as the peer":   {certificate: pointer(d.ca.issue(bothUsages, "d.example")), from: "mimi@b.example"},
		"a wildcard":                        {certificate: pointer(d.ca.issue(bothUsages, "*.example")), from: "mimi@b.example"},
		"a certificate of another CA":       {certificate: pointer(strangers.issue(bothUsages, "b.example")), from: "mimi@b.example"},
		"a certificate for servers only":    {certificate: pointer(d.ca.issue(serverOnly, "b.example")), from: "mimi@b.example"},
		"only the other domain of the peer": {certificate: pointer(d.ca.issue(bothUsages, "b2.example")), from: "mimi@b2.example"},
	} {
		t.Run(name, func(t *testing.T) {
			var certificates []tls.Certificate
			if test.certificate != nil {
				certificates = append(certificates, *test.certificate)
			}
			client := httpClient(t, d.ca, certificates...)
			r := d.request(t, path("submitMessage", ourRoom), test.from, submitBody(bob))
			if test.status == 0 {
				if response, err := client.Do(r); err == nil {
					response.Body.Close()
					t.Fatalf("let in, with %d", response.StatusCode)
				}
				return
			}
			a := do(t, client, r)
			if a.status != test.status {
				t.Fatalf("got %d %s, want %d", a.status, a.body, test.status)
			}
			if test.status != http.StatusOK {
				if p := problemIn(t, a); p.Field != "From" {
					t.Errorf("the problem names %q", p.Field)
				}
			}
		})
	}
}

// What the allow-list says counts at once, also for connections that are open.
// The hub is told who asks, so that it can look again while the request is under way.
func TestHubIsToldTheCaller(t *testing.T) {
	peers := openPeerDoor(t, nil)
	peers.hub.set(fsm.Accepted{}, nil)
	peers.post(t, path("submitMessage", ourRoom), submitBody(bob))
	if got := peers.hub.callers; !slices.Equal(got, []meta.Caller{{Peer: peerDomain}}) {
		t.Errorf("a peer's request is that of %+v", got)
	}
	bearers := openLocalDoor(t)
	bearers.call(t, http.MethodGet, "/v1/rooms/"+mimi.PathSegment(ourRoom), "everything", "", nil)
	if got := bearers.hub.callers; !slices.Equal(got, []meta.Caller{{TokenHash: sha256.Sum256([]byte("everything"))}}) {
		t.Errorf("a bearer's request is that of %+v", got)
	}
}

func TestPeerIdentityFollowsTheAllowList(t *testing.T) {
	d := openPeerDoor(t, nil)
	d.hub.set(fsm.Accepted{}, nil)
	send := func() int { return d.post(t, path("submitMessage", ourRoom), submitBody(bob)).status }
	if got := send(); got != http.StatusOK {
		t.Fatalf("got %d", got)
	}
	peer, _ := d.cluster.Peer(peerDomain)
	peer.TrustPEM = newAuthority(t, "another CA").pem
	d.cluster.setPeers(peer)
	if got := send(); got != http.StatusForbidden {
		t.Errorf("with another CA pinned: got %d", got)
	}
	d.cluster.setPeers()
	if got := send(); got != http.StatusForbidden {
		t.Errorf("after the peer was removed: got %d", got)
	}
}

func TestPeerServerAuthOptIn(t *testing.T) {
	d := openPeerDoor(t, nil)
	d.hub.set(fsm.Accepted{}, nil)
	d.cluster.setPeers(meta.Peer{Domain: peerDomain, Domains: []mimi.Provider{peerDomain}, TrustPEM: d.ca.pem, AcceptServerAuth: true})
	client := httpClient(t, d.ca, d.ca.issue(serverOnly, "b.example"))
	if a := do(t, client, d.request(t, path("submitMessage", ourRoom), "mimi@b.example", submitBody(bob))); a.status != http.StatusOK {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func pointer[T any](v T) *T { return &v }
