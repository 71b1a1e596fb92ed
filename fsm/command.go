package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// Command is a change of one shard's state that apply decides. The set is closed; numbers are append-only.
// A command carries facts that were verified before the log, never a choice that apply has to make: sequences, positions,
// times and the KeyPackages of a claim come from apply.
type Command interface {
	// Slot is where the command's state lives, or ShardLevel.
	Slot() SlotID
	// Lane says which queue of the proposer it waits in.
	Lane() Lane

	kind() CommandKind
	appendTo(w *mls.Writer)
}

// Lane is a queue in front of a shard's log. Exclusive requests go ahead of bulk.
type Lane uint8

const (
	Exclusive Lane = iota // Commits, claims, leases: what a client waits for
	Bulk                  // messages, notify bodies, acknowledgements
)

// CommandKind is a command's number in the log.
type CommandKind uint16

const (
	KindFence CommandKind = iota + 1
	KindOwnSlots
	KindEnterSettings
	KindSweep
	KindCreateRoom
	KindAcceptCommit
	KindSubmitProposals
	KindSubmitMessage
	KindTakeLease
	KindUploadKeyPackages
	KindClaimKeyPackages
	KindRecordKeyPackageRefs
	KindReceiveFanout
	KindAcknowledge
	KindPutPiece
	KindApplyPieces
	KindReceiveInternal
	KindDropInternal
	KindJudged
)

// Kinds of users' inventories and consent.
const (
	KindSetConsents       CommandKind = 20
	KindSetConsentPolicy  CommandKind = 21
	KindDeleteKeyPackages CommandKind = 22
)

// Kinds of what other hubs deliver.
const (
	KindReceiveBodies CommandKind = 65
	KindFollowGroup   CommandKind = 66
)

// Fence changes nothing. Its index bounds from below everything that was accepted before it was proposed, so a replica that has
// applied it may answer *no*.
type Fence struct{}

// OwnSlots gives a new shard its slots, once, at the shard's birth. From FormatResize on they may be none: First 1, Last 0.
type OwnSlots struct {
	Shard      ShardID
	Generation uint64
	First      SlotID // inclusive
	Last       SlotID // inclusive
}

// EnterSettings brings the cluster's settings into a shard, where apply reads them. An older Version changes nothing.
type EnterSettings struct {
	Version  uint64
	Settings Settings
}

// Sweep removes what has expired by hub time, at most Max records, so that one sweep stays short.
type Sweep struct{ Max uint32 }

// RoomFacts are the parts of a room's state that a Commit replaces, computed and verified before the log.
type RoomFacts struct {
	Epoch                 mls.Epoch
	GroupContext          []byte          // the encoded GroupContext of Epoch
	InterimTranscriptHash []byte          // RFC 9420 §8.2, after this epoch's Commit
	GroupInfo             []byte          // the bare GroupInfo of Epoch, without ratchet_tree
	TreeWidth             uint32          // nodes in the ratchet tree's array
	TreeChanges           []TreeChange    // against the epoch before; all nodes of a new room
	Participants          []Participant   // the participant list, whole, in its order
	Destinations          []mimi.Provider // who follows the room in Epoch, sorted, without duplicates
}

// TreeChange replaces a node of the ratchet tree; nil Node bytes blank it. Index counts nodes as in RFC 9420 appendix C.
type TreeChange struct {
	Index uint32
	Node  []byte
}

// Participant is a user with its role in a room (mimi-protocol-06 §7.5).
type Participant struct {
	User mimi.UserURI
	Role uint32
}

// CreateRoom opens a room at any epoch of its group.
type CreateRoom struct {
	Room        mimi.RoomURI
	Creator     mimi.UserURI
	GroupID     mls.GroupID
	Suite       mls.CipherSuite
	Facts       RoomFacts
	Clients     []ClientOfUser // whose client each leaf of the creator's is; apply records them (ReadClientUser)
	RequestHash [32]byte       // SHA-256 of the request; the same again gets the original answer
	Rules       RoomRules      // from layout 2 on
	Members     uint64         // the number under which the participants are reserved, see ReserveMembers; 0 without. From layout 3 on
	Parent      mimi.RoomURI   // the room on which it depends; none without. From layout 4 on
	Generation  Generation     // for which it is made; of layout 5 and above FirstGeneration, or 0 for that
}

