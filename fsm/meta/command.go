package meta

import (
	"fmt"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// Command is a change of the cluster's map. The set is closed; numbers are append-only.
type Command interface {
	kind() commandKind
	appendTo(w *mls.Writer)
	apply(t *tx) Outcome
}

type commandKind uint16

const (
	kindInitCluster commandKind = iota + 1
	kindAddNode
	kindUpdateNode
	kindPlaceShards
	kindActivateShard
	kindPutPeer
	kindRemovePeer
	kindPutToken
	kindRevokeToken
	kindPutSettings
	kindPutHubKey
)

// InitCluster makes the cluster, once. Any other command before it is refused.
type InitCluster struct {
	ClusterID         string
	Settings          fsm.Settings // without HubKeys, which are put by PutHubKey
	ReplicationFactor uint32       // replicas of a shard that are wanted
	Shards            uint32       // shards that are wanted at first
}

// AddNode adds a node. The same again changes nothing; an ID that was used before is refused.
type AddNode struct{ Node Node }

// UpdateNode changes a node's address or state. A node that replicates a shard cannot be removed, nor a removed one return.
type UpdateNode struct{ Node Node }

// PlaceShards says where new shards are to be, all or none. They are in ShardCreating. A shard that is placed stays as it is;
// the same again changes nothing.
type PlaceShards struct{ Shards []Shard }

// ActivateShard marks a shard as come into being.
type ActivateShard struct{ ID fsm.ShardID }

// PutPeer adds a peer or replaces the one of the same Domain. No two peers speak for one domain.
type PutPeer struct{ Peer Peer }

// RemovePeer forgets a peer. Unknown ones are no error.
type RemovePeer struct{ Domain mimi.Provider }

// PutToken adds a token. A token is never changed, only revoked.
type PutToken struct{ Token Token }

// RevokeToken ends a token. Unknown ones are no error.
type RevokeToken struct{ ID string }

// PutSettings replaces the settings. The first domain stays: it is the name of the local inbox.
type PutSettings struct{ Settings fsm.Settings }

// PutHubKey adds a key, which from then on is the one to sign with in its scheme. Older ones stay, for the rooms that list them.
type PutHubKey struct{ Key HubKey }

func (InitCluster) kind() commandKind   { return kindInitCluster }
func (AddNode) kind() commandKind       { return kindAddNode }
func (UpdateNode) kind() commandKind    { return kindUpdateNode }
func (PlaceShards) kind() commandKind   { return kindPlaceShards }
func (ActivateShard) kind() commandKind { return kindActivateShard }
func (PutPeer) kind() commandKind       { return kindPutPeer }
func (RemovePeer) kind() commandKind    { return kindRemovePeer }
func (PutToken) kind() commandKind      { return kindPutToken }
func (RevokeToken) kind() commandKind   { return kindRevokeToken }
func (PutSettings) kind() commandKind   { return kindPutSettings }
func (PutHubKey) kind() commandKind     { return kindPutHubKey }

// Outcome is what apply decided: Done or Refused.
type Outcome interface{ outcome() }

// Done says that the map is as the command wanted it. Version is the map's, raised if anything changed.
type Done struct{ Version uint64 }

// Refused says that nothing changed, and why.
type Refused struct{ Reason string }

func (Done) outcome()    {}
func (Refused) outcome() {}

// UnknownCommandError stops a node: the log holds a command of a newer program.
type UnknownCommandError struct {
	Kind  uint16
	Index uint64
}

func (e *UnknownCommandError) Error() string {
	return fmt.Sprintf("meta command %d at index %d is not known to this program", e.Kind, e.Index)
}
