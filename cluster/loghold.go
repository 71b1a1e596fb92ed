package cluster

import (
	"math"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A state of gigabytes takes minutes to bring over and to write, and the shard goes on meanwhile. What it decides has to be in the
// leader's log when the other replica asks for it: where the log begins behind the state that came, that replica needs another state,
// which takes as long, and so on for as long as the shard is busy. So a group whose state is being fetched here takes no snapshots,
// and keeps its log, until the other one has had time to catch up. The log may grow by as much as the state has, for behind more than
// that a state is the shorter way; and it goes at once where the disk has no room.

// holdAfter is how long the log is kept behind the end of the last fetch: an attempt that was cut off comes again, and one that has
// succeeded is followed by the log.
const holdAfter = time.Minute

// logHold keeps a group's log for replicas that fetch its state. Safe for concurrent use.
type logHold struct {
	mu    sync.Mutex
	raft  reloadable // nil before it runs
	held  bool
	lent  bool                  // a state was sent since it is held
	users int                   // states that are being sent, and snapshots that are offered
	ended time.Time             // when the last of them did
	grown uint64                // bytes of log that were applied since it is held
	max   uint64                // of them
	least uint64                // that max is, however small the state
	usual raft.ReloadableConfig // while nothing is held
}

// reloadable is the part of *raft.Raft that a hold needs.
type reloadable interface {
	ReloadableConfig() raft.ReloadableConfig
	ReloadConfig(raft.ReloadableConfig) error
}

// open lets the log of a Raft instance be held, which may have taken another's place, and and may grow by leastBytes however small the
// state is.
func (h *logHold) open(r reloadable, leastBytes uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.raft, h.usual, h.held, h.least = r, r.ReloadableConfig(), false, leastBytes
}

// offer holds the log while a snapshot is offered: it goes on from that snapshot's index, and would be offered a newer one if the log
// did not. It ends when the other replica has a state in use, or is cut off.
func (h *logHold) offer() (done func(), err error) { return h.begin(h.least) }

// lend holds the log while a state of about so many bytes is being sent, and for holdAfter behind the end of the last user: who is sent
// a state is alive, which who is only offered one need not be.
func (h *logHold) lend(stateBytes uint64) (done func(), err error) {
	done, err = h.begin(max(h.least, stateBytes))
	if err == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.lent = true
	}
	return done, err
}

func (h *logHold) begin(bytesMax uint64) (done func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.raft != nil && !h.held {
		config := h.usual
		config.SnapshotThreshold, config.TrailingLogs = math.MaxUint64, math.MaxUint64 // the latter for one that is under way
		if err := h.raft.ReloadConfig(config); err != nil {
			return nil, err
		}
		h.held, h.lent, h.grown, h.max = true, false, 0, 0
	}
	h.max = max(h.max, bytesMax)
	h.users++
	return h.leave, nil
}

func (h *logHold) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users--
	h.ended = time.Now()
}

// grew counts log that was applied, lets go what has been held for long enough, and reports whether the log is held still. full: the
// disk has no room.
func (h *logHold) grew(bytes uint64, full bool) (held bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.held {
		return false, nil
	}
	h.grown += bytes
	needed := h.users > 0 || h.lent && time.Since(h.ended) < holdAfter
	if needed && h.grown <= h.max && !full {
		return true, nil
	}
	h.held = false
	return false, h.raft.ReloadConfig(h.usual)
}
