package storage

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// View is one group's state as of one applied index. Safe for concurrent use, except Close.
type View struct {
	group      *GroupState
	generation uint64
	snapshot   *pebble.Snapshot // nil after Close
	applied    uint64
}

// errViewClosed is a mistake of the caller.
var errViewClosed = errors.New("storage: the view is closed")

// Applied is the index of the last Raft entry that the view contains.
func (v *View) Applied() uint64 { return v.applied }

func (v *View) open() error {
	if v.snapshot == nil {
		return errViewClosed
	}
	return v.group.still(v.generation)
}

// Get returns a key's value, or nil where the key is absent. The slice is the caller's.
func (v *View) Get(key []byte) ([]byte, error) {
	if err := v.open(); err != nil {
		return nil, err
	}
	full := userKey(make([]byte, 0, userKeyPrefixBytes+len(key)), v.group.id, key)
	value, err := get(v.snapshot, full)
	if err != nil {
		return nil, v.group.unreadable(err)
	}
	return value, v.group.still(v.generation)
}

// Scan visits the keys in [lower, upper) in ascending order until visit answers false or an error, which Scan returns.
// An upper of nil means the end. The slices are valid during the visit only.
func (v *View) Scan(lower, upper []byte, visit func(key, value []byte) (more bool, err error)) error {
	if err := v.open(); err != nil {
		return err
	}
	return v.group.scan(v.snapshot, v.generation, lower, upper, visit)
}

// Close releases the view. Closing twice is harmless.
func (v *View) Close() error {
	if v.snapshot == nil {
		return nil
	}
	inner := v.snapshot
	v.snapshot = nil
	return wrap("close view", inner.Close())
}

// scan visits the keys of [lower, upper) in from. An iterator keeps its tables for as long as it lives, so it is enough to
// see once, after it was made, that the state was not replaced.
func (g *GroupState) scan(from pebble.Reader, generation uint64, lower, upper []byte, visit func(key, value []byte) (bool, error)) (err error) {
	first, end := userRange(g.id, lower, upper)
	if bytes.Compare(first, end) >= 0 {
		return nil
	}
	iter, err := from.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: end})
	if err != nil {
		return g.unreadable(wrap("scan", err))
	}
	defer func() { err = errors.Join(err, wrap("scan", iter.Close())) }()
	if err := g.still(generation); err != nil {
		return err
	}
	for found := iter.First(); found; found = iter.Next() {
		value, err := iter.ValueAndErr()
		if err != nil {
			return g.unreadable(wrap("scan", err))
		}
		if more, err := visit(iter.Key()[userKeyPrefixBytes:], value); err != nil || !more {
			return err
		}
	}
	return g.unreadable(wrap("scan", iter.Error()))
}
