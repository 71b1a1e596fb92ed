package fsm

import (
	"crypto/sha256"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// FastForwardRoom brings a stale room to the epoch in which its group is, by a GroupInfo that a member has signed and the tree that belongs to
// it. Both were checked before the log as a creation's are. Apply holds them to what the hub still knows of the group, and to what the others saw
// who follow the room: the epoch is no lower than any of these. From there on the room is as if it had been created at that epoch, but for
// what it has accepted.
type FastForwardRoom struct {
	Room        mimi.RoomURI
	Generation  Generation // in which it is brought forward
	Incarnation uint64     // of the room as it was judged
	GroupID     mls.GroupID
	Suite       mls.CipherSuite
	Facts       RoomFacts // with all nodes of the tree
	Clients     []ClientOfUser
	Rules       RoomRules
	Seen        []EpochSeen // of every other provider that follows the room, before or now, each once
	RequestHash [32]byte    // SHA-256 of the request; the same again gets the original answer
}

// EpochSeen is what another provider answered that was asked for the epoch in which it saw a room's group.
type EpochSeen struct {
	Provider mimi.Provider
	Answer   SeenAnswer
	Epoch    mls.Epoch // of SeenEpoch
}

// SeenAnswer is a kind of such an answer.
type SeenAnswer uint8

const (
	// SeenEpoch: it saw the group in that epoch.
	SeenEpoch SeenAnswer = 1
	// SeenNothing: it does not know the room, or not in which epoch it is.
	SeenNothing SeenAnswer = 2
	// SeenWaived: it did not answer, and the provider's operator goes on without it. A Commit that it alone saw would be lost.
	SeenWaived SeenAnswer = 3
)

func (c FastForwardRoom) Slot() SlotID    { return SlotOfRoom(c.Room) }
func (FastForwardRoom) Lane() Lane        { return Exclusive }
func (FastForwardRoom) kind() CommandKind { return KindFastForwardRoom }

//	struct {
//	    opaque room<V>;
//	    uint64 generation;
//	    uint64 incarnation;
//	    opaque group_id<V>;
//	    uint16 suite;
//	    RoomFacts facts;
//	    ClientOfUser clients<V>;
//	    RoomRules rules;
//	    EpochSeen seen<V>;
//	    opaque request_hash[32];
//	} FastForwardRoom;
//
//	struct {
//	    opaque provider<V>;
//	    uint8 answer; // SeenAnswer
//	    uint64 epoch;
//	} EpochSeen;
func (c FastForwardRoom) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	w.Uint64(uint64(c.Generation))
	w.Uint64(c.Incarnation)
	appendText(w, c.GroupID)
	w.Uint16(uint16(c.Suite))
	c.Facts.appendTo(w)
	appendList(w, c.Clients, appendClientOfUser)
	c.Rules.appendTo(w)
	appendList(w, c.Seen, func(w *mls.Writer, s EpochSeen) {
		s.Provider.AppendTo(w)
		w.Uint8(uint8(s.Answer))
		w.Uint64(uint64(s.Epoch))
	})
	w.Fixed(c.RequestHash[:])
}

func readFastForwardRoom(r *mls.Reader) FastForwardRoom {
	return FastForwardRoom{
		Room: mimi.ReadRoomURI(r, "room"), Generation: Generation(r.Uint64("generation")), Incarnation: r.Uint64("incarnation"),
		GroupID: readText[mls.GroupID](r, "group_id"), Suite: mls.CipherSuite(r.Uint16("suite")),
		Facts:   mls.ReadIn(r, "facts", readRoomFacts),
		Clients: readList(r, "clients", readClientOfUser), Rules: mls.ReadIn(r, "rules", readRoomRules),
		Seen: readList(r, "seen", func(r *mls.Reader) EpochSeen {
			return EpochSeen{Provider: mimi.ReadProvider(r, "provider"), Answer: SeenAnswer(r.Uint8("answer")), Epoch: mls.Epoch(r.Uint64("epoch"))}
		}),
		RequestHash: readHash(r, "request_hash"),
	}
}

// forwarded is how a room was brought forward last.
//
//	struct {
//	    opaque request_hash[32];
//	    uint64 generation;
//	    uint64 millis;
//	    uint64 epoch;
//	} Forwarded;
type forwarded struct {
	requestHash [hashBytes]byte
	generation  Generation
	millis      uint64
	epoch       mls.Epoch
}

func (f forwarded) appendTo(w *mls.Writer) {
	w.Fixed(f.requestHash[:])
	w.Uint64(uint64(f.generation))
	w.Uint64(f.millis)
	w.Uint64(uint64(f.epoch))
}

func readForwarded(r *mls.Reader) forwarded {
	return forwarded{
		requestHash: readHash(r, "request_hash"), generation: Generation(r.Uint64("generation")), millis: r.Uint64("millis"), epoch: mls.Epoch(r.Uint64("epoch")),
	}
}

func forwardedKey(room mimi.RoomURI) key { return roomKey(keyForwarded, room) }

