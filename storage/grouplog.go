package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

// GroupLog is one group's Raft log, contiguous from FirstIndex to LastIndex: a raft.LogStore and raft.MonotonicLogStore.
// An entry can be read once it is durable. Safe for concurrent use: the snapshot goroutine truncates beside the appender.
type GroupLog struct {
	engine     *LogEngine
	id         uint32
	tombstoned atomic.Bool

	writing sync.Mutex // held over a whole write, its sync included
	bounds  logBounds  // shrinks before the database does and grows after it
}

var (
	_ raft.LogStore          = (*GroupLog)(nil)
	_ raft.MonotonicLogStore = (*GroupLog)(nil)
)

// logBounds caches where a log begins and ends, both 0 for an empty log. Its lock is never held over a write to the disk.
type logBounds struct {
	mu          sync.Mutex
	loaded      bool
	first, last uint64
	version     uint64 // grows with each change, so that a reader notices one
}

// IsMonotonic tells raft that the log cannot have gaps (raft.MonotonicLogStore).
func (g *GroupLog) IsMonotonic() bool { return true }

// FirstIndex is the index of the oldest entry, 0 for an empty log.
func (g *GroupLog) FirstIndex() (uint64, error) {
	first, _, _, err := g.span()
	return first, err
}

// LastIndex is the index of the newest entry, 0 for an empty log.
func (g *GroupLog) LastIndex() (uint64, error) {
	_, last, _, err := g.span()
	return last, err
}

// GetLog reads one entry; raft.ErrLogNotFound where there is none. The entry's slices are the caller's.
// An entry that is not what was stored gives ErrCorrupt, and OnCorrupt hears of it.
func (g *GroupLog) GetLog(index uint64, entry *raft.Log) error {
	for {
		first, last, version, err := g.span()
		if err != nil {
			return err
		}
		if index < first || index > last || first == 0 {
			return raft.ErrLogNotFound
		}
		record, err := get(g.engine.db, logKey(g.id, index))
		if err != nil {
			return g.unreadable(err)
		}
		if record != nil {
			return g.unreadable(decodeRecord(record, g.id, index, entry))
		}
		// Absent although inside the bounds: a hole, unless a truncation came between.
		if _, _, now, err := g.span(); err != nil {
			return err
		} else if now == version {
			return g.unreadable(fmt.Errorf("group %d, log index %d: %w: missing inside [%d, %d]", g.id, index, ErrCorrupt, first, last))
		}
	}
}

// unreadable sorts a reader's error: damage is the group's and is reported, anything else is the engine's failure.
func (g *GroupLog) unreadable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrCorrupt):
		g.engine.onCorrupt(g.id, err)
		return err
	default:
		g.engine.stop.fail(fmt.Errorf("read the log of group %d: %w", g.id, err))
		return g.engine.stop.check()
	}
}

// StoreLog stores one entry; see StoreLogs.
func (g *GroupLog) StoreLog(entry *raft.Log) error {
	return g.StoreLogs([]*raft.Log{entry})
}

// StoreLogs appends entries, which must be contiguous and leave no gap behind the log (ErrGap). Everything at or past the
// first of them is deleted in the same atomic write. Returns once all of it is durable.
func (g *GroupLog) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	g.writing.Lock()
	defer g.writing.Unlock()
	first, last, _, err := g.span()
	if err != nil {
		return err
	}
	if g.tombstoned.Load() {
		return fmt.Errorf("group %d: %w", g.id, ErrTombstoned)
	}
	if err := checkContiguous(last, entries); err != nil {
		return fmt.Errorf("group %d: %w", g.id, err)
	}
	batch, err := g.encode(last, entries)
	if err != nil {
		return err
	}
	from, to := entries[0].Index, entries[len(entries)-1].Index
	if first == 0 || from <= first {
		g.bounds.set(0, 0)
		first = from
	} else {
		g.bounds.set(first, from-1)
	}
	if err := g.engine.commit(fmt.Sprintf("store entries of group %d", g.id), batch); err != nil {
		return err
	}
	g.bounds.set(first, to)
	return nil
}

// checkContiguous refuses entries that have a gap among them or behind the log's last index (0: empty, any start will do).
func checkContiguous(last uint64, entries []*raft.Log) error {
	start := entries[0].Index
	if start == 0 || last != 0 && start > last+1 {
		return fmt.Errorf("%w: entry %d after %d", ErrGap, start, last)
	}
	for i, entry := range entries {
		if entry.Index != start+uint64(i) {
			return fmt.Errorf("%w: entry %d where %d must be", ErrGap, entry.Index, start+uint64(i))
		}
	}
	return nil
}

