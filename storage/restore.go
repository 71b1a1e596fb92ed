package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// restoreTableBytes is the size at which a sorted table of a restore is closed and the next begun.
const restoreTableBytes = 32 << 20

// restoreCheckKeys is how many keys go in between two looks at the context.
const restoreCheckKeys = 1024

// Restore replaces the whole state of the group by the pairs that fill puts, in ascending order of keys, and sets the
// applied index: Prepare and Install in one.
func (g *GroupState) Restore(ctx context.Context, applied uint64, fill func(put func(key, value []byte) error) error) error {
	r, err := g.Prepare(ctx, applied, fill)
	if err != nil {
		return err
	}
	return r.Install(ctx)
}

// Replacement is a new state of a group, on the disk and not yet in use. One of Install and Discard ends it. It belongs to one
// goroutine.
type Replacement struct {
	group   *GroupState
	applied uint64
	tables  *tableWriter
}

// Prepare writes a new state beside the group's, which stays as it is and in use: the pairs that fill puts, in ascending order
// of keys, and the applied index. Keys and values are copied. After an error nothing of it is left. One at a time: while a
// Replacement is open, a second call answers ErrRestoring.
func (g *GroupState) Prepare(ctx context.Context, applied uint64, fill func(put func(key, value []byte) error) error) (_ *Replacement, err error) {
	if !g.replacing.TryLock() {
		return nil, fmt.Errorf("group %d: %w", g.id, ErrRestoring)
	}
	if err := g.engine.usable(); err != nil {
		g.replacing.Unlock()
		return nil, err
	}
	r := &Replacement{group: g, applied: applied, tables: &tableWriter{
		fs: g.engine.fs, dir: filepath.Join(g.engine.ingestDir, fmt.Sprintf("%08x", g.id)), options: tableOptions(g.engine.db),
	}}
	if err := g.writeTables(ctx, r.tables, applied, fill); err != nil {
		return nil, errors.Join(fmt.Errorf("restore group %d: %w", g.id, err), r.Discard())
	}
	return r, nil
}

// Applied is the index that the new state is of.
func (r *Replacement) Applied() uint64 { return r.applied }

// Install puts the new state in the old one's place.
//
// First a mark is set and synced: from then on every read and write of the group answers ErrRestoring, after a restart too.
// The new state, its applied index and the removal of the mark become durable in one step, so a crash leaves the old state, the
// mark, or the complete new state. After an error the mark may stand; a Restore takes it away.
func (r *Replacement) Install(ctx context.Context) (err error) {
	g := r.group
	defer func() { err = errors.Join(err, r.Discard()) }()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("restore group %d: %w", g.id, err)
	}
	if err := g.MarkRestoring(); err != nil {
		return err
	}
	err = g.engine.stop.do(fmt.Sprintf("restore group %d", g.id), 0, func() error {
		// The mark lies inside the range, so the same step that brings the new keys takes it away.
		return g.engine.damage.exchange(func() error {
			_, err := g.engine.db.IngestAndExcise(ctx, r.tables.paths, nil, nil,
				pebble.KeyRange{Start: groupPrefix(g.id), End: groupEnd(g.id)})
			return err
		})
	})
	if err != nil {
		return err
	}
	g.generation.Add(1)
	g.restoring.Store(false)
	return nil
}

// Discard drops a new state that is not to be installed. Calling it again is harmless.
func (r *Replacement) Discard() error {
	if r.tables == nil {
		return nil
	}
	err := r.tables.abandon()
	r.tables = nil
	r.group.replacing.Unlock()
	return err
}

// MarkRestoring refuses all use of the group, first in memory, then durably, until a Restore has succeeded. Install does it by itself;
// called alone, it stands for a crash in the middle of one.
func (g *GroupState) MarkRestoring() error {
	g.commits.Lock()
	defer g.commits.Unlock()
	if err := g.engine.usable(); err != nil {
		return err
	}
	g.generation.Add(1)
	g.restoring.Store(true)
	return g.engine.stop.do(fmt.Sprintf("mark group %d as restoring", g.id), 0, func() error {
		return g.engine.db.Set(metaKey(g.id, metaRestoring), nil, pebble.Sync)
	})
}

// writeTables writes the new state, the engine's own keys first, for they sort before the group's.
func (g *GroupState) writeTables(ctx context.Context, tables *tableWriter, applied uint64, fill func(put func(key, value []byte) error) error) error {
	if err := tables.begin(); err != nil {
		return err
	}
	for _, name := range []byte{metaApplied, metaRestoredThrough} {
		if err := tables.put(metaKey(g.id, name), indexValue(applied)); err != nil {
			return err
		}
	}
	var last, full []byte
	count := 0
	err := fill(func(key, value []byte) error {
		if count%restoreCheckKeys == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if count > 0 && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("%w: %x after %x", ErrOrder, key, last)
		}
		count++
		last = append(last[:0], key...)
		full = userKey(full[:0], g.id, key)
		return tables.put(full, value)
	})
	if err != nil {
		return err
	}
	return tables.finish()
}

// tableWriter writes sorted pairs to a row of table files in a directory of its own.
type tableWriter struct {
	fs      vfs.FS
	dir     string
	options sstable.WriterOptions
	current *sstable.Writer // nil between two tables
	bytes   int
	paths   []string
}

// tableOptions gives the format in which the database expects its tables.
func tableOptions(db *pebble.DB) sstable.WriterOptions {
	options := &pebble.Options{FS: vfs.NewMem(), FormatMajorVersion: db.FormatMajorVersion()}
	options.EnsureDefaults()
	return options.MakeWriterOptions(0, db.TableFormat())
}

// begin empties the directory of what an earlier attempt left.
func (w *tableWriter) begin() error {
	if err := w.fs.RemoveAll(w.dir); err != nil {
		return fmt.Errorf("clear %s: %w", w.dir, err)
	}
	return makePrivateDir(w.fs, w.dir)
}

func (w *tableWriter) put(key, value []byte) error {
	if w.current == nil {
		path := filepath.Join(w.dir, fmt.Sprintf("%06d.sst", len(w.paths)))
		file, err := w.fs.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return fmt.Errorf("make %s: %w", path, err)
		}
		w.paths = append(w.paths, path)
		w.current = sstable.NewWriter(objstorageprovider.NewFileWritable(file), w.options)
		w.bytes = 0
	}
	if err := w.current.Set(key, value); err != nil {
		return wrap("write table", err)
	}
	w.bytes += len(key) + len(value)
	if w.bytes < restoreTableBytes {
		return nil
	}
	return w.finish()
}

// finish closes and syncs the table under way.
func (w *tableWriter) finish() error {
	if w.current == nil {
		return nil
	}
	current := w.current
	w.current = nil
	return wrap("finish table", current.Close())
}

// abandon closes what is open and removes the directory; after an ingest there is nothing left in it.
func (w *tableWriter) abandon() error {
	err := w.finish()
	if removed := w.fs.RemoveAll(w.dir); removed != nil {
		err = errors.Join(err, fmt.Errorf("remove %s: %w", w.dir, removed))
	}
	return err
}

// EstimateBytes is about how much disk the group's state takes, without what was written last.
func (g *GroupState) EstimateBytes() (uint64, error) {
	if err := g.engine.usable(); err != nil {
		return 0, err
	}
	size, err := g.engine.db.EstimateDiskUsage(groupPrefix(g.id), groupEnd(g.id))
	return size, wrap("estimate", err)
}
