package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// engineOptions is what both Pebble engines are opened with.
type engineOptions struct {
	name          string // for the log
	fs            vfs.FS // nil: the operating system's, watched for slow disks
	logger        *slog.Logger
	cacheBytes    int64
	memTableBytes int64
	onFatal       func(error)
	onDamage      func(groups []uint32, err error) // nil: nobody asks
	uncompressed  bool
	filtered      bool // most keys that are looked for are not there
	readOnly      bool // nothing in the directory is changed; it has to be there
}

// engine is a Pebble database that stops for good at its first failure.
type engine struct {
	db   *pebble.DB
	fs   vfs.FS
	log  *slog.Logger
	stop *failStop

	onDamage   func(groups []uint32, err error)
	damage     damageReports
	opened     chan struct{}   // closed when db is set or never will be
	life       context.Context // ends when the engine closes
	end        context.CancelFunc
	background sync.WaitGroup

	closing   sync.Once
	closed    atomic.Bool
	closedErr error // written once, inside closing
}

// formatKey holds the version of our key and value layout, so that an older program refuses a newer directory.
var formatKey = engineKey(engineFormat, 0)

const formatVersion = 1

func openEngine(dir string, opts engineOptions) (*engine, error) {
	if opts.onFatal == nil {
		return nil, errors.New("storage: an engine needs an OnFatal")
	}
	if opts.logger == nil {
		opts.logger = slog.New(slog.DiscardHandler)
	}
	e := &engine{
		stop: &failStop{onFatal: opts.onFatal}, fs: opts.fs, log: opts.logger, onDamage: opts.onDamage, opened: make(chan struct{}),
	}
	e.life, e.end = context.WithCancel(context.Background())
	defer close(e.opened)
	if e.fs == nil {
		e.fs = vfs.Default
	}
	if !opts.readOnly {
		if err := makePrivateDir(e.fs, dir); err != nil {
			return nil, err
		}
	}
	if err := checkWAL(e.fs, dir); err != nil {
		return nil, err
	}
	options := pebbleOptions(opts, e.stop)
	options.EventListener.DataCorruption = e.tableDamaged
	ledger, err := openLedger(e.fs, dir)
	if err != nil {
		return nil, err
	}
	if options.FS == nil {
		options.WithFSDefaults()
	}
	ledger.FS, options.FS = options.FS, ledger
	var db *pebble.DB
	// Pebble panics at some damage, such as a manifest that names a table twice.
	err = recovered(func() (err error) {
		db, err = pebble.Open(dir, options)
		return err
	})
	if err != nil {
		return nil, unopened(dir, err)
	}
	e.db = db
	if err := errors.Join(e.checkFormat(opts.readOnly), e.stop.check()); err != nil {
		e.end()
		e.db = nil // tableDamaged may wait to look into it
		return nil, errors.Join(err, db.Close())
	}
	return e, nil
}

// unopened sorts the error of a database that did not open. Once the ledger is satisfied, a file that is not there is damage too.
func unopened(dir string, err error) error {
	damaged := errors.Is(err, fs.ErrNotExist) || slices.ContainsFunc(damagePhrases, func(phrase string) bool {
		return strings.Contains(err.Error(), phrase)
	})
	if damaged && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("open %s: %w: %w", dir, ErrCorrupt, err)
	}
	return wrap("open "+dir, err)
}

// damagePhrases are how Pebble v2.1.7 speaks of damage that it does not mark as such: a table of another size, a marker that is gone,
// OPTIONS that are not the ones it wrote. An error of the disk is none of them and may pass.
var damagePhrases = []string{
	"object size mismatch", "already exists and is not pristine", "!= comparer name from options", "!= merger name from options",
	"invalid key=value syntax", "invalid section", "unknown section", "unknown option", "error parsing",
}