// encode makes the batch that deletes what the entries overwrite and adds them.
func (g *GroupLog) encode(last uint64, entries []*raft.Log) (*pebble.Batch, error) {
	size := 64
	for _, entry := range entries {
		size += recordSize(entry) + logKeyBytes + 16
	}
	batch := g.engine.db.NewBatchWithSize(size)
	if start := entries[0].Index; start <= last {
		if err := batch.DeleteRange(logKey(g.id, start), logKey(g.id, last+1), nil); err != nil {
			return nil, errors.Join(wrap("overwrite", err), batch.Close())
		}
	}
	for _, entry := range entries {
		put := batch.SetDeferred(logKeyBytes, recordSize(entry))
		appendLogKey(put.Key[:0], g.id, entry.Index)
		if err := errors.Join(encodeRecord(put.Value, g.id, entry), put.Finish()); err != nil {
			return nil, errors.Join(wrap("encode", err), batch.Close())
		}
	}
	return batch, nil
}

// DeleteRange deletes the entries from one index to another, both included, durably: the head of the log (after a snapshot),
// its tail (a conflict) or all of it. A piece out of the middle is refused with ErrGap; where nothing lies in the range nothing
// is done.
func (g *GroupLog) DeleteRange(from, to uint64) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	first, last, _, err := g.span()
	if err != nil {
		return err
	}
	from, to = max(from, first), min(to, last)
	if first == 0 || from > to {
		return nil
	}
	if from > first && to < last {
		return fmt.Errorf("group %d: %w: delete [%d, %d] out of [%d, %d]", g.id, ErrGap, from, to, first, last)
	}
	batch := g.engine.db.NewBatch()
	if err := batch.DeleteRange(logKey(g.id, from), logKey(g.id, to+1), nil); err != nil {
		return errors.Join(wrap("truncate", err), batch.Close())
	}
	if from == first {
		g.bounds.set(to+1, last)
	} else {
		g.bounds.set(first, from-1)
	}
	return g.engine.commit(fmt.Sprintf("truncate group %d", g.id), batch)
}

// Check reads every entry and says whether each is there and what was stored; ErrCorrupt if not. Entries that are truncated
// meanwhile are passed over.
func (g *GroupLog) Check(ctx context.Context) error {
	first, last, _, err := g.span()
	if err != nil {
		return err
	}
	var entry raft.Log
	for index := first; index != 0 && index <= last; index++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := g.GetLog(index, &entry); err != nil && !errors.Is(err, raft.ErrLogNotFound) {
			return err
		}
	}
	return nil
}

// destroy leaves nothing of the log, and no tombstone or one. The tombstone is durable before the log goes, or is lifted after it went.
func (g *GroupLog) destroy(tombstone bool) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	if err := g.engine.usable(); err != nil {
		return err
	}
	operation := fmt.Sprintf("destroy the log of group %d", g.id)
	mark := engineKey(engineTombstone, g.id)
	if tombstone {
		g.tombstoned.Store(true)
		if err := g.engine.stop.do(operation, g.engine.writeLimit, func() error { return g.engine.db.Set(mark, nil, pebble.Sync) }); err != nil {
			return err
		}
	}
	g.bounds.set(0, 0)
	if err := g.engine.excise(operation, g.id); err != nil || tombstone {
		return err
	}
	err := g.engine.stop.do(operation, g.engine.writeLimit, func() error { return g.engine.db.Delete(mark, pebble.Sync) })
	if err == nil {
		g.tombstoned.Store(false)
	}
	return err
}

// span gives the bounds and their version, read from the database at the first use.
func (g *GroupLog) span() (first, last, version uint64, err error) {
	if err := g.engine.usable(); err != nil {
		return 0, 0, 0, err
	}
	b := &g.bounds
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.loaded {
		if b.first, b.last, err = g.readBounds(); err != nil {
			return 0, 0, 0, g.unreadable(err)
		}
		b.loaded = true
	}
	return b.first, b.last, b.version, nil
}

func (b *logBounds) set(first, last uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last < first {
		first, last = 0, 0
	}
	b.first, b.last, b.loaded = first, last, true
	b.version++
}

func (g *GroupLog) readBounds() (first, last uint64, err error) {
	iter, err := g.engine.db.NewIter(&pebble.IterOptions{LowerBound: groupPrefix(g.id), UpperBound: groupEnd(g.id)})
	if err != nil {
		return 0, 0, wrap("read log bounds", err)
	}
	defer func() { err = errors.Join(err, wrap("read log bounds", iter.Close())) }()
	for _, end := range []struct {
		seek  func() bool
		index *uint64
	}{{iter.First, &first}, {iter.Last, &last}} {
		if !end.seek() { // the next seek would forget the error of this one
			return 0, 0, wrap("read log bounds", iter.Error())
		}
		if *end.index, err = logKeyIndex(iter.Key()); err != nil {
			return 0, 0, err
		}
	}
	return first, last, nil
}

func logKeyIndex(key []byte) (uint64, error) {
	if len(key) != logKeyBytes {
		return 0, fmt.Errorf("%w: log key %x", ErrCorrupt, key)
	}
	return binary.BigEndian.Uint64(key[4:]), nil
}
