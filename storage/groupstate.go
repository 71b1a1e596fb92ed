package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// GroupState is one group's keys and its applied index. Safe for concurrent use, but a group has one writer: two batches
// that are open at the same time do not see each other.
type GroupState struct {
	engine *StateEngine
	id     uint32

	// commits is held shared by whoever commits and alone by whoever begins to replace the state, so that no batch of the old
	// state can land on the new one.
	commits sync.RWMutex
	// generation grows when the state is replaced. Pebble's excise takes the old keys away under open snapshots, so a View
	// must notice that its state is gone instead of reading a hole.
	generation atomic.Uint64
	restoring  atomic.Bool
	replacing  sync.Mutex // held for a whole Restore or Destroy
}

// ID is the group's number.
func (g *GroupState) ID() uint32 { return g.id }

// Restoring says whether a restore is under way or was cut off. Until a Restore succeeds nothing of the group can be read.
func (g *GroupState) Restoring() bool { return g.restoring.Load() }

// Applied is the index of the last Raft entry whose effects are in the state, 0 for an empty group. It may not be durable yet.
func (g *GroupState) Applied() (uint64, error) { return g.readIndex(metaApplied) }

// RestoredThrough is the applied index that the last Restore brought, 0 if there was none.
func (g *GroupState) RestoredThrough() (uint64, error) { return g.readIndex(metaRestoredThrough) }

func (g *GroupState) readIndex(name byte) (uint64, error) {
	generation, err := g.begin()
	if err != nil {
		return 0, err
	}
	index, err := readIndex(g.engine.db, g.id, name)
	if err != nil {
		return 0, g.unreadable(err)
	}
	return index, g.still(generation)
}

// begin answers the generation that a reader or batch is bound to, or why nothing may be read.
func (g *GroupState) begin() (generation uint64, err error) {
	generation = g.generation.Load()
	return generation, g.still(generation)
}

// still answers nil as long as the state of that generation is the one in the database. A reader asks after it has read.
func (g *GroupState) still(generation uint64) error {
	if err := g.engine.usable(); err != nil {
		return err
	}
	if g.restoring.Load() {
		return fmt.Errorf("group %d: %w", g.id, ErrRestoring)
	}
	if g.generation.Load() != generation {
		return fmt.Errorf("group %d: %w", g.id, ErrReplaced)
	}
	return nil
}

// unreadable passes a reader's error on; of damage OnCorrupt hears.
func (g *GroupState) unreadable(err error) error {
	if errors.Is(err, ErrCorrupt) {
		g.engine.onCorrupt(g.id, err)
	}
	return err
}

// NewBatch begins a batch of writes. It must be closed, committed or not. While the group is being restored every use of the
// batch answers ErrRestoring.
func (g *GroupState) NewBatch() *Batch {
	return &Batch{group: g, generation: g.generation.Load()}
}

// View opens a consistent view of the group as of now, applied index included. It must be closed; an open view holds back
// the reclaiming of disk space.
func (g *GroupState) View() (*View, error) {
	generation, err := g.begin()
	if err != nil {
		return nil, err
	}
	view := &View{group: g, generation: generation, snapshot: g.engine.db.NewSnapshot()}
	view.applied, err = readIndex(view.snapshot, g.id, metaApplied)
	if err := errors.Join(g.unreadable(err), g.still(generation)); err != nil {
		return nil, errors.Join(err, view.Close())
	}
	return view, nil
}

// Check reads every key of the group and says whether all of it reads back as it was written; ErrCorrupt if not. seen, where it is not
// nil, is called for each of the group's own keys.
func (g *GroupState) Check(ctx context.Context, seen func()) (err error) {
	view, err := g.View()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	return view.Scan(nil, nil, func(_, _ []byte) (bool, error) {
		if seen != nil {
			seen()
		}
		return true, ctx.Err()
	})
}

// Destroy deletes everything of the group, marks included, durably. Open views and batches of it become useless.
func (g *GroupState) Destroy() error {
	g.replacing.Lock()
	defer g.replacing.Unlock()
	g.commits.Lock()
	defer g.commits.Unlock()
	if err := g.engine.usable(); err != nil {
		return err
	}
	g.generation.Add(1)
	err := g.engine.excise(fmt.Sprintf("destroy the state of group %d", g.id), g.id)
	if err == nil {
		g.restoring.Store(false)
	}
	return err
}

// readIndex reads one of a group's indexes, 0 where it was never set.
func readIndex(from pebble.Reader, group uint32, name byte) (uint64, error) {
	value, err := get(from, metaKey(group, name))
	if err != nil || value == nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fmt.Errorf("group %d: %w: an index of %d bytes", group, ErrCorrupt, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

func indexValue(index uint64) []byte {
	return binary.BigEndian.AppendUint64(nil, index)
}
