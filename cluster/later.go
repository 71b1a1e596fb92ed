package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"parley/fsm"
	"parley/storage"
)

// laterReader is a replica's state once it has applied an index. It waits at the first read, so that a caller who reads
// nothing waits for nothing. It belongs to one goroutine.
type laterReader struct {
	ctx      context.Context
	replica  *replica
	slot     fsm.SlotID // that is read
	index    uint64
	patience time.Duration

	view *storage.View // nil before the first read
}

// Get implements fsm.Reader.
func (l *laterReader) Get(key []byte) ([]byte, error) {
	if err := l.open(); err != nil {
		return nil, err
	}
	return l.view.Get(key)
}

// Scan implements fsm.Reader.
func (l *laterReader) Scan(lower, upper []byte, visit func(key, value []byte) (bool, error)) error {
	if err := l.open(); err != nil {
		return err
	}
	return l.view.Scan(lower, upper, visit)
}

func (l *laterReader) open() error {
	if l.view != nil {
		return nil
	}
	if err := l.replica.reach(l.ctx, l.index, l.patience); err != nil {
		return err
	}
	view, err := l.replica.view()
	if err != nil {
		return err
	}
	here, err := holds(view, l.slot)
	if err == nil && !here {
		err = fmt.Errorf("%w: %w", errBehind, errSlotGone) // whoever has the slot knows the request again
	}
	if err != nil {
		return errors.Join(err, view.Close())
	}
	l.view = view
	return nil
}

func (l *laterReader) close() error {
	if l.view == nil {
		return nil
	}
	return l.view.Close()
}
