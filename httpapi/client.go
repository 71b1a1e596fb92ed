package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"parley/fsm/meta"
	"parley/mimi"
)

// ClientLimits bound what another provider can cost us. The zero value of a field means its default.
type ClientLimits struct {
	Dial         time.Duration // opening a connection; default 3 s
	Request      time.Duration // a whole request; default 15 s
	Directory    time.Duration // fetching a directory document; default 5 s
	DirectoryAge time.Duration // how long a directory document is used; default 5 min
	AnswerBytes  int64         // an answer's body; default 8 MiB
	Connections  int           // connections to one host at a time; default 64
}

func (l ClientLimits) withDefaults() ClientLimits {
	set := func(d *time.Duration, standard time.Duration) {
		if *d == 0 {
			*d = standard
		}
	}
	set(&l.Dial, 3*time.Second)
	set(&l.Request, 15*time.Second)
	set(&l.Directory, 5*time.Second)
	set(&l.DirectoryAge, 5*time.Minute)
	if l.AnswerBytes == 0 {
		l.AnswerBytes = RequestBytesMax
	}
	if l.Connections == 0 {
		l.Connections = 64
	}
	return l
}

// Client sends requests to other providers: mutual TLS with our own certificate, to the endpoints of their directory, without
// following redirects. Safe for concurrent use. Close it after the last request.
type Client struct {
	limits       ClientLimits
	config       Config
	peers        Peers
	certificates Certificates

	mu    sync.Mutex
	links map[mimi.Provider]*link // by the domain asked for; under mu
}

// NewClient makes a client that appears with the certificate and speaks as the first of the local domains.
func NewClient(limits ClientLimits, config Config, peers Peers, certificates Certificates) *Client {
	return &Client{
		limits:       limits.withDefaults(),
		config:       config,
		peers:        peers,
		certificates: certificates,
		links:        map[mimi.Provider]*link{},
	}
}

// Close gives idle connections back. Requests under way are not cut.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for domain, l := range c.links {
		l.transport.CloseIdleConnections()
		delete(c.links, domain)
	}
}

// Reply is an answer of another provider, whatever its status.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// OK reports a status of class 200.
func (r *Reply) OK() bool { return r.Status >= 200 && r.Status <= 299 }

// StatusError is the answer as an error, for a sender that hoped for OK.
func (r *Reply) StatusError(from mimi.Provider) *StatusError {
	return &StatusError{To: from, Status: r.Status, RetryAfter: retryAfter(r.Header, time.Now())}
}

// retryAfter reads both forms of the header (RFC 9110 §10.2.3); 0 where there is none that can be read.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get(mimi.HeaderRetryAfter)
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// Post sends a body to an endpoint of a peer. It walks through the peer's directory URLs, beginning with the one that last
// answered, for as long as nothing of the request has left. The error is a *SendError.
func (c *Client) Post(ctx context.Context, to mimi.Provider, target Target, body []byte, idempotencyKey string) (*Reply, error) {
	peer, known := c.peers.Peer(to)
	if !known {
		return nil, &SendError{To: to, Err: errNoPeer}
	}
	l, err := c.link(to, peer)
	if err != nil {
		return nil, &SendError{To: to, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, c.limits.Request)
	defer cancel()
	var failures []error
	for _, i := range l.order() {
		endpoint, err := l.endpoint(ctx, i, target)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		reply, sent, err := c.post(ctx, l, endpoint, body, idempotencyKey)
		if err == nil {
			l.prefer(i)
			return reply, nil
		}
		l.forget(i)
		if sent {
			return nil, &SendError{To: to, MaybeSent: true, Err: err}
		}
		failures = append(failures, err)
	}
	return nil, &SendError{To: to, Err: errors.Join(failures...)}
}

// Notify delivers a body of FanoutMessages. nil means that the destination has taken it. Otherwise the error is a *SendError
// or a *StatusError.
func (c *Client) Notify(ctx context.Context, destination mimi.Provider, room mimi.RoomURI, body []byte) error {
	reply, err := c.Post(ctx, destination, NotifyTarget(room), body, "")
	if err != nil {
		return err
	}
	if !reply.OK() {
		return reply.StatusError(destination)
	}
	return nil
}

// NotifyMany delivers items of many rooms (docs/extensions.md). The error is a *SendError, which wraps errNotOffered where the destination
// takes no such request, a *StatusError, or a *mls.MalformedError of the answer, which leaves open what was taken.
func (c *Client) NotifyMany(ctx context.Context, destination mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, error) {
	reply, err := c.Post(ctx, destination, BulkNotifyTarget(), mimi.BulkNotifyRequest{Items: items}.Marshal(), "")
	if err != nil {
		return mimi.BulkNotifyResponse{}, err
	}
	switch reply.Status {
	case http.StatusOK:
		return mimi.ParseBulkNotifyResponse(reply.Body)
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return mimi.BulkNotifyResponse{}, &SendError{To: destination, Err: fmt.Errorf("%w: status %d", errNotOffered, reply.Status)}
	default:
		return mimi.BulkNotifyResponse{}, reply.StatusError(destination)
	}
}

// post sends one request. sent tells whether an error may have come after the request left.
func (c *Client) post(ctx context.Context, l *link, endpoint *url.URL, body []byte, idempotencyKey string) (reply *Reply, sent bool, err error) {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return nil, false, err
	}
	c.dress(request)
	request.Header.Set(mimi.HeaderContentType, mimi.MediaType)
	if idempotencyKey != "" {
		request.Header.Set(mimi.HeaderIdempotencyKey, idempotencyKey)
	}
	reply, err = exchange(l.client, request, c.limits.AnswerBytes)
	return reply, connected.Load(), err
}

// dress adds what every request of ours carries.
func (c *Client) dress(request *http.Request) {
	if domains := c.config.Settings().Domains; len(domains) > 0 {
		request.Header.Set(mimi.HeaderFrom, mimi.FromHeader(domains[0]))
	}
	request.Header.Set("User-Agent", "parley")
}

// exchange sends a request and reads the whole answer, at most limit bytes of body.
func exchange(client *http.Client, request *http.Request, limit int64) (*Reply, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return &Reply{Status: response.StatusCode, Header: response.Header, Body: body}, nil
}

// link returns what is kept for a peer; it is made anew when the allow-list's entry has changed.
func (c *Client) link(domain mimi.Provider, peer meta.Peer) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.links[domain]
	if old != nil && old.serves(peer) {
		return old, nil
	}
	l, err := newLink(c, peer)
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.transport.CloseIdleConnections()
	}
	c.links[domain] = l
	return l, nil
}
