package fsm

import (
	"encoding/binary"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// OutboxItem is one body for one destination: what one entry made for it of one room. It is cut once and never changes, so
// that a retry after any failover is byte-identical. The local provider's items are its inbox.
type OutboxItem struct {
	Slot        SlotID
	Destination mimi.Provider
	Sequence    uint64        // per (Slot, Destination), from 1, without gaps but those between generations
	Room        mimi.RoomURI  // none where the notes are of the provider's own users
	Hub         mimi.Provider // the room's hub; the local provider for its own rooms and users
	Millis      uint64        // hub time
	Body        []byte        // concatenated FanoutMessages (mimi-protocol-06 §5.5), at least one where there are no notes
	Notes       []Note        // for the local provider; for another only of those that are Noticed
}

// ItemVersion is the last layout of an item. The first has no notes.
const ItemVersion = 2

// AppendTo writes the item in one of its layouts as it travels between nodes.
//
//	struct {
//	    uint16 slot;
//	    opaque destination<V>;
//	    uint64 sequence;
//	    StoredItem item;
//	} OutboxItem;
//
//	struct {
//	    opaque room<V>; // empty only with notes
//	    opaque hub<V>;
//	    uint64 millis;
//	    opaque body<V>;
//	    select (version) {
//	        case 1: struct {};
//	        case 2: Note notes<V>;
//	    };
//	} StoredItem;
func (o OutboxItem) AppendTo(w *mls.Writer, version uint8) {
	w.Uint16(uint16(o.Slot))
	o.Destination.AppendTo(w)
	w.Uint64(o.Sequence)
	o.appendStored(w, version)
}

// ReadOutboxItem reads what AppendTo wrote in that layout.
func ReadOutboxItem(r *mls.Reader, version uint8) OutboxItem {
	slot := SlotID(r.Uint16("slot"))
	destination := mimi.ReadProvider(r, "destination")
	sequence := r.Uint64("sequence")
	item := readStoredItem(r, version)
	item.Slot, item.Destination, item.Sequence = slot, destination, sequence
	return item
}

// record is the item as it stands in the state, in the first layout that can say all of it.
func (o OutboxItem) record() []byte {
	version := uint8(1)
	if len(o.Notes) > 0 {
		version = 2
	}
	return encode(version, func(w *mls.Writer) { o.appendStored(w, version) })
}

func (o OutboxItem) appendStored(w *mls.Writer, version uint8) {
	o.Room.AppendTo(w)
	o.Hub.AppendTo(w)
	w.Uint64(o.Millis)
	w.Opaque(o.Body)
	if version >= 2 {
		appendList(w, o.Notes, appendNote)
	}
}

func readStoredItem(r *mls.Reader, version uint8) OutboxItem {
	readRoom := mimi.ReadRoomURI
	if version >= 2 {
		readRoom = mimi.ReadOptionalRoomURI
	}
	item := OutboxItem{
		Room:   readRoom(r, "room"),
		Hub:    mimi.ReadProvider(r, "hub"),
		Millis: r.Uint64("millis"),
		Body:   r.Opaque("body"),
	}
	if version >= 2 {
		item.Notes = readList(r, "notes", readNote)
	}
	return item
}

// OutboxPage bounds what is read at once of what waits for a destination. Whatever fits comes with at least one item where one waits.
type OutboxPage struct {
	Rooms   int // different ones
	PerRoom int // items of one room, consecutive from its first
	Bytes   int // bodies together; 0 means no bound of the reader's own
}

// ReadOutbox visits the waiting items of an outbox with sequences of at least from, in order. destination is the name of the
// outbox: for the local provider, the first of the settings' domains. The items are the visitor's to keep.
func ReadOutbox(r Reader, slot SlotID, destination mimi.Provider, from uint64, visit func(OutboxItem) (more bool, err error)) error {
	head, err := ReadOutboxPosition(r, slot, destination)
	if err != nil || head.Waiting == 0 {
		return err
	}
	prefix := newKey(slot, keyOutboxItem).provider(destination)
	// What has been removed lies in front of the first, and may still have to be walked over by the store.
	lower := outboxItemKey(slot, destination, max(from, head.First))
	return scanRangeUpTo(r, prefix, lower, prefix.end(), "outbox item", ItemVersion, readStoredItem, func(rest []byte, item OutboxItem) (bool, error) {
		item.Slot, item.Destination, item.Sequence = slot, destination, numberOf(rest)
		return visit(item)
	})
}

// outboxBody collects what the entry makes for a (room, destination).
type outboxBody struct {
	outboxBodyName
	bytes     []byte
	notes     []Note
	handshake bool // bytes has a Commit, Proposal or Welcome
}

type outboxBodyName struct {
	slot        SlotID // the room's
	room        mimi.RoomURI
	hub         mimi.Provider
	destination mimi.Provider
}

// sendAll collects a FanoutMessage of a room that is owned here. Destinations that are one, as the local provider under two of
// its domains, get it once.
func (t *tx) sendAll(room mimi.RoomURI, destinations []mimi.Provider, message []byte) {
	var sent []mimi.Provider
	for _, destination := range destinations {
		destination = t.destination(destination)
		if !slices.Contains(sent, destination) {
			sent = append(sent, destination)
			t.collect(room, t.settings.Domains[0], destination, message)
		}
	}
}

func (t *tx) collect(room mimi.RoomURI, hub, destination mimi.Provider, message []byte) {
	body := t.body(outboxBodyName{SlotOfRoom(room), room, hub, destination})
	body.bytes = append(body.bytes, message...)
	body.handshake = body.handshake || isHandshake(message)
	if t.isLocal(destination) {
		t.toClients(room, hub, message)
	}
}

// isHandshake reports whether a FanoutMessage brings a Commit, Proposals or a Welcome: all but application messages, which alone are
// PrivateMessages (mimi-protocol-06 §5.5). It was checked before the log.
func isHandshake(message []byte) bool {
	const wireFormat = 8 + 2 // behind the timestamp and the version of the MLSMessage
	return len(message) < wireFormat+2 || mls.WireFormat(binary.BigEndian.Uint16(message[wireFormat:])) != mls.WirePrivateMessage
}

// body is the one that this entry makes under a name.
func (t *tx) body(name outboxBodyName) *outboxBody {
	body, begun := t.bodyOf[name]
	if !begun {
		body = &outboxBody{outboxBodyName: name}
		t.bodyOf[name] = body
		t.bodies = append(t.bodies, body)
	}
	return body
}

// cutOutbox appends one item for each (room, destination) of the entry, in the order in which they first came up, and notes which
// outboxes were touched.
func (t *tx) cutOutbox() {
	for _, b := range t.bodies {
		t.cut(b)
	}
	t.bodies = nil
}

// cutOutboxOf does it before the end of the entry for a slot of which nothing may be written any more.
func (t *tx) cutOutboxOf(slot SlotID) {
	left := t.bodies[:0]
	for _, b := range t.bodies {
		if b.slot != slot {
			left = append(left, b)
			continue
		}
		t.cut(b)
		delete(t.bodyOf, b.outboxBodyName)
	}
	t.bodies = left
}

func (t *tx) cut(b *outboxBody) {
	o := t.openOutbox(b.slot, b.destination)
	o.append(OutboxItem{Room: b.room, Hub: b.hub, Millis: t.now, Body: b.bytes, Notes: b.notes}, b.handshake)
	o.close()
	t.touched = addOnce(t.touched, o.ref)
	if o.head.Urgent() || t.format < FormatBulk { // what an older format leaves behind counts as some, from its first item on
		t.urgent = addOnce(t.urgent, o.ref)
	}
}

func addOnce(refs []OutboxRef, ref OutboxRef) []OutboxRef {
	if slices.Contains(refs, ref) {
		return refs
	}
	return append(refs, ref)
}
