package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm/meta"
	"parley/mimi"
)

// Identity of a peer (mimi-protocol-06 §4.1): its certificate names the domain of the From header, and the chain
// leads to what the allow-list trusts for exactly that peer. Public CAs no longer issue certificates for clientAuth, so Go's own
// verification of client certificates cannot be used; VerifyConnection does it by peer.

// verdictLifetime is how long a certificate that was found good is not checked again on a connection: so long may a
// connection outlive its certificate.
const verdictLifetime = time.Minute

// doorkeeper verifies the certificates of those who connect.
type doorkeeper struct {
	peers  Peers
	public *x509.CertPool // the roots of peers without a pinned CA; nil: the system's
}

// connection remembers, for one TLS connection, which domains its certificate was found good for. HTTP/2 requests of a
// connection come in parallel.
type connection struct {
	mu       sync.Mutex
	verdicts map[mimi.Provider]verdict // under mu
}

// verdict holds for one state of the peer's trust only: pinning another CA makes it void at once.
type verdict struct {
	trust [32]byte
	until time.Time
}

type connectionKey struct{}

// remember puts the connection's memory into the context of its requests.
func remember(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{verdicts: map[mimi.Provider]verdict{}})
}

// verifyConnection ends the handshake of whoever is no peer: no certificate, a certificate of an unknown domain, or one whose
// chain leads elsewhere. Who of several domains speaks is settled by each request's From header.
func (d *doorkeeper) verifyConnection(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("no client certificate")
	}
	var reasons []error
	for _, domain := range certificateDomains(state.PeerCertificates[0]) {
		peer, known := d.peer(domain)
		if !known {
			reasons = append(reasons, fmt.Errorf("%s is not a peer", domain))
			continue
		}
		err := d.verifyChain(state.PeerCertificates, peer)
		if err == nil {
			return nil
		}
		reasons = append(reasons, fmt.Errorf("%s: %w", domain, err))
	}
	if len(reasons) == 0 {
		return errors.New("the client certificate names no domain")
	}
	return errors.Join(reasons...)
}

// peer finds the peer that appears under a domain. Whoever appears under another domain that the peer may speak for is not it.
func (d *doorkeeper) peer(domain mimi.Provider) (meta.Peer, bool) {
	peer, known := d.peers.Peer(domain)
	return peer, known && peer.Domain == domain
}

// certificateDomains are the DNS names that can name a provider. Wildcards cannot: a certificate for *.example.net would else
// speak for every provider below it.
func certificateDomains(leaf *x509.Certificate) []mimi.Provider {
	var domains []mimi.Provider
	for _, name := range leaf.DNSNames {
		if domain, err := mimi.ParseProvider(name); err == nil {
			domains = append(domains, domain)
		}
	}
	return domains
}

func (d *doorkeeper) verifyChain(chain []*x509.Certificate, peer meta.Peer) error {
	roots, err := trustedRoots(peer, d.public)
	if err != nil {
		return err
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if peer.AcceptServerAuth {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: usages})
	return err
}

// trustedRoots is the peer's pinned CA, or the public roots where none is pinned. nil stands for the system's.
func trustedRoots(peer meta.Peer, public *x509.CertPool) (*x509.CertPool, error) {
	if len(peer.TrustPEM) == 0 {
		return public, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(peer.TrustPEM) {
		return nil, errors.New("the peer's pinned CA holds no certificate")
	}
	return pool, nil
}

// identify settles who sends a request: the From header, if the connection's certificate bears it out. Without the header, as
// for the directory document, the first domain of the certificate that is a peer counts.
func (d *doorkeeper) identify(c echo.Context, fromRequired bool) (caller, error) {
	r := c.Request()
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return caller{}, identityMismatch("The connection has no client certificate.")
	}
	header := r.Header.Values(mimi.HeaderFrom)
	if len(header) == 0 && !fromRequired {
		return d.firstDomain(r)
	}
	if len(header) != 1 {
		return caller{}, identityMismatch(fmt.Sprintf("%d From headers where one is needed, mimi@ and the provider's domain.", len(header)))
	}
	from, err := mimi.ParseFromHeader(header[0])
	if err != nil {
		return caller{}, err
	}
	return d.confirm(r, from)
}

func (d *doorkeeper) firstDomain(r *http.Request) (caller, error) {
	for _, domain := range certificateDomains(r.TLS.PeerCertificates[0]) {
		if from, err := d.confirm(r, domain); err == nil {
			return from, nil
		}
	}
	return caller{}, identityMismatch("The certificate names no domain of a known peer.")
}

// confirm checks that the certificate names the domain and leads to its trust.
func (d *doorkeeper) confirm(r *http.Request, domain mimi.Provider) (caller, error) {
	leaf := r.TLS.PeerCertificates[0]
	named := false
	for _, name := range certificateDomains(leaf) {
		named = named || name == domain
	}
	if !named {
		return caller{}, identityMismatch(fmt.Sprintf("From names %s, but the certificate does not.", domain))
	}
	peer, known := d.peer(domain)
	if !known {
		return caller{}, identityMismatch(fmt.Sprintf("%s is not a peer of this provider.", domain))
	}
	memory, _ := r.Context().Value(connectionKey{}).(*connection)
	if memory == nil {
		return caller{}, errors.New("the request came without its connection")
	}
	memory.mu.Lock()
	defer memory.mu.Unlock()
	trust, now := trustKey(peer), time.Now()
	if v := memory.verdicts[domain]; v.trust == trust && now.Before(v.until) {
		return caller{domain: domain, peer: peer}, nil
	}
	if err := d.verifyChain(r.TLS.PeerCertificates, peer); err != nil {
		return caller{}, identityMismatch(fmt.Sprintf("The certificate is not trusted for %s.", domain))
	}
	memory.verdicts[domain] = verdict{trust: trust, until: now.Add(verdictLifetime)}
	return caller{domain: domain, peer: peer}, nil
}

func trustKey(peer meta.Peer) [32]byte {
	usage := byte(0)
	if peer.AcceptServerAuth {
		usage = 1
	}
	return sha256.Sum256(append([]byte{usage}, peer.TrustPEM...))
}

func identityMismatch(detail string) *Problem {
	return newProblem(http.StatusForbidden, problemIdentity, mimi.HeaderFrom, detail)
}
