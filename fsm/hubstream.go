package fsm

import (
	"bytes"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// Another hub may send the bodies of a room before it knows what became of those before them, so that they arrive in any order
// (mimi-protocol-06 §5.5). Of each room that is followed here the state has where it is: its group, and the epoch that the last Commit
// began. What is of a later epoch waits (hubheld.go) until the Commits before it have come, and then goes into the inbox behind them, in
// the same entry; so does a Commit that names Proposals which have not come.
//
// A room of which nothing is known begins with the body that brings a Welcome or a client that joins by itself. Where neither has come
// and a client of this provider is about to be welcomed, the Welcome is waited for; otherwise the room was followed before there were
// such records, and its place is learnt from the next Commit.

const (
	// pastGroupsMax is how many groups that a room had before are known, takenKept of how many epochs the Commit.
	pastGroupsMax = 8
	takenKept     = 16
)

// hubStream is where a room of another hub is.
type hubStream struct {
	dueMillis uint64 // when what waits is waited for no longer; 0 where nothing waits
	room      mimi.RoomURI
	hub       mimi.Provider
	begun     bool          // the room's first body has come
	group     mls.GroupID   // of the last messages; empty: not known yet
	placed    bool          // epoch is known
	epoch     mls.Epoch     // the current one
	since     mls.Epoch     // the Commit of each epoch from here to epoch has come
	taken     []takenCommit // of the last epochs, oldest first
	ended     bool          // by a ReInit
	next      mls.GroupID   // which the ReInit announced
	past      []mls.GroupID // before group, oldest first
	told      bool          // the hub has said that it lost something, and no Commit has come since

	held      uint32 // bodies that wait
	heldBytes uint64
	nextHeld  uint64 // number of the next
	gapMillis uint64 // since when nothing of what waits could go on

	// In this entry alone:
	loose bool // the Proposals that the Commit of epoch names are waited for no longer
	roomy bool // whatever has to wait may
}

type takenCommit struct {
	epoch mls.Epoch
	hash  [hashBytes]byte // of the HubMessage
}

func hubStreamKey(room mimi.RoomURI, hub mimi.Provider) key {
	return roomKey(keyHubStream, room).provider(hub)
}

func readHubStreamOf(r Reader, room mimi.RoomURI, hub mimi.Provider) (*hubStream, error) {
	s, found, err := readRecord(r, hubStreamKey(room, hub), "stream of a followed room", readHubStream)
	if !found {
		s = &hubStream{room: room, hub: hub}
	}
	return s, err
}

// FollowedGroups reports which of some groups a room of another hub has had so far; who brings another one has to have it looked up
// (FollowGroup).
func FollowedGroups(r Reader, room mimi.RoomURI, hub mimi.Provider, groups []mls.GroupID) (known []mls.GroupID, err error) {
	s, err := readHubStreamOf(r, room, hub)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if s.has(g) {
			known = append(known, g)
		}
	}
	return known, nil
}

func (t *tx) hubStream(room mimi.RoomURI, hub mimi.Provider) *hubStream {
	s, err := readHubStreamOf(t.store, room, hub)
	t.check(err)
	return s
}

// setHubStream writes what has changed. Most messages change nothing.
func (t *tx) setHubStream(s *hubStream) {
	k, value := hubStreamKey(s.room, s.hub), record(s.appendTo)
	before, err := t.store.Get(k)
	t.check(err)
	if bytes.Equal(before, value) {
		return
	}
	t.set(k, value)
	if s.dueMillis != 0 {
		t.expireAt(k, s.dueMillis)
	}
}

// has reports whether a group is the room's, or was.
func (s *hubStream) has(group mls.GroupID) bool {
	return s.group == group || slices.Contains(s.past, group)
}

// begin decides whether the stream begins with these messages. What comes before it begins waits.
func (t *tx) begin(s *hubStream, messages []HubMessage) {
	if s.begun || len(messages) == 0 {
		return
	}
	s.begun = startsStream(messages) || !t.awaitsWelcome(s.room)
}

