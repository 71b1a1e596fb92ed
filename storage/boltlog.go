package storage

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// BoltLogOptions says how to open a BoltLog. OnFatal is required; every other zero value means the default.
type BoltLogOptions struct {
	OnFatal    func(error)                   // see LogOptions
	OnCorrupt  func(group uint32, err error) // see LogOptions
	WriteLimit time.Duration                 // 10 s
	Group      uint32                        // covered by each record's checksum
	ReadOnly   bool                          // the file has to be there, and is not changed
}

// BoltLog is one group's Raft log and stable store in one bolt file: for the meta group, and for shards where the operator
// chose it. It keeps the promises of GroupLog (checksums, contiguity, fail-stop), each append with two fsyncs of its own.
// Safe for concurrent use.
type BoltLog struct {
	raft.StableStore
	bolt       *raftboltdb.BoltStore
	group      uint32
	stop       *failStop
	writeLimit time.Duration
	onCorrupt  func(group uint32, err error)

	writing sync.Mutex // one write at a time, the truncation before an append included
}

var (
	_ raft.LogStore          = (*BoltLog)(nil)
	_ raft.MonotonicLogStore = (*BoltLog)(nil)
	_ raft.StableStore       = (*BoltLog)(nil)
)

// OpenBoltLog opens or makes the file, with permissions 0600. It waits at most 5 s for another process that holds it.
func OpenBoltLog(path string, opts BoltLogOptions) (*BoltLog, error) {
	if opts.OnFatal == nil {
		return nil, errors.New("storage: a bolt log needs an OnFatal")
	}
	bolt, err := openBolt(path, opts.ReadOnly)
	if err != nil {
		return nil, err
	}
	if err := readVotes(boltStable{bolt}); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), bolt.Close())
	}
	log := &BoltLog{StableStore: GuardVotes(boltStable{bolt}), bolt: bolt, group: opts.Group,
		stop: &failStop{onFatal: opts.OnFatal}, writeLimit: orDefault(opts.WriteLimit, defaultWriteLimit), onCorrupt: opts.OnCorrupt}
	if log.onCorrupt == nil {
		log.onCorrupt = func(uint32, error) {}
	}
	return log, nil
}

// IsMonotonic tells raft that the log cannot have gaps (raft.MonotonicLogStore).
func (l *BoltLog) IsMonotonic() bool { return true }

// FirstIndex is the index of the oldest entry, 0 for an empty log.
func (l *BoltLog) FirstIndex() (uint64, error) { return l.bound(l.bolt.FirstIndex) }

// LastIndex is the index of the newest entry, 0 for an empty log.
func (l *BoltLog) LastIndex() (uint64, error) { return l.bound(l.bolt.LastIndex) }

func (l *BoltLog) bound(read func() (uint64, error)) (index uint64, err error) {
	if err := l.stop.check(); err != nil {
		return 0, err
	}
	err = recovered(func() (err error) {
		index, err = read()
		return err
	})
	if err != nil {
		return 0, l.unreadable(err)
	}
	return index, nil
}

// GetLog reads one entry; raft.ErrLogNotFound where there is none. The entry's slices are the caller's.
// An entry that is not what was stored gives ErrCorrupt, and OnCorrupt hears of it.
func (l *BoltLog) GetLog(index uint64, entry *raft.Log) error {
	if err := l.stop.check(); err != nil {
		return err
	}
	var outer raft.Log
	err := recovered(func() error { return l.bolt.GetLog(index, &outer) })
	if errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	if err != nil {
		return l.unreadable(err)
	}
	if err := decodeRecord(outer.Data, l.group, index, entry); err != nil {
		return l.unreadable(err)
	}
	if outer.Index != index || outer.Term != entry.Term || outer.Type != entry.Type {
		return l.unreadable(errors.New("index, term or type differs from the record's"))
	}
	return nil
}

// unreadable reports damage. bolt knows no checksums for its pages and panics or fails to decode where one is wrong, so
// whatever a read answers but "not found" is damage.
func (l *BoltLog) unreadable(err error) error {
	if !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("group %d: %w: %w", l.group, ErrCorrupt, err)
	}
	l.onCorrupt(l.group, err)
	return err
}

// StoreLog stores one entry; see StoreLogs.
func (l *BoltLog) StoreLog(entry *raft.Log) error {
	return l.StoreLogs([]*raft.Log{entry})
}

// StoreLogs appends entries, which must be contiguous and leave no gap behind the log (ErrGap). What lies at or past the first
// of them is deleted before, in a transaction of its own: a crash in between leaves the log without those entries, as it
// would between raft's own DeleteRange and StoreLogs. Returns once all of it is durable.
func (l *BoltLog) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	if err := checkContiguous(last, entries); err != nil {
		return fmt.Errorf("group %d: %w", l.group, err)
	}
	wrapped, err := l.wrapEntries(entries)
	if err != nil {
		return err
	}
	return l.stop.do(fmt.Sprintf("store entries of group %d", l.group), l.writeLimit, func() error {
		if start := entries[0].Index; start <= last {
			if err := l.bolt.DeleteRange(start, last); err != nil {
				return err
			}
		}
		return l.bolt.StoreLogs(wrapped)
	})
}

// wrapEntries puts each entry's whole record into the data that bolt stores.
func (l *BoltLog) wrapEntries(entries []*raft.Log) ([]*raft.Log, error) {
	wrapped := make([]*raft.Log, len(entries))
	for i, entry := range entries {
		record := make([]byte, recordSize(entry))
		if err := encodeRecord(record, l.group, entry); err != nil {
			return nil, err
		}
		wrapped[i] = &raft.Log{Index: entry.Index, Term: entry.Term, Type: entry.Type, Data: record}
	}
	return wrapped, nil
}

// DeleteRange deletes the entries from one index to another, both included, durably: the head of the log, its tail or all of
// it. A piece out of the middle is refused with ErrGap; where nothing lies in the range nothing is done.
func (l *BoltLog) DeleteRange(from, to uint64) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	from, to = max(from, first), min(to, last)
	if first == 0 || from > to {
		return nil
	}
	if from > first && to < last {
		return fmt.Errorf("group %d: %w: delete [%d, %d] out of [%d, %d]", l.group, ErrGap, from, to, first, last)
	}
	return l.stop.do(fmt.Sprintf("truncate group %d", l.group), l.writeLimit, func() error {
		return l.bolt.DeleteRange(from, to)
	})
}

// Close closes the file. No raft may run on it any more.
func (l *BoltLog) Close() error {
	if err := l.bolt.Close(); err != nil {
		return fmt.Errorf("close the bolt log: %w", err)
	}
	return nil
}
