package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// The encodings of the commands on rooms.

//	struct {
//	    uint64 epoch;
//	    opaque group_context<V>;
//	    opaque interim_transcript_hash<V>;
//	    opaque group_info<V>;
//	    uint32 tree_width;
//	    TreeChange tree_changes<V>;
//	    Participant participants<V>;
//	    opaque destinations<V><V>;
//	} RoomFacts;
//
//	struct {
//	    uint32 index;
//	    optional<opaque<V>> node; // absent: blank
//	} TreeChange;
func (f RoomFacts) appendTo(w *mls.Writer) {
	w.Uint64(uint64(f.Epoch))
	w.Opaque(f.GroupContext)
	w.Opaque(f.InterimTranscriptHash)
	w.Opaque(f.GroupInfo)
	w.Uint32(f.TreeWidth)
	appendList(w, f.TreeChanges, appendTreeChange)
	appendList(w, f.Participants, appendParticipant)
	appendProviders(w, f.Destinations)
}

func readRoomFacts(r *mls.Reader) RoomFacts {
	return RoomFacts{
		Epoch:                 mls.Epoch(r.Uint64("epoch")),
		GroupContext:          r.Opaque("group_context"),
		InterimTranscriptHash: r.Opaque("interim_transcript_hash"),
		GroupInfo:             r.Opaque("group_info"),
		TreeWidth:             r.Uint32("tree_width"),
		TreeChanges:           readList(r, "tree_changes", readTreeChange),
		Participants:          readList(r, "participants", readParticipant),
		Destinations:          readProviders(r, "destinations"),
	}
}

func appendTreeChange(w *mls.Writer, c TreeChange) {
	w.Uint32(c.Index)
	w.Bool(c.Node != nil)
	if c.Node != nil {
		w.Opaque(c.Node)
	}
}

func readTreeChange(r *mls.Reader) TreeChange {
	c := TreeChange{Index: r.Uint32("index")}
	if r.Optional("node") {
		c.Node = r.Opaque("node")
	}
	return c
}

//	struct {
//	    opaque room<V>;
//	    opaque creator<V>;
//	    opaque group_id<V>;
//	    uint16 suite;
//	    RoomFacts facts;
//	    ClientOfUser clients<V>; // opaque client<V>, opaque user<V>
//	    opaque request_hash[32];
//	    select (version) {
//	        case 1: struct {};
//	        case 2: RoomRules rules;
//	        case 3:
//	            RoomRules rules;
//	            uint64 members;
//	        case 4:
//	            the fields of layout 3;
//	            opaque parent<V>; // a room's URI
//	        case 5:
//	            the fields of layout 4, parent empty for none;
//	            uint64 generation;
//	    };
//	} CreateRoom;
func (c CreateRoom) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	c.Creator.AppendTo(w)
	appendText(w, c.GroupID)
	w.Uint16(uint16(c.Suite))
	c.Facts.appendTo(w)
	appendList(w, c.Clients, appendClientOfUser)
	w.Fixed(c.RequestHash[:])
	if c.version() >= 2 {
		c.Rules.appendTo(w)
	}
	if c.version() >= 3 {
		w.Uint64(c.Members)
	}
	if c.version() >= 4 {
		c.Parent.AppendTo(w)
	}
	if c.version() >= 5 {
		w.Uint64(uint64(c.Generation))
	}
}

// createRoomVersion is the last layout of CreateRoom, and of ContinueRoom.
const createRoomVersion = 5

// version is the second where the room has rules, the third where its participants are reserved, the fourth where it depends on another, and
// the fifth where it is made for a generation after the first.
func (c CreateRoom) version() uint8 {
	switch {
	case c.Generation > FirstGeneration:
		return 5
	case !c.Parent.IsZero():
		return 4
	case c.Members != 0:
		return 3
	case !c.Rules.isZero():
		return 2
	default:
		return 1
	}
}

func appendClientOfUser(w *mls.Writer, m ClientOfUser) {
	m.Client.AppendTo(w)
	m.User.AppendTo(w)
}

func readClientOfUser(r *mls.Reader) ClientOfUser {
	return ClientOfUser{Client: mimi.ReadClientURI(r, "client"), User: mimi.ReadUserURI(r, "user")}
}

func readCreateRoom(r *mls.Reader, version uint8) CreateRoom {
	c := CreateRoom{
		Room:    mimi.ReadRoomURI(r, "room"),
		Creator: mimi.ReadUserURI(r, "creator"),
		GroupID: readText[mls.GroupID](r, "group_id"),
		Suite:   mls.CipherSuite(r.Uint16("suite")),
		Facts:   mls.ReadIn(r, "facts", readRoomFacts),
		Clients: readList(r, "clients", readClientOfUser),

		RequestHash: readHash(r, "request_hash"),
	}
	if version >= 2 {
		c.Rules = mls.ReadIn(r, "rules", readRoomRules)
	}
	if version >= 3 {
		c.Members = r.Uint64("members")
	}
	switch {
	case version >= 5:
		c.Parent, c.Generation = mimi.ReadOptionalRoomURI(r, "parent"), Generation(r.Uint64("generation"))
	case version == 4:
		c.Parent = mimi.ReadRoomURI(r, "parent")
	}
	return c
}

