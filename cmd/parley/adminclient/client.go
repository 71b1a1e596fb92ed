// Package adminclient asks a node's admin listener, as the `parley` commands do.
package adminclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"parley/fsm"
	"parley/httpapi"
	"parley/mimi"
)

// requestMax bounds one request; init and join wait for elections.
const requestMax = 2 * time.Minute

// Client speaks to one node. Safe for concurrent use.
type Client struct {
	base     string
	http     http.Client
	broken   error  // why nothing can be asked at all
	by, verb string // for the audit log
}

// New makes a client of the admin listener at base, "http://127.0.0.1:7404".
func New(base string) *Client {
	return &Client{base: strings.TrimSuffix(base, "/")}
}

// As is the client of somebody who asks for something, by the names that the audit log has for both.
func (c *Client) As(by, verb string) *Client {
	c.by, c.verb = by, verb
	return c
}

// NewGuarded makes a client of an admin listener that asks for client certificates. It is recognised by the CA; all three files are PEM.
func NewGuarded(base, certFile, keyFile, caFile string) (*Client, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in it", caFile)
	}
	c := New(base)
	c.http.Transport = &http.Transport{
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: roots},
		ForceAttemptHTTP2: true,
	}
	return c, nil
}

// Broken makes a client that answers everything with an error: it is not known whom to ask.
func Broken(err error) *Client { return &Client{broken: err} }

// Address is the admin listener's.
func (c *Client) Address() string { return c.base }

// Error is what the node answered instead of success.
type Error struct {
	Status int
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Field  string `json:"field"`
	Body   string `json:"-"` // where the answer was no problem document

	// Of a refusal: what stands in the way, and the commands that show it and clear it.
	Blocker string `json:"blocker"`
	See     string `json:"see"`
	Clear   string `json:"clear"`
}

func (e *Error) Error() string {
	text := strings.TrimSpace(strings.Join([]string{e.Title, e.Detail}, ": "))
	if text == ":" {
		text = e.Body
	}
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	text = fmt.Sprintf("%s (HTTP %d)", strings.Trim(text, ": "), e.Status)
	for _, more := range []struct{ name, is string }{{"in the way", e.Blocker}, {"to see it", e.See}, {"to clear it", e.Clear}} {
		if more.is != "" {
			text += fmt.Sprintf("\n  %-11s  %s", more.name, more.is)
		}
	}
	return text
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	return c.doWithin(ctx, requestMax, method, path, in, out)
}

// doWithin is do with another limit, for what reads much.
func (c *Client) doWithin(ctx context.Context, limit time.Duration, method, path string, in, out any) error {
	answer, err := c.fetch(ctx, limit, method, path, in)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// fetch answers the body of what is asked, as it is.
func (c *Client) fetch(ctx context.Context, limit time.Duration, method, path string, in any) ([]byte, error) {
	if c.broken != nil {
		return nil, c.broken
	}
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.by != "" {
		request.Header.Set(httpapi.ByHeader, c.by)
	}
	if c.verb != "" {
		request.Header.Set(httpapi.VerbHeader, c.verb)
	}
	asking := http.Client{Transport: c.http.Transport, Timeout: limit}
	response, err := asking.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the node's admin listener at %s: %w", c.base, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		failure := &Error{Status: response.StatusCode}
		if json.Unmarshal(answer, failure) != nil || failure.Title == "" {
			failure.Body = strings.TrimSpace(string(answer))
		}
		return nil, failure
	}
	return answer, nil
}

// Ready asks whether the node can serve. A node that is not ready is an answer, not an error.
func (c *Client) Ready(ctx context.Context) (httpapi.Readiness, error) {
	var readiness httpapi.Readiness
	err := c.do(ctx, http.MethodGet, "/readyz", nil, &readiness)
	if failure, ok := err.(*Error); ok && failure.Status == http.StatusServiceUnavailable {
		return readiness, json.Unmarshal([]byte(orEmptyObject(failure.Body)), &readiness)
	}
	return readiness, err
}

func orEmptyObject(text string) string {
	if text == "" {
		return "{}"
	}
	return text
}

func (c *Client) Status(ctx context.Context) (status httpapi.ClusterStatus, err error) {
	return status, c.do(ctx, http.MethodGet, "/v1/cluster/status", nil, &status)
}

func (c *Client) Init(ctx context.Context, r httpapi.InitRequest) (identity httpapi.ClusterIdentity, err error) {
	return identity, c.do(ctx, http.MethodPost, "/v1/cluster/init", r, &identity)
}

// CreateBackup begins a job that backs the cluster up.
func (c *Client) CreateBackup(ctx context.Context, r httpapi.BackupRequest) (job httpapi.JobEntry, err error) {
	return job, c.do(ctx, http.MethodPost, "/v1/backups", r, &job)
}

// RestoreCluster is to be asked again until the state is httpapi.RestoreBegun.
func (c *Client) RestoreCluster(ctx context.Context, r httpapi.RestoreRequest) (status httpapi.RestoreStatus, err error) {
	return status, c.do(ctx, http.MethodPost, "/v1/cluster/restore", r, &status)
}

func (c *Client) Settings(ctx context.Context) (settings httpapi.ClusterSettings, err error) {
	return settings, c.do(ctx, http.MethodGet, "/v1/cluster/settings", nil, &settings)
}

func (c *Client) ChangeSettings(ctx context.Context, change httpapi.SettingsChange) (settings httpapi.ClusterSettings, err error) {
	return settings, c.do(ctx, http.MethodPatch, "/v1/cluster/settings", change, &settings)
}

