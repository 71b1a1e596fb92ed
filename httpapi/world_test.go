package httpapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// world is a few providers that know each other, each with all its doors open and with a hub that judges and decides in earnest.
type world struct {
	t         testing.TB
	ca        *authority
	providers map[mimi.Provider]*station
}

// station is one provider of a world.
type station struct {
	world   *world
	domain  mimi.Provider
	hub     *memoryHub
	cluster *fakeCluster
	desk    *Desk
	peer    string // address of the peer listener
	local   string // of the local one
	client  *http.Client
	seen    *seen
}

// seen are the requests that came to a provider's peer listener.
type seen struct {
	mu       sync.Mutex
	requests []request
}

type request struct {
	path, from string
	body       []byte
}

func (s *seen) note(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.mu.Lock()
		s.requests = append(s.requests, request{path: r.URL.EscapedPath(), from: r.Header.Get("From"), body: body})
		s.mu.Unlock()
		return next(c)
	}
}

// of are the requests to a path, in the order in which they came.
func (s *seen) of(path string) (found []request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if r.path == path {
			found = append(found, r)
		}
	}
	return found
}

func newWorld(t testing.TB, domains ...mimi.Provider) *world {
	t.Helper()
	w := &world{t: t, ca: newAuthority(t, "CA of the world"), providers: map[mimi.Provider]*station{}}
	for _, domain := range domains {
		w.open(domain)
	}
	var peers []meta.Peer
	for _, s := range w.providers {
		peers = append(peers, meta.Peer{
			Domain: s.domain, Domains: []mimi.Provider{s.domain}, TrustPEM: w.ca.pem, AllowPrivateAddresses: true,
			DirectoryURLs: []string{"https://" + s.peer + mimi.DirectoryPath},
		})
	}
	for _, s := range w.providers {
		s.cluster.setPeers(peers...)
	}
	return w
}

func (w *world) open(domain mimi.Provider) {
	t := w.t
	t.Helper()
	s := &station{world: w, domain: domain, seen: &seen{}}
	s.cluster = &fakeCluster{domains: []mimi.Provider{domain}, key: signingKey(t), tokens: map[[32]byte]meta.Token{
		sha256.Sum256([]byte("token")): {ID: "1", Scopes: meta.Scopes()},
	}}
	s.hub = newMemoryHub(t, func(settings *fsm.Settings) { settings.HubKeys = [][]byte{s.cluster.key.Public()} }, domain)
	certificates := always(w.ca.issue(bothUsages, domain.String()))
	outbound := NewClient(ClientLimits{}, s.cluster, s.cluster, certificates)
	t.Cleanup(outbound.Close)
	s.desk = NewDesk(s.hub, s.cluster, s.cluster, outbound)
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peer, err := NewPeerServer(PeerConfig{PublicURL: "https://" + socket.Addr().String()}, s.desk, s.cluster, s.cluster, certificates, requestMetrics(t), quiet())
	if err != nil {
		t.Fatal(err)
	}
	peer.echo.Pre(s.seen.note)
	s.peer = serveOn(t, peer, socket)
	pulse := w.run(s, outbound)
	s.local = serve(t, NewLocalServer(LocalConfig{}, s.desk, s.hub, pulse, s.cluster, s.cluster, certificates, requestMetrics(t), quiet()))
	s.client = httpClient(t, w.ca, w.ca.issue(bothUsages, domain.String()))
	w.providers[domain] = s
}

// run delivers what waits in the provider's outbox.
func (w *world) run(s *station, outbound *Client) *Pulse {
	w.t.Helper()
	metrics, err := NewDeliveryMetrics(prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	pulse := NewPulse(s.hub.woken)
	deliverer := NewDeliverer(DeliveryConfig{Config: s.cluster}, s.hub, s.hub, outbound, pulse, metrics, quiet())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { pulse.Run(ctx) })
	running.Go(func() { deliverer.Run(ctx) })
	w.t.Cleanup(func() { cancel(); running.Wait() })
	return pulse
}

// post sends a body to a provider's peer listener in the name of this provider.
func (s *station) post(to *station, path string, body []byte, header ...string) answered {
	t := s.world.t
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "https://"+to.peer+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("From", mimi.FromHeader(s.domain))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return do(t, s.client, r)
}

// ask sends a body to the provider's own local listener.
func (s *station) ask(path string, body []byte, header ...string) answered {
	t := s.world.t
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "https://"+s.local+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer token")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return do(t, s.client, r)
}

// device is a client with its key.
type device struct {
	user mimi.UserURI
	uri  mimi.ClientURI
	key  *mls.SigningKey
}

func newDevice(t testing.TB, user mimi.UserURI, uri string) device {
	t.Helper()
	return device{user: user, uri: clientURI(uri), key: signingKey(t)}
}

func (d device) credential() mls.Credential {
	return mls.BasicCredential{Identity: []byte(d.uri.String())}
}

// packageOf makes a KeyPackage of a device that is good at mlstest.Now, altered before it is signed.
func packageOf(t testing.TB, d device, alter func(*mls.KeyPackage)) mls.KeyPackage {
	t.Helper()
	random := func() []byte {
		key := make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			t.Fatal(err)
		}
		return key
	}
	k := mls.KeyPackage{Suite: 1, InitKey: random(), Leaf: mls.LeafNode{
		EncryptionKey: random(), SignatureKey: d.key.Public(), Credential: d.credential(), Capabilities: capabilities(),
		Source: mls.Lifetime{NotBefore: mlstest.Now - 3600, NotAfter: mlstest.Now + 90*24*3600},
	}}
	if alter != nil {
		alter(&k)
	}
	if err := k.Leaf.Sign(d.key, mls.LeafPlace{}); err != nil {
		t.Fatal(err)
	}
	if err := k.Sign(d.key); err != nil {
		t.Fatal(err)
	}
	return k
}

func capabilities() mls.Capabilities {
	return mls.Capabilities{
		Versions: []mls.Version{mls.MLS10}, Suites: []mls.CipherSuite{1}, Credentials: []mls.CredentialType{mls.CredentialBasic},
		Extensions: []mls.ExtensionType{mls.ExtensionAppDataDictionary},
		Proposals:  []mls.ProposalType{mls.ProposalAppDataUpdate, mls.ProposalAppEphemeral, mls.ProposalSelfRemove},
	}
}

// upload puts KeyPackages of a device into its provider's store.
func (s *station) upload(d device, packages ...mls.KeyPackage) {
	s.world.t.Helper()
	var raw [][]byte
	for _, k := range packages {
		raw = append(raw, k.Marshal())
	}
	request, err := judge.NewUpload(d.user, d.uri, raw)
	if got := want[fsm.Uploaded](s.world.t, s.hub, request, err); int(got.Stored) != len(packages) {
		s.world.t.Fatalf("upload: %+v", got)
	}
}

func serveOn(t testing.TB, s interface {
	Serve(context.Context, net.Listener) error
}, socket net.Listener) string {
	t.Helper()
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
