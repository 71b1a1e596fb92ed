package dev

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"parley/mimi"
	"parley/mls"
)

// responseBytesMax bounds what is read of an answer.
const responseBytesMax = 64 << 20

// backend speaks for a provider's users at the local listeners of its nodes, as a provider's own servers would. Every request
// may be repeated, so it is sent to the next node whenever one is away or cannot decide. Safe for concurrent use.
type backend struct {
	provider   *provider
	nodes      atomic.Pointer[[]*node] // that it talks to; never none
	client     *http.Client
	turn       atomic.Uint64
	attemptMax time.Duration // of one attempt at one node, so that a dead one does not use up the whole time. The inbox waits for less
}

func newBackend(p *provider, caPEM []byte) (*backend, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return nil, errors.New("the development CA is not a certificate")
	}
	b := &backend{provider: p, attemptMax: attemptMax, client: &http.Client{Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots},
		MaxIdleConnsPerHost: 8,
		ForceAttemptHTTP2:   true,
	}}}
	b.talksTo(p.nodes...)
	return b, nil
}

// talksTo says which nodes are there from now on. A request that was for one that is not goes to another.
func (b *backend) talksTo(nodes ...*node) {
	nodes = slices.Clone(nodes)
	b.nodes.Store(&nodes)
}

func (b *backend) knows(n *node) bool { return slices.Contains(*b.nodes.Load(), n) }

// call is one request; Accept and Body may be empty.
type call struct {
	method, path string
	body         []byte
	media        string
	node         *node // the node to ask, as long as it is there; nil takes them in turn

	idempotencyKey string // of a claim; may be empty
}

type reply struct {
	status int
	header http.Header
	body   []byte
	node   *node
}

// send asks until some node decides, or the context ends.
func (b *backend) send(ctx context.Context, c call) (reply, error) {
	var last error
	for {
		n := c.node
		if n == nil || !b.knows(n) {
			n = b.next()
		}
		r, err := b.once(ctx, n, c)
		if err == nil && r.status != http.StatusServiceUnavailable && r.status != http.StatusBadGateway {
			return r, nil
		}
		if err == nil {
			err = fmt.Errorf("%s answered %d: %s", n.ID, r.status, bytes.TrimSpace(r.body))
		}
		last = err
		select {
		case <-ctx.Done():
			return reply{}, fmt.Errorf("%s %s: %w (last: %v)", c.method, c.path, ctx.Err(), last)
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// next is the node whose turn it is.
func (b *backend) next() *node {
	nodes := *b.nodes.Load()
	return nodes[b.turn.Add(1)%uint64(len(nodes))]
}

// otherThan is a node that did not give an answer, to be asked for the same again.
func (b *backend) otherThan(n *node) *node {
	nodes := slices.DeleteFunc(slices.Clone(*b.nodes.Load()), func(other *node) bool { return other == n })
	if len(nodes) == 0 {
		return n
	}
	return nodes[rand.IntN(len(nodes))]
}

// attemptMax is how long an attempt may take, unless it is known that many come at once.
const attemptMax = 3 * time.Second

func (b *backend) once(ctx context.Context, n *node, c call) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, b.attemptMax)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, c.method, n.localURL()+c.path, bytes.NewReader(c.body))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Authorization", "Bearer "+b.provider.token)
	if c.media != "" {
		request.Header.Set("Content-Type", c.media)
	}
	if c.idempotencyKey != "" {
		request.Header.Set(mimi.HeaderIdempotencyKey, c.idempotencyKey)
	}
	response, err := b.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, responseBytesMax))
	if err != nil {
		return reply{}, err
	}
	return reply{status: response.StatusCode, header: response.Header, body: body, node: n}, nil
}

const (
	mediaOctets = "application/octet-stream"
	mediaJSON   = "application/json"
)

// json sends and receives JSON; any status but 2xx is an error with the problem's text.
func (b *backend) json(ctx context.Context, method, path string, in, out any) error {
	c := call{method: method, path: path}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return err
		}
		c.body, c.media = body, mediaJSON
	}
	r, err := b.send(ctx, c)
	if err != nil {
		return err
	}
	if r.status/100 != 2 {
		return fmt.Errorf("%s %s: %d %s", method, path, r.status, bytes.TrimSpace(r.body))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(r.body, out)
}

// octets posts a draft's structure and returns the draft's answer.
func (b *backend) octets(ctx context.Context, n *node, path string, body []byte) (reply, error) {
	r, err := b.send(ctx, call{method: http.MethodPost, path: path, body: body, media: mediaOctets, node: n})
	if err != nil {
		return reply{}, err
	}
	if r.status != http.StatusOK {
		return reply{}, fmt.Errorf("%s: %d %s", path, r.status, bytes.TrimSpace(r.body))
	}
	return r, nil
}