// ReadForwarded returns what a request got by which a room was brought forward; false where it was not by that.
func ReadForwarded(r Reader, room mimi.RoomURI, requestHash [32]byte) (Accepted, bool, error) {
	f, found, err := readRecord(r, forwardedKey(room), "how a room was brought forward", readForwarded)
	if err != nil || !found || f.requestHash != requestHash {
		return Accepted{}, false, err
	}
	return Accepted{Millis: f.millis, Epoch: f.epoch}, true, nil
}

// fastForwardRoom opens a stale room. A repetition gets its answer before anything can refuse it, as a Commit's does.
func (t *tx) fastForwardRoom(c FastForwardRoom) Outcome {
	head, found := t.head(c.Room)
	if !found {
		return NoSuchRoom{}
	}
	if again, yes := get(t, func(r Reader) (Accepted, bool, error) { return ReadForwarded(r, c.Room, c.RequestHash) }); yes {
		return again
	}
	g := t.slotGeneration(SlotOfRoom(c.Room))
	switch {
	case head.status != RoomOpen:
		return t.refuseEnded(head)
	case !head.staleIn(g):
		return NotAllowed{Reason: "the room is not stale: its group goes on here"}
	case c.Generation != g.generation || c.Incarnation != head.incarnation:
		return ReadSetChanged{Index: t.index}
	}
	if reason := t.forwardFault(head, c); reason != "" {
		return NotAllowed{Reason: reason}
	}
	for _, m := range c.Clients {
		if !t.mapClient(c.Room, m.Client, m.User) {
			return NotAllowed{Reason: tooManyClients}
		}
	}
	t.abandonGroup(head)
	t.forgetEpochs(keyMessage, head, c.Facts.Epoch)
	head.incarnation, head.floor, head.generation, head.told = t.incarnation(), c.Facts.Epoch, g.generation, false
	t.deletePrefix(roomKey(keyTreeNode, c.Room))
	t.dependAnew(c.Room)
	for _, p := range missingFrom(t.participants(c.Room), c.Facts.Participants) {
		t.post(SlotOfRoom(c.Room), RoomLeft{User: p.User, Room: c.Room})
	}
	t.setFactsAnew(head, c.Facts)
	t.beginMembersAnew(c.Room)
	t.setRoomRules(c.Room, c.Rules)
	t.set(forwardedKey(c.Room), record(forwarded{c.RequestHash, g.generation, t.now, c.Facts.Epoch}.appendTo))
	t.note(c.Room, t.settings.Domains[0], RoomForwarded{Epoch: c.Facts.Epoch})
	return Accepted{Millis: t.now, Epoch: c.Facts.Epoch}
}

// forwardFault says why facts are not where the group is, as far as the hub and the others know, or nothing.
func (t *tx) forwardFault(head roomHead, c FastForwardRoom) (reason string) {
	if c.GroupID != head.groupID || c.Suite != head.suite {
		return "the GroupInfo is of another group than the room's"
	}
	_, reason = parseContext(c.Facts, head.groupID, head.suite)
	switch {
	case reason != "":
		return reason
	case c.Facts.Epoch < head.epoch:
		return "the GroupInfo is of an epoch that the hub has seen end"
	case c.Facts.Epoch == head.epoch && head.contextHash != sha256.Sum256(c.Facts.GroupContext):
		return "the hub knows another GroupContext of that epoch"
	}
	for _, destination := range append(slices.Clone(head.destinations), c.Facts.Destinations...) {
		if t.isLocal(destination) {
			continue
		}
		if !slices.ContainsFunc(c.Seen, func(s EpochSeen) bool { return s.Provider == destination }) {
			return "the provider " + destination.String() + " follows the room and was not asked"
		}
	}
	for _, s := range c.Seen {
		if s.Answer == SeenEpoch && s.Epoch > c.Facts.Epoch {
			return "the provider " + s.Provider.String() + " has seen a later epoch of the group"
		}
	}
	return ""
}

// abandonGroup ends what a stale room's group had under way: Proposals, leaves, the lease, codes and who was let in by them, routes of claimed
// KeyPackages, which may have been used. Verdicts go as well, since what was refused may be taken now.
func (t *tx) abandonGroup(head roomHead) {
	t.settleProposals(head, nil)
	t.endLeaves(head.room)
	t.voidLease(head.room)
	for _, kind := range []keyKind{
		keyJoiningCode, keyJoinAuthorization, keyJoinLoad, keyCodeGuesses, keyRoute, keyRejection, keyRejections,
	} {
		t.deletePrefix(roomKey(kind, head.room))
	}
	t.recountLoad(head.room)
	t.unlistStale(head.room)
}

// recountLoad counts again what others have piled up at a room, where it is counted.
func (t *tx) recountLoad(room mimi.RoomURI) {
	if _, counted := t.loadOf(room); counted {
		t.set(roomKey(keyRoomLoad, room), record(t.countLoad(room).appendTo))
	}
}

// dependAnew asks the room on which another depends for its list again: what it had told may be of the part that is lost, and what it told since
// then did not come.
func (t *tx) dependAnew(room mimi.RoomURI) {
	d, depends := t.dependence(room)
	if !depends {
		return
	}
	t.deletePrefix(roomKey(keyDependence, room).raw([]byte{1}))
	d.Known = false
	t.set(dependenceKey(room), record(d.appendTo))
	t.post(SlotOfRoom(room), DependsOn{Parent: d.Parent, Dependant: room})
}
