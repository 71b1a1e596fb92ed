package fsm

import (
	"fmt"

	"parley/mimi"
	"parley/mls"
)

const outcomeVersion = 1

// EncodeOutcome writes an outcome as it travels between nodes and stands in the records that answer a retry.
//
//	struct {
//	    uint8 version = 1;
//	    uint16 kind; // OutcomeKind
//	    select (kind) { ... };
//	} Outcome;
func EncodeOutcome(o Outcome) []byte {
	return encode(outcomeVersion, func(w *mls.Writer) {
		w.Uint16(uint16(o.outcomeKind()))
		o.appendTo(w)
	})
}

// DecodeOutcome reads what EncodeOutcome wrote; the outcome aliases b. The error is a *mls.MalformedError.
func DecodeOutcome(b []byte) (Outcome, error) {
	r := mls.NewReader("Outcome", b)
	readVersion(r, outcomeVersion)
	kind := OutcomeKind(r.Uint16("kind"))
	o := readOutcome(r, kind)
	if err := r.Close(); err != nil {
		return nil, err
	}
	return o, nil
}

func readOutcome(r *mls.Reader, kind OutcomeKind) Outcome {
	switch kind {
	case OutcomeDone:
		return Done{}
	case OutcomeAccepted:
		return Accepted{Millis: r.Uint64("millis"), Epoch: mls.Epoch(r.Uint64("epoch"))}
	case OutcomeWrongEpoch:
		return WrongEpoch{Current: mls.Epoch(r.Uint64("current")), Winner: readHash(r, "winner")}
	case OutcomeEpochTooOld:
		return EpochTooOld{Current: mls.Epoch(r.Uint64("current"))}
	case OutcomeNotAllowed:
		return NotAllowed{Reason: readText[string](r, "reason")}
	case OutcomeInvalidProposal:
		return InvalidProposal{Refs: readTexts[mls.ProposalRef](r, "refs"), Reason: readText[string](r, "reason")}
	case OutcomeNoSuchRoom:
		return NoSuchRoom{}
	case OutcomeReadSetChanged:
		return ReadSetChanged{Index: r.Uint64("index")}
	case OutcomeMovedTo:
		return MovedTo{Shard: ShardID(r.Uint32("shard")), Generation: r.Uint64("generation")}
	case OutcomeBodiesReceived:
		return readBodiesReceived(r)
	case OutcomeLeaseGranted:
		return readLeaseGranted(r)
	case OutcomeLeaseHeld:
		return LeaseHeld{UntilMillis: r.Uint64("until_millis"), NowMillis: r.Uint64("now_millis")}
	case OutcomeUploaded:
		return readUploaded(r)
	case OutcomeClaimed:
		return readClaimed(r)
	case OutcomeDisclosed:
		return readDisclosed(r)
	case OutcomeRoomDescribed:
		return readRoomDescribed(r)
	case OutcomeFormatNotReached:
		return FormatNotReached{Needs: Format(r.Uint32("needs")), Has: Format(r.Uint32("has"))}
	case OutcomeMissingPieces:
		return MissingPieces{Indexes: readCodes[uint16](r, "indexes")}
	case OutcomeSlotFull:
		return SlotFull{}
	case OutcomeReceived:
		return Received{Next: r.Uint64("next")}
	case OutcomeClaimThrottled:
		return readClaimThrottled(r)
	case OutcomeConsentsRead:
		return readConsentsRead(r)
	case OutcomeRoomAwaits:
		return readRoomAwaits(r)
	case OutcomeKeyPackagesDeleted:
		return readKeyPackagesDeleted(r)
	case OutcomeInventoryRead:
		return readInventoryRead(r)
	case OutcomeMembersReserved:
		return readMembersReserved(r)
	case OutcomeMembersHeld:
		return readMembersHeld(r)
	case OutcomeRoomEnded:
		return readRoomEnded(r)
	case OutcomeJoiningCodeMade:
		return JoiningCodeMade{Code: readJoiningCode(r)}
	case OutcomeJoiningCodes:
		return readJoiningCodes(r)
	case OutcomeDamped:
		return readDamped(r)
	case OutcomeAcknowledged:
		return readAcknowledged(r)
	case OutcomeBatchDecided:
		return readBatchDecided(r)
	case OutcomeSubmissionsRead:
		return readSubmissionsRead(r)
	case OutcomeSubmissionsQueued:
		return readSubmissionsQueued(r)
	case OutcomeMoveRefused:
		return readMoveRefused(r)
	case OutcomePageTaken:
		return readPageTaken(r)
	case OutcomeRoomStale:
		return readStaleRoom(r)
	case OutcomeOtherGeneration:
		return readOtherGeneration(r)
	case OutcomeFollowedEpoch:
		return readFollowedEpoch(r)
	case OutcomeStaleRooms:
		return readStaleRoomList(r)
	case OutcomeStaleDescribed:
		return readStaleRoomDescribed(r)
	default:
		r.Fail("kind", fmt.Sprintf("outcome %d is not known to this program", kind))
		return nil
	}
}

