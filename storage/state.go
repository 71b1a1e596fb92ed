package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// StateOptions says how to open a state engine. OnFatal is required; every other zero value means the default.
type StateOptions struct {
	// OnFatal is called once, with the first failure of the engine, from whichever goroutine met it. It is expected to end
	// the process; where it returns, the engine answers ErrFailed from then on.
	OnFatal func(error)

	// OnCorrupt is called, in the reader's goroutine, with each read of a group that does not give what was written. The reader gets
	// ErrCorrupt too. It must not block for long.
	OnCorrupt func(group uint32, err error)

	// OnDamage is called, in the background and once for each table that does not read back, with the groups whose data that concerns.
	OnDamage func(groups []uint32, err error)

	// WriteLimit is after how long a commit or a sync is a failure; 60 s. Pebble lets writes wait while it has too much to compact, and
	// where that cannot be compacted they would wait for ever, on a node that goes on leading.
	WriteLimit time.Duration

	// ReadOnly opens what is there, and changes nothing of it.
	ReadOnly bool

	FS            vfs.FS       // the operating system's
	Logger        *slog.Logger // none
	CacheBytes    int64        // 64 MiB
	MemTableBytes int64        // 4 MiB, and up to four of them
}

const (
	defaultCacheBytes         = 64 << 20
	defaultStateMemTableBytes = 4 << 20
	defaultStateWriteLimit    = time.Minute
)

// StateEngine holds the replicated state of every group of a node in one Pebble database.
// Nothing is synced per write: the Raft log is the journal, and Sync makes durable what was committed so far.
// Safe for concurrent use.
type StateEngine struct {
	*engine
	writeLimit time.Duration
	onCorrupt  func(group uint32, err error)
	ingestDir  string // sorted tables of a restore under way; whatever is in it at open is left over from a crash

	mu     sync.Mutex // owns groups
	groups map[uint32]*GroupState
}

// OpenState opens or makes the state engine in dir. A group whose restore was cut off by a crash answers true to Restoring.
// A damaged database gives ErrCorrupt.
func OpenState(dir string, opts StateOptions) (*StateEngine, error) {
	inner, err := openEngine(filepath.Join(dir, "db"), engineOptions{
		name: "state", fs: opts.FS, logger: opts.Logger, onFatal: opts.OnFatal, onDamage: opts.OnDamage,
		cacheBytes:    orDefault(opts.CacheBytes, defaultCacheBytes),
		memTableBytes: orDefault(opts.MemTableBytes, defaultStateMemTableBytes),
		// Whatever may come twice is looked for before it is taken, and is there only when it does.
		filtered: true, readOnly: opts.ReadOnly,
	})
	if err != nil {
		return nil, fmt.Errorf("open the state engine: %w", err)
	}
	e := &StateEngine{engine: inner, writeLimit: orDefault(opts.WriteLimit, defaultStateWriteLimit), onCorrupt: opts.OnCorrupt, ingestDir: filepath.Join(dir, "ingest"), groups: make(map[uint32]*GroupState)}
	if e.onCorrupt == nil {
		e.onCorrupt = func(uint32, error) {}
	}
	if !opts.ReadOnly {
		err = e.fs.RemoveAll(e.ingestDir)
	}
	if err := errors.Join(err, e.findRestoring()); err != nil {
		return nil, fmt.Errorf("open the state engine: %w", errors.Join(err, e.close()))
	}
	return e, nil
}

// findRestoring looks once, at open, for the marks of restores that did not end.
func (e *StateEngine) findRestoring() error {
	ids, err := e.Groups()
	if err != nil {
		return err
	}
	for _, id := range ids {
		mark, err := get(e.db, metaKey(id, metaRestoring))
		if err != nil {
			return err
		}
		e.Group(id).restoring.Store(mark != nil)
	}
	return nil
}

// Groups lists the groups that hold any key, in ascending order.
func (e *StateEngine) Groups() (ids []uint32, err error) {
	if err := e.usable(); err != nil {
		return nil, err
	}
	return groupsIn(e.db)
}

// Group gives the state of one group, which may be empty. The same number always gives the same *GroupState.
// A number over GroupMax panics: it is the engine's own.
func (e *StateEngine) Group(id uint32) *GroupState {
	if id > GroupMax {
		panic(fmt.Sprintf("storage: %d is no group's number", id))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	group := e.groups[id]
	if group == nil {
		group = &GroupState{engine: e, id: id}
		e.groups[id] = group
	}
	return group
}

// Sync makes everything durable that was committed before the call, in every group, with one sync of the write-ahead log.
// Concurrent calls share syncs.
func (e *StateEngine) Sync() error {
	if err := e.usable(); err != nil {
		return err
	}
	return e.stop.do("sync the state engine", e.writeLimit, func() error { return e.db.LogData(nil, pebble.Sync) })
}

// Close closes the engine. Every Batch and View must have been closed before; a failed engine is left untouched.
func (e *StateEngine) Close() error {
	return e.close()
}

// groupsIn finds the groups by jumping from the first key of one to the first key past its range.
func groupsIn(db *pebble.DB) (ids []uint32, err error) {
	iter, err := db.NewIter(nil)
	if err != nil {
		return nil, wrap("list groups", err)
	}
	defer func() { err = errors.Join(err, wrap("list groups", iter.Close())) }()
	for found := iter.First(); found; {
		key := iter.Key()
		if len(key) < userKeyPrefixBytes {
			return nil, fmt.Errorf("%w: key %x is too short", ErrCorrupt, key)
		}
		id := binary.BigEndian.Uint32(key)
		if id > GroupMax {
			break
		}
		ids = append(ids, id)
		found = iter.SeekGE(groupEnd(id))
	}
	return ids, wrap("list groups", iter.Error())
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}
