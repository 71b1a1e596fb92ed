package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// What others may pile up at a room is counted and bounded, from FormatQueues on. The bounds are far above what an honest group
// comes to; they keep a Commit's work and a room's share of its slot finite, whatever peers send.
const (
	// PendingMax and PendingBytesMax bound the Proposals that wait in one epoch: a Commit settles them all, and a joiner gets them
	// all in one answer. Only a Commit makes room.
	PendingMax      = 1000
	PendingBytesMax = 4 << 20

	// RoutesMax bounds the claimed KeyPackages that a room remembers, twice the leaves that a group may have.
	RoutesMax = 100_000
	// MappedClientsMax bounds the clients that a room has ever known.
	MappedClientsMax = 200_000
)

const tooManyClients = "more clients were claimed or named for the room than it may know"

// roomLoad counts what waits at a room. The room need not exist yet.
//
//	struct {
//	    uint32 pending;
//	    uint64 pending_bytes; // of the Proposals' messages
//	    uint32 routes;
//	    uint32 clients;
//	} RoomLoad;
type roomLoad struct {
	pending      uint32
	pendingBytes uint64
	routes       uint32
	clients      uint32
}

func (l roomLoad) appendTo(w *mls.Writer) {
	w.Uint32(l.pending)
	w.Uint64(l.pendingBytes)
	w.Uint32(l.routes)
	w.Uint32(l.clients)
}

func readRoomLoad(r *mls.Reader) roomLoad {
	return roomLoad{
		pending: r.Uint32("pending"), pendingBytes: r.Uint64("pending_bytes"), routes: r.Uint32("routes"), clients: r.Uint32("clients"),
	}
}

func (l *roomLoad) addPending(proposals []PendingProposal) {
	for _, p := range proposals {
		l.pending++
		l.pendingBytes += uint64(len(p.Message))
	}
}

// changeLoad lets what is about to be written count at a room; false where a bound would be passed, and then nothing changes. Where
// the shard's format does not count, everything is let in. The first count of a room that is older than the counting looks at
// what is there.
func (t *tx) changeLoad(room mimi.RoomURI, change func(*roomLoad)) (within bool) {
	if t.format < FormatQueues {
		return true
	}
	load, counted := t.loadOf(room)
	if !counted {
		load = t.countLoad(room)
	}
	before := load
	change(&load)
	if load.pending > max(before.pending, PendingMax) || load.pendingBytes > max(before.pendingBytes, PendingBytesMax) ||
		load.routes > max(before.routes, RoutesMax) || load.clients > max(before.clients, MappedClientsMax) {
		return false
	}
	if load != before || !counted {
		t.set(roomKey(keyRoomLoad, room), record(load.appendTo))
	}
	return true
}

// relieve takes off a room's load what an expiry or a Commit has removed. A room that was never counted has nothing to take off.
func (t *tx) relieve(k key, change func(*roomLoad)) {
	load, counted := get(t, func(r Reader) (roomLoad, bool, error) { return readRecord(r, k, "room's load", readRoomLoad) })
	if !counted {
		return
	}
	change(&load)
	if load == (roomLoad{}) {
		t.delete(k)
		return
	}
	t.set(k, record(load.appendTo))
}

func (t *tx) loadOf(room mimi.RoomURI) (roomLoad, bool) {
	return get(t, func(r Reader) (roomLoad, bool, error) {
		return readRecord(r, roomKey(keyRoomLoad, room), "room's load", readRoomLoad)
	})
}

func (t *tx) countLoad(room mimi.RoomURI) (load roomLoad) {
	pending, err := ReadAllPending(t.store, room)
	t.check(err)
	load.addPending(pending)
	load.routes = t.countKeys(roomKey(keyRoute, room))
	load.clients = t.countKeys(roomKey(keyClientUser, room))
	return load
}

func (t *tx) countKeys(prefix key) (n uint32) {
	t.check(t.store.Scan(prefix, prefix.end(), func(_, _ []byte) (bool, error) {
		n++
		return true, nil
	}))
	return n
}

// loadKeyBeside is the load's key of the room that a record belongs to.
func loadKeyBeside(k key) key {
	return append(key{k[0], k[1], byte(keyRoomLoad)}, k[keyPrefixBytes:keyPrefixBytes+hashBytes]...)
}