// upload returns how many of a client's KeyPackages the provider has taken, now or before.
func (b *backend) upload(ctx context.Context, user mimi.UserURI, client mimi.ClientURI, keyPackages [][]byte) (stored int, err error) {
	in := map[string]any{"keyPackages": keyPackages}
	var out struct{ Stored, Known int }
	path := "/v1/users/" + mimi.PathSegment(user) + "/clients/" + mimi.PathSegment(client) + "/keyPackages"
	err = b.json(ctx, http.MethodPost, path, in, &out)
	return out.Stored + out.Known, err
}

// grant lets a requester claim a user's KeyPackages for one room.
func (b *backend) grant(ctx context.Context, user, requester mimi.UserURI, room mimi.RoomURI) error {
	path := "/v1/users/" + mimi.PathSegment(user) + "/consents/" + mimi.PathSegment(requester) + "?room=" + url.QueryEscape(room.String())
	return b.json(ctx, http.MethodPut, path, map[string]string{"consent": "granted"}, nil)
}

// allowClaims lets everybody claim from a user.
func (b *backend) allowClaims(ctx context.Context, user mimi.UserURI) error {
	path := "/v1/users/" + mimi.PathSegment(user) + "/consents"
	return b.json(ctx, http.MethodPut, path, map[string]string{"policy": "allow"}, nil)
}

// hubKey is what the creator of a room of a suite puts into its external_senders.
func (b *backend) hubKey(ctx context.Context, suite mls.CipherSuite) (mls.ExternalSender, error) {
	var out struct {
		Keys []struct {
			CipherSuites   []mls.CipherSuite `json:"cipherSuites"`
			ExternalSender []byte            `json:"externalSender"`
		} `json:"keys"`
	}
	if err := b.json(ctx, http.MethodGet, "/v1/hub-keys", nil, &out); err != nil {
		return mls.ExternalSender{}, err
	}
	for _, key := range out.Keys {
		if slices.Contains(key.CipherSuites, suite) {
			return mls.Parse("ExternalSender", key.ExternalSender, mls.ReadExternalSender)
		}
	}
	return mls.ExternalSender{}, fmt.Errorf("the hub has no key for suite %d", suite)
}

func (b *backend) createRoom(ctx context.Context, room mimi.RoomURI, creator mimi.UserURI, groupInfo, tree []byte) error {
	in := map[string]any{"room": room, "creator": creator, "groupInfo": groupInfo, "ratchetTree": tree}
	return b.json(ctx, http.MethodPost, "/v1/rooms", in, nil)
}

func (b *backend) claim(ctx context.Context, request mimi.KeyMaterialRequest) (mimi.KeyMaterialResponse, error) {
	r, err := b.octets(ctx, nil, "/v1/keyMaterial/"+mimi.PathSegment(request.TargetUser), request.Marshal())
	if err != nil {
		return mimi.KeyMaterialResponse{}, err
	}
	return mimi.ParseKeyMaterialResponse(r.body)
}

// updated is a hub's decision on a handshake, with the winner that a loser is told of.
type updated struct {
	mimi.UpdateRoomResponse
	winner string
	node   *node
}

func (b *backend) update(ctx context.Context, n *node, room mimi.RoomURI, bundle []byte) (updated, error) {
	r, err := b.octets(ctx, n, "/v1/rooms/"+mimi.PathSegment(room)+"/update", bundle)
	if err != nil {
		return updated{}, err
	}
	response, err := mimi.ParseUpdateRoomResponse(r.body)
	return updated{response, r.header.Get(mimi.HeaderEpochWinner), r.node}, err
}

func (b *backend) submit(ctx context.Context, room mimi.RoomURI, request mimi.SubmitMessageRequest) (mimi.SubmitMessageResponse, error) {
	r, err := b.octets(ctx, nil, "/v1/rooms/"+mimi.PathSegment(room)+"/submitMessage", request.Marshal())
	if err != nil {
		return nil, err
	}
	return mimi.ParseSubmitMessageResponse(r.body)
}

func (b *backend) groupInfo(ctx context.Context, room mimi.RoomURI, request mimi.GroupInfoRequest) (mimi.GroupInfoResponse, error) {
	r, err := b.octets(ctx, nil, "/v1/rooms/"+mimi.PathSegment(room)+"/groupInfo", request.Marshal())
	if err != nil {
		return nil, err
	}
	return mimi.ParseGroupInfoResponse(r.body)
}

type roomView struct {
	Epoch            uint64   `json:"epoch"`
	TreeHash         []byte   `json:"treeHash"`
	Destinations     []string `json:"destinations"`
	PendingProposals int      `json:"pendingProposals"`
}

func (b *backend) room(ctx context.Context, room mimi.RoomURI) (view roomView, err error) {
	err = b.json(ctx, http.MethodGet, "/v1/rooms/"+mimi.PathSegment(room), nil, &view)
	return view, err
}
