// Package httpapi is the doors of a node: the peer, local and admin listeners, one file per endpoint, and what goes out to
// other providers. It sees the cluster through the small interfaces of this file, which the cluster's node satisfies as it is.
package httpapi

import (
	"context"
	"crypto/tls"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// Hub decides requests. Do may be called by many goroutines. Its error is a *mls.MalformedError, or wraps fsm.ErrNotProposed,
// fsm.ErrOverloaded or fsm.ErrUnknownOutcome; anything else is a fault of the node. What the protocol refuses is an Outcome.
type Hub interface {
	Do(ctx context.Context, r judge.Request) (fsm.Outcome, error)
}

// BulkHub decides many requests at once, each by itself and with an error of its own, as Do does. Those of one slot that need no
// judgement of their own are decided in their order.
type BulkHub interface {
	Hub
	DoMany(ctx context.Context, requests []judge.Request) []judge.Decided
	// Holds reports whether something for a room waits in this node's journal: what comes later must not go past it.
	Holds(room mimi.RoomURI) bool
	// Hold takes submissions into this node's journal, all or none, durably. Each gets a verdict on its submitter's stream.
	Hold(ctx context.Context, submissions []judge.HeldSubmission) error
}

// Peers is the allow-list: a provider that it does not know is not talked to, in either direction. It is found by any of its
// domains. Peer may be called by many goroutines.
type Peers interface {
	Peer(domain mimi.Provider) (meta.Peer, bool)
}

// Sessions says who may come to this node. Its methods may be called by many goroutines.
type Sessions interface {
	// TakesPeers reports whether new sessions of peers may begin: not while the node is so long out of contact with its cluster that a
	// peer may have been revoked meanwhile.
	TakesPeers() bool
	// Leaves reports whether the node leaves its cluster and has nothing left: whoever comes is sent to another, before it is out and can
	// not even say whether what it was asked for was written.
	Leaves() bool
}

// Tokens finds a bearer token by the SHA-256 of its secret.
type Tokens interface {
	Token(secretHash [32]byte) (meta.Token, bool)
}

// Config tells the cluster's settings, of which the local provider's domains are used here: the first is the one it speaks as.
type Config interface {
	Settings() fsm.Settings
}

// HubKeys are the external-sender keys of this hub.
type HubKeys interface {
	// HubSigner returns the newest key of a scheme and how it stands in the rooms' external_senders, or false where the hub has none.
	HubSigner(scheme mls.SignatureScheme) (*mls.SigningKey, mls.ExternalSender, bool)
	// SignerOf returns the hub's key with this public half, retired ones included, or false where it is not the hub's.
	SignerOf(public []byte) (*mls.SigningKey, bool)
	// FrankingAgent returns what a room of a suite puts into its franking_agent component, or false where the hub has no key yet.
	FrankingAgent(suite mls.CipherSuite) (mls.ExternalSender, bool)
	// ExternalReceiver returns the hub's HPKE key for a suite and its credential, or false where the hub has no key yet.
	ExternalReceiver(suite mls.CipherSuite) (public []byte, credential mls.Credential, found bool)
}

// Outbox is what waits for other providers and is this node's to deliver now, without peers that are paused.
type Outbox interface {
	// Heads returns the first waiting items of rooms that are not busy, in order per room, as many as the page allows.
	Heads(ctx context.Context, destination mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) ([]fsm.OutboxItem, error)
	// Waiting lists the destinations for which something waits, without the local provider.
	Waiting() []mimi.Provider
	// Replays is a number that rises when a destination is to be tried again at once, whatever was learnt of it.
	Replays(destination mimi.Provider) uint64
}

// Inbox reads what waits for the local provider and its clients, over all shards.
type Inbox interface {
	// ReadInbox returns items that are not acknowledged: of each slot the first ones that fit the query, in order.
	ReadInbox(ctx context.Context, query fsm.InboxQuery) (fsm.InboxPage, error)
	// ReadEvents returns events of one client's inbox that are not acknowledged, in the order of the query.
	ReadEvents(ctx context.Context, query fsm.EventQuery) (fsm.EventPage, error)
}

// Certificates gives the certificate with which the provider appears: its domain is among the DNS names. It is asked at every
// handshake, so that a renewed one is used at once.
type Certificates func() (*tls.Certificate, error)
