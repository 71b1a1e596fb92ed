package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"parley/fsm/meta"
	"parley/mimi"
)

// far is another provider's node: it serves a directory that points at itself, and what the test says.
type far struct {
	*httptest.Server
	directories atomic.Int32           // how often the directory was fetched
	base        atomic.Pointer[string] // what the directory points at; nil: this server
	handle      http.HandlerFunc
	seen        atomic.Pointer[http.Request]
}

func openFar(t *testing.T, ca *authority) *far {
	t.Helper()
	f := &far{handle: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == mimi.DirectoryPath {
			f.directories.Add(1)
			base := f.URL
			if elsewhere := f.base.Load(); elsewhere != nil {
				base = *elsewhere
			}
			directory, err := mimi.NewDirectory(base+"/v1", mimi.EndpointNotify)
			if err != nil {
				t.Error(err)
			}
			if err := json.NewEncoder(w).Encode(directory); err != nil {
				t.Error(err)
			}
			return
		}
		f.seen.Store(r)
		f.handle(w, r)
	}))
	f.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(bothUsages, "b.example")}, ClientAuth: tls.RequireAnyClientCert}
	f.EnableHTTP2 = true
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// caller sets up a client of a.example whose peer b.example has the nodes.
func openClient(t *testing.T, ca *authority, limits ClientLimits, change func(*meta.Peer), nodes ...string) (*Client, *fakeCluster) {
	t.Helper()
	cluster := &fakeCluster{domains: []mimi.Provider{hubDomain}}
	peer := meta.Peer{Domain: peerDomain, Domains: []mimi.Provider{peerDomain}, TrustPEM: ca.pem, AllowPrivateAddresses: true}
	for _, node := range nodes {
		peer.DirectoryURLs = append(peer.DirectoryURLs, node+mimi.DirectoryPath)
	}
	if change != nil {
		change(&peer)
	}
	cluster.setPeers(peer)
	c := NewClient(limits, cluster, cluster, always(ca.issue(bothUsages, "a.example")))
	t.Cleanup(c.Close)
	return c, cluster
}

func TestClientNotify(t *testing.T) {
	ca := newAuthority(t, "CA")
	f := openFar(t, ca)
	var body []byte
	f.handle = func(w http.ResponseWriter, r *http.Request) {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent) // any 2xx acknowledges
	}
	c, _ := openClient(t, ca, ClientLimits{}, nil, f.URL)
	for range 3 {
		if err := c.Notify(context.Background(), peerDomain, ourRoom, []byte("body")); err != nil {
			t.Fatal(err)
		}
	}
	r := f.seen.Load()
	if string(body) != "body" || r.Header.Get("From") != "mimi@a.example" || r.Header.Get("Content-Type") != mimi.MediaType || r.ProtoMajor != 2 {
		t.Errorf("sent %q %v over %s", body, r.Header, r.Proto)
	}
	if got := r.URL.EscapedPath(); got != path("notify", ourRoom) {
		t.Errorf("path %s", got)
	}
	if names := r.TLS.PeerCertificates[0].DNSNames; len(names) != 1 || names[0] != "a.example" {
		t.Errorf("certificate of %v", names)
	}
	if n := f.directories.Load(); n != 1 {
		t.Errorf("the directory was fetched %d times", n)
	}
}

func TestClientStatuses(t *testing.T) {
	ca := newAuthority(t, "CA")
	f := openFar(t, ca)
	c, _ := openClient(t, ca, ClientLimits{}, nil, f.URL)
	for status, retry := range map[int]string{400: "", 429: "7", 503: time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), 307: ""} {
		f.handle = func(w http.ResponseWriter, _ *http.Request) {
			if retry != "" {
				w.Header().Set("Retry-After", retry)
			}
			w.Header().Set("Location", f.URL+"/elsewhere") // is not followed
			w.WriteHeader(status)
		}
		err := c.Notify(context.Background(), peerDomain, ourRoom, []byte("x"))
		var got *StatusError
		if !errors.As(err, &got) || got.Status != status {
			t.Fatalf("%d: %v", status, err)
		}
		if retry == "7" && got.RetryAfter != 7*time.Second || status == 503 && (got.RetryAfter < 50*time.Minute || got.RetryAfter > time.Hour) {
			t.Errorf("%d: Retry-After %s", status, got.RetryAfter)
		}
	}
}

func TestClientFailsOver(t *testing.T) {
	ca := newAuthority(t, "CA")
	first, second := openFar(t, ca), openFar(t, ca)
	c, _ := openClient(t, ca, ClientLimits{}, nil, first.URL, second.URL)
	send := func() error { return c.Notify(context.Background(), peerDomain, ourRoom, []byte("x")) }
	if err := send(); err != nil || second.seen.Load() != nil {
		t.Fatalf("%v, second node asked: %v", err, second.seen.Load() != nil)
	}
	first.CloseClientConnections()
	first.Listener.Close()
	for range 3 {
		// The connections were idle when they were cut, so that at most the first request's fate is unknown.
		if err := send(); err == nil {
			break
		}
	}
	if err := send(); err != nil || second.seen.Load() == nil {
		t.Fatalf("%v, second node asked: %v", err, second.seen.Load() != nil)
	}
	second.Listener.Close()
	second.CloseClientConnections()
	var last *SendError
	for range 3 {
		if err := send(); !errors.As(err, &last) {
			t.Fatalf("nobody is there: %v", err)
		}
	}
	if last.MaybeSent {
		t.Errorf("nothing can have been sent: %v", last)
	}
}

