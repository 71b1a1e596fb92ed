package fsm

import (
	"encoding/binary"

	"parley/mimi"
	"parley/mls"
)

// clientEvent is one event of a room's log for clients: a FanoutMessage, or notices.
//
//	struct {
//	    opaque message<V>; // FanoutMessage; empty where there are notes
//	    Note notes<V>;
//	} ClientEvent;
type clientEvent struct {
	message []byte
	notes   []Note
}

func (e clientEvent) appendTo(w *mls.Writer) {
	w.Opaque(e.message)
	appendList(w, e.notes, appendNote)
}

func readClientEvent(r *mls.Reader) clientEvent {
	return clientEvent{message: r.Opaque("message"), notes: readList(r, "notes", readNote)}
}

// eventIndex is what is looked at of an event before it is read, and how many windows still need it.
//
//	struct {
//	    uint64 millis;
//	    uint8 class;
//	    uint64 epoch;   // of a Commit, Proposal or message; 0 for the others
//	    uint32 waiting; // windows that it is in and that have not acknowledged it
//	} EventIndex;
type eventIndex struct {
	millis  uint64
	class   EventClass
	epoch   mls.Epoch
	waiting uint32
}

func (x eventIndex) appendTo(w *mls.Writer) {
	w.Uint64(x.millis)
	w.Uint8(uint8(x.class))
	w.Uint64(uint64(x.epoch))
	w.Uint32(x.waiting)
}

func readEventIndex(r *mls.Reader) eventIndex {
	return eventIndex{
		millis: r.Uint64("millis"), class: EventClass(r.Uint8("class")), epoch: mls.Epoch(r.Uint64("epoch")), waiting: r.Uint32("waiting"),
	}
}

// loggedEvent is an event on its way into a log.
type loggedEvent struct {
	clientEvent
	class EventClass
	epoch mls.Epoch
}

// logEvent appends an event to a log, for all windows that are open but those that are no joiner's where it is a Welcome: of that openWindow
// lets the joiners have a part. It returns the position.
func (t *tx) logEvent(l *clientLog, e loggedEvent) (position uint64) {
	position = max(l.next, t.firstPosition(HashOfRoom(l.room).Slot()))
	room := HashOfRoom(l.room)
	index := eventIndex{millis: t.now, class: e.class, epoch: e.epoch, waiting: l.open}
	if e.class == ClassWelcome {
		index.waiting = 0
	}
	l.next = position + 1
	if e.class == ClassCommit {
		l.epoch = e.epoch + 1
	} else {
		l.epoch = max(l.epoch, e.epoch)
	}
	t.set(clientEventKey(room, position), record(e.appendTo))
	t.setEventIndex(room, position, index)
	t.noteClientLog(l, index.millis)
	return position
}

// noteClientLog sees to it that a log is looked at when an event of a time has waited too long.
func (t *tx) noteClientLog(l *clientLog, millis uint64) {
	if l.due == 0 {
		l.due = addUpTo(millis, t.settings.Bulk.inboxRetention())
		t.expireAt(clientLogKey(HashOfRoom(l.room)), l.due)
	}
}

func (t *tx) eventIndex(room RoomHash, position uint64) (eventIndex, bool) {
	return get(t, func(r Reader) (eventIndex, bool, error) {
		return readRecord(r, clientEventIndexKey(room, position), "event for clients", readEventIndex)
	})
}

func (t *tx) setEventIndex(room RoomHash, position uint64, x eventIndex) {
	t.set(clientEventIndexKey(room, position), record(x.appendTo))
}

// dropUnneeded removes events from a position on that are in no window.
func (t *tx) dropUnneeded(l clientLog, from uint64) {
	room := HashOfRoom(l.room)
	var unneeded []uint64
	t.check(visitEventIndex(t.store, room, from, l.next-1, func(position uint64, x eventIndex) (bool, error) {
		if x.waiting == 0 {
			unneeded = append(unneeded, position)
		}
		return true, nil
	}))
	for _, position := range unneeded {
		t.dropEvent(room, position)
	}
}

func (t *tx) dropEvent(room RoomHash, position uint64) {
	t.delete(clientEventKey(room, position))
	t.delete(clientEventIndexKey(room, position))
}

// visitEventIndex visits what stands in a log at some positions, in order.
func visitEventIndex(r Reader, room RoomHash, from, through uint64, visit func(position uint64, x eventIndex) (bool, error)) error {
	prefix := room.key(keyClientEventIndex)
	if from > through {
		return nil
	}
	upper := prefix.end()
	if through+1 != 0 {
		upper = clientEventIndexKey(room, through+1)
	}
	return scanRange(r, prefix, clientEventIndexKey(room, from), upper, "event for clients", readEventIndex, func(rest []byte, x eventIndex) (bool, error) {
		return visit(binary.BigEndian.Uint64(rest), x)
	})
}

// toldClients are the notes of an item that its room's local clients are told. What only concerns who submitted something, or the
// provider, is not among them.
func toldClients(notes []Note) (told []Note, last bool) {
	for _, note := range notes {
		switch n := note.(type) {
		case RoomWasDestroyed:
			told, last = append(told, n), true
		case Noticed:
			switch n.Notice.(type) {
			case mimi.RoomDestroyed:
				told, last = append(told, n), true
			case mimi.PolicyChanged, mimi.VoiceChanged, mimi.StreamGap:
				told = append(told, n)
			}
		}
	}
	return told, last
}