// restart lets a stream begin anew with messages that bring in a client where nobody of this provider was in the room any more: the hub
// has not sent what happened meanwhile, and never will. What waits goes on first.
func (t *tx) restart(s *hubStream, messages []HubMessage) {
	alone := slices.ContainsFunc(messages, func(m HubMessage) bool { return m.Alone })
	if !alone || !s.placed || t.ready(s, messages[0]) {
		return
	}
	for s.held > 0 {
		t.leap(s)
	}
	t.deletePrefix(offersKey(s, s.epoch))
	s.placed, s.ended, s.told = false, false, false
}

// startsStream reports whether messages bring in a client: by its own Commit, or by a Welcome.
func startsStream(messages []HubMessage) bool {
	return slices.ContainsFunc(messages, func(m HubMessage) bool { return m.Kind == HubWelcome || m.Joins })
}

// awaitsWelcome reports whether a KeyPackage was claimed for the room whose Welcome has not come.
func (t *tx) awaitsWelcome(room mimi.RoomURI) (yes bool) {
	prefix := roomKey(keyRoute, room)
	t.check(t.store.Scan(prefix, prefix.end(), func(_, _ []byte) (bool, error) {
		yes = true
		return false, nil
	}))
	return yes
}

// ready reports whether a message may go into the inbox now.
func (t *tx) ready(s *hubStream, m HubMessage) bool {
	switch {
	case !s.begun:
		return false
	case m.Kind == HubWelcome || m.Kind == 0 || !s.placed:
		return true
	case m.Group != s.group:
		return s.has(m.Group) || s.ended && m.Group == s.next
	case m.Epoch != s.epoch:
		return m.Epoch < s.epoch
	default:
		return m.Kind != HubCommit || s.loose || t.haveCome(s, m.Needs)
	}
}

// haveCome reports whether the Proposals that a Commit of the current epoch names have come. Those of the epoch in which the stream was
// placed need not have.
func (t *tx) haveCome(s *hubStream, needs []mls.ProposalRef) bool {
	for _, ref := range needs {
		if !t.has(offerKey(s, s.epoch, ref)) {
			return false
		}
	}
	return true
}

// offerKey is of a Proposal of an epoch that has come. Its value is the group that it announces.
func offerKey(s *hubStream, epoch mls.Epoch, ref mls.ProposalRef) key {
	return offersKey(s, epoch).text(string(ref))
}

func offersKey(s *hubStream, epoch mls.Epoch) key {
	return roomKey(keyHubOffer, s.room).provider(s.hub).group(s.group).epoch(epoch)
}

// letIn lets a message into the inbox and the stream go on behind it. A Commit of an epoch whose Commit has come already is dropped where
// it is the same, which comes again when the record of the message is gone; another one is let in as it is, for its receivers to see
// that their hub contradicts itself.
func (t *tx) letIn(s *hubStream, m HubMessage) {
	if m.Kind == HubCommit && s.repeats(m) {
		return
	}
	t.enter(s, m)
	if m.Kind == HubWelcome || m.Kind == 0 {
		return
	}
	if !s.has(m.Group) {
		t.turnTo(s, m.Group)
	}
	if m.Group != s.group || s.placed && m.Epoch < s.epoch {
		return
	}
	switch m.Kind {
	case HubCommit:
		t.passCommit(s, m)
	case HubProposals:
		if s.placed {
			t.offer(s, m.Epoch, m)
		}
	}
}

// repeats reports whether the Commit of the epoch has been let in. Of epochs that are no longer kept it cannot be told from another, which
// is rarer by far.
func (s *hubStream) repeats(m HubMessage) bool {
	if !s.placed || m.Group != s.group || m.Epoch < s.since || m.Epoch >= s.epoch {
		return false
	}
	for _, c := range s.taken {
		if c.epoch == m.Epoch {
			return c.hash == m.Hash
		}
	}
	return true
}

