package fsm

import (
	"crypto/sha256"

	"parley/mimi"
	"parley/mls"
)

// Where the settings have it so, each local client has an inbox of its own: what it has to see of every room that it is in, hosted here or
// followed. A room's slot keeps one log for all its local clients, each event once, and for each client a window: from where it belongs to
// the client, up to where, and what of it the client has acknowledged. An event goes when all whose window it is in have acknowledged
// it, or after the retention of inboxes, which leaves a gap that each of them is told of.
//
// A window begins with a client's Welcome, or with its external Commit. It ends with the Commit that takes the client's leaf out, which
// is the last thing in it: a member has to process the Commit that removes it (RFC 9420 §12.4.2) to know that it is out. Of a room that is
// hosted here the tree says whose leaf is whose (memberturns.go), of a room that is followed a roster that is kept from its
// handshakes (roster.go). The slot of a client's name knows in which rooms it has windows (clientrooms.go).

// clientLog is the head of a room's log for local clients.
//
//	struct {
//	    opaque room<V>;
//	    opaque hub<V>;
//	    uint64 next;      // the position of the next event
//	    uint32 open;      // windows that have not ended
//	    uint64 due;       // when the log is next looked at for what has waited too long; 0: nothing waits
//	    uint64 epoch;     // the room's, as far as its events tell
//	} ClientLog;
type clientLog struct {
	room  mimi.RoomURI
	hub   mimi.Provider
	next  uint64
	open  uint32
	due   uint64
	epoch mls.Epoch
}

func (l clientLog) appendTo(w *mls.Writer) {
	l.room.AppendTo(w)
	l.hub.AppendTo(w)
	w.Uint64(l.next)
	w.Uint32(l.open)
	w.Uint64(l.due)
	w.Uint64(uint64(l.epoch))
}

func readClientLog(r *mls.Reader) clientLog {
	return clientLog{
		room: mimi.ReadRoomURI(r, "room"), hub: mimi.ReadProvider(r, "hub"), next: r.Uint64("next"), open: r.Uint32("open"),
		due: r.Uint64("due"), epoch: mls.Epoch(r.Uint64("epoch")),
	}
}

// The keys of a room's part begin with the hash of its URI, which an ID of an event carries, so that it can be acknowledged by that alone.

// RoomHash is the SHA-256 of a room's canonical URI; the slot is its first bits.
type RoomHash [hashBytes]byte

// HashOfRoom hashes a room's URI.
func HashOfRoom(room mimi.RoomURI) RoomHash { return sha256.Sum256([]byte(room.String())) }

// Slot is the room's.
func (h RoomHash) Slot() SlotID { return SlotID(h[0])<<4 | SlotID(h[1])>>4 }

func (h RoomHash) key(kind keyKind) key { return newKey(h.Slot(), kind).raw(h[:]) }

func clientLogKey(room RoomHash) key { return room.key(keyClientLog) }

func clientEventKey(room RoomHash, position uint64) key {
	return room.key(keyClientEvent).uint64(position)
}

func clientEventIndexKey(room RoomHash, position uint64) key {
	return room.key(keyClientEventIndex).uint64(position)
}

// clientInboxes reports whether clients have inboxes.
func (t *tx) clientInboxes() bool { return t.format >= FormatBulk && t.settings.Bulk.ClientInboxes }

// newClientLog begins a log. Its positions begin above all that a log of the room has had before, so that an acknowledgement that
// comes late is never of another event: no room has a thousand events in a millisecond.
func (t *tx) newClientLog(room mimi.RoomURI, hub mimi.Provider) clientLog {
	return clientLog{room: room, hub: hub, next: t.now*1000 + 1}
}

func (t *tx) clientLog(room RoomHash) (clientLog, bool) {
	return get(t, func(r Reader) (clientLog, bool, error) { return readClientLogOf(r, room) })
}

func readClientLogOf(r Reader, room RoomHash) (clientLog, bool, error) {
	return readRecord(r, clientLogKey(room), "log for clients", readClientLog)
}

func (t *tx) setClientLog(l clientLog) { t.set(clientLogKey(HashOfRoom(l.room)), record(l.appendTo)) }

// dropClientInboxes forgets all logs and windows, when clients are to have no inboxes any more. What the slots of their names know is
// corrected when they have them again.
func (t *tx) dropClientInboxes() {
	for _, slot := range t.servedSlots() {
		t.dropClientInboxesOf(slot)
	}
}

func (t *tx) dropClientInboxesOf(slot SlotID) {
	t.deleteRange(newKey(slot, keyClientEvent), newKey(slot, keyRoster).raw([]byte{memberRooms}))
}