//	struct {
//	    uint64 incarnation;
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    opaque group_context_hash[32];
//	    uint64 enforcement;
//	    opaque proposals<V><V>; // ProposalRef
//	} ReadSet;
func (s ReadSet) appendTo(w *mls.Writer) {
	w.Uint64(s.Incarnation)
	appendText(w, s.GroupID)
	w.Uint64(uint64(s.Epoch))
	w.Fixed(s.GroupContextHash[:])
	w.Uint64(s.Enforcement)
	appendTexts(w, s.Proposals)
}

func readReadSet(r *mls.Reader) ReadSet {
	return ReadSet{
		Incarnation:      r.Uint64("incarnation"),
		GroupID:          readText[mls.GroupID](r, "group_id"),
		Epoch:            mls.Epoch(r.Uint64("epoch")),
		GroupContextHash: readHash(r, "group_context_hash"),
		Enforcement:      r.Uint64("enforcement"),
		Proposals:        readTexts[mls.ProposalRef](r, "proposals"),
	}
}

//	struct {
//	    opaque room<V>;
//	    ReadSet reads;
//	    opaque commit_hash[32];
//	    opaque commit<V>;
//	    opaque sender<V>;
//	    RoomFacts facts;
//	    WelcomeDelivery welcomes<V>;
//	    uint64 valid_from;
//	    uint64 valid_until;
//	    opaque notified<V><V>;
//	    select (version) {
//	        case 1: struct {};
//	        case 2:
//	            uint64 departures; // of the read set
//	            PendingProposal renewed<V>;
//	            opaque re_init<V>;
//	            optional<Ruling> ruling;
//	            opaque joining_code[16];
//	        case 3:
//	            the fields of layout 2;
//	            uint8 policy_changes; // mimi.PolicyChange
//	    };
//	} AcceptCommit;
func (c AcceptCommit) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	c.Reads.appendTo(w)
	w.Fixed(c.CommitHash[:])
	w.Opaque(c.Commit)
	c.Sender.AppendTo(w)
	c.Facts.appendTo(w)
	appendList(w, c.Welcomes, appendWelcome)
	w.Uint64(c.ValidFrom)
	w.Uint64(c.ValidUntil)
	appendProviders(w, c.Notified)
	if c.version() >= 2 {
		w.Uint64(c.Reads.Departures)
		appendList(w, c.Renewed, appendPending)
		w.Opaque(c.ReInit)
		appendOptionalRuling(w, c.Ruling)
		w.Fixed(c.JoiningCode[:])
	}
	if c.version() >= 3 {
		w.Uint8(uint8(c.PolicyChanges))
	}
}

// acceptCommitVersion is the last layout of an AcceptCommit.
const acceptCommitVersion = 3

// version is the layout that the command needs.
func (c AcceptCommit) version() uint8 {
	switch {
	case c.PolicyChanges != 0:
		return 3
	case c.Reads.Departures > 0 || len(c.Renewed) > 0 || len(c.ReInit) > 0 || c.Ruling.Made || !c.JoiningCode.IsZero():
		return 2
	default:
		return 1
	}
}

func readAcceptCommit(r *mls.Reader, version uint8) AcceptCommit {
	c := AcceptCommit{
		Room:       mimi.ReadRoomURI(r, "room"),
		Reads:      mls.ReadIn(r, "reads", readReadSet),
		CommitHash: readHash(r, "commit_hash"),
		Commit:     r.Opaque("commit"),
		Sender:     mimi.ReadOptionalUserURI(r, "sender"),
		Facts:      mls.ReadIn(r, "facts", readRoomFacts),
		Welcomes:   readList(r, "welcomes", readWelcome),
		ValidFrom:  r.Uint64("valid_from"),
		ValidUntil: r.Uint64("valid_until"),
		Notified:   readProviders(r, "notified"),
	}
	if version >= 2 {
		c.Reads.Departures = r.Uint64("departures")
		c.Renewed = readList(r, "renewed", readPending)
		c.ReInit = r.Opaque("re_init")
		c.Ruling = readOptionalRuling(r, "ruling")
		c.JoiningCode = readCodeID(r, "joining_code")
	}
	if version >= 3 {
		c.PolicyChanges = mimi.PolicyChange(r.Uint8("policy_changes"))
	}
	return c
}

