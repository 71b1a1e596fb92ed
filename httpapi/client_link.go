package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"parley/fsm/meta"
	"parley/mimi"
)

// link is what the client keeps for one peer: connections, and the directory behind each of its directory URLs. A peer that is
// a cluster lists one URL for each of its nodes.
type link struct {
	owner     *Client
	peer      meta.Peer // as it was when the link was made
	addresses []string  // its directory URLs
	transport *http.Transport
	client    *http.Client

	mu        sync.Mutex
	preferred int // the directory URL that last led to an answer; under mu
	books     []directoryBook
}

// directoryBook is the directory behind one URL. fetching holds one element while somebody fetches it, so that a crowd does
// not; document and until are under the link's mu.
type directoryBook struct {
	fetching chan struct{}
	document *mimi.Directory
	until    time.Time
}

func newLink(c *Client, peer meta.Peer) (*link, error) {
	roots, err := trustedRoots(peer, nil)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: c.limits.Dial}
	if !peer.AllowPrivateAddresses {
		dialer.Control = checkAddress
	}
	transport := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    c.limits.Dial,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        c.limits.Connections,
		MaxIdleConnsPerHost:    c.limits.Connections,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: headerBytesMax,
		DisableCompression:     true,
		// A peer's node that died without closing its connections is noticed in seconds.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 3 * time.Second},
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			RootCAs:    roots,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return c.certificates()
			},
		},
	}
	l := &link{
		owner:     c,
		peer:      peer,
		transport: transport,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		addresses: directoryURLs(peer),
	}
	l.books = make([]directoryBook, len(l.addresses))
	for i := range l.books {
		l.books[i].fetching = make(chan struct{}, 1)
	}
	return l, nil
}

// directoryURLs are the peer's, or the well-known place at its domain.
func directoryURLs(peer meta.Peer) []string {
	if len(peer.DirectoryURLs) > 0 {
		return peer.DirectoryURLs
	}
	return []string{"https://" + peer.Domain.String() + mimi.DirectoryPath}
}

// serves reports whether the link still fits the allow-list's entry.
func (l *link) serves(peer meta.Peer) bool {
	return slices.Equal(l.peer.DirectoryURLs, peer.DirectoryURLs) && slices.Equal(l.peer.TrustPEM, peer.TrustPEM) &&
		l.peer.AllowPrivateAddresses == peer.AllowPrivateAddresses
}

// order lists the directory URLs by index, the preferred one first.
func (l *link) order() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	order := make([]int, len(l.books))
	for i := range order {
		order[i] = (l.preferred + i) % len(order)
	}
	return order
}

func (l *link) prefer(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.preferred = i
}

// forget drops a directory that led nowhere.
func (l *link) forget(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.books[i].document = nil
}

// endpoint returns the address of a target as the peer's directory gives it.
func (l *link) endpoint(ctx context.Context, i int, target Target) (*url.URL, error) {
	document, err := l.directory(ctx, i)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", l.addresses[i], err)
	}
	expanded, err := target.expand(*document)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", l.addresses[i], err)
	}
	return checkURL(expanded)
}

// directory returns the document behind a directory URL, fetched if it is not at hand.
func (l *link) directory(ctx context.Context, i int) (*mimi.Directory, error) {
	if document := l.cached(i); document != nil {
		return document, nil
	}
	select {
	case l.books[i].fetching <- struct{}{}:
		defer func() { <-l.books[i].fetching }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if document := l.cached(i); document != nil {
		return document, nil
	}
	document, err := l.fetch(ctx, l.addresses[i])
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.books[i].document, l.books[i].until = document, time.Now().Add(l.owner.limits.DirectoryAge)
	return document, nil
}

func (l *link) cached(i int) *mimi.Directory {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.books[i].until) {
		return l.books[i].document
	}
	return nil
}

func (l *link) fetch(ctx context.Context, address string) (*mimi.Directory, error) {
	location, err := checkURL(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.owner.limits.Directory)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return nil, err
	}
	l.owner.dress(request)
	reply, err := exchange(l.client, request, mimi.DirectoryBytesMax)
	if err != nil {
		return nil, err
	}
	if reply.Status != http.StatusOK {
		return nil, reply.StatusError(mimi.Provider{})
	}
	document, err := mimi.ParseDirectory(reply.Body)
	if err != nil {
		return nil, err
	}
	return &document, nil
}

// checkURL takes absolute https URLs only, without a user.
func checkURL(address string) (*url.URL, error) {
	location, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, err
	case location.Scheme != "https":
		return nil, errors.New("the URL is not https")
	case location.Host == "" || location.Hostname() == "":
		return nil, errors.New("the URL names no host")
	case location.User != nil:
		return nil, errors.New("the URL names a user")
	}
	location.Fragment = ""
	return location, nil
}
