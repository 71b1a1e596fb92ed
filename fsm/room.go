package fsm

import (
	"crypto/sha256"

	"parley/mimi"
	"parley/mls"
)

// RoomStatus is where a room is in its life.
type RoomStatus uint8

// RoomOpen takes Commits and messages.
const RoomOpen RoomStatus = 1

// Room is what a shard holds of a room, but for its tree, its pending Proposals and its records of what was accepted.
type Room struct {
	URI           mimi.RoomURI
	Creator       mimi.UserURI
	Incarnation   uint64 // index of the entry that created it: a room that is made anew gets another
	Status        RoomStatus
	GroupID       mls.GroupID
	Suite         mls.CipherSuite
	Epoch         mls.Epoch
	FirstEpoch    mls.Epoch  // of its creation here; nothing older was ever accepted
	CreatedMillis uint64     // hub time
	Departures    uint64     // how often somebody had to leave
	Departing     uint32     // who still has to
	Generation    Generation // in which it was last made good; below its slot's it is stale

	GroupContext          []byte // encoded, of Epoch
	GroupContextHash      [32]byte
	InterimTranscriptHash []byte // RFC 9420 §8.2
	GroupInfo             []byte // bare, of Epoch, without ratchet_tree
	TreeWidth             uint32 // nodes in the ratchet tree's array
	Participants          []Participant
	Destinations          []mimi.Provider // who follows the room, sorted
}

// ReadRoom returns a room; false where there is none, or none any more: ReadRoomEnd tells of one that was destroyed.
func ReadRoom(r Reader, room mimi.RoomURI) (Room, bool, error) {
	head, found, err := readHead(r, room)
	if err != nil || !found || head.status == RoomDestroyed {
		return Room{}, false, err
	}
	group, _, err := readRecord(r, roomKey(keyGroup, room), "room's group", readRoomGroup)
	if err != nil {
		return Room{}, false, err
	}
	participants, _, err := readRecord(r, roomKey(keyParticipants, room), "participants", readParticipants)
	if err != nil {
		return Room{}, false, err
	}
	g, err := readSlotGeneration(r, SlotOfRoom(room))
	if err != nil {
		return Room{}, false, err
	}
	status := head.status
	if head.staleIn(g) {
		status = RoomStale
	}
	return Room{
		URI: head.room, Creator: head.creator, Incarnation: head.incarnation, Status: status, Generation: head.trusted(),
		GroupID: head.groupID, Suite: head.suite, Epoch: head.epoch, FirstEpoch: head.firstEpoch, CreatedMillis: head.createdMillis,
		Departures: head.departures, Departing: head.departing,
		GroupContext: group.context, GroupContextHash: head.contextHash, InterimTranscriptHash: head.interimHash,
		GroupInfo: group.info, TreeWidth: head.treeWidth, Participants: participants, Destinations: head.destinations,
	}, true, nil
}

// VisitRooms visits the rooms of a slot with their epochs, in no meaningful but a stable order.
func VisitRooms(r Reader, slot SlotID, visit func(mimi.RoomURI, mls.Epoch) (more bool, err error)) error {
	return scanHeads(r, slot, func(h roomHead) (bool, error) {
		if h.status == RoomDestroyed {
			return true, nil
		}
		return visit(h.room, h.epoch)
	})
}

func scanHeads(r Reader, slot SlotID, visit func(roomHead) (more bool, err error)) error {
	prefix := newKey(slot, keyRoom)
	return scanRangeUpTo(r, prefix, prefix, prefix.end(), "room", roomHeadVersion, readRoomHead, func(_ []byte, h roomHead) (bool, error) {
		return visit(h)
	})
}

// roomHead is the part of a room that every request reads, kept small: a message must not pay for a long participant list.
type roomHead struct {
	room          mimi.RoomURI
	creator       mimi.UserURI
	requestHash   [hashBytes]byte // of the creation
	createdMillis uint64
	incarnation   uint64
	status        RoomStatus
	groupID       mls.GroupID
	suite         mls.CipherSuite
	firstEpoch    mls.Epoch
	epoch         mls.Epoch
	floor         mls.Epoch       // messages of older epochs are refused: the records that would tell a retry are gone
	contextHash   [hashBytes]byte // SHA-256 of the encoded GroupContext
	interimHash   []byte
	treeWidth     uint32
	proposals     uint64 // Proposals ever made pending; orders them
	destinations  []mimi.Provider

	told       bool   // the slots of its participants know that they are in it
	departures uint64 // how often somebody had to leave: Commits are judged with it
	departing  uint32 // who still has to

	generation Generation // in which the room was last made good; 0 for the first
}

