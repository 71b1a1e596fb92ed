package httpapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// fakeHub answers every request with what the test says and remembers the requests.
type fakeHub struct {
	mu       sync.Mutex
	answer   func(judge.Request) (fsm.Outcome, error)
	requests []judge.Request
	callers  []meta.Caller // of each request; zero for none
	reserve  fsm.Outcome   // of reservations of groups, which are not remembered; nil for Done
}

func answers(outcome fsm.Outcome) *fakeHub {
	return &fakeHub{answer: func(judge.Request) (fsm.Outcome, error) { return outcome, nil }}
}

func fails(err error) *fakeHub {
	return &fakeHub{answer: func(judge.Request) (fsm.Outcome, error) { return nil, err }}
}

func (h *fakeHub) Do(ctx context.Context, r judge.Request) (fsm.Outcome, error) {
	caller, _ := meta.CallerOf(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, reserves := r.(*judge.ReserveGroup); reserves {
		if h.reserve != nil {
			return h.reserve, nil
		}
		return fsm.Done{}, nil // what a test answers is meant for the creation that follows
	}
	h.callers = append(h.callers, caller)
	h.requests = append(h.requests, r)
	return h.answer(r)
}

func (*fakeHub) Holds(mimi.RoomURI) bool { return false }

func (*fakeHub) Hold(context.Context, []judge.HeldSubmission) error { return fsm.ErrOverloaded }

func (h *fakeHub) DoMany(ctx context.Context, requests []judge.Request) []judge.Decided {
	return oneByOne(ctx, h, requests)
}

// oneByOne is the DoMany of a hub that has only a Do.
func oneByOne(ctx context.Context, hub Hub, requests []judge.Request) []judge.Decided {
	decided := make([]judge.Decided, len(requests))
	for i, r := range requests {
		decided[i].Outcome, decided[i].Err = hub.Do(ctx, r)
	}
	return decided
}

func (h *fakeHub) set(outcome fsm.Outcome, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = nil
	h.answer = func(judge.Request) (fsm.Outcome, error) { return outcome, err }
}

func (h *fakeHub) asked() []judge.Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]judge.Request(nil), h.requests...)
}

// fakeCluster is all else that the doors see: peers, tokens, settings, keys.
type fakeCluster struct {
	mu      sync.Mutex
	peers   []meta.Peer
	tokens  map[[32]byte]meta.Token
	domains []mimi.Provider
	key     *mls.SigningKey
	retired []*mls.SigningKey
	alone   bool // out of contact with the rest of the cluster
	leaves  bool

	clientInboxes bool // before requests are under way
}

func (c *fakeCluster) TakesPeers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.alone
}

func (c *fakeCluster) Leaves() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaves
}

func (c *fakeCluster) setLeaving(leaves bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaves = leaves
}

func (c *fakeCluster) setAlone(alone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alone = alone
}

func (c *fakeCluster) Peer(domain mimi.Provider) (meta.Peer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		for _, d := range p.Domains {
			if d == domain {
				return p, true
			}
		}
	}
	return meta.Peer{}, false
}

func (c *fakeCluster) setPeers(peers ...meta.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peers = peers
}

func (c *fakeCluster) Token(hash [32]byte) (meta.Token, bool) {
	t, known := c.tokens[hash]
	return t, known
}

func (c *fakeCluster) Settings() fsm.Settings {
	settings := fsm.DefaultSettings(c.domains...)
	settings.Bulk.ClientInboxes = c.clientInboxes
	return settings
}

func (c *fakeCluster) HubSigner(scheme mls.SignatureScheme) (*mls.SigningKey, mls.ExternalSender, bool) {
	if c.key == nil || c.key.Scheme() != scheme {
		return nil, mls.ExternalSender{}, false
	}
	return c.key, mls.ExternalSender{SignatureKey: c.key.Public(), Credential: mls.BasicCredential{Identity: []byte("mimi://a.example")}}, true
}

func (c *fakeCluster) FrankingAgent(suite mls.CipherSuite) (mls.ExternalSender, bool) {
	return mls.ExternalSender{SignatureKey: []byte("franking"), Credential: mls.BasicCredential{Identity: []byte("mimi://a.example")}}, suite < 3
}

func (c *fakeCluster) ExternalReceiver(suite mls.CipherSuite) ([]byte, mls.Credential, bool) {
	return []byte("receiver"), mls.BasicCredential{Identity: []byte("mimi://a.example")}, suite < 2
}

// SignerOf knows the key of HubSigner and those that came before it.
func (c *fakeCluster) SignerOf(public []byte) (*mls.SigningKey, bool) {
	for _, key := range append([]*mls.SigningKey{c.key}, c.retired...) {
		if key != nil && bytes.Equal(key.Public(), public) {
			return key, true
		}
	}
	return nil, false
}

// authority is a CA of the test's own.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t: t, cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue makes a certificate for domains that also stands for loopback.
func (a *authority) issue(usages []x509.ExtKeyUsage, domains ...string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: domains, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: usages,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var (
	bothUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	serverOnly = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
)

func always(certificate tls.Certificate) Certificates {
	return func() (*tls.Certificate, error) { return &certificate, nil }
}

func provider(domain string) mimi.Provider {
	p, err := mimi.ParseProvider(domain)
	if err != nil {
		panic(err)
	}
	return p
}

func room(uri string) mimi.RoomURI {
	r, err := mimi.ParseRoomURI(uri)
	if err != nil {
		panic(err)
	}
	return r
}

func user(uri string) mimi.UserURI {
	u, err := mimi.ParseUserURI(uri)
	if err != nil {
		panic(err)
	}
	return u
}

func clientURI(uri string) mimi.ClientURI {
	c, err := mimi.ParseClientURI(uri)
	if err != nil {
		panic(err)
	}
	return c
}

var (
	hubDomain  = provider("a.example") // the provider under test
	peerDomain = provider("b.example")
	thirdParty = provider("c.example")
	ourRoom    = room("mimi://a.example/r/clubhouse")
	theirRoom  = room("mimi://b.example/r/den")
	alice      = user("mimi://a.example/u/alice")
	bob        = user("mimi://b.example/u/bob")
	cathy      = user("mimi://c.example/u/cathy")
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func requestMetrics(t testing.TB) *RequestMetrics {
	t.Helper()
	m, err := NewRequestMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func signingKey(t testing.TB) *mls.SigningKey {
	t.Helper()
	key, err := mls.GenerateSigningKey(mls.Ed25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// serve runs a listener on loopback for the length of the test and returns its address.
func serve(t testing.TB, s interface {
	Serve(context.Context, net.Listener) error
}) string {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return socket.Addr().String()
}

// answered is an HTTP answer read whole.
type answered struct {
	status int
	header http.Header
	body   []byte
}

func do(t testing.TB, client *http.Client, request *http.Request) answered {
	t.Helper()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{response.StatusCode, response.Header, body}
}

// httpClient makes a client that trusts the authority and shows a certificate, if any.
func httpClient(t testing.TB, a *authority, certificates ...tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: certificates},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// fakePoster is another provider behind Poster.
type fakePoster struct {
	mu    sync.Mutex
	reply func(to mimi.Provider, target Target, body []byte, key string) (*Reply, error)
	sent  []posted
}

type posted struct {
	to     mimi.Provider
	target Target
	body   []byte
	key    string
}

func (p *fakePoster) Post(_ context.Context, to mimi.Provider, target Target, body []byte, key string) (*Reply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, posted{to, target, body, key})
	if p.reply == nil {
		return nil, &SendError{To: to}
	}
	return p.reply(to, target, body, key)
}