// ClientOfUser maps a client to its user at a room. RecordKeyPackageRefs records the same for the clients of its routes. A mapping
// lasts as long as the room: an external join and every later Commit of the client rest on it.
type ClientOfUser struct {
	Client mimi.ClientURI
	User   mimi.UserURI
}

// ReadSet is what a Commit was judged against. Apply accepts the command only while all of it still holds.
type ReadSet struct {
	Incarnation      uint64 // the room's
	GroupID          mls.GroupID
	Epoch            mls.Epoch
	GroupContextHash [32]byte          // SHA-256 of the encoded GroupContext
	Enforcement      uint64            // the shard's settings version in force when it was judged
	Proposals        []mls.ProposalRef // referenced, hence still to be pending
	Departures       uint64            // the room's count of those who had to leave; from layout 2 of AcceptCommit on
}

// AcceptCommit moves a room to its next epoch. The commit is known by (room, group_id, epoch, CommitHash).
type AcceptCommit struct {
	Room       mimi.RoomURI
	Reads      ReadSet
	CommitHash [32]byte // SHA-256 of the Commit's MLSMessage bytes
	Commit     []byte   // MLSMessage
	Sender     mimi.UserURI
	Facts      RoomFacts
	Welcomes   []WelcomeDelivery
	// ValidFrom and ValidUntil bound the common lifetime of the KeyPackages that it adds, in seconds since 1970 (both 0 without
	// Adds). Apply checks them against hub time (RFC 9420 §7.3).
	ValidFrom  uint64
	ValidUntil uint64
	// Notified are the destinations that receive the Commit: those of the epoch before and of the new one.
	Notified []mimi.Provider

	// Of layout 2:

	// Renewed are the hub's Proposals of the new epoch that take the place of those which an external Commit has made void. They wait
	// from the Commit on and go out with it.
	Renewed []PendingProposal
	// ReInit is the encoded ReInit by which the Commit ends the group; empty where it does not.
	ReInit []byte
	// Ruling is what the Commit does to members and policy.
	Ruling Ruling
	// JoiningCode is the code that an external Commit rests on whose sender has no other right to join; zero for any other.
	JoiningCode CodeID

	// PolicyChanges are the kinds of the room's policy that the Commit changes; of layout 3.
	PolicyChanges mimi.PolicyChange
}

// WelcomeDelivery is the Welcome for one destination with the tree that its new members need.
type WelcomeDelivery struct {
	Destination mimi.Provider
	Welcome     []byte // MLSMessage
	RatchetTree []byte // RatchetTreeOption
}

// SubmitProposals makes Proposals of the current epoch pending, all or none.
type SubmitProposals struct {
	Room       mimi.RoomURI
	GroupID    mls.GroupID
	Epoch      mls.Epoch
	Sender     mimi.UserURI // none for an external sender
	Proposals  []PendingProposal
	BundleHash [32]byte
	Leaves     []Leave // of those of Proposals that restrict somebody at once; from layout 2 on
}

// PendingProposal is a Proposal that waits for a Commit.
type PendingProposal struct {
	Ref            mls.ProposalRef
	Message        []byte // MLSMessage
	AcceptedMillis uint64 // hub time; set by apply
}

// SubmitMessage accepts an application message of the current or a recent epoch. Known by (room, Hash).
type SubmitMessage struct {
	Room    mimi.RoomURI
	GroupID mls.GroupID
	Epoch   mls.Epoch
	Sender  mimi.UserURI
	Hash    [32]byte // SHA-256 of Message
	Message []byte   // MLSMessage with a PrivateMessage
}

// TakeLease asks for the GroupInfo of a room, which one requester at a time may see.
type TakeLease struct {
	Room           mimi.RoomURI
	Requester      mimi.UserURI
	Client         string // the credential's identity, which the same requester repeats
	DurationMillis uint64 // 0 takes the settings' default; clamped to their limits

	LeaseGrounds // none in the first layout
}

// UploadKeyPackages adds to a client's inventory, in order. The user and the client come into being with it.
type UploadKeyPackages struct {
	User     mimi.UserURI
	Client   mimi.ClientURI
	Packages []KeyPackageFacts
}

