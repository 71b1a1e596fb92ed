package clustertest

import (
	"crypto/sha256"
	"sync"

	"parley/fsm"
	"parley/mimi"
)

// ledger holds what every replica has applied at each place of each log. Raft's promise is that it is the same everywhere and for
// ever (state machine safety); all of ours rest on it.
type ledger struct {
	mu      sync.Mutex
	entries map[place]seen
	births  map[mimi.RoomURI]uint64 // at which index each room was created
	witness *witness                // nil where no slots move
}

type place struct {
	group uint32
	index uint64
}

type seen struct {
	sum  [32]byte
	node string
}

func newLedger() *ledger {
	return &ledger{entries: make(map[place]seen), births: make(map[mimi.RoomURI]uint64)}
}

// applied takes note of an entry, also of a life that is over: its replica had committed it.
func (w *World) applied(l *life, group uint32, index uint64, entry []byte) {
	sum := sha256.Sum256(entry)
	w.entries.mu.Lock()
	before, known := w.entries.entries[place{group, index}]
	var wrong []string
	if !known {
		w.entries.entries[place{group, index}] = seen{sum, l.id}
		switch {
		case group == 0:
		case w.entries.witness != nil:
			wrong = w.entries.witness.apply(w.entries, group, index, entry)
		default:
			w.entries.read(index, entry)
		}
	}
	w.entries.mu.Unlock()
	for _, one := range wrong {
		w.violated("%s", one)
	}
	if known && before.sum != sum {
		w.violated("group %d, index %d: %s applied another entry than %s", group, index, l.id, before.node)
	}
}

// size counts the entries that were seen.
func (l *ledger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// read notes what the clients need to know of a shard's entry. The caller holds mu.
func (l *ledger) read(index uint64, entry []byte) {
	decoded, err := fsm.DecodeEntry(entry)
	if err != nil {
		return // the replica will stop at it
	}
	for _, command := range decoded.Commands {
		if create, yes := command.(fsm.CreateRoom); yes && l.births[create.Room] == 0 {
			l.births[create.Room] = index
		}
	}
}

// birth is the index that created a room; its replicas have applied it.
func (l *ledger) birth(room mimi.RoomURI) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.births[room]
}
