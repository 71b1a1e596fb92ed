// Package meta is the state machine of the meta group: the cluster's map (nodes, shards, replicas), its peers, tokens, settings
// and sealed hub keys. Every node has a copy. As in package fsm, apply is a function of (state, index, entry) alone.
//
// The map is a routing hint for shards: who owns a slot is decided by the shard's own state.
package meta

import (
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// Limits of what the map holds. They are protocol constants: a command past them is refused on every replica alike.
const (
	NameBytesMax    = 64  // IDs of clusters, nodes and tokens
	AddressBytesMax = 261 // host:port
	NodesMax        = 256 // removed ones too
	ShardsMax       = 1024
	ReplicasMax     = 7 // of one shard
	PeersMax        = 10_000
	TokensMax       = 10_000
	TextBytesMax    = 256      // a token's name
	URLBytesMax     = 2048     // a directory's
	TrustBytesMax   = 64 << 10 // a peer's pinned certificates
	HubKeysMax      = 64
)

// NodeState is what the cluster wants of a node. Numbers are append-only.
type NodeState uint8

const (
	NodeActive  NodeState = 1
	NodeRemoved NodeState = 2 // a tombstone: the ID is never used again
)

func (s NodeState) String() string {
	switch s {
	case NodeActive:
		return "active"
	case NodeRemoved:
		return "removed"
	default:
		return fmt.Sprintf("state %d", uint8(s))
	}
}

// Node is a member of the cluster.
type Node struct {
	ID          string // as in its certificate; never used again
	Incarnation string // of its data directory. Under the same ID with another directory it would have forgotten its votes
	ClusterAddr string // host:port of its cluster port
	State       NodeState
}

// ShardState is how far a shard has come into being. Numbers are append-only.
type ShardState uint8

const (
	ShardCreating ShardState = 1 // placed; its Raft group is being opened
	ShardActive   ShardState = 2 // it serves, and has its settings; which slots are its own the map says beside it
	ShardRetired  ShardState = 3 // it has no slots and no replicas; its number is not used again
)

func (s ShardState) String() string {
	switch s {
	case ShardCreating:
		return "creating"
	case ShardActive:
		return "active"
	case ShardRetired:
		return "retired"
	default:
		return fmt.Sprintf("state %d", uint8(s))
	}
}

// Shard is a set of slots, and the nodes that replicate it.
type Shard struct {
	ID         fsm.ShardID // never 0, which is the meta group
	Generation uint64      // never 0
	First      fsm.SlotID  // the range that it was born with, inclusive; slots move, see Map.ShardOfSlot
	Last       fsm.SlotID  // inclusive; before First where it was born with none
	Replicas   []string    // node IDs; the first is the preferred leader. None once it is retired
	State      ShardState
}

// EmptyShard is a shard that is to be born without slots.
func EmptyShard(id fsm.ShardID, generation uint64, replicas []string) Shard {
	return Shard{ID: id, Generation: generation, First: 1, Last: 0, Replicas: replicas, State: ShardCreating}
}

// bornEmpty reports whether a shard was born without slots.
func (s Shard) bornEmpty() bool { return s.First > s.Last }

// samePlace reports whether two shards are the same but for their state.
func (s Shard) samePlace(o Shard) bool {
	return s.ID == o.ID && s.Generation == o.Generation && s.First == o.First && s.Last == o.Last && slices.Equal(s.Replicas, o.Replicas)
}

// Peer is another provider that this one exchanges rooms with.
type Peer struct {
	Domain  mimi.Provider   // whom its certificate and From name
	Domains []mimi.Provider // all that it may speak for, sorted; Domain is among them
	// DirectoryURLs are where its directory document is; none means the well-known place of Domain.
	DirectoryURLs []string
	TrustPEM      []byte // certificates that it is recognised by; empty means the public roots
	// AcceptServerAuth takes a client certificate that is marked for servers only, as public CAs now issue them.
	AcceptServerAuth bool
	// AllowPrivateAddresses lets its names resolve to private and loopback addresses.
	AllowPrivateAddresses bool
}

// Scope is something that a token's bearer may do at the local listener. The set is closed; numbers are append-only.
type Scope uint8

const (
	ScopeRoomsRead Scope = iota + 1
	ScopeRoomsWrite
	ScopeMessagesWrite
	ScopeKeyPackagesWrite
	ScopeInboxRead
	ScopeAdmin

	scopeLast = ScopeAdmin
)

var scopeNames = [...]string{
	ScopeRoomsRead:        "rooms:read",
	ScopeRoomsWrite:       "rooms:write",
	ScopeMessagesWrite:    "messages:write",
	ScopeKeyPackagesWrite: "keypackages:write",
	ScopeInboxRead:        "inbox:read",
	ScopeAdmin:            "admin",
}

func (s Scope) String() string {
	if s >= 1 && s <= scopeLast {
		return scopeNames[s]
	}
	return fmt.Sprintf("scope %d", uint8(s))
}

// Scopes are all there are, in the order of their numbers.
func Scopes() []Scope {
	all := make([]Scope, scopeLast)
	for i := range all {
		all[i] = Scope(i + 1)
	}
	return all
}

// ParseScope reads a scope's name.
func ParseScope(name string) (Scope, error) {
	for _, s := range Scopes() {
		if scopeNames[s] == name {
			return s, nil
		}
	}
	return 0, &mls.MalformedError{Field: "scope", Reason: "there is no such scope"}
}

// Token lets a bearer in at the local listener. The secret itself is known to its bearer alone.
type Token struct {
	ID         string
	Name       string // for people
	SecretHash [32]byte
	Scopes     []Scope // ascending
}

// Allows reports whether the token has a scope. ScopeAdmin does not imply the others.
func (t Token) Allows(scope Scope) bool { return slices.Contains(t.Scopes, scope) }

// HubKey is a key that the hub signs with, as an external sender of MLS or otherwise.
type HubKey struct {
	Scheme          mls.SignatureScheme
	Public          []byte
	Sealed          []byte // the private half under the operator's key; opened by the node, never here
	DevelopmentOnly bool   // its private half is published with the test data
	AddedMillis     uint64 // the meta group's time when it came; 0: not known. It is not of the encoded key
}
