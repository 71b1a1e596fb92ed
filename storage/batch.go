package storage

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Batch gathers writes of one group, reads its own writes, and commits them all or none, the applied index with them.
// Used by one goroutine. A batch outlives neither a Restore nor a Destroy of its group: then it answers ErrReplaced.
type Batch struct {
	group      *GroupState
	generation uint64
	batch      *pebble.Batch // made at the first use, nil after Close
	committed  bool
	closed     bool
	key        []byte // scratch for a full key
}

// errBatchOver is a mistake of the caller.
var errBatchOver = errors.New("storage: the batch is committed or closed")

// open checks that the batch may be used and makes Pebble's part of it.
func (b *Batch) open() error {
	if b.closed || b.committed {
		return errBatchOver
	}
	if err := b.group.still(b.generation); err != nil {
		return err
	}
	if b.batch == nil {
		b.batch = b.group.engine.db.NewIndexedBatch()
	}
	return nil
}

// Get returns a key's value, or nil where the key is absent. The slice is the caller's.
func (b *Batch) Get(key []byte) ([]byte, error) {
	if err := b.open(); err != nil {
		return nil, err
	}
	b.key = userKey(b.key[:0], b.group.id, key)
	value, err := get(b.batch, b.key)
	if err != nil {
		return nil, b.group.unreadable(err)
	}
	return value, b.group.still(b.generation)
}

// Scan visits the keys in [lower, upper) in ascending order until visit answers false or an error, which Scan returns.
// An upper of nil means the end. The slices are valid during the visit only. Writes that visit makes are not visited.
func (b *Batch) Scan(lower, upper []byte, visit func(key, value []byte) (more bool, err error)) error {
	if err := b.open(); err != nil {
		return err
	}
	return b.group.scan(b.batch, b.generation, lower, upper, visit)
}

// Set gives a key a value. Both are copied.
func (b *Batch) Set(key, value []byte) error {
	if err := b.open(); err != nil {
		return err
	}
	b.key = userKey(b.key[:0], b.group.id, key)
	return wrap("set", b.batch.Set(b.key, value, nil))
}

// Delete removes a key, present or not.
func (b *Batch) Delete(key []byte) error {
	if err := b.open(); err != nil {
		return err
	}
	b.key = userKey(b.key[:0], b.group.id, key)
	return wrap("delete", b.batch.Delete(b.key, nil))
}

// rangePointsMax is up to how many keys of a range are removed one by one.
const rangePointsMax = 64

// DeleteRange removes the keys in [lower, upper). An upper of nil means the end; an empty range removes nothing.
//
// Where there are few keys, or none, as in most ranges that apply clears, each of them is removed alone. Pebble puts the range removals of
// a memtable in order anew for the first reader after each write, all that lie over one another, so that thousands of them in one
// place make every look there slow, and a walk over it stand still.
func (b *Batch) DeleteRange(lower, upper []byte) error {
	if err := b.open(); err != nil {
		return err
	}
	from, to := userRange(b.group.id, lower, upper)
	if bytes.Compare(from, to) >= 0 {
		return nil
	}
	few, all, err := b.keysOf(from, to)
	if err != nil {
		return err
	}
	if !all {
		return wrap("delete range", b.batch.DeleteRange(from, to, nil))
	}
	for _, key := range few {
		if err := b.batch.Delete(key, nil); err != nil {
			return wrap("delete range", err)
		}
	}
	return nil
}

// keysOf returns the full keys of a range; false where there are more than rangePointsMax.
func (b *Batch) keysOf(from, to []byte) (few [][]byte, all bool, err error) {
	iter, err := b.batch.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, false, b.group.unreadable(wrap("delete range", err))
	}
	defer func() { err = errors.Join(err, wrap("delete range", iter.Close())) }()
	for found := iter.First(); found; found = iter.Next() {
		if len(few) == rangePointsMax {
			return nil, false, nil
		}
		few = append(few, bytes.Clone(iter.Key()))
	}
	return few, true, b.group.unreadable(wrap("delete range", iter.Error()))
}

// SetApplied sets the applied index that Commit writes together with the data.
func (b *Batch) SetApplied(index uint64) error {
	if err := b.open(); err != nil {
		return err
	}
	return wrap("set applied", b.batch.Set(metaKey(b.group.id, metaApplied), indexValue(index), nil))
}

// Commit makes the writes visible, all at once, without an fsync. After a crash all of them are there or none, and where
// they are there, so is everything committed before them. After Commit the batch can only be closed.
func (b *Batch) Commit() error {
	b.group.commits.RLock()
	defer b.group.commits.RUnlock()
	if err := b.open(); err != nil {
		return err
	}
	b.committed = true
	return b.group.engine.stop.do(fmt.Sprintf("commit to group %d", b.group.id), b.group.engine.writeLimit, func() error {
		return b.batch.Commit(pebble.NoSync)
	})
}

// Close releases the batch; what was not committed is forgotten. Closing twice is harmless.
func (b *Batch) Close() error {
	if b.closed || b.batch == nil {
		b.closed = true
		return nil
	}
	b.closed = true
	inner := b.batch
	b.batch = nil
	if b.group.engine.stop.check() != nil {
		// A batch that a failed commit left in Pebble's queue must not go back to its pool.
		return nil
	}
	return wrap("close batch", inner.Close())
}