func (Done) appendTo(*mls.Writer) {}

//	struct {
//	    uint64 millis;
//	    uint64 epoch;
//	} Accepted;
func (o Accepted) appendTo(w *mls.Writer) {
	w.Uint64(o.Millis)
	w.Uint64(uint64(o.Epoch))
}

//	struct {
//	    uint64 current;
//	    opaque winner[32];
//	} WrongEpoch;
func (o WrongEpoch) appendTo(w *mls.Writer) {
	w.Uint64(uint64(o.Current))
	w.Fixed(o.Winner[:])
}

// struct { uint64 current; } EpochTooOld;
func (o EpochTooOld) appendTo(w *mls.Writer) { w.Uint64(uint64(o.Current)) }

// struct { opaque reason<V>; } NotAllowed;
func (o NotAllowed) appendTo(w *mls.Writer) { appendText(w, o.Reason) }

//	struct {
//	    opaque refs<V><V>;
//	    opaque reason<V>;
//	} InvalidProposal;
func (o InvalidProposal) appendTo(w *mls.Writer) {
	appendTexts(w, o.Refs)
	appendText(w, o.Reason)
}

func (NoSuchRoom) appendTo(*mls.Writer) {}

// struct { uint64 index; } ReadSetChanged;
func (o ReadSetChanged) appendTo(w *mls.Writer) { w.Uint64(o.Index) }

//	struct {
//	    uint32 shard;
//	    uint64 generation;
//	} MovedTo;
func (o MovedTo) appendTo(w *mls.Writer) {
	w.Uint32(uint32(o.Shard))
	w.Uint64(o.Generation)
}

//	struct {
//	    uint64 token;
//	    uint64 until_millis;
//	    uint64 epoch;
//	} LeaseGranted;
func (o LeaseGranted) appendTo(w *mls.Writer) {
	w.Uint64(o.Token)
	w.Uint64(o.UntilMillis)
	w.Uint64(uint64(o.Epoch))
}

func readLeaseGranted(r *mls.Reader) LeaseGranted {
	return LeaseGranted{Token: r.Uint64("token"), UntilMillis: r.Uint64("until_millis"), Epoch: mls.Epoch(r.Uint64("epoch"))}
}

//	struct {
//	    uint64 until_millis;
//	    uint64 now_millis;
//	} LeaseHeld;
func (o LeaseHeld) appendTo(w *mls.Writer) {
	w.Uint64(o.UntilMillis)
	w.Uint64(o.NowMillis)
}

//	struct {
//	    uint32 stored;
//	    uint32 known;
//	    opaque refused<V><V>;
//	    uint32 left;
//	} Uploaded;
func (o Uploaded) appendTo(w *mls.Writer) {
	w.Uint32(o.Stored)
	w.Uint32(o.Known)
	appendTexts(w, o.Refused)
	w.Uint32(o.Left)
}

func readUploaded(r *mls.Reader) Uploaded {
	return Uploaded{
		Stored:  r.Uint32("stored"),
		Known:   r.Uint32("known"),
		Refused: readTexts[mls.KeyPackageRef](r, "refused"),
		Left:    r.Uint32("left"),
	}
}

