package httpapi

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"parley/mimi"
	"parley/mls"
)

type peerList struct {
	Peers []PeerEntry `json:"peers"`
}

func (s *AdminServer) listPeers(c echo.Context) error {
	peers, err := s.admin.Peers(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, peerList{Peers: append([]PeerEntry{}, peers...)})
}

// domainParam is the provider that the path names.
func domainParam(c echo.Context) (mimi.Provider, error) {
	domain, err := mimi.ParseProvider(c.Param("domain"))
	if malformed := (*mls.MalformedError)(nil); errors.As(err, &malformed) {
		return domain, &mls.MalformedError{Field: "domain", Reason: malformed.Reason}
	}
	return domain, err
}

// putPeer is PUT /v1/peers/{domain}: it makes the peer, or changes what the body names. What it does not name stays: a body that
// left the pinned certificates out would otherwise open the door to whoever has one of a public CA.
func (s *AdminServer) putPeer(c echo.Context) error {
	domain, err := domainParam(c)
	if err != nil {
		return err
	}
	var change PeerChange
	if err := readJSON(c, adminBodyBytesMax, &change); err != nil {
		return err
	}
	if change.Domain != nil && !change.Domain.IsZero() && *change.Domain != domain {
		return &mls.MalformedError{Field: "domain", Reason: "it is not the domain that the path names"}
	}
	known, err := s.admin.Peers(c.Request().Context())
	if err != nil {
		return err
	}
	p := PeerEntry{Domain: domain}
	if i := slices.IndexFunc(known, func(o PeerEntry) bool { return o.Domain == domain }); i >= 0 {
		p = known[i]
		p.Domains = slices.Clone(p.Domains)
	}
	p = change.over(p)
	if !slices.Contains(p.Domains, domain) {
		p.Domains = append(p.Domains, domain)
	}
	for i, address := range p.DirectoryURLs {
		if _, err := checkURL(address); err != nil {
			return &mls.MalformedError{Field: fmt.Sprintf("directoryUrls[%d]", i), Reason: err.Error()}
		}
	}
	if p.TrustPEM != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(p.TrustPEM)) {
		return &mls.MalformedError{Field: "trustPem", Reason: "it holds no certificate in PEM form"}
	}
	if err := s.admin.PutPeer(c.Request().Context(), p); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

func (s *AdminServer) removePeer(c echo.Context) error {
	domain, err := domainParam(c)
	if err != nil {
		return err
	}
	if err := s.admin.RemovePeer(c.Request().Context(), domain); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
