package httpapi

import (
	"slices"

	"parley/fsm/meta"
	"parley/mimi"
)

// caller is a peer whose certificate bore out its From header.
type caller struct {
	domain mimi.Provider // of the From header
	peer   meta.Peer
}

// speaksFor reports whether the peer may speak for users and rooms of a domain: a provider may have several.
func (c caller) speaksFor(domain mimi.Provider) bool {
	return !domain.IsZero() && (domain == c.domain || slices.Contains(c.peer.Domains, domain))
}

// inNameOf is the domain in whose name the hub takes a request: the one that the body names if the peer may speak for it,
// otherwise the peer's own, so that the hub sees the mismatch and refuses with the draft's own code.
func (c caller) inNameOf(domain mimi.Provider) mimi.Provider {
	if c.speaksFor(domain) {
		return domain
	}
	return c.domain
}
