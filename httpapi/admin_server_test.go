package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// fakeAdmin remembers what it was asked.
type fakeAdmin struct {
	ready Readiness
	err   error
	asked []any
	peers []PeerEntry

	recorded []meta.Audited // without their keys
}

func (a *fakeAdmin) note(what ...any) error {
	a.asked = append(a.asked, what...)
	return a.err
}

func (a *fakeAdmin) Ready(context.Context) Readiness { return a.ready }
func (a *fakeAdmin) Status(context.Context) (ClusterStatus, error) {
	return ClusterStatus{ClusterID: "c1"}, a.err
}
func (a *fakeAdmin) Init(_ context.Context, r InitRequest) (ClusterIdentity, error) {
	return ClusterIdentity{ClusterID: "c1", Node: "n1"}, a.note(r)
}
func (a *fakeAdmin) CreateBackup(_ context.Context, r BackupRequest) (JobEntry, error) {
	return JobEntry{ID: 7, Kind: "backup", State: "running", Text: r.Location}, a.err
}
func (a *fakeAdmin) RestoreCluster(context.Context, RestoreRequest) (RestoreStatus, error) {
	return RestoreStatus{State: RestoreBegun, Backup: "b1", ClusterID: "c1", Generation: 2}, a.err
}
func (a *fakeAdmin) Join(_ context.Context, r JoinRequest) (ClusterIdentity, error) {
	return ClusterIdentity{ClusterID: "c1", Node: "n2"}, a.note(r)
}
func (a *fakeAdmin) Invite(_ context.Context, r InviteRequest) (Invitation, error) {
	return Invitation{Token: "t0ken"}, a.note(r)
}
func (a *fakeAdmin) Invitations(context.Context) ([]InvitationEntry, error) {
	return []InvitationEntry{{ID: "i1", Node: "n2"}}, a.err
}
func (a *fakeAdmin) RevokeInvitation(_ context.Context, id string) error { return a.note(id) }
func (a *fakeAdmin) Certificates(context.Context) ([]CertificateEntry, error) {
	return []CertificateEntry{{Serial: "ab", Node: "n1"}}, a.err
}
func (a *fakeAdmin) RevokeCertificates(_ context.Context, node string) error { return a.note(node) }
func (a *fakeAdmin) Keyring(context.Context) (Keyring, error) {
	return Keyring{Keys: []KeyringKey{{ID: "k1", Primary: true, Nodes: []string{"n1"}}}}, a.err
}
func (a *fakeAdmin) RotateKeyring(_ context.Context, from string) error {
	return a.note("rotate" + from)
}
func (a *fakeAdmin) HubKeys(context.Context) ([]HubKeyEntry, error) {
	return []HubKeyEntry{{Purpose: PurposeExternalSender, SignatureScheme: "Ed25519", PublicKey: []byte{1}, Current: true}}, a.err
}
func (a *fakeAdmin) RotateHubKeys(_ context.Context, scheme mls.SignatureScheme) error {
	return a.note(scheme)
}
func (a *fakeAdmin) RotateServiceKeys(_ context.Context, purpose meta.KeyPurpose) error {
	return a.note(purpose)
}
func (a *fakeAdmin) Settings(context.Context) (ClusterSettings, error) {
	return ClusterSettings{Version: 3, Settings: []Setting{{Name: "lease-max", Value: "20s", Default: "30s", Changed: true, Meaning: "m"}}}, a.err
}
func (a *fakeAdmin) ChangeSettings(ctx context.Context, c SettingsChange) (ClusterSettings, error) {
	if c.Set["lease-max"] == "never" {
		return ClusterSettings{}, &mls.MalformedError{Field: "lease-max", Reason: "it is no length of time"}
	}
	settings, err := a.Settings(ctx)
	return settings, errors.Join(err, a.note(c.Version))
}
func (a *fakeAdmin) Reseal(context.Context) (ResealReport, error) {
	return ResealReport{Secrets: 7}, a.note("reseal")
}
func (a *fakeAdmin) Peers(context.Context) ([]PeerEntry, error)          { return a.peers, a.err }
func (a *fakeAdmin) PutPeer(_ context.Context, p PeerEntry) error        { return a.note(p) }
func (a *fakeAdmin) RemovePeer(_ context.Context, d mimi.Provider) error { return a.note(d) }
func (a *fakeAdmin) HoldPeer(_ context.Context, d mimi.Provider, paused bool, r HoldRequest) (PeerHold, error) {
	return PeerHold{Paused: paused, By: r.By, Why: r.Why}, a.note(d)
}
func (a *fakeAdmin) ReplayPeer(_ context.Context, d mimi.Provider) (ReplayReport, error) {
	return ReplayReport{Nodes: 3, Failed: []NodeFailure{}}, a.note(d)
}
func (a *fakeAdmin) Backlog(context.Context) (Backlog, error) {
	return Backlog{Peers: []PeerBacklog{{Destination: peerDomain, Waits: Waits{Items: 5}}}}, a.err
}
func (a *fakeAdmin) Tokens(context.Context) ([]TokenEntry, error) { return nil, a.err }
func (a *fakeAdmin) CreateToken(_ context.Context, r TokenRequest) (NewToken, error) {
	return NewToken{ID: "t1", Secret: "s3cret"}, a.note(r)
}
func (a *fakeAdmin) RevokeToken(_ context.Context, id string) error { return a.note(id) }
func (a *fakeAdmin) Digests(_ context.Context, shard fsm.ShardID) (ShardDigests, error) {
	return ShardDigests{Shard: shard, Equal: true}, a.err
}
func (a *fakeAdmin) TransferLeadership(_ context.Context, shard fsm.ShardID, node string) error {
	return a.note(shard, node)
}

