package fsm

import (
	"parley/mimi"
	"parley/mls"
)

const (
	KindDestroyRoom  CommandKind = 32
	KindContinueRoom CommandKind = 33
	KindReserveGroup CommandKind = 34

	OutcomeRoomEnded  OutcomeKind = 30
	OutcomeRoomAwaits OutcomeKind = 31
)

const (
	// RoomDestroyed is for good: the URI is never a room's again.
	RoomDestroyed RoomStatus = 2
	// RoomReinitialised has ended its group by a ReInit (RFC 9420 §11.2), and waits for the group that is to follow.
	RoomReinitialised RoomStatus = 3
)

// DestroyRoom ends a room for good. Farewell are Removes of its members in the hub's name, for those who know of no other way to be
// told; it may be empty.
type DestroyRoom struct {
	Room             mimi.RoomURI
	Incarnation      uint64
	GroupContextHash [32]byte // of the epoch that the Removes are of
	Farewell         []PendingProposal
}

// ContinueRoom gives a room that has ended its group by a ReInit the group that follows, which was held to the ReInit's parameters; or a stale room
// another group in place of the one whose state is lost.
type ContinueRoom struct {
	Ended  mls.GroupID // the group that has ended
	Create CreateRoom  // as a new room of this URI would be made
}

func (c DestroyRoom) Slot() SlotID  { return SlotOfRoom(c.Room) }
func (c ContinueRoom) Slot() SlotID { return SlotOfRoom(c.Create.Room) }

func (DestroyRoom) Lane() Lane  { return Exclusive }
func (ContinueRoom) Lane() Lane { return Exclusive }

func (DestroyRoom) kind() CommandKind  { return KindDestroyRoom }
func (ContinueRoom) kind() CommandKind { return KindContinueRoom }

// RoomEnded answers what is asked of a room that takes nothing more: it is destroyed, or its group has ended.
type RoomEnded struct {
	Status RoomStatus
	Millis uint64 // hub time of its end
}

// RoomAwaits describes a room whose group a ReInit has ended, and the group that it announced.
type RoomAwaits struct {
	Room    RoomDescribed
	GroupID mls.GroupID
	Suite   mls.CipherSuite
}

func (RoomEnded) outcomeKind() OutcomeKind  { return OutcomeRoomEnded }
func (RoomAwaits) outcomeKind() OutcomeKind { return OutcomeRoomAwaits }

// Reason says so to whoever asked.
func (o RoomEnded) Reason() string {
	if o.Status == RoomReinitialised {
		return "a ReInit has ended the group, and the group that follows has not been created yet"
	}
	return "the room was destroyed"
}

// RoomEnd is how a room, or its group, has ended.
//
//	struct {
//	    uint64 millis;
//	    uint8 status;
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    opaque re_init<V>; // ReInit; empty where the room was destroyed
//	    opaque previous<V>; // the group before, of which records may be left; empty: none
//	} RoomEnd;
type RoomEnd struct {
	Millis   uint64 // hub time
	Status   RoomStatus
	GroupID  mls.GroupID // the group that has ended
	Epoch    mls.Epoch   // its last
	ReInit   []byte      // the encoded ReInit that ended it
	Previous mls.GroupID
}

func (e RoomEnd) appendTo(w *mls.Writer) {
	w.Uint64(e.Millis)
	w.Uint8(uint8(e.Status))
	appendText(w, e.GroupID)
	w.Uint64(uint64(e.Epoch))
	w.Opaque(e.ReInit)
	appendText(w, e.Previous)
}

func readRoomEnd(r *mls.Reader) RoomEnd {
	return RoomEnd{
		Millis: r.Uint64("millis"), Status: RoomStatus(r.Uint8("status")), GroupID: readText[mls.GroupID](r, "group_id"),
		Epoch: mls.Epoch(r.Uint64("epoch")), ReInit: r.Opaque("re_init"), Previous: readText[mls.GroupID](r, "previous"),
	}
}

// ReadRoomEnd returns how a room that has come to an end did so, or the last group of a room that goes on in another; false for a room
// to which neither has happened.
func ReadRoomEnd(r Reader, room mimi.RoomURI) (RoomEnd, bool, error) {
	return readRecord(r, roomEndKey(room), "room's end", readRoomEnd)
}

func roomEndKey(room mimi.RoomURI) key { return roomKey(keyRoomLife, room).raw([]byte{0}) }

func (t *tx) roomEnd(room mimi.RoomURI) RoomEnd {
	end, _ := get(t, func(r Reader) (RoomEnd, bool, error) { return ReadRoomEnd(r, room) })
	return end
}