// KeyPackageFacts is a verified KeyPackage with what a claim has to know of it.
type KeyPackageFacts struct {
	Ref         mls.KeyPackageRef
	Suite       mls.CipherSuite
	NotBefore   uint64 // seconds since 1970 (RFC 9420 §7.2)
	NotAfter    uint64
	LastResort  bool
	Extensions  []mls.ExtensionType  // of the leaf's capabilities
	Proposals   []mls.ProposalType   // likewise
	Credentials []mls.CredentialType // likewise
	Message     []byte               // the bare KeyPackage
}

// ClaimKeyPackages hands out one KeyPackage for each client of a user: the first in upload order that fits.
type ClaimKeyPackages struct {
	User        mimi.UserURI
	Requester   mimi.UserURI
	Provider    mimi.Provider     // who asked: the hub of Room, or the requester's provider
	Room        mimi.RoomURI      // none where the claim is for no room
	Suites      []mls.CipherSuite // in order of preference, not empty
	Extensions  []mls.ExtensionType
	Proposals   []mls.ProposalType
	Credentials []mls.CredentialType
	Exclude     mimi.ClientURI // the requester's own client, left out; none otherwise
	ReplayKey   [32]byte       // of the Idempotency-Key, or of (peer, body)
	// ReplayMillis is how long ReplayKey returns the same KeyPackages: 24 h with an Idempotency-Key, else 60 s.
	ReplayMillis uint64
}

// RecordKeyPackageRefs remembers, at a room, where each claimed KeyPackage went, so that a Welcome finds its way.
type RecordKeyPackageRefs struct {
	Room mimi.RoomURI
	Refs []KeyPackageRoute
}

// KeyPackageRoute says to which provider, user and client a KeyPackage belongs.
type KeyPackageRoute struct {
	Ref      mls.KeyPackageRef
	Provider mimi.Provider
	User     mimi.UserURI
	Client   mimi.ClientURI
	NotAfter uint64 // seconds since 1970; the route is forgotten then
}

// ReceiveFanout takes a notify body of another provider's room into the local inbox, once.
type ReceiveFanout struct {
	Room     mimi.RoomURI
	Hub      mimi.Provider
	BodyHash [32]byte
	Messages []FanoutItem
}

// FanoutItem is one FanoutMessage with the hash that tells it from others.
type FanoutItem struct {
	Hash  [32]byte // SHA-256 of its MLSMessages, without the timestamp
	Bytes []byte   // FanoutMessage
}

// Acknowledge records that a destination has taken outbox items of one slot. Unknown items are skipped.
type Acknowledge struct {
	At          SlotID
	Destination mimi.Provider
	Sequences   []uint64
	Rooms       []RoomTaken // of layout 2
}

// RoomTaken says that a destination has taken all items of a room up to one.
type RoomTaken struct {
	Room    mimi.RoomURI // none for the items of no room
	Through uint64       // a sequence, itself included
}

// PutPiece brings a piece of an encoded command that is too large for an entry.
type PutPiece struct {
	At     SlotID   // the command's
	Object [32]byte // SHA-256 of the whole encoded command
	Index  uint16   // below PiecesMax
	Bytes  []byte   // not empty, at most PieceBytesMax
}

// ApplyPieces decides on the command that the first Count pieces of an object make up.
type ApplyPieces struct {
	At     SlotID
	Object [32]byte
	Count  uint16
	Bytes  uint32      // of the whole object
	Kind   CommandKind // the command's, one of those that may come in pieces; it waits in that command's lane
}

// ReceiveInternal brings effects that another slot has posted for this one, from the first that waits there on. Those that have
// happened already, and those behind a gap, are skipped.
type ReceiveInternal struct {
	At      SlotID // all effects are for it
	From    SlotID
	First   uint64 // the sequence of the first effect
	Effects []Effect
}

// DropInternal removes from a slot's queue what the slot that it is for has taken: all below Next.
type DropInternal struct {
	At   SlotID
	To   SlotID
	Next uint64
}

// Judged is a command with the version of the shard's settings that its request was judged with, see Bind.
type Judged struct {
	Settings uint64
	Command  Command
}