func openAdminDoor(t *testing.T) (*fakeAdmin, func(method, path, body string) answered) {
	t.Helper()
	admin, registry := &fakeAdmin{}, prometheus.NewRegistry()
	metrics, err := NewRequestMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, NewAdminServer(AdminConfig{}, admin, registry, metrics, quiet()))
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return admin, func(method, path, body string) answered {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		return do(t, client, r)
	}
}

func TestAdminEndpoints(t *testing.T) {
	admin, call := openAdminDoor(t)
	for _, test := range []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"GET", "/healthz", "", 200, "ok"},
		{"GET", "/readyz", "", 503, `"ready":false`},
		{"GET", "/openapi.json", "", 200, `"openapi": "3.1.0"`},
		{"GET", "/v1/cluster/status", "", 200, `"clusterId":"c1"`},
		{"POST", "/v1/cluster/init", `{"domains":["a.example"]}`, 200, `"node":"n1"`},
		{"POST", "/v1/cluster/init", `{}`, 400, `"field":"domains"`},
		{"POST", "/v1/cluster/restore", `{"location":"file:///b"}`, 200, `"state":"begun"`},
		{"POST", "/v1/backups", `{"location":"file:///b"}`, 200, `"kind":"backup"`},
		{"POST", "/v1/backups", `{}`, 400, `"field":"location"`},
		{"POST", "/v1/cluster/restore", `{}`, 400, `"field":"location"`},
		{"POST", "/v1/cluster/init", `{"domains":["no domain"]}`, 400, `"field":"provider"`},
		{"POST", "/v1/node/join", `{"seeds":["127.0.0.1:1"]}`, 200, `"node":"n2"`},
		{"POST", "/v1/node/join", `{}`, 400, `"field":"seeds"`},
		{"GET", "/v1/peers", "", 200, `{"peers":[]}`},
		{"PUT", "/v1/peers/b.example", `{"directoryUrls":["https://b.example/d"]}`, 200, `"domains":["b.example"]`},
		{"PUT", "/v1/peers/!!", `{}`, 400, `"field":"domain"`},
		{"PUT", "/v1/peers/b.example", `{"domain":"c.example"}`, 400, `"field":"domain"`},
		{"PUT", "/v1/peers/b.example", `{"directoryUrls":["http://b.example/d"]}`, 400, `"field":"directoryUrls[0]"`},
		{"PUT", "/v1/peers/b.example", `{"trustPem":"x"}`, 400, `"field":"trustPem"`},
		{"DELETE", "/v1/peers/b.example", "", 204, ""},
		{"POST", "/v1/peers/b.example/pause", `{"by":"ann","why":"w"}`, 200, `{"paused":true,"by":"ann","why":"w",`},
		{"POST", "/v1/peers/b.example/resume", `{}`, 200, `"paused":false`},
		{"POST", "/v1/peers/no%20domain/pause", `{}`, 400, `"field":"domain"`},
		{"POST", "/v1/peers/b.example/replay", "", 200, `{"nodes":3,"failed":[]}`},
		{"GET", "/v1/backlog", "", 200, `{"destination":"b.example","items":5,`},
		{"POST", "/v1/node/join", `{"token":"x"}`, 200, `"node":"n2"`},
		{"POST", "/v1/node/invite", `{"node":"n4","ttlSeconds":60}`, 201, `{"token":"t0ken"}`},
		{"POST", "/v1/node/invite", `{"ttlSeconds":-1}`, 400, `"field":"ttlSeconds"`},
		{"GET", "/v1/certificates", "", 200, `"serial":"ab"`},
		{"DELETE", "/v1/nodes/n3/certificates", "", 204, ""},
		{"GET", "/v1/keyring", "", 200, `"id":"k1"`},
		{"POST", "/v1/keyring/rotate", "", 202, ""},
		{"GET", "/v1/cluster/settings", "", 200, `{"version":3,"settings":[{"name":"lease-max","value":"20s","default":"30s","changed":true,"meaning":"m"}]}`},
		{"PATCH", "/v1/cluster/settings", `{"set":{"lease-max":"20s"},"version":2}`, 200, `"version":3`},
		{"PATCH", "/v1/cluster/settings", `{"set":{}}`, 400, `"field":"set"`},
		{"PATCH", "/v1/cluster/settings", `{"set":{"lease-max":"never"}}`, 400, `"field":"lease-max"`},
		{"GET", "/v1/hub-keys", "", 200, `"keys":[{"purpose":"external-sender","signatureScheme":"Ed25519","publicKey":"AQ==","current":true,"developmentOnly":false}]`},
		{"POST", "/v1/hub-keys/rotate", `{}`, 204, ""},
		{"POST", "/v1/hub-keys/rotate", `{"signatureScheme":"Ed448"}`, 204, ""},
		{"POST", "/v1/hub-keys/rotate", `{"purpose":"frank-mac"}`, 204, ""},
		{"POST", "/v1/hub-keys/rotate", `{"purpose":"nonsense"}`, 400, `"field":"purpose"`},
		{"POST", "/v1/hub-keys/rotate", `{"purpose":"franking","signatureScheme":"Ed448"}`, 400, `"field":"signatureScheme"`},
		{"POST", "/v1/hub-keys/rotate", `{"signatureScheme":"RSA"}`, 400, `"field":"signatureScheme"`},
		{"POST", "/v1/cluster/reseal", "", 200, `{"secrets":7}`},
		{"GET", "/v1/tokens", "", 200, `{"tokens":[]}`},
		{"POST", "/v1/tokens", `{"name":"n","scopes":["inbox:read"]}`, 201, "s3cret"},
		{"POST", "/v1/tokens", `{"scopes":["everything"]}`, 400, `"field":"scopes[0]"`},
		{"POST", "/v1/tokens", `{}`, 400, `"field":"scopes"`},
		{"DELETE", "/v1/tokens/t1", "", 204, ""},
		{"GET", "/v1/shards/3/digests", "", 200, `"equal":true`},
		{"GET", "/v1/shards/x/digests", "", 400, `"field":"shard"`},
		{"POST", "/v1/shards/3/transfer-leadership", `{"node":"n2"}`, 204, ""},
		{"GET", "/metrics", "", 200, `parley_http_requests_total{code="200",endpoint="/healthz",listener="admin",method="GET"} 1`},
		{"GET", "/debug/pprof/", "", 200, "goroutine"},
		{"GET", "/debug/pprof/goroutine?debug=1", "", 200, "goroutine profile"},
		{"GET", "/nothing", "", 404, `"type":"urn:parley:problem:not-found"`},
		{"POST", "/healthz", "", 405, problemTypePrefix},
	} {
		a := call(test.method, test.path, test.body)
		if a.status != test.status || !bytes.Contains(a.body, []byte(test.contains)) {
			t.Errorf("%s %s %s: got %d %s", test.method, test.path, test.body, a.status, a.body)
		}
		if a.status >= 400 && a.status != 503 {
			problemIn(t, a)
		}
	}
	if len(admin.asked) != 20 {
		t.Errorf("asked %v", admin.asked)
	}
	admin.ready = Readiness{Ready: true}
	if a := call("GET", "/readyz", ""); a.status != 200 {
		t.Errorf("ready: %d", a.status)
	}
}

