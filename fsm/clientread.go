package fsm

import (
	"cmp"
	"fmt"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// EventOrder is in which order a client wants what waits for it.
type EventOrder uint8

const (
	// OldestFirst is each room's own order.
	OldestFirst EventOrder = 0
	// NewestFirst is handshakes, Welcomes and notices in each room's order, then application messages from the newest on of the epochs
	// whose keys the client is taken to have, then older ones.
	NewestFirst EventOrder = 1
)

// EventQuery is what a client asks for of its inbox.
type EventQuery struct {
	Name    MemberName
	Items   int
	Bytes   int        // of events together, at most; one comes however large it is
	Classes EventClass // none stands for all
	Order   EventOrder
	Epochs  uint32 // with NewestFirst: the client can decrypt messages of so many epochs before the room's current one
}

// EventPage is what a client gets of its inbox at once, in the order of its query.
type EventPage struct {
	Events []ClientEvent
	Whole  bool // nothing that fits the query was left out, as far as the reader could see
}

// Cut sorts refs as the query wants them, and leaves no more than it wants; cut says that some went.
func (q EventQuery) Cut(refs []ClientEventRef) (kept []ClientEventRef, cut bool) {
	slices.SortStableFunc(refs, q.Compare)
	if len(refs) > q.Items {
		return refs[:q.Items], true
	}
	return refs, false
}

// AppendTo writes a query as it travels between nodes.
//
//	struct {
//	    opaque name<V>;
//	    uint32 items;
//	    uint32 bytes;
//	    uint8 classes;
//	    uint8 order;
//	    uint32 epochs;
//	} EventQuery;
func (q EventQuery) AppendTo(w *mls.Writer) {
	appendText(w, q.Name)
	w.Uint32(uint32(q.Items))
	w.Uint32(uint32(q.Bytes))
	w.Uint8(uint8(q.Classes))
	w.Uint8(uint8(q.Order))
	w.Uint32(q.Epochs)
}

// ReadEventQuery reads what AppendTo wrote.
func ReadEventQuery(r *mls.Reader) EventQuery {
	return EventQuery{
		Name: readText[MemberName](r, "name"), Items: int(r.Uint32("items")), Bytes: int(r.Uint32("bytes")),
		Classes: EventClass(r.Uint8("classes")), Order: EventOrder(r.Uint8("order")), Epochs: r.Uint32("epochs"),
	}
}

// ClientEventRef names an event in an inbox, with what readers sort by.
type ClientEventRef struct {
	Room     mimi.RoomURI
	Hub      mimi.Provider
	Position uint64 // rises within a room, with gaps
	Millis   uint64 // hub time
	Class    EventClass
	Epoch    mls.Epoch // of a Commit, Proposal or application message
	Readable bool      // with NewestFirst: it is of an epoch that the client is taken to have keys of
	gap      mimi.StreamGap
}

// ClientEvent is an event of an inbox.
type ClientEvent struct {
	ClientEventRef
	Message []byte // FanoutMessage; none where there are notes
	Notes   []Note
}

// Compare is the order in which a query wants events; of one room it is never against the room's own for anything but application messages.
func (q EventQuery) Compare(a, b ClientEventRef) int {
	if q.Order == NewestFirst {
		if byRank := cmp.Compare(a.rank(), b.rank()); byRank != 0 {
			return byRank
		}
		if a.rank() > 0 {
			a, b = b, a
		}
	}
	if a.Room == b.Room {
		return cmp.Compare(a.Position, b.Position)
	}
	return cmp.Or(cmp.Compare(a.Millis, b.Millis), cmp.Compare(a.Room.String(), b.Room.String()))
}

func (f ClientEventRef) rank() int {
	switch {
	case f.Class != ClassApplication:
		return 0
	case f.Readable:
		return 1
	default:
		return 2
	}
}

// ReadEventRefs lists what waits for a member in a room, sorted as the query wants it and at most as many as it wants. whole: there is no more.
func ReadEventRefs(r Reader, room mimi.RoomURI, q EventQuery) (refs []ClientEventRef, whole bool, err error) {
	hash := HashOfRoom(room)
	l, found, err := readClientLogOf(r, hash)
	if err != nil || !found {
		return nil, true, err
	}
	windows, err := readWindows(r, windowsOfKey(hash, q.Name))
	if err != nil || len(windows) == 0 {
		return nil, true, err
	}
	from, through := windows[0].acknowledged+1, uint64(0)
	for _, v := range windows {
		from, through = min(from, v.acknowledged+1), max(through, v.last(l.next))
		if v.gap.items > 0 && q.wants(ClassNotice) {
			refs = append(refs, l.gapRef(v))
		}
	}
	gather := eventGatherer{log: l, windows: windows, query: q, refs: refs, whole: true}
	if err := gather.run(r, hash, from, through); err != nil {
		return nil, false, err
	}
	return gather.refs, gather.whole, nil
}

func (q EventQuery) wants(class EventClass) bool { return q.Classes == 0 || q.Classes&class != 0 }

func (l clientLog) gapRef(v window) ClientEventRef {
	return ClientEventRef{
		Room: l.room, Hub: l.hub, Position: v.gap.position, Millis: v.gap.lastMillis, Class: ClassNotice,
		gap: mimi.StreamGap{Items: v.gap.items, FirstMillis: v.gap.firstMillis, LastMillis: v.gap.lastMillis},
	}
}

// eventGatherer looks through the index of a log.
type eventGatherer struct {
	log     clientLog
	windows []window
	query   EventQuery
	refs    []ClientEventRef
	whole   bool
}

// run keeps twice what is wanted at most: however much waits, that bounds what is held.
func (g *eventGatherer) run(r Reader, room RoomHash, from, through uint64) error {
	keep := g.query.Items
	err := visitEventIndex(r, room, from, through, func(position uint64, x eventIndex) (bool, error) {
		if !g.query.wants(x.class) || !slices.ContainsFunc(g.windows, func(v window) bool { return v.needs(position, x.class) }) {
			return true, nil
		}
		g.refs = append(g.refs, ClientEventRef{
			Room: g.log.room, Hub: g.log.hub, Position: position, Millis: x.millis, Class: x.class, Epoch: x.epoch,
			Readable: x.epoch >= g.log.epoch || uint64(g.log.epoch-x.epoch) <= uint64(g.query.Epochs),
		})
		if g.query.Order == OldestFirst {
			return len(g.refs) <= keep, nil
		}
		if len(g.refs) >= 2*keep {
			g.cut()
		}
		return true, nil
	})
	g.cut()
	return err
}

func (g *eventGatherer) cut() {
	refs, cut := g.query.Cut(g.refs)
	g.refs, g.whole = refs, g.whole && !cut
}

// ReadClientEvent reads the event that a ref names; false where it has gone since.
func ReadClientEvent(r Reader, ref ClientEventRef) (ClientEvent, bool, error) {
	if ref.gap.Items > 0 {
		return ClientEvent{ClientEventRef: ref, Notes: []Note{Noticed{ref.gap}}}, true, nil
	}
	e, found, err := readRecord(r, clientEventKey(HashOfRoom(ref.Room), ref.Position), "event for clients", readClientEvent)
	if err != nil {
		return ClientEvent{}, false, fmt.Errorf("%s: %w", ref.Room, err)
	}
	return ClientEvent{ClientEventRef: ref, Message: e.message, Notes: e.notes}, found, nil
}

// Bytes is what an event counts for in a page.
func (e ClientEvent) Bytes() int { return len(e.Message) }

// AppendTo writes an event as it travels between nodes.
//
//	struct {
//	    opaque room<V>;
//	    opaque hub<V>;
//	    uint64 position;
//	    uint64 millis;
//	    uint8 class;
//	    uint64 epoch;
//	    uint8 readable; // 0 or 1
//	    opaque message<V>;
//	    Note notes<V>;
//	} ClientEvent;
func (e ClientEvent) AppendTo(w *mls.Writer) {
	e.Room.AppendTo(w)
	e.Hub.AppendTo(w)
	w.Uint64(e.Position)
	w.Uint64(e.Millis)
	w.Uint8(uint8(e.Class))
	w.Uint64(uint64(e.Epoch))
	w.Bool(e.Readable)
	w.Opaque(e.Message)
	appendList(w, e.Notes, appendNote)
}

// ReadClientEventFrom reads what AppendTo wrote.
func ReadClientEventFrom(r *mls.Reader) ClientEvent {
	e := ClientEvent{ClientEventRef: ClientEventRef{
		Room: mimi.ReadRoomURI(r, "room"), Hub: mimi.ReadProvider(r, "hub"), Position: r.Uint64("position"), Millis: r.Uint64("millis"),
		Class: EventClass(r.Uint8("class")), Epoch: mls.Epoch(r.Uint64("epoch")), Readable: r.Bool("readable"),
	}}
	e.Message, e.Notes = r.Opaque("message"), readList(r, "notes", readNote)
	return e
}