// refuseEnded is the answer of a room that takes nothing more, or nothing before it is brought forward; nil where it does.
func (t *tx) refuseEnded(head roomHead) Outcome {
	if head.status == RoomOpen {
		return t.refuseStale(head)
	}
	return RoomEnded{Status: head.status, Millis: t.roomEnd(head.room).Millis}
}

// destroyRoom takes a room's state away. What answers a retry of something that it accepted stays for as long as records of notify bodies
// do; that the room was there stays for good.
func (t *tx) destroyRoom(c DestroyRoom) Outcome {
	head, found := t.head(c.Room)
	if !found {
		return NoSuchRoom{}
	}
	if head.status == RoomDestroyed {
		end := t.roomEnd(c.Room)
		return Accepted{Millis: end.Millis, Epoch: end.Epoch}
	}
	if head.incarnation != c.Incarnation || head.contextHash != c.GroupContextHash {
		return ReadSetChanged{Index: t.index}
	}
	if len(c.Farewell) > 0 {
		t.sendAll(c.Room, head.destinations, t.fanoutProposals(c.Farewell))
	}
	t.settleProposals(head, nil)
	t.note(c.Room, t.settings.Domains[0], RoomWasDestroyed{})
	t.tellDestroyed(head)
	t.clearRoom(head)
	k := roomEndKey(c.Room)
	t.set(k, record(RoomEnd{Millis: t.now, Status: RoomDestroyed, GroupID: head.groupID, Epoch: head.epoch}.appendTo))
	t.expireAt(k, addUpTo(t.now, t.settings.RetentionMillis))
	head.status, head.destinations, head.treeWidth, head.departing = RoomDestroyed, nil, 0, 0
	t.setHead(head)
	return Accepted{Millis: t.now, Epoch: head.epoch}
}

// clearRoom removes all that only a living room needs.
func (t *tx) clearRoom(head roomHead) {
	participants := t.participants(head.room)
	t.tellUsers(&head, participants, nil)
	t.tellDependants(head.room, participants, nil)
	t.dependNoMore(head.room)
	t.unlistStale(head.room)
	for _, kind := range []keyKind{
		keyGroup, keyParticipants, keyMember, keyTreeNode, keyPending, keyLease, keyLeaseTurns, keyRoute, keyClientUser, keyRoomLoad, keyRoomLife,
		keyRoomRules, keyHeldMembers, keyDependence, keyDependant, keyLeavingClient, keyLeavingUser,
		keyJoiningCode, keyJoinAuthorization, keyJoinLoad, keyCodeGuesses, keyForwarded,
	} {
		t.deletePrefix(roomKey(kind, head.room))
	}
}

// expireRoomEnd drops what a room that was destroyed has accepted.
func (t *tx) expireRoomEnd(target key) {
	end, found := get(t, func(r Reader) (RoomEnd, bool, error) { return readRecord(r, target, "room's end", readRoomEnd) })
	if !found || end.Status != RoomDestroyed {
		return
	}
	for _, kind := range []keyKind{keyFate, keyWinner, keyMessage} {
		t.deletePrefix(append(key{target[0], target[1], byte(kind)}, target[keyPrefixBytes:keyPrefixBytes+hashBytes]...))
	}
}

// endGroup ends a room's group by a ReInit. The room stays, and waits for the group that is to follow.
func (t *tx) endGroup(head *roomHead, reInit []byte) {
	before := t.roomEnd(head.room)
	head.status = RoomReinitialised
	t.set(roomEndKey(head.room), record(RoomEnd{
		Millis: t.now, Status: RoomReinitialised, GroupID: head.groupID, Epoch: head.epoch + 1, ReInit: reInit, Previous: before.GroupID,
	}.appendTo))
}