func (c *Client) Join(ctx context.Context, r httpapi.JoinRequest) (identity httpapi.ClusterIdentity, err error) {
	return identity, c.do(ctx, http.MethodPost, "/v1/node/join", r, &identity)
}

func (c *Client) Invite(ctx context.Context, r httpapi.InviteRequest) (invitation httpapi.Invitation, err error) {
	return invitation, c.do(ctx, http.MethodPost, "/v1/node/invite", r, &invitation)
}

func (c *Client) Invitations(ctx context.Context) ([]httpapi.InvitationEntry, error) {
	var list struct {
		Invitations []httpapi.InvitationEntry `json:"invitations"`
	}
	err := c.do(ctx, http.MethodGet, "/v1/invitations", nil, &list)
	return list.Invitations, err
}

func (c *Client) RevokeInvitation(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/v1/invitations/"+url.PathEscape(id), nil, nil)
}

func (c *Client) Certificates(ctx context.Context) ([]httpapi.CertificateEntry, error) {
	var list struct {
		Certificates []httpapi.CertificateEntry `json:"certificates"`
	}
	err := c.do(ctx, http.MethodGet, "/v1/certificates", nil, &list)
	return list.Certificates, err
}

func (c *Client) RevokeCertificates(ctx context.Context, node string) error {
	return c.do(ctx, http.MethodDelete, "/v1/nodes/"+url.PathEscape(node)+"/certificates", nil, nil)
}

func (c *Client) HubKeys(ctx context.Context) ([]httpapi.HubKeyEntry, error) {
	var list struct {
		Keys []httpapi.HubKeyEntry `json:"keys"`
	}
	err := c.do(ctx, http.MethodGet, "/v1/hub-keys", nil, &list)
	return list.Keys, err
}

func (c *Client) RotateHubKeys(ctx context.Context, r httpapi.HubKeyRotation) error {
	return c.do(ctx, http.MethodPost, "/v1/hub-keys/rotate", r, nil)
}

func (c *Client) Keyring(ctx context.Context) (ring httpapi.Keyring, err error) {
	return ring, c.do(ctx, http.MethodGet, "/v1/keyring", nil, &ring)
}

// RotateKeyring changes the gossip key; from the one that is named alone, unless that is empty.
func (c *Client) RotateKeyring(ctx context.Context, from string) error {
	path := "/v1/keyring/rotate"
	if from != "" {
		path += "?from=" + url.QueryEscape(from)
	}
	return c.do(ctx, http.MethodPost, path, nil, nil)
}

func (c *Client) Reseal(ctx context.Context) (report httpapi.ResealReport, err error) {
	return report, c.do(ctx, http.MethodPost, "/v1/cluster/reseal", nil, &report)
}

func (c *Client) Peers(ctx context.Context) ([]httpapi.PeerEntry, error) {
	var list struct {
		Peers []httpapi.PeerEntry `json:"peers"`
	}
	err := c.do(ctx, http.MethodGet, "/v1/peers", nil, &list)
	return list.Peers, err
}

func (c *Client) PutPeer(ctx context.Context, p httpapi.PeerEntry) error {
	return c.do(ctx, http.MethodPut, "/v1/peers/"+url.PathEscape(p.Domain.String()), p, nil)
}

// ChangePeer changes what the change names, and makes the peer where there is none.
func (c *Client) ChangePeer(ctx context.Context, domain mimi.Provider, change httpapi.PeerChange) error {
	return c.do(ctx, http.MethodPut, "/v1/peers/"+url.PathEscape(domain.String()), change, nil)
}

func (c *Client) RemovePeer(ctx context.Context, domain mimi.Provider) error {
	return c.do(ctx, http.MethodDelete, "/v1/peers/"+url.PathEscape(domain.String()), nil, nil)
}

// HoldPeer pauses a peer, or lets it go on.
func (c *Client) HoldPeer(ctx context.Context, domain mimi.Provider, paused bool, r httpapi.HoldRequest) (hold httpapi.PeerHold, err error) {
	verb := "/resume"
	if paused {
		verb = "/pause"
	}
	return hold, c.do(ctx, http.MethodPost, "/v1/peers/"+url.PathEscape(domain.String())+verb, r, &hold)
}

func (c *Client) ReplayPeer(ctx context.Context, domain mimi.Provider) (report httpapi.ReplayReport, err error) {
	return report, c.do(ctx, http.MethodPost, "/v1/peers/"+url.PathEscape(domain.String())+"/replay", nil, &report)
}

func (c *Client) Backlog(ctx context.Context) (backlog httpapi.Backlog, err error) {
	return backlog, c.do(ctx, http.MethodGet, "/v1/backlog", nil, &backlog)
}

func (c *Client) Tokens(ctx context.Context) ([]httpapi.TokenEntry, error) {
	var list struct {
		Tokens []httpapi.TokenEntry `json:"tokens"`
	}
	err := c.do(ctx, http.MethodGet, "/v1/tokens", nil, &list)
	return list.Tokens, err
}

func (c *Client) CreateToken(ctx context.Context, r httpapi.TokenRequest) (token httpapi.NewToken, err error) {
	return token, c.do(ctx, http.MethodPost, "/v1/tokens", r, &token)
}

func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil, nil)
}

func (c *Client) Digests(ctx context.Context, shard fsm.ShardID) (digests httpapi.ShardDigests, err error) {
	return digests, c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/shards/%d/digests", shard), nil, &digests)
}

func (c *Client) TransferLeadership(ctx context.Context, shard fsm.ShardID, node string) error {
	in := map[string]string{"node": node}
	return c.do(ctx, http.MethodPost, fmt.Sprintf("/v1/shards/%d/transfer-leadership", shard), in, nil)
}