// A change of one field must not take the pinned certificates off a peer.
func TestPeerKeepsWhatIsNotNamed(t *testing.T) {
	admin, call := openAdminDoor(t)
	pinned := string(newAuthority(t, "a CA").pem)
	admin.peers = []PeerEntry{{
		Domain: peerDomain, Domains: []mimi.Provider{peerDomain}, DirectoryURLs: []string{"https://b.example/d"}, TrustPEM: pinned, AcceptServerAuth: true,
	}}
	for body, want := range map[string]PeerEntry{
		`{}`: admin.peers[0],
		`{"allowPrivateAddresses":true,"acceptServerAuth":false}`: {Domain: peerDomain, Domains: admin.peers[0].Domains,
			DirectoryURLs: admin.peers[0].DirectoryURLs, TrustPEM: pinned, AllowPrivateAddresses: true},
		`{"trustPem":"","directoryUrls":[]}`: {Domain: peerDomain, Domains: admin.peers[0].Domains, DirectoryURLs: []string{}, AcceptServerAuth: true},
	} {
		admin.asked = nil
		if a := call("PUT", "/v1/peers/b.example", body); a.status != 200 || len(admin.asked) != 1 {
			t.Fatalf("%s: %d %s", body, a.status, a.body)
		}
		if diff := cmp.Diff(want, admin.asked[0], cmp.Comparer(func(a, b mimi.Provider) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
	}
}

// problemTypePrefix stands in every problem's type.
const problemTypePrefix = "urn:parley:problem:"

func TestAdminRefusals(t *testing.T) {
	admin, call := openAdminDoor(t)
	for err, status := range map[error]int{
		&RefusedError{Reason: "no", Blocker: "b", See: "s", Clear: "c"}: 409,
		&NotFoundError{What: "token t1"}:                                404,
		errors.New("hidden"):                                            500,
		fsm.ErrNotProposed:                                              503,
	} {
		admin.err = err
		a := call("DELETE", "/v1/tokens/t1", "")
		p := problemIn(t, a)
		if a.status != status || strings.Contains(p.Detail, "hidden") {
			t.Errorf("%v: %d %+v", err, a.status, p)
		}
		if status == 409 && (p.Blocker != "b" || p.See != "s" || p.Clear != "c") {
			t.Errorf("the refusal does not help: %+v", p)
		}
	}
}

// A web page that the operator looks at reaches loopback too.
func TestAdminKeepsPagesOut(t *testing.T) {
	admin := &fakeAdmin{}
	address := serve(t, NewAdminServer(AdminConfig{}, admin, prometheus.NewRegistry(), requestMetrics(t), quiet()))
	for name, change := range map[string]func(*http.Request){
		"a name that resolves to loopback": func(r *http.Request) { r.Host = "evil.example" },
		"another site":                     func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"another origin":                   func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
	} {
		body, err := json.Marshal(InitRequest{Domains: []mimi.Provider{hubDomain}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest(http.MethodPost, "http://"+address+"/v1/cluster/init", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		change(r)
		if a := do(t, http.DefaultClient, r); a.status != http.StatusForbidden {
			t.Errorf("%s: got %d", name, a.status)
		}
	}
	if len(admin.asked) != 0 {
		t.Error("a page's request went on")
	}
}