// continueRoom takes up the group that follows. Epochs begin anew with it: what is recorded of them is of (room, group, epoch), and who
// takes part does so from the group's first epoch on. The records of the group that has ended answer retries until it ends the same way.
func (t *tx) continueRoom(c ContinueRoom) Outcome {
	room, group := c.Create.Room, c.Create.GroupID
	head, found := t.head(room)
	switch {
	case !found:
		return NoSuchRoom{}
	case head.requestHash == c.Create.RequestHash && head.groupID == group:
		return Accepted{Millis: head.createdMillis, Epoch: head.firstEpoch}
	case head.status == RoomDestroyed:
		return t.refuseEnded(head)
	case head.status != RoomReinitialised && !t.isStale(head) || head.groupID != c.Ended:
		return ReadSetChanged{Index: t.index}
	case t.countKeys(roomKey(keyWinner, room).group(group)) > 0:
		return NotAllowed{Reason: "the room has had a group of this group_id before"}
	case head.status == RoomOpen && group == head.groupID:
		return NotAllowed{Reason: "the room has had a group of this group_id before"}
	}
	if refusal := t.refuseOtherGeneration(c.Create); refusal != nil {
		return refusal
	}
	if reason := proveContext(c.Create.Facts, group, c.Create.Suite); reason != "" {
		return NotAllowed{Reason: reason}
	}
	if refusal := t.refuseOtherParent(c.Create); refusal != nil {
		return refusal
	}
	if refusal := t.takeMembers(c.Create); refusal != nil {
		return refusal
	}
	for _, m := range c.Create.Clients {
		if !t.mapClient(room, m.Client, m.User) {
			return NotAllowed{Reason: tooManyClients}
		}
	}
	if t.isStale(head) {
		t.abandonGroup(head)
		t.endGroup(&head, nil)
	}
	t.forgetGroup(head, t.roomEnd(room).Previous)
	first := c.Create.Facts.Epoch
	head.requestHash, head.createdMillis, head.incarnation = c.Create.RequestHash, t.now, t.incarnation()
	head.status, head.groupID, head.suite, head.generation = RoomOpen, group, c.Create.Suite, c.Create.Generation
	head.firstEpoch, head.floor, head.proposals = first, first, 0
	t.deletePrefix(roomKey(keyTreeNode, room))
	t.setFactsAnew(head, c.Create.Facts)
	t.beginMembersAnew(room)
	t.setRoomRules(room, c.Create.Rules)
	t.depend(c.Create)
	return Accepted{Millis: t.now, Epoch: first}
}

// forgetGroup drops the messages of a room's last group, which no window reaches any more, and all records of the group before it.
func (t *tx) forgetGroup(head roomHead, before mls.GroupID) {
	t.deletePrefix(roomKey(keyMessage, head.room).group(head.groupID))
	if before == "" {
		return
	}
	for _, kind := range []keyKind{keyFate, keyWinner} {
		t.deletePrefix(roomKey(kind, head.room).group(before))
	}
}

//	struct {
//	    opaque room<V>;
//	    uint64 incarnation;
//	    opaque group_context_hash[32];
//	    PendingProposal farewell<V>;
//	} DestroyRoom;
func (c DestroyRoom) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	w.Uint64(c.Incarnation)
	w.Fixed(c.GroupContextHash[:])
	appendList(w, c.Farewell, appendPending)
}

func readDestroyRoom(r *mls.Reader) DestroyRoom {
	return DestroyRoom{
		Room: mimi.ReadRoomURI(r, "room"), Incarnation: r.Uint64("incarnation"),
		GroupContextHash: readHash(r, "group_context_hash"), Farewell: readList(r, "farewell", readPending),
	}
}

//	struct {
//	    opaque ended<V>;
//	    CreateRoom create; // of the command's layout
//	} ContinueRoom;
func (c ContinueRoom) appendTo(w *mls.Writer) {
	appendText(w, c.Ended)
	c.Create.appendTo(w)
}

// version is that of the CreateRoom in it.
func (c ContinueRoom) version() uint8 { return c.Create.version() }

func readContinueRoom(r *mls.Reader, version uint8) ContinueRoom {
	return ContinueRoom{
		Ended:  readText[mls.GroupID](r, "ended"),
		Create: mls.ReadIn(r, "create", func(r *mls.Reader) CreateRoom { return readCreateRoom(r, version) }),
	}
}

//	struct {
//	    uint8 status;
//	    uint64 millis;
//	} RoomEnded;
func (o RoomEnded) appendTo(w *mls.Writer) {
	w.Uint8(uint8(o.Status))
	w.Uint64(o.Millis)
}

func readRoomEnded(r *mls.Reader) RoomEnded {
	return RoomEnded{Status: RoomStatus(r.Uint8("status")), Millis: r.Uint64("millis")}
}

//	struct {
//	    RoomDescribed room;
//	    opaque group_id<V>;
//	    uint16 suite;
//	} RoomAwaits;
func (o RoomAwaits) appendTo(w *mls.Writer) {
	o.Room.appendTo(w)
	appendText(w, o.GroupID)
	w.Uint16(uint16(o.Suite))
}

func readRoomAwaits(r *mls.Reader) RoomAwaits {
	return RoomAwaits{
		Room: mls.ReadIn(r, "room", readRoomDescribed), GroupID: readText[mls.GroupID](r, "group_id"), Suite: mls.CipherSuite(r.Uint16("suite")),
	}
}