func pebbleOptions(opts engineOptions, stop *failStop) *pebble.Options {
	logger := &pebbleLogger{log: opts.logger, stop: stop}
	var stalled atomic.Int64 // since when, in Unix nanoseconds
	options := &pebble.Options{
		FS:     opts.fs,
		Logger: logger,
		// The default format dropped synced entries when one byte of the write-ahead log was flipped; the newest notices.
		FormatMajorVersion:          pebble.FormatNewest,
		ReadOnly:                    opts.readOnly,
		CacheSize:                   opts.cacheBytes,
		MemTableSize:                uint64(opts.memTableBytes),
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                256,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { opts.logger.Error("pebble: background work failed", "error", err) },
			DiskSlow:        func(info pebble.DiskSlowInfo) { opts.logger.Warn("pebble: slow disk", "what", info.String()) },
			WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
				stalled.Store(time.Now().UnixNano())
				opts.logger.Warn("pebble: writes stall", "engine", opts.name, "reason", info.Reason)
			},
			WriteStallEnd: func() {
				opts.logger.Warn("pebble: writes go on", "engine", opts.name, "after", time.Since(time.Unix(0, stalled.Load())))
			},
		},
	}
	if opts.filtered {
		for i := range options.Levels {
			options.Levels[i].FilterPolicy = filterPolicy
		}
	}
	if opts.uncompressed {
		for i := range options.Levels {
			options.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		}
	}
	return options
}

// filterPolicy takes ten bits for each key of a table, and spares 99 of 100 looks into tables that do not have the key. Those of the
// lowest level are looked into all the same.
var filterPolicy = bloom.FilterPolicy(10)

// checkFormat marks a new database with our format and refuses one of another format.
func (e *engine) checkFormat(readOnly bool) error {
	value, err := get(e.db, formatKey)
	if err != nil {
		return fmt.Errorf("read the format version: %w", err)
	}
	if value == nil && readOnly {
		return fmt.Errorf("%w: the engine does not say its format", ErrCorrupt)
	}
	if value == nil {
		return e.stop.do("write the format version", 0, func() error {
			if err := e.db.Set(formatKey, []byte{formatVersion}, pebble.Sync); err != nil {
				return err
			}
			// Pebble begins the write-ahead log of a new database before it raises the format, so that the first log would be
			// of the old kind, which does not notice damage. A flush begins a new one.
			return e.db.Flush()
		})
	}
	if len(value) != 1 || value[0] != formatVersion {
		return fmt.Errorf("storage: format %x is unknown, this program reads %d", value, formatVersion)
	}
	return nil
}

// usable answers ErrFailed or ErrClosed when the engine must not be touched.
func (e *engine) usable() error {
	if err := e.stop.check(); err != nil {
		return err
	}
	if e.closed.Load() {
		return ErrClosed
	}
	return nil
}

// close closes the database, once. A failed engine is left as it is: Pebble may hold its locks for ever, and the process is
// about to end.
func (e *engine) close() error {
	e.closing.Do(func() {
		e.closed.Store(true)
		e.end()
		e.background.Wait()
		if e.stop.check() == nil {
			e.closedErr = wrap("close", e.db.Close())
		}
	})
	return e.closedErr
}

// get reads one key and gives the caller a copy of its own; nil where the key is absent.
func get(from pebble.Reader, key []byte) (value []byte, err error) {
	found, closer, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("get", err)
	}
	value = append(make([]byte, 0, len(found)), found...)
	return value, wrap("get", closer.Close())
}

// pebbleLogger gives what Pebble says to slog. Pebble's information is for debugging. What Pebble calls fatal is the
// engine's failure; unlike Pebble's own logger this one returns, and every commit looks at the failure afterwards.
type pebbleLogger struct {
	log  *slog.Logger
	stop *failStop
}

func (l *pebbleLogger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
	}
}

func (l *pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error("pebble: " + fmt.Sprintf(format, args...))
}

func (l *pebbleLogger) Fatalf(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	l.log.Error("pebble: fatal: " + message)
	l.stop.fail(errors.New("pebble: " + message))
}
