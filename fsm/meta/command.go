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
	kindPutCA
	kindPutJoinToken
	kindRevokeJoinToken
	kindEnrolNode
	kindRecordCertificate
	kindRevokeCertificates
	kindPutGossipKey
	kindUseGossipKey
	kindRemoveGossipKey
	kindReseal
	kindAddHubKey
	kindHoldPeer

	kindChangeSettings commandKind = 40
	kindAddServiceKeys commandKind = 41

	kindBeginMoves      commandKind = 60
	kindEndMoves        commandKind = 61
	kindRetireShard     commandKind = 62
	kindAssignNode      commandKind = 55
	kindTellZone        commandKind = 56
	kindChangePlacement commandKind = 57
	kindChangeReplicas  commandKind = 58
	kindDismissNode     commandKind = 59
	kindPutJob          commandKind = 50
	kindReportJob       commandKind = 51
	kindSteerJob        commandKind = 52
	kindEndJob          commandKind = 53
	kindAudited         commandKind = 54
)

// Stamped is a command that something is judged by time in. Apply has no clock: the leader puts its time in before the command goes
// into the log.
type Stamped interface {
	Command
	// WithStamp is the command at a time, in milliseconds since 1970.
	WithStamp(millis uint64) Command
}

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
// the same again changes nothing. From fsm.FormatResize on a shard may be born without slots, see EmptyShard.
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

// ChangeSettings is PutSettings for who has read the settings: it is refused where they are of another version by then, so that nobody
// overwrites what they have not seen. The same again changes nothing. It is of fsm.FormatBulk.
type ChangeSettings struct {
	Version  uint64 // of the settings that were read
	Settings fsm.Settings
}

// PutHubKey adds a key, which from then on is the one to sign with in its scheme. Older ones stay, for the rooms that list them.
type PutHubKey struct{ Key HubKey }

// AddHubKey is PutHubKey with the time at which the key comes. Every node has to know it: it is of fsm.FormatExclusive.
type AddHubKey struct {
	Key   HubKey
	Stamp uint64
}

// PutCA gives the cluster the key of its CA. It is given once.
type PutCA struct{ CA CA }

// PutJoinToken invites a node. Until, UsedBy and UsedKey are apply's to say.
type PutJoinToken struct {
	Token  JoinToken
	Millis uint64 // how long it is good for
	Stamp  uint64
}

// RevokeJoinToken ends an invitation. Unknown ones are no error.
type RevokeJoinToken struct{ ID string }

// EnrolNode uses an invitation: it records the certificate that the node is to get. The same node with the same key may use it again
// until it is a member, since the answer may have been lost; nobody else can.
type EnrolNode struct {
	TokenID     string
	SecretHash  [32]byte
	KeyHash     [32]byte // SHA-256 of the node's public key
	Certificate Certificate
	Stamp       uint64
}

// RecordCertificate records a certificate of a member: a renewed one, or one that was made elsewhere.
type RecordCertificate struct {
	Certificate Certificate
	Stamp       uint64
}

// RevokeCertificates revokes every certificate of a node: those on record, and those that are not.
type RevokeCertificates struct {
	Node  string
	Stamp uint64
}

// PutGossipKey brings a key in: the first is the primary one at once, a second waits for UseGossipKey. There is no third.
type PutGossipKey struct{ Key GossipKey }

// UseGossipKey makes a key the primary one. Every node must have it by then.
type UseGossipKey struct{ ID string }

// RemoveGossipKey forgets a key that is not the primary one. No node may use it any more. Unknown ones are no error.
type RemoveGossipKey struct{ ID string }

// Reseal replaces secrets by the same under another seal key, all or none.
type Reseal struct{ Secrets []Resealed }

// WithStamp implements Stamped.
func (c AddHubKey) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// WithStamp implements Stamped.
func (c PutJoinToken) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// WithStamp implements Stamped.
func (c EnrolNode) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// WithStamp implements Stamped.
func (c RecordCertificate) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// WithStamp implements Stamped.
func (c RevokeCertificates) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

func (InitCluster) kind() commandKind    { return kindInitCluster }
func (AddNode) kind() commandKind        { return kindAddNode }
func (UpdateNode) kind() commandKind     { return kindUpdateNode }
func (PlaceShards) kind() commandKind    { return kindPlaceShards }
func (ActivateShard) kind() commandKind  { return kindActivateShard }
func (PutPeer) kind() commandKind        { return kindPutPeer }
func (RemovePeer) kind() commandKind     { return kindRemovePeer }
func (PutToken) kind() commandKind       { return kindPutToken }
func (RevokeToken) kind() commandKind    { return kindRevokeToken }
func (PutSettings) kind() commandKind    { return kindPutSettings }
func (PutHubKey) kind() commandKind      { return kindPutHubKey }
func (ChangeSettings) kind() commandKind { return kindChangeSettings }

func (PutCA) kind() commandKind              { return kindPutCA }
func (PutJoinToken) kind() commandKind       { return kindPutJoinToken }
func (RevokeJoinToken) kind() commandKind    { return kindRevokeJoinToken }
func (EnrolNode) kind() commandKind          { return kindEnrolNode }
func (RecordCertificate) kind() commandKind  { return kindRecordCertificate }
func (RevokeCertificates) kind() commandKind { return kindRevokeCertificates }
func (PutGossipKey) kind() commandKind       { return kindPutGossipKey }
func (UseGossipKey) kind() commandKind       { return kindUseGossipKey }
func (RemoveGossipKey) kind() commandKind    { return kindRemoveGossipKey }
func (Reseal) kind() commandKind             { return kindReseal }
func (AddHubKey) kind() commandKind          { return kindAddHubKey }

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