// Endpoints may move: a directory that led nowhere is fetched again.
func TestClientForgetsADirectoryThatLedNowhere(t *testing.T) {
	ca := newAuthority(t, "CA")
	f, gone := openFar(t, ca), openFar(t, ca)
	gone.Close()
	f.base.Store(&gone.URL)
	c, _ := openClient(t, ca, ClientLimits{}, nil, f.URL)
	send := func() error { return c.Notify(context.Background(), peerDomain, ourRoom, []byte("x")) }
	var got *SendError
	if err := send(); !errors.As(err, &got) || got.MaybeSent {
		t.Fatalf("nobody is there: %v", err)
	}
	f.base.Store(nil)
	if err := send(); err != nil {
		t.Error(err)
	}
}

func TestClientNeverSent(t *testing.T) {
	ca := newAuthority(t, "CA")
	f := openFar(t, ca)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for name, change := range map[string]func(*meta.Peer){
		"private addresses": func(p *meta.Peer) { p.AllowPrivateAddresses = false },
		"another CA":        func(p *meta.Peer) { p.TrustPEM = newAuthority(t, "other").pem },
		"no CA":             func(p *meta.Peer) { p.TrustPEM = []byte("nonsense") },
		"plaintext":         func(p *meta.Peer) { p.DirectoryURLs = []string{plain.URL + mimi.DirectoryPath} },
		"not https":         func(p *meta.Peer) { p.DirectoryURLs = []string{"ftp://127.0.0.1/"} },
		"a user":            func(p *meta.Peer) { p.DirectoryURLs = []string{"https://me@127.0.0.1/"} },
		"not a peer":        func(p *meta.Peer) { p.Domains = []mimi.Provider{thirdParty} },
		"no directory":      func(p *meta.Peer) { p.DirectoryURLs = []string{f.URL + "/v1/elsewhere"} },
	} {
		c, _ := openClient(t, ca, ClientLimits{}, change, f.URL)
		err := c.Notify(context.Background(), peerDomain, ourRoom, []byte("x"))
		var got *SendError
		if !errors.As(err, &got) || got.MaybeSent {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, _ := openClient(t, ca, ClientLimits{}, nil, f.URL)
	_, err := c.Post(context.Background(), peerDomain, UpdateTarget(theirRoom), []byte("x"), "") // is not in the directory
	var got *SendError
	if !errors.As(err, &got) || got.MaybeSent || !errors.Is(err, errNotOffered) {
		t.Errorf("an endpoint that is not listed: %v", err)
	}
}

func TestClientMaybeSent(t *testing.T) {
	ca := newAuthority(t, "CA")
	release := make(chan struct{})
	for name, handle := range map[string]http.HandlerFunc{ // each at a node of its own, since handlers outlive their requests
		"cut off":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-release },
		"a long answer": func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				if _, err := w.Write(make([]byte, 100)); err != nil {
					return
				}
			}
		},
	} {
		f := openFar(t, ca)
		f.handle = handle
		c, _ := openClient(t, ca, ClientLimits{Request: 300 * time.Millisecond, AnswerBytes: 1000}, nil, f.URL)
		err := c.Notify(context.Background(), peerDomain, ourRoom, []byte("x"))
		var got *SendError
		if !errors.As(err, &got) || !got.MaybeSent {
			t.Errorf("%s: %v", name, err)
		}
	}
	close(release) // before the nodes close, which wait for their handlers
}

func TestClientFollowsTheAllowList(t *testing.T) {
	ca := newAuthority(t, "CA")
	first, second := openFar(t, ca), openFar(t, ca)
	c, cluster := openClient(t, ca, ClientLimits{}, nil, first.URL)
	send := func() error { return c.Notify(context.Background(), peerDomain, ourRoom, []byte("x")) }
	if err := send(); err != nil {
		t.Fatal(err)
	}
	peer, _ := cluster.Peer(peerDomain)
	peer.DirectoryURLs = []string{second.URL + mimi.DirectoryPath}
	cluster.setPeers(peer)
	if err := send(); err != nil || second.seen.Load() == nil {
		t.Errorf("the new address was not used: %v", err)
	}
	peer.TrustPEM = newAuthority(t, "other").pem
	cluster.setPeers(peer)
	if err := send(); err == nil {
		t.Error("a certificate of the CA of before was taken")
	}
	cluster.setPeers()
	if err := send(); err == nil {
		t.Error("sent to who is no peer any more")
	}
}

// The client and the peer listener fit together: a.example hands a message in at b.example.
func TestClientToPeerServer(t *testing.T) {
	ca := newAuthority(t, "CA")
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "https://" + socket.Addr().String()
	hub := fails(errors.New("not set"))
	there := &fakeCluster{domains: []mimi.Provider{peerDomain}}
	there.setPeers(meta.Peer{Domain: hubDomain, Domains: []mimi.Provider{hubDomain}, TrustPEM: ca.pem})
	s, err := NewPeerServer(PeerConfig{PublicURL: address, PublicRoots: x509.NewCertPool()}, NewDesk(hub, there, there, &fakePoster{}),
		there, there, always(ca.issue(bothUsages, "b.example")), requestMetrics(t), quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	c, _ := openClient(t, ca, ClientLimits{}, nil, address)
	hub.set(acceptedAt(77), nil)
	reply, err := c.Post(context.Background(), peerDomain, SubmitMessageTarget(theirRoom), submitBody(alice), "")
	if err != nil || !reply.OK() {
		t.Fatalf("%+v: %v", reply, err)
	}
	response, err := mimi.ParseSubmitMessageResponse(reply.Body)
	if accepted, ok := response.(mimi.SubmitAccepted); err != nil || !ok || accepted.AcceptedMillis != 77 {
		t.Errorf("%+v: %v", response, err)
	}
}