//	struct {
//	    opaque user<V>;
//	    uint8 code;
//	    ClaimedClient clients<V>;
//	} Claimed;
//
//	struct {
//	    opaque client<V>;
//	    uint8 code;
//	    opaque ref<V>;
//	    opaque key_package<V>;
//	    uint64 not_after;
//	} ClaimedClient;
func (o Claimed) appendTo(w *mls.Writer) {
	o.User.AppendTo(w)
	w.Uint8(uint8(o.Code))
	appendList(w, o.Clients, func(w *mls.Writer, c ClaimedClient) {
		c.Client.AppendTo(w)
		w.Uint8(uint8(c.Code))
		appendText(w, c.Ref)
		w.Opaque(c.KeyPackage)
		w.Uint64(c.NotAfter)
	})
}

func readClaimed(r *mls.Reader) Claimed {
	return Claimed{
		User: mimi.ReadUserURI(r, "user"),
		Code: mimi.KeyMaterialUserCode(r.Uint8("code")),
		Clients: readList(r, "clients", func(r *mls.Reader) ClaimedClient {
			return ClaimedClient{
				Client:     mimi.ReadClientURI(r, "client"),
				Code:       mimi.KeyMaterialClientCode(r.Uint8("code")),
				Ref:        readText[mls.KeyPackageRef](r, "ref"),
				KeyPackage: r.Opaque("key_package"),
				NotAfter:   r.Uint64("not_after"),
			}
		}),
	}
}

//	struct {
//	    LeaseGranted lease;
//	    uint16 suite;
//	    opaque group_info<V>;
//	    opaque ratchet_tree<V>;
//	    PendingProposal pending<V>;
//	    uint64 epoch;
//	} Disclosed;
func (o Disclosed) appendTo(w *mls.Writer) {
	o.Lease.appendTo(w)
	w.Uint16(uint16(o.Suite))
	w.Opaque(o.GroupInfo)
	w.Opaque(o.RatchetTree)
	appendList(w, o.Pending, appendPending)
	w.Uint64(uint64(o.Epoch))
}

func readDisclosed(r *mls.Reader) Disclosed {
	return Disclosed{
		Lease:       mls.ReadIn(r, "lease", readLeaseGranted),
		Suite:       mls.CipherSuite(r.Uint16("suite")),
		GroupInfo:   r.Opaque("group_info"),
		RatchetTree: r.Opaque("ratchet_tree"),
		Pending:     readList(r, "pending", readPending),
		Epoch:       mls.Epoch(r.Uint64("epoch")),
	}
}

//	struct {
//	    opaque room<V>;
//	    opaque group_id<V>;
//	    uint16 suite;
//	    uint64 epoch;
//	    opaque tree_hash<V>;
//	    Participant participants<V>;
//	    opaque destinations<V><V>;
//	    uint32 pending;
//	} RoomDescribed;
func (o RoomDescribed) appendTo(w *mls.Writer) {
	o.Room.AppendTo(w)
	appendText(w, o.GroupID)
	w.Uint16(uint16(o.Suite))
	w.Uint64(uint64(o.Epoch))
	w.Opaque(o.TreeHash)
	appendList(w, o.Participants, appendParticipant)
	appendProviders(w, o.Destinations)
	w.Uint32(o.Pending)
}

func readRoomDescribed(r *mls.Reader) RoomDescribed {
	return RoomDescribed{
		Room:         mimi.ReadRoomURI(r, "room"),
		GroupID:      readText[mls.GroupID](r, "group_id"),
		Suite:        mls.CipherSuite(r.Uint16("suite")),
		Epoch:        mls.Epoch(r.Uint64("epoch")),
		TreeHash:     r.Opaque("tree_hash"),
		Participants: readList(r, "participants", readParticipant),
		Destinations: readProviders(r, "destinations"),
		Pending:      r.Uint32("pending"),
	}
}

//	struct {
//	    uint32 needs;
//	    uint32 has;
//	} FormatNotReached;
func (o FormatNotReached) appendTo(w *mls.Writer) {
	w.Uint32(uint32(o.Needs))
	w.Uint32(uint32(o.Has))
}

// struct { uint16 indexes<V>; } MissingPieces;
func (o MissingPieces) appendTo(w *mls.Writer) { appendCodes(w, o.Indexes) }

func (SlotFull) appendTo(*mls.Writer) {}

// struct { uint64 next; } Received;
func (o Received) appendTo(w *mls.Writer) { w.Uint64(o.Next) }
