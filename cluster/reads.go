package cluster

import (
	"context"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
)

// What follows reads this node's own copy of the map, which may be a little behind.

// Settings are the cluster's; their zero value before Init or Join.
func (n *Node) Settings() fsm.Settings {
	settings, _ := n.Map().Settings()
	return settings
}

// Peer finds the peer that speaks for a domain.
func (n *Node) Peer(domain mimi.Provider) (meta.Peer, bool) { return n.Map().Peer(domain) }

// Peers are all peers, by domain.
func (n *Node) Peers() []meta.Peer { return n.Map().Peers() }

// Token finds a bearer token by the SHA-256 of its secret.
func (n *Node) Token(secretHash [32]byte) (meta.Token, bool) { return n.Map().TokenByHash(secretHash) }

// Tokens are all tokens, by ID.
func (n *Node) Tokens() []meta.Token { return n.Map().Tokens() }

// PutPeer adds a peer to the allow-list, or replaces it.
func (n *Node) PutPeer(ctx context.Context, peer meta.Peer) error {
	return n.Change(ctx, meta.PutPeer{Peer: peer})
}

// RemovePeer takes a peer off the allow-list.
func (n *Node) RemovePeer(ctx context.Context, domain mimi.Provider) error {
	return n.Change(ctx, meta.RemovePeer{Domain: domain})
}

// PutToken lets a bearer in at the local listener.
func (n *Node) PutToken(ctx context.Context, token meta.Token) error {
	return n.Change(ctx, meta.PutToken{Token: token})
}

// RevokeToken ends a token.
func (n *Node) RevokeToken(ctx context.Context, id string) error {
	return n.Change(ctx, meta.RevokeToken{ID: id})
}