// roomHeadVersion is the last layout of a head. One that says nothing of departures is in the first, one of the first generation in the second.
const roomHeadVersion = 3

//	struct {
//	    opaque room<V>;
//	    opaque creator<V>;
//	    opaque request_hash[32];
//	    uint64 created_millis;
//	    uint64 incarnation;
//	    uint8 status;
//	    opaque group_id<V>;
//	    uint16 suite;
//	    uint64 first_epoch;
//	    uint64 epoch;
//	    uint64 floor;
//	    opaque context_hash[32];
//	    opaque interim_hash<V>;
//	    uint32 tree_width;
//	    uint64 proposals;
//	    opaque destinations<V><V>;
//	    select (version) {
//	        case 1: struct {};
//	        case 2:
//	            uint8 told; // 0 or 1
//	            uint64 departures;
//	            uint32 departing;
//	        case 3:
//	            the fields of layout 2;
//	            uint64 generation;
//	    };
//	} RoomHead;
func (h roomHead) record() []byte {
	version := uint8(1)
	switch {
	case h.generation > FirstGeneration:
		version = 3
	case h.told || h.departures > 0 || h.departing > 0:
		version = 2
	}
	return encode(version, func(w *mls.Writer) {
		h.appendTo(w)
		if version >= 2 {
			w.Bool(h.told)
			w.Uint64(h.departures)
			w.Uint32(h.departing)
		}
		if version >= 3 {
			w.Uint64(uint64(h.generation))
		}
	})
}

func (h roomHead) appendTo(w *mls.Writer) {
	h.room.AppendTo(w)
	h.creator.AppendTo(w)
	w.Fixed(h.requestHash[:])
	w.Uint64(h.createdMillis)
	w.Uint64(h.incarnation)
	w.Uint8(uint8(h.status))
	appendText(w, h.groupID)
	w.Uint16(uint16(h.suite))
	w.Uint64(uint64(h.firstEpoch))
	w.Uint64(uint64(h.epoch))
	w.Uint64(uint64(h.floor))
	w.Fixed(h.contextHash[:])
	w.Opaque(h.interimHash)
	w.Uint32(h.treeWidth)
	w.Uint64(h.proposals)
	appendProviders(w, h.destinations)
}

func readRoomHead(r *mls.Reader, version uint8) roomHead {
	h := roomHead{
		room:          mimi.ReadRoomURI(r, "room"),
		creator:       mimi.ReadUserURI(r, "creator"),
		requestHash:   readHash(r, "request_hash"),
		createdMillis: r.Uint64("created_millis"),
		incarnation:   r.Uint64("incarnation"),
		status:        RoomStatus(r.Uint8("status")),
		groupID:       readText[mls.GroupID](r, "group_id"),
		suite:         mls.CipherSuite(r.Uint16("suite")),
		firstEpoch:    mls.Epoch(r.Uint64("first_epoch")),
		epoch:         mls.Epoch(r.Uint64("epoch")),
		floor:         mls.Epoch(r.Uint64("floor")),
		contextHash:   readHash(r, "context_hash"),
		interimHash:   r.Opaque("interim_hash"),
		treeWidth:     r.Uint32("tree_width"),
		proposals:     r.Uint64("proposals"),
		destinations:  readProviders(r, "destinations"),
	}
	if version >= 2 {
		h.told, h.departures, h.departing = r.Bool("told"), r.Uint64("departures"), r.Uint32("departing")
	}
	if version >= 3 {
		h.generation = Generation(r.Uint64("generation"))
	}
	return h
}

func readHead(r Reader, room mimi.RoomURI) (roomHead, bool, error) {
	return readRecordUpTo(r, roomKey(keyRoom, room), "room", roomHeadVersion, readRoomHead)
}

func (t *tx) head(room mimi.RoomURI) (roomHead, bool) {
	return get(t, func(r Reader) (roomHead, bool, error) { return readHead(r, room) })
}

