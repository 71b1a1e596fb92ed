package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// Outcome is what apply decided on a command. The set is closed. It is a normal value: a refusal is not an error.
type Outcome interface {
	outcomeKind() OutcomeKind
	appendTo(w *mls.Writer)
}

// OutcomeKind is an outcome's number where it is encoded: between nodes, and in records that answer a retry.
type OutcomeKind uint16

const (
	OutcomeDone OutcomeKind = iota + 1
	OutcomeAccepted
	OutcomeWrongEpoch
	OutcomeEpochTooOld
	OutcomeNotAllowed
	OutcomeInvalidProposal
	OutcomeNoSuchRoom
	OutcomeReadSetChanged
	OutcomeMovedTo
	OutcomeLeaseGranted
	OutcomeLeaseHeld
	OutcomeUploaded
	OutcomeClaimed
	OutcomeDisclosed
	OutcomeRoomDescribed
	OutcomeFormatNotReached
	OutcomeMissingPieces
	OutcomeSlotFull
	OutcomeReceived
)

// Kinds of users' inventories and consent.
const (
	OutcomeClaimThrottled     OutcomeKind = 20
	OutcomeConsentsRead       OutcomeKind = 21
	OutcomeKeyPackagesDeleted OutcomeKind = 22
	OutcomeInventoryRead      OutcomeKind = 23
)

// OutcomeBodiesReceived is of what other hubs deliver.
const OutcomeBodiesReceived OutcomeKind = 65

// Done answers commands whose result is only that they were applied.
type Done struct{}

// Accepted says that a Commit, Proposal, message, room or notify body was taken. A retry gets the same values.
type Accepted struct {
	Millis uint64    // hub time of the acceptance, milliseconds since 1970
	Epoch  mls.Epoch // the room's epoch after it
}

// WrongEpoch tells the loser of an epoch which epoch the room is in now, and which Commit took the one it wanted.
type WrongEpoch struct {
	Current mls.Epoch
	Winner  [32]byte // SHA-256 of the winning Commit's MLSMessage; zero where the epoch is not in the records
}

// EpochTooOld refuses a message from before the window.
type EpochTooOld struct{ Current mls.Epoch }

// NotAllowed refuses by policy. Reason is shown to the requester and says nothing internal.
type NotAllowed struct{ Reason string }

// InvalidProposal lists the referenced Proposals that are not pending or not valid.
type InvalidProposal struct {
	Refs   []mls.ProposalRef
	Reason string
}

// NoSuchRoom: the room does not exist here.
type NoSuchRoom struct{}

// ReadSetChanged: the state that a Commit was judged against is gone. Judge again on a replica that has applied Index.
type ReadSetChanged struct{ Index uint64 }

// MovedTo: the slot is not here any more (or not yet).
type MovedTo struct {
	Shard      ShardID // 0 where this shard does not know
	Generation uint64
}

// LeaseGranted lends the GroupInfo to one requester.
type LeaseGranted struct {
	Token       uint64 // rises with every lease of the room
	UntilMillis uint64 // hub time
	Epoch       mls.Epoch
}

// LeaseHeld: another requester has the GroupInfo until then.
type LeaseHeld struct {
	UntilMillis uint64 // hub time
	NowMillis   uint64 // hub time of this answer, so that the wait can be told
}

// Uploaded counts what became of an upload.
type Uploaded struct {
	Stored  uint32
	Known   uint32              // the client uploaded the same KeyPackage before; it may have been claimed since
	Refused []mls.KeyPackageRef // of another client, over the limit, or with a lifetime that is not taken
	Left    uint32              // single-use KeyPackages of the client now in store
}

// Claimed answers a claim, per client in upload order of the clients' first KeyPackage.
type Claimed struct {
	User    mimi.UserURI
	Code    mimi.KeyMaterialUserCode
	Clients []ClaimedClient
}

// ClaimedClient is one client's KeyPackage or the reason why there is none.
type ClaimedClient struct {
	Client     mimi.ClientURI
	Code       mimi.KeyMaterialClientCode
	Ref        mls.KeyPackageRef // on success
	KeyPackage []byte            // bare; on success
	NotAfter   uint64            // seconds since 1970; on success
}

// Disclosed is a lease that is held together with what it discloses. It is read from a replica after the grant, never stored.
type Disclosed struct {
	Lease       LeaseGranted
	Suite       mls.CipherSuite
	GroupInfo   []byte            // bare, of Epoch
	RatchetTree []byte            // optional<Node> ratchet_tree<V>
	Pending     []PendingProposal // of Epoch, in order of acceptance
	Epoch       mls.Epoch         // the lease's
}

// RoomDescribed is what the local API tells of a room.
type RoomDescribed struct {
	Room         mimi.RoomURI
	GroupID      mls.GroupID
	Suite        mls.CipherSuite
	Epoch        mls.Epoch
	TreeHash     []byte
	Participants []Participant
	Destinations []mimi.Provider
	Pending      uint32 // Proposals that wait for a Commit
}

// FormatNotReached: the shard has to be raised to another format before it may decide on such a command. Nothing was written.
type FormatNotReached struct {
	Needs Format
	Has   Format
}

// MissingPieces: a command came to be decided on whose pieces are not all here. Nothing was decided; put these and name it again.
type MissingPieces struct{ Indexes []uint16 }

// SlotFull: so many pieces wait in the slot that it takes no more until some are named or dropped.
type SlotFull struct{}

// Received tells which effect of the source the slot awaits next: all before it have happened.
type Received struct{ Next uint64 }

func (Done) outcomeKind() OutcomeKind             { return OutcomeDone }
func (Accepted) outcomeKind() OutcomeKind         { return OutcomeAccepted }
func (WrongEpoch) outcomeKind() OutcomeKind       { return OutcomeWrongEpoch }
func (EpochTooOld) outcomeKind() OutcomeKind      { return OutcomeEpochTooOld }
func (NotAllowed) outcomeKind() OutcomeKind       { return OutcomeNotAllowed }
func (InvalidProposal) outcomeKind() OutcomeKind  { return OutcomeInvalidProposal }
func (NoSuchRoom) outcomeKind() OutcomeKind       { return OutcomeNoSuchRoom }
func (ReadSetChanged) outcomeKind() OutcomeKind   { return OutcomeReadSetChanged }
func (MovedTo) outcomeKind() OutcomeKind          { return OutcomeMovedTo }
func (LeaseGranted) outcomeKind() OutcomeKind     { return OutcomeLeaseGranted }
func (LeaseHeld) outcomeKind() OutcomeKind        { return OutcomeLeaseHeld }
func (Uploaded) outcomeKind() OutcomeKind         { return OutcomeUploaded }
func (Claimed) outcomeKind() OutcomeKind          { return OutcomeClaimed }
func (Disclosed) outcomeKind() OutcomeKind        { return OutcomeDisclosed }
func (RoomDescribed) outcomeKind() OutcomeKind    { return OutcomeRoomDescribed }
func (FormatNotReached) outcomeKind() OutcomeKind { return OutcomeFormatNotReached }
func (MissingPieces) outcomeKind() OutcomeKind    { return OutcomeMissingPieces }
func (SlotFull) outcomeKind() OutcomeKind         { return OutcomeSlotFull }
func (Received) outcomeKind() OutcomeKind         { return OutcomeReceived }
