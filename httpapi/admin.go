package httpapi

import (
	"context"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// Admin is what an operator can ask of a node. The program's composition makes it of the cluster's node. Its methods may be
// called by many goroutines. An error is a *RefusedError, a *NotFoundError, a *mls.MalformedError, or one of the fsm
// sentinels; anything else is a fault of the node.
type Admin interface {
	BackupAdmin
	Care

	// Ready says whether this node can serve: it has a cluster map, and all replicas that it should hold run.
	Ready(ctx context.Context) Readiness
	Status(ctx context.Context) (ClusterStatus, error)
	Init(ctx context.Context, r InitRequest) (ClusterIdentity, error)
	Join(ctx context.Context, r JoinRequest) (ClusterIdentity, error)

	// Invite makes a join token, which is shown this once.
	Invite(ctx context.Context, r InviteRequest) (Invitation, error)
	Invitations(ctx context.Context) ([]InvitationEntry, error)
	// RevokeInvitation ends a join token that was not used yet.
	RevokeInvitation(ctx context.Context, id string) error
	Certificates(ctx context.Context) ([]CertificateEntry, error)
	// RevokeCertificates shuts a node out.
	RevokeCertificates(ctx context.Context, node string) error
	Keyring(ctx context.Context) (Keyring, error)
	// RotateKeyring begins a change of the gossip key, which goes on by itself. Where a key is named, it is changed from that one alone: if
	// another encrypts, or it is being changed, it has been done.
	RotateKeyring(ctx context.Context, from string) error
	// HubKeys are the keys of the hub: those of external senders first, and each kind the oldest first.
	HubKeys(ctx context.Context) ([]HubKeyEntry, error)
	// RotateHubKeys makes a new external-sender key of a scheme, or without one of each.
	RotateHubKeys(ctx context.Context, scheme mls.SignatureScheme) error
	// RotateServiceKeys makes new keys of the hub for another purpose.
	RotateServiceKeys(ctx context.Context, purpose meta.KeyPurpose) error
	// Reseal seals every secret of the cluster under the node's present seal key.
	Reseal(ctx context.Context) (ResealReport, error)

	// Settings are the limits of the cluster as they are in force.
	Settings(ctx context.Context) (ClusterSettings, error)
	// ChangeSettings sets some of them, all or none. The error for one that cannot be is a *mls.MalformedError with its name.
	ChangeSettings(ctx context.Context, c SettingsChange) (ClusterSettings, error)

	Peers(ctx context.Context) ([]PeerEntry, error)
	PutPeer(ctx context.Context, p PeerEntry) error
	RemovePeer(ctx context.Context, domain mimi.Provider) error
	// HoldPeer pauses a peer, or lets it go on, and returns the word that stands then.
	HoldPeer(ctx context.Context, domain mimi.Provider, paused bool, r HoldRequest) (PeerHold, error)
	// ReplayPeer has what waits for a peer sent from the start, at once.
	ReplayPeer(ctx context.Context, domain mimi.Provider) (ReplayReport, error)
	// Backlog is what waits for each peer, as all nodes tell.
	Backlog(ctx context.Context) (Backlog, error)

	Tokens(ctx context.Context) ([]TokenEntry, error)
	CreateToken(ctx context.Context, r TokenRequest) (NewToken, error)
	RevokeToken(ctx context.Context, id string) error

	// Digests compares the replicas of a shard at one applied index.
	Digests(ctx context.Context, shard fsm.ShardID) (ShardDigests, error)
	TransferLeadership(ctx context.Context, shard fsm.ShardID, node string) error

	JobAdmin
	AuditAdmin
	PlanAdmin
	NodeAdmin
	SlotAdmin
}

// RefusedError is an action that would be unsafe or does not fit the state: 409. All four texts are for the operator.
type RefusedError struct {
	Reason  string
	Blocker string // what stands in the way
	See     string // the command that shows it
	Clear   string // the command that clears it
}

func (e *RefusedError) Error() string { return e.Reason }

// NotFoundError names what does not exist: 404.
type NotFoundError struct{ What string }

func (e *NotFoundError) Error() string { return e.What + " does not exist" }

// Readiness is what GET /readyz tells; 200 when Ready, else 503.
type Readiness struct {
	Ready    bool     `json:"ready"`
	Node     string   `json:"node"`
	HasMap   bool     `json:"hasMap"`
	Replicas int      `json:"replicas"` // that this node should hold
	Running  int      `json:"running"`
	Reasons  []string `json:"reasons"` // why not, for people
}

// ClusterIdentity answers init and join, which may both be repeated.
type ClusterIdentity struct {
	ClusterID string `json:"clusterId"`
	Node      string `json:"node"`
}

// InitRequest begins a cluster, once.
type InitRequest struct {
	Domains  []mimi.Provider `json:"domains"`            // the provider's; the first is the one it speaks as
	Shards   int             `json:"shards,omitempty"`   // 0 means 6
	Replicas int             `json:"replicas,omitempty"` // of each shard, 0 means 3; the shards are placed when so many nodes have joined
	// KeyPackageLifetimeMaxDays is the longest lifetime of an uploaded KeyPackage; 0 means 92.
	KeyPackageLifetimeMaxDays int `json:"keyPackageLifetimeMaxDays,omitempty"`
	// ConsentDefault says who may claim KeyPackages of a user that has not said otherwise: ask (whom the user has granted it), allow
	// (everybody whom the user has not revoked it) or provider (users of this provider; others as with ask). Empty means ask.
	ConsentDefault string `json:"consentDefault,omitempty"`
	// Claims replaces the limits of claims that it names.
	Claims *ClaimLimits `json:"claims,omitempty"`
	// DevelopmentHubKeySeed is the hexadecimal seed of an Ed25519 hub key to use instead of a generated one. It is for
	// development clusters, whose recorded rooms list that key; the key is marked so for ever.
	DevelopmentHubKeySeed string `json:"developmentHubKeySeed,omitempty"`
	// Node is the ID of this node, where it was not given credentials: it makes the cluster's CA then. Empty means n1.
	Node string `json:"node,omitempty"`
}

// ClaimLimits keep inventories of KeyPackages from being drained. What is missing stays at its default; 0 switches a rule off.
type ClaimLimits struct {
	LowWater         *uint32 `json:"lowWater,omitempty"`         // the backend is told when a client has fewer single-use KeyPackages left; 20
	WindowSeconds    *uint64 `json:"windowSeconds,omitempty"`    // in which claims are counted; 3600, and 0 counts none
	PerPair          *uint32 `json:"perPair,omitempty"`          // claims of a provider for one requester of one user; 20
	PerRoom          *uint32 `json:"perRoom,omitempty"`          // likewise for one room; 5
	Floor            *uint32 `json:"floor,omitempty"`            // the last KeyPackages of a client, of which other providers get few; 10
	BelowFloor       *uint32 `json:"belowFloor,omitempty"`       // how many of them one other provider gets in a window; 3
	LastResortForOwn *bool   `json:"lastResortForOwn,omitempty"` // the provider's own users get one of last resort where nothing else is left; false
}

// JoinRequest brings this node into a cluster.
type JoinRequest struct {
	Seeds []string `json:"seeds,omitempty"` // cluster addresses, host:port; a token has its own
	Token string   `json:"token,omitempty"` // of `parley node invite`
	Node  string   `json:"node,omitempty"`  // this node's ID, where the token does not say it
}

// InviteRequest asks for a join token.
type InviteRequest struct {
	Node       string `json:"node,omitempty"`       // the only node that may use it; empty means any new one
	TTLSeconds int    `json:"ttlSeconds,omitempty"` // 0 means an hour
}

// Invitation is a join token. It is a secret.
type Invitation struct {
	Token string `json:"token"`
}

// InvitationEntry is a join token without its secret.
type InvitationEntry struct {
	ID     string    `json:"id"`
	Node   string    `json:"node,omitempty"` // the only node that may use it
	Until  time.Time `json:"until"`
	UsedBy string    `json:"usedBy,omitempty"` // a node that has its certificate by it, and has not joined yet
}

// CertificateEntry is a node's certificate on record.
type CertificateEntry struct {
	Serial   string    `json:"serial"` // hexadecimal
	Node     string    `json:"node"`
	NotAfter time.Time `json:"notAfter"`
	Barred   string    `json:"barred,omitempty"` // why nobody talks to its bearer
}

// Keyring is what gossip is encrypted with.
type Keyring struct {
	Keys  []KeyringKey `json:"keys"` // oldest first
	Waits string       `json:"waits,omitempty"`
}

// KeyringKey is one key, by its name.
type KeyringKey struct {
	ID      string   `json:"id"`
	Primary bool     `json:"primary"`
	Nodes   []string `json:"nodes"` // that go by it
}

// HubKeyEntry is a key that the hub signs with.
type HubKeyEntry struct {
	Purpose         string    `json:"purpose"`                   // external-sender, franking, frank-mac or external-receiver
	SignatureScheme string    `json:"signatureScheme,omitempty"` // of external-sender and franking
	CipherSuite     uint16    `json:"cipherSuite,omitempty"`     // of external-receiver: the first with its KEM
	PublicKey       []byte    `json:"publicKey"`                 // of frank-mac, which has none, random octets by which it is told from others
	Current         bool      `json:"current"`                   // new rooms list it; the others sign for the rooms that do
	Added           time.Time `json:"added,omitzero"`            // none where it is older than such records
	DevelopmentOnly bool      `json:"developmentOnly"`           // its private half is published with the test data
}

// HubKeyRotation says which keys are to be followed by new ones.
type HubKeyRotation struct {
	Purpose         string `json:"purpose,omitempty"`         // as of HubKeyEntry; none: external-sender
	SignatureScheme string `json:"signatureScheme,omitempty"` // of external-sender; none: every scheme
}

// ResealReport counts the secrets that were sealed anew.
type ResealReport struct {
	Secrets int `json:"secrets"`
}

// PeerChange is what is to change of a peer, or to be said of a new one; a field that is nil stays as it is.
type PeerChange struct {
	Domain                *mimi.Provider   `json:"domain,omitempty"`
	Domains               *[]mimi.Provider `json:"domains,omitempty"`
	DirectoryURLs         *[]string        `json:"directoryUrls,omitempty"`
	TrustPEM              *string          `json:"trustPem,omitempty"` // "" takes the pinned certificates out
	AcceptServerAuth      *bool            `json:"acceptServerAuth,omitempty"`
	AllowPrivateAddresses *bool            `json:"allowPrivateAddresses,omitempty"`
}

// over is the entry with the change.
func (c PeerChange) over(p PeerEntry) PeerEntry {
	set(&p.Domains, c.Domains)
	set(&p.DirectoryURLs, c.DirectoryURLs)
	set(&p.TrustPEM, c.TrustPEM)
	set(&p.AcceptServerAuth, c.AcceptServerAuth)
	set(&p.AllowPrivateAddresses, c.AllowPrivateAddresses)
	return p
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// ClusterStatus is what GET /v1/cluster/status tells, as this node sees it.
type ClusterStatus struct {
	ClusterID  string          `json:"clusterId"`
	Node       string          `json:"node"` // who answers
	MapVersion uint64          `json:"mapVersion"`
	Generation uint64          `json:"generation"` // the cluster's: 1, and one more each time that a part of its history was lost
	MetaLeader string          `json:"metaLeader,omitempty"`
	Domains    []mimi.Provider `json:"domains"`
	Nodes      []NodeStatus    `json:"nodes"`
	Shards     []ShardStatus   `json:"shards"`
	Outbox     []OutboxStatus  `json:"outbox"` // of the shards that the answering node leads
	// Removed is why the answering node is out of the cluster; of that, it tells nothing then. Empty where it is a member.
	Removed string `json:"removed,omitempty"`
}

// NodeStatus is one node as the map and gossip know it.
type NodeStatus struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	State   string `json:"state"`
	Alive   bool   `json:"alive"` // by gossip, which is a hint
	Leads   int    `json:"leads"` // shards
	// ClockOffsetMillis is how far its clock is ahead of the median of the nodes that it votes with; absent where that is not known.
	ClockOffsetMillis *int64 `json:"clockOffsetMillis,omitempty"`
	// MapReason is why its copy of the cluster's map must not run.
	MapReason string `json:"mapReason,omitempty"`
	Cleared   uint64 `json:"cleared,omitempty"` // replicas that it has cleared for damage since it started, the map's among them
	// Held is its journal; absent where the node does not answer.
	Held *HeldStatus `json:"held,omitempty"`
}

// HeldStatus is a node's journal: the bulk submissions that it has taken while their shards had no leader. Before a node is taken away for
// good it has to be empty.
type HeldStatus struct {
	Items        int    `json:"items"`
	Bytes        int64  `json:"bytes"`
	OldestMillis uint64 `json:"oldestMillis"` // by the clock of the node; 0 where nothing is held
	Damaged      int    `json:"damaged"`      // parts that could not be read, and are kept aside until somebody removes them
	Expired      uint64 `json:"expired"`      // items given up since the node was started
}

// ShardStatus is one shard.
type ShardStatus struct {
	ID         fsm.ShardID     `json:"id"`
	Generation uint64          `json:"generation"`
	FirstSlot  fsm.SlotID      `json:"firstSlot"` // the range that it was born with; slots move
	LastSlot   fsm.SlotID      `json:"lastSlot"`  // before firstSlot where it was born with none
	Slots      int             `json:"slots"`     // that it has now
	Moving     int             `json:"moving"`    // of them, on their way to other shards
	State      string          `json:"state"`
	Leader     string          `json:"leader,omitempty"`
	Term       uint64          `json:"term"`
	Replicas   []ReplicaStatus `json:"replicas"`
}

// ReplicaStatus is a node's copy of a shard; the numbers are 0 where the answering node does not know them.
type ReplicaStatus struct {
	Node    string `json:"node"`
	Voter   bool   `json:"voter"`
	Running bool   `json:"running"`
	Reason  string `json:"reason,omitempty"` // why it must not run: what is stored of it is damaged, or of a newer program
	// Rebuilding: it was cleared for damage and is on its way back, without a vote.
	Rebuilding bool   `json:"rebuilding,omitempty"`
	Applied    uint64 `json:"applied"`
	Commit     uint64 `json:"commit"`
	// Fetching is how far it has come that gets a whole state from another replica; absent where it gets none.
	Fetching *FetchStatus `json:"fetching,omitempty"`
}

// FetchStatus is the progress of a replica that gets a whole state. It is first brought to the node, then written into its engine.
type FetchStatus struct {
	Source       string `json:"source"`       // the node that is asked
	FetchedBytes uint64 `json:"fetchedBytes"` // that came over the network, of all attempts since the node was started
	ReusedBytes  uint64 `json:"reusedBytes"`  // that need not come, as they were at the node already
	HereBytes    uint64 `json:"hereBytes"`    // of the state, come or reused, in this attempt
	WrittenBytes uint64 `json:"writtenBytes"` // into the engine
	TotalBytes   uint64 `json:"totalBytes"`   // about what the state has; 0 before the source has said it
}

// OutboxStatus sums up what waits for one destination.
type OutboxStatus struct {
	Destination  mimi.Provider `json:"destination"`
	Items        uint64        `json:"items"`
	Bytes        uint64        `json:"bytes"` // as they are stored
	Rooms        uint64        `json:"rooms"`
	Handshakes   uint64        `json:"handshakes"`   // items with a Commit, Proposals or a Welcome
	OldestMillis uint64        `json:"oldestMillis"` // hub time; 0 where nothing waits
	DroppedItems uint64        `json:"droppedItems"` // given up because they were not taken in time, ever
}

// PeerEntry is an entry of the allow-list.
type PeerEntry struct {
	Domain  mimi.Provider   `json:"domain"`  // of its certificate and From header
	Domains []mimi.Provider `json:"domains"` // whom it may speak for; empty means Domain alone
	// DirectoryURLs are where its directory document is, in order; empty means the well-known place at Domain.
	DirectoryURLs         []string `json:"directoryUrls"`
	TrustPEM              string   `json:"trustPem,omitempty"` // certificates; empty means the public roots
	AcceptServerAuth      bool     `json:"acceptServerAuth"`
	AllowPrivateAddresses bool     `json:"allowPrivateAddresses"`
	// Hold is the last word on whether what waits for it is held back; absent where there was none. It is changed by itself.
	Hold *PeerHold `json:"hold,omitempty"`
}

// TokenRequest makes a bearer token of the local listener.
type TokenRequest struct {
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
}

// NewToken is a token with its secret, which is shown this once and is not stored.
type NewToken struct {
	ID     string   `json:"id"`
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
	Secret string   `json:"secret"`
}

// TokenEntry is a token without its secret.
type TokenEntry struct {
	ID     string   `json:"id"`
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
}

// ShardDigests compares replicas. Equal counts only replicas at the same index.
type ShardDigests struct {
	Shard    fsm.ShardID     `json:"shard"`
	Equal    bool            `json:"equal"`
	Replicas []ReplicaDigest `json:"replicas"`
}

// ReplicaDigest is the digest of a shard's state at one node, or why there is none.
type ReplicaDigest struct {
	Node   string `json:"node"`
	Index  uint64 `json:"index"`
	Digest string `json:"digest,omitempty"` // SHA-256, lower-case hexadecimal
	// Content is the digest without hub clock and settings: it stays the same while nothing happens.
	Content string `json:"content,omitempty"`
	Error   string `json:"error,omitempty"`
}