func (t *tx) setHead(h roomHead) { t.set(roomKey(keyRoom, h.room), h.record()) }

// roomGroup is the part of a room that only Commits and joiners need.
//
//	struct {
//	    opaque group_context<V>;
//	    opaque group_info<V>;
//	} RoomGroup;
type roomGroup struct{ context, info []byte }

func (g roomGroup) appendTo(w *mls.Writer) {
	w.Opaque(g.context)
	w.Opaque(g.info)
}

func readRoomGroup(r *mls.Reader) roomGroup {
	return roomGroup{context: r.Opaque("group_context"), info: r.Opaque("group_info")}
}

// createRoom opens a room. The same request again gets the original answer, another for the same room is refused.
func (t *tx) createRoom(c CreateRoom) Outcome {
	if head, found := t.head(c.Room); found {
		if head.status == RoomDestroyed {
			return t.refuseEnded(head)
		}
		if head.requestHash == c.RequestHash {
			return Accepted{Millis: head.createdMillis, Epoch: head.firstEpoch}
		}
		return NotAllowed{Reason: "the room exists already"}
	}
	if refusal := t.refuseOtherGeneration(c); refusal != nil {
		return refusal
	}
	if reason := proveContext(c.Facts, c.GroupID, c.Suite); reason != "" {
		return NotAllowed{Reason: reason}
	}
	if refusal := t.takeMembers(c); refusal != nil {
		return refusal
	}
	head := roomHead{
		room: c.Room, creator: c.Creator, requestHash: c.RequestHash, createdMillis: t.now, incarnation: t.incarnation(),
		status: RoomOpen, groupID: c.GroupID, suite: c.Suite, firstEpoch: c.Facts.Epoch, floor: c.Facts.Epoch,
		generation: c.Generation,
	}
	for _, m := range c.Clients {
		if !t.mapClient(c.Room, m.Client, m.User) {
			return NotAllowed{Reason: tooManyClients}
		}
	}
	t.setFacts(head, c.Facts)
	t.setRoomRules(c.Room, c.Rules)
	t.depend(c)
	return Accepted{Millis: t.now, Epoch: c.Facts.Epoch}
}

// setFacts brings a room to the epoch of the facts, and writes its head.
func (t *tx) setFacts(head roomHead, f RoomFacts) {
	before := t.participants(head.room)
	t.tellUsers(&head, before, f.Participants)
	t.tellDependants(head.room, before, f.Participants)
	t.setParticipants(head.room, f.Epoch, before, f.Participants)
	t.holdToParent(&head, before, f.Participants)
	t.setGroup(head, f)
}

// setFactsAnew is setFacts for the first epoch of another group: everybody takes part since then.
func (t *tx) setFactsAnew(head roomHead, f RoomFacts) {
	before := t.participants(head.room)
	t.tellUsers(&head, before, f.Participants)
	t.tellDependants(head.room, before, f.Participants)
	t.deletePrefix(roomKey(keyMember, head.room))
	t.setParticipants(head.room, f.Epoch, nil, f.Participants)
	t.holdToParent(&head, before, f.Participants)
	t.setGroup(head, f)
}

func (t *tx) setGroup(head roomHead, f RoomFacts) {
	t.setTree(head, f)
	t.set(roomKey(keyGroup, head.room), record(roomGroup{f.GroupContext, f.GroupInfo}.appendTo))
	head.epoch = f.Epoch
	head.contextHash = sha256.Sum256(f.GroupContext)
	head.interimHash = f.InterimTranscriptHash
	head.treeWidth = f.TreeWidth
	head.destinations = f.Destinations
	t.setHead(head)
}

// GroupState is what a room's messages are held to before the log.
type GroupState struct {
	GroupID      mls.GroupID
	Epoch        mls.Epoch
	GroupContext []byte // encoded, of Epoch
}

// ReadGroupState is ReadRoom without the participant list, which may be long.
func ReadGroupState(r Reader, room mimi.RoomURI) (GroupState, bool, error) {
	head, found, err := readHead(r, room)
	if err != nil || !found || head.status == RoomDestroyed {
		return GroupState{}, false, err
	}
	group, found, err := readRecord(r, roomKey(keyGroup, room), "room's group", readRoomGroup)
	return GroupState{GroupID: head.groupID, Epoch: head.epoch, GroupContext: group.context}, found, err
}
