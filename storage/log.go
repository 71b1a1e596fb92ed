package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// LogOptions says how to open a log engine. OnFatal is required; every other zero value means the default.
type LogOptions struct {
	// OnFatal is called once, with the first failure of the engine, from whichever goroutine met it. It is expected to end
	// the process; where it returns, the engine answers ErrFailed from then on.
	OnFatal func(error)

	// OnCorrupt is called, in the reader's goroutine, with each record that does not read back as it was written. The reader
	// gets ErrCorrupt too, but raft keeps that to itself. It must not block.
	OnCorrupt func(group uint32, err error)

	// OnDamage is called, in the background and once for each table that does not read back, with the groups whose entries that concerns.
	OnDamage func(groups []uint32, err error)

	// ReadOnly opens what is there, and changes nothing of it.
	ReadOnly bool

	WriteLimit    time.Duration // 10 s: a synced write that takes longer is a failure
	FS            vfs.FS        // the operating system's
	Logger        *slog.Logger  // none
	CacheBytes    int64         // 8 MiB
	MemTableBytes int64         // 8 MiB, and up to four of them
}

const (
	defaultWriteLimit       = 10 * time.Second
	defaultLogCacheBytes    = 8 << 20
	defaultLogMemTableBytes = 8 << 20
)

// LogEngine holds the Raft logs of every group of a node in one Pebble database. Every write is synced; writes of different
// groups that come at the same time share the sync. Safe for concurrent use.
type LogEngine struct {
	*engine
	writeLimit time.Duration
	onCorrupt  func(group uint32, err error)

	mu     sync.Mutex // owns groups
	groups map[uint32]*GroupLog
}

// OpenLog opens or makes the log engine in dir. A damaged database gives ErrCorrupt.
func OpenLog(dir string, opts LogOptions) (*LogEngine, error) {
	inner, err := openEngine(dir, engineOptions{
		name: "log", fs: opts.FS, logger: opts.Logger, onFatal: opts.OnFatal, onDamage: opts.OnDamage,
		cacheBytes:    orDefault(opts.CacheBytes, defaultLogCacheBytes),
		memTableBytes: orDefault(opts.MemTableBytes, defaultLogMemTableBytes),
		// Entries are mostly ciphertext and live for minutes.
		uncompressed: true, readOnly: opts.ReadOnly,
	})
	if err != nil {
		return nil, fmt.Errorf("open the log engine: %w", err)
	}
	e := &LogEngine{engine: inner, writeLimit: orDefault(opts.WriteLimit, defaultWriteLimit), onCorrupt: opts.OnCorrupt,
		groups: make(map[uint32]*GroupLog)}
	if e.onCorrupt == nil {
		e.onCorrupt = func(uint32, error) {}
	}
	if err := e.loadTombstones(); err != nil {
		return nil, fmt.Errorf("open the log engine: %w", errors.Join(err, e.close()))
	}
	return e, nil
}

// Group gives the log of one group, which may be empty. The same number always gives the same *GroupLog.
// A number over GroupMax panics: it is the engine's own.
func (e *LogEngine) Group(id uint32) *GroupLog {
	if id > GroupMax {
		panic(fmt.Sprintf("storage: %d is no group's number", id))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	group := e.groups[id]
	if group == nil {
		group = &GroupLog{engine: e, id: id}
		e.groups[id] = group
	}
	return group
}

// Groups lists the groups that hold any entry, in ascending order.
func (e *LogEngine) Groups() ([]uint32, error) {
	if err := e.usable(); err != nil {
		return nil, err
	}
	return groupsIn(e.db)
}

// Destroy deletes a group's whole log, durably, damaged or not, and lifts its tombstone. Raft must no longer run on it.
func (e *LogEngine) Destroy(group uint32) error {
	return e.Group(group).destroy(false)
}

// Tombstone marks a group as removed from this node and deletes its log, durably and in one step. From then on the group
// takes no entries here, after a restart too. Raft must no longer run on it.
func (e *LogEngine) Tombstone(group uint32) error {
	return e.Group(group).destroy(true)
}

// Tombstoned says whether the group was removed from this node.
func (e *LogEngine) Tombstoned(group uint32) (bool, error) {
	if err := e.usable(); err != nil {
		return false, err
	}
	return e.Group(group).tombstoned.Load(), nil
}

func (e *LogEngine) loadTombstones() (err error) {
	iter, err := e.db.NewIter(&pebble.IterOptions{
		LowerBound: engineKey(engineTombstone, 0), UpperBound: engineKey(engineTombstone+1, 0)})
	if err != nil {
		return wrap("read tombstones", err)
	}
	defer func() { err = errors.Join(err, wrap("read tombstones", iter.Close())) }()
	for found := iter.First(); found; found = iter.Next() {
		group, err := engineKeyNumber(iter.Key())
		if err != nil {
			return err
		}
		e.Group(group).tombstoned.Store(true)
	}
	return wrap("read tombstones", iter.Error())
}

// Probe makes one synced write, to learn whether the disk takes writes again before a node stands for election.
func (e *LogEngine) Probe() error {
	if err := e.usable(); err != nil {
		return err
	}
	batch := e.db.NewBatch()
	if err := batch.LogData([]byte("probe"), nil); err != nil {
		return errors.Join(wrap("probe", err), batch.Close())
	}
	return e.commit("probe", batch)
}

// commit syncs a batch and closes it.
func (e *LogEngine) commit(operation string, batch *pebble.Batch) error {
	if err := e.usable(); err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := e.stop.do(operation, e.writeLimit, func() error { return batch.Commit(pebble.Sync) }); err != nil {
		// Pebble may still hold a batch whose commit failed: it must not go back to the pool.
		return err
	}
	return wrap(operation, batch.Close())
}

// Close closes the engine. No raft may run on it any more; a failed engine is left untouched.
func (e *LogEngine) Close() error {
	return e.close()
}