// passCommit goes on behind a Commit.
func (t *tx) passCommit(s *hubStream, m HubMessage) {
	next := m.Next
	if s.placed {
		for _, ref := range m.Needs {
			announced, _ := get(t, func(r Reader) (mls.GroupID, bool, error) {
				return readRecord(r, offerKey(s, m.Epoch, ref), "Proposal of a followed room", readOffer)
			})
			if announced != "" {
				next = announced
			}
		}
		t.deletePrefix(offersKey(s, s.epoch))
	} else {
		s.placed, s.since = true, m.Epoch
	}
	s.epoch = m.Epoch + 1
	s.told, s.loose = false, false
	s.taken = append(s.taken, takenCommit{m.Epoch, m.Hash})
	s.taken = s.taken[max(0, len(s.taken)-takenKept):]
	if next != "" {
		s.ended, s.next = true, next
	}
	t.offer(s, s.epoch, m)
}

// offer remembers the Proposals of an epoch that a message has brought.
func (t *tx) offer(s *hubStream, epoch mls.Epoch, m HubMessage) {
	next := m.Next
	if m.Kind == HubCommit {
		next = "" // of the Commit itself
	}
	for _, ref := range m.Offers {
		t.set(offerKey(s, epoch, ref), record(func(w *mls.Writer) { appendText(w, next) }))
	}
}

func readOffer(r *mls.Reader) mls.GroupID { return readText[mls.GroupID](r, "next_group_id") }

// turnTo goes on with another group, whose epoch its next Commit tells.
func (t *tx) turnTo(s *hubStream, group mls.GroupID) {
	if s.group != "" {
		t.deletePrefix(offersKey(s, s.epoch))
		s.past = append(s.past, s.group)
		s.past = s.past[max(0, len(s.past)-pastGroupsMax):]
	}
	s.group, s.placed, s.epoch, s.since, s.taken, s.ended, s.next = group, false, 0, 0, nil, false, ""
}

//	struct {
//	    uint64 due_millis;
//	    opaque room<V>;
//	    opaque hub<V>;
//	    uint8 begun;
//	    opaque group_id<V>;
//	    uint8 placed;
//	    uint64 epoch;
//	    uint64 since;
//	    TakenCommit taken<V>; // struct { uint64 epoch; opaque hash[32]; }
//	    uint8 ended;
//	    opaque next_group_id<V>;
//	    opaque past<V><V>;
//	    uint8 told;
//	    uint32 held;
//	    uint64 held_bytes;
//	    uint64 next_held;
//	    uint64 gap_millis;
//	} HubStream;
func (s *hubStream) appendTo(w *mls.Writer) {
	w.Uint64(s.dueMillis)
	s.room.AppendTo(w)
	s.hub.AppendTo(w)
	w.Bool(s.begun)
	appendText(w, s.group)
	w.Bool(s.placed)
	w.Uint64(uint64(s.epoch))
	w.Uint64(uint64(s.since))
	appendList(w, s.taken, func(w *mls.Writer, c takenCommit) {
		w.Uint64(uint64(c.epoch))
		w.Fixed(c.hash[:])
	})
	w.Bool(s.ended)
	appendText(w, s.next)
	appendTexts(w, s.past)
	w.Bool(s.told)
	w.Uint32(s.held)
	w.Uint64(s.heldBytes)
	w.Uint64(s.nextHeld)
	w.Uint64(s.gapMillis)
}

func readHubStream(r *mls.Reader) *hubStream {
	s := &hubStream{
		dueMillis: r.Uint64("due_millis"), room: mimi.ReadRoomURI(r, "room"), hub: mimi.ReadProvider(r, "hub"),
		begun: r.Bool("begun"), group: readText[mls.GroupID](r, "group_id"), placed: r.Bool("placed"),
		epoch: mls.Epoch(r.Uint64("epoch")), since: mls.Epoch(r.Uint64("since")),
	}
	s.taken = readList(r, "taken", func(r *mls.Reader) takenCommit {
		return takenCommit{epoch: mls.Epoch(r.Uint64("epoch")), hash: readHash(r, "hash")}
	})
	s.ended, s.next, s.past = r.Bool("ended"), readText[mls.GroupID](r, "next_group_id"), readTexts[mls.GroupID](r, "past")
	s.told, s.held, s.heldBytes = r.Bool("told"), r.Uint32("held"), r.Uint64("held_bytes")
	s.nextHeld, s.gapMillis = r.Uint64("next_held"), r.Uint64("gap_millis")
	return s
}