//	struct {
//	    opaque destination<V>;
//	    opaque welcome<V>;
//	    opaque ratchet_tree<V>;
//	} WelcomeDelivery;
func appendWelcome(w *mls.Writer, d WelcomeDelivery) {
	d.Destination.AppendTo(w)
	w.Opaque(d.Welcome)
	w.Opaque(d.RatchetTree)
}

func readWelcome(r *mls.Reader) WelcomeDelivery {
	return WelcomeDelivery{
		Destination: mimi.ReadProvider(r, "destination"),
		Welcome:     r.Opaque("welcome"),
		RatchetTree: r.Opaque("ratchet_tree"),
	}
}

//	struct {
//	    opaque room<V>;
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    opaque sender<V>; // empty: an external sender
//	    PendingProposal proposals<V>;
//	    opaque bundle_hash[32];
//	    select (version) {
//	        case 1: struct {};
//	        case 2: Leave leaves<V>;
//	    };
//	} SubmitProposals;
func (c SubmitProposals) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	appendText(w, c.GroupID)
	w.Uint64(uint64(c.Epoch))
	c.Sender.AppendTo(w)
	appendList(w, c.Proposals, appendPending)
	w.Fixed(c.BundleHash[:])
	if c.version() >= 2 {
		appendList(w, c.Leaves, func(w *mls.Writer, l Leave) { l.appendTo(w) })
	}
}

// version is the second where somebody leaves by the Proposals.
func (c SubmitProposals) version() uint8 {
	if len(c.Leaves) > 0 {
		return 2
	}
	return 1
}

func readSubmitProposals(r *mls.Reader, version uint8) SubmitProposals {
	c := SubmitProposals{
		Room:       mimi.ReadRoomURI(r, "room"),
		GroupID:    readText[mls.GroupID](r, "group_id"),
		Epoch:      mls.Epoch(r.Uint64("epoch")),
		Sender:     mimi.ReadOptionalUserURI(r, "sender"),
		Proposals:  readList(r, "proposals", readPending),
		BundleHash: readHash(r, "bundle_hash"),
	}
	if version >= 2 {
		c.Leaves = readList(r, "leaves", readLeave)
	}
	return c
}

//	struct {
//	    opaque ref<V>;
//	    opaque message<V>;
//	    uint64 accepted_millis;
//	} PendingProposal;
func appendPending(w *mls.Writer, p PendingProposal) {
	appendText(w, p.Ref)
	w.Opaque(p.Message)
	w.Uint64(p.AcceptedMillis)
}

func readPending(r *mls.Reader) PendingProposal {
	return PendingProposal{
		Ref:            readText[mls.ProposalRef](r, "ref"),
		Message:        r.Opaque("message"),
		AcceptedMillis: r.Uint64("accepted_millis"),
	}
}

//	struct {
//	    opaque room<V>;
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    opaque sender<V>;
//	    opaque hash[32];
//	    opaque message<V>;
//	} SubmitMessage;
func (c SubmitMessage) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	appendText(w, c.GroupID)
	w.Uint64(uint64(c.Epoch))
	c.Sender.AppendTo(w)
	w.Fixed(c.Hash[:])
	w.Opaque(c.Message)
}

func readSubmitMessage(r *mls.Reader) SubmitMessage {
	return SubmitMessage{
		Room:    mimi.ReadRoomURI(r, "room"),
		GroupID: readText[mls.GroupID](r, "group_id"),
		Epoch:   mls.Epoch(r.Uint64("epoch")),
		Sender:  mimi.ReadUserURI(r, "sender"),
		Hash:    readHash(r, "hash"),
		Message: r.Opaque("message"),
	}
}

//	struct {
//	    opaque room<V>;
//	    opaque requester<V>;
//	    opaque client<V>;
//	    uint64 duration_millis;
//	    select (version) {
//	        case 1: struct {};
//	        case 2: LeaseGrounds grounds;
//	    };
//	} TakeLease;
func (c TakeLease) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	c.Requester.AppendTo(w)
	appendText(w, c.Client)
	w.Uint64(c.DurationMillis)
	if c.version() >= 2 {
		c.LeaseGrounds.appendTo(w)
	}
}

// version is the second where the lease rests on more than participation.
func (c TakeLease) version() uint8 {
	if c.Right != 0 {
		return 2
	}
	return 1
}

func readTakeLease(r *mls.Reader, version uint8) TakeLease {
	c := TakeLease{
		Room:           mimi.ReadRoomURI(r, "room"),
		Requester:      mimi.ReadUserURI(r, "requester"),
		Client:         readText[string](r, "client"),
		DurationMillis: r.Uint64("duration_millis"),
	}
	if version >= 2 {
		c.LeaseGrounds = mls.ReadIn(r, "grounds", readLeaseGrounds)
	}
	return c
}