func (Fence) Slot() SlotID                  { return ShardLevel }
func (OwnSlots) Slot() SlotID               { return ShardLevel }
func (EnterSettings) Slot() SlotID          { return ShardLevel }
func (Sweep) Slot() SlotID                  { return ShardLevel }
func (c CreateRoom) Slot() SlotID           { return SlotOfRoom(c.Room) }
func (c AcceptCommit) Slot() SlotID         { return SlotOfRoom(c.Room) }
func (c SubmitProposals) Slot() SlotID      { return SlotOfRoom(c.Room) }
func (c SubmitMessage) Slot() SlotID        { return SlotOfRoom(c.Room) }
func (c TakeLease) Slot() SlotID            { return SlotOfRoom(c.Room) }
func (c UploadKeyPackages) Slot() SlotID    { return SlotOfUser(c.User) }
func (c ClaimKeyPackages) Slot() SlotID     { return SlotOfUser(c.User) }
func (c RecordKeyPackageRefs) Slot() SlotID { return SlotOfRoom(c.Room) }
func (c ReceiveFanout) Slot() SlotID        { return SlotOfRoom(c.Room) }
func (c Acknowledge) Slot() SlotID          { return c.At }
func (c PutPiece) Slot() SlotID             { return c.At }
func (c ApplyPieces) Slot() SlotID          { return c.At }
func (c ReceiveInternal) Slot() SlotID      { return c.At }
func (c DropInternal) Slot() SlotID         { return c.At }
func (c Judged) Slot() SlotID               { return c.Command.Slot() }

func (Fence) Lane() Lane                { return Exclusive }
func (OwnSlots) Lane() Lane             { return Exclusive }
func (EnterSettings) Lane() Lane        { return Exclusive }
func (Sweep) Lane() Lane                { return Bulk }
func (CreateRoom) Lane() Lane           { return Exclusive }
func (AcceptCommit) Lane() Lane         { return Exclusive }
func (SubmitProposals) Lane() Lane      { return Bulk }
func (SubmitMessage) Lane() Lane        { return Bulk }
func (TakeLease) Lane() Lane            { return Exclusive }
func (UploadKeyPackages) Lane() Lane    { return Bulk }
func (ClaimKeyPackages) Lane() Lane     { return Exclusive }
func (RecordKeyPackageRefs) Lane() Lane { return Exclusive }
func (ReceiveFanout) Lane() Lane        { return Bulk }
func (Acknowledge) Lane() Lane          { return Bulk }
func (PutPiece) Lane() Lane             { return Bulk }
func (ReceiveInternal) Lane() Lane      { return Bulk }
func (DropInternal) Lane() Lane         { return Bulk }
func (c Judged) Lane() Lane             { return c.Command.Lane() }

func (c ApplyPieces) Lane() Lane {
	lane, _ := carriedLane(c.Kind)
	return lane
}

func (Fence) kind() CommandKind                { return KindFence }
func (OwnSlots) kind() CommandKind             { return KindOwnSlots }
func (EnterSettings) kind() CommandKind        { return KindEnterSettings }
func (Sweep) kind() CommandKind                { return KindSweep }
func (CreateRoom) kind() CommandKind           { return KindCreateRoom }
func (AcceptCommit) kind() CommandKind         { return KindAcceptCommit }
func (SubmitProposals) kind() CommandKind      { return KindSubmitProposals }
func (SubmitMessage) kind() CommandKind        { return KindSubmitMessage }
func (TakeLease) kind() CommandKind            { return KindTakeLease }
func (UploadKeyPackages) kind() CommandKind    { return KindUploadKeyPackages }
func (ClaimKeyPackages) kind() CommandKind     { return KindClaimKeyPackages }
func (RecordKeyPackageRefs) kind() CommandKind { return KindRecordKeyPackageRefs }
func (ReceiveFanout) kind() CommandKind        { return KindReceiveFanout }
func (Acknowledge) kind() CommandKind          { return KindAcknowledge }
func (PutPiece) kind() CommandKind             { return KindPutPiece }
func (ApplyPieces) kind() CommandKind          { return KindApplyPieces }
func (ReceiveInternal) kind() CommandKind      { return KindReceiveInternal }
func (DropInternal) kind() CommandKind         { return KindDropInternal }
func (Judged) kind() CommandKind               { return KindJudged }
