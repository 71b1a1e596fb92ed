package meta

import (
	"context"

	"parley/mimi"
)

// Caller is whom the map let in with a request, and whom it can shut out while that is under way.
type Caller struct {
	Peer      mimi.Provider // empty: no peer
	TokenHash [32]byte      // SHA-256 of the bearer's secret; zero: no bearer
}

// Admits reports whether the map has the caller still.
func (m *Map) Admits(c Caller) bool {
	if c.Peer != (mimi.Provider{}) {
		if peer, known := m.Peer(c.Peer); !known || peer.Domain != c.Peer {
			return false
		}
	}
	if c.TokenHash != [32]byte{} {
		if _, known := m.TokenByHash(c.TokenHash); !known {
			return false
		}
	}
	return true
}

type callerKey struct{}

// WithCaller returns a context whose requests are the caller's.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is whose requests those of a context are; false where they are the node's own.
func CallerOf(ctx context.Context) (Caller, bool) {
	c, known := ctx.Value(callerKey{}).(Caller)
	return c, known
}
