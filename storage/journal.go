package storage

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	// ErrJournalFull refuses records for which a journal has no room until others are removed. Nothing of them was written.
	ErrJournalFull = errors.New("storage: the journal is full")

	// ErrNoRecord says that a journal has no such record, or not any more.
	ErrNoRecord = errors.New("storage: the journal has no such record")
)

// RecordID names a record of a journal. Numbers rise in the order of appending; two records of one number, which there can be only after
// damage, differ in their origin.
type RecordID struct {
	Number uint64
	Origin [16]byte // random, of one opening of the journal
}

// JournalOptions says how to open a Journal. OnFatal and Log are required; every other zero value means the default.
type JournalOptions struct {
	FS         vfs.FS        // the operating system's
	OnFatal    func(error)   // called once, when a write has failed; the journal refuses all use after it
	Log        *slog.Logger  // is told what could not be read
	BytesMax   int64         // of the records' values together; 64 MiB
	RecordsMax int           // 100,000
	WriteLimit time.Duration // 10 s

	segmentBytes int64 // 4 MiB
}

const (
	journalBytesDefault   = 64 << 20
	journalRecordsDefault = 100_000
	segmentBytesDefault   = 4 << 20
	journalWriteBytesMax  = 1 << 20 // gathered for one write and one sync
)

// JournalStats sums a journal up.
type JournalStats struct {
	Records  int
	Bytes    int64 // of the records' values
	Damaged  int   // parts that could not be read and are kept aside, until somebody removes them
	Segments int
}

// Journal keeps records on the disk of this machine until they are removed. Append returns when its records are durable; many that come
// at a time share one write and one sync. A record is whole or not there: what a crash cut off was not answered for, and what is damaged is
// reported, counted and kept aside, and hides nothing that stands behind it. Nobody waits for a removal to be durable, so a record that was
// removed in the last moments before a crash may be back after it. Safe for concurrent use.
type Journal struct {
	files  vfs.FS
	path   string
	opts   JournalOptions
	stop   *failStop
	origin [16]byte

	mu       sync.Mutex
	index    map[RecordID]place
	bytes    int64 // of the values in index, and of those that wait
	waiting  int   // records that are not in index yet
	next     uint64
	pending  []*journalWrite
	segments []*segment // in order; the last is written to
	closed   bool

	damaged int // set when opened

	arrived chan struct{} // capacity 1
	stopped chan struct{}
}

// place is where a record's value stands.
type place struct {
	in     *segment
	at     int64
	length int
}

// journalWrite is what one caller has put into the queue. done is nil where nobody waits.
type journalWrite struct {
	ids     []RecordID
	values  [][]byte
	removed []RecordID
	done    chan error
}

// OpenJournal opens or makes a journal in a directory of its own, which no other process has open, and visits the records in order. The
// visitor may keep the value.
func OpenJournal(path string, opts JournalOptions, visit func(RecordID, []byte)) (*Journal, error) {
	if opts.OnFatal == nil || opts.Log == nil {
		return nil, errors.New("storage: a journal needs an OnFatal and a Log")
	}
	if opts.FS == nil {
		opts.FS = vfs.Default
	}
	opts.BytesMax = orDefault(opts.BytesMax, journalBytesDefault)
	opts.RecordsMax = orDefault(opts.RecordsMax, journalRecordsDefault)
	opts.WriteLimit = orDefault(opts.WriteLimit, defaultWriteLimit)
	opts.segmentBytes = orDefault(opts.segmentBytes, segmentBytesDefault)
	j := &Journal{
		files: opts.FS, path: path, opts: opts, stop: &failStop{onFatal: opts.OnFatal}, index: make(map[RecordID]place),
		next: 1, arrived: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	if _, err := rand.Read(j.origin[:]); err != nil {
		return nil, err
	}
	if err := j.recover(visit); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", path, err), j.closeSegments())
	}
	go j.run()
	return j, nil
}

// Append makes values durable, all or none, and returns their names in order. The error is ErrJournalFull, or ErrFailed or ErrClosed,
// after which it is not known whether they are there.
func (j *Journal) Append(values [][]byte) ([]RecordID, error) {
	if len(values) == 0 {
		return nil, nil
	}
	w := &journalWrite{values: values, done: make(chan error, 1)}
	if err := j.reserve(w); err != nil {
		return nil, err
	}
	if err := <-w.done; err != nil {
		return nil, err
	}
	return w.ids, nil
}

// reserve takes room and numbers, and puts the write into the queue: so numbers rise with the places.
func (j *Journal) reserve(w *journalWrite) error {
	var bytes int64
	for _, value := range w.values {
		bytes += int64(len(value))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return err
	}
	if j.bytes+bytes > j.opts.BytesMax || len(j.index)+j.waiting+len(w.values) > j.opts.RecordsMax {
		return ErrJournalFull
	}
	for range w.values {
		w.ids = append(w.ids, RecordID{Number: j.next, Origin: j.origin})
		j.next++
	}
	j.bytes += bytes
	j.waiting += len(w.values)
	j.enqueue(w)
	return nil
}

// enqueue is called under mu.
func (j *Journal) enqueue(w *journalWrite) {
	j.pending = append(j.pending, w)
	select {
	case j.arrived <- struct{}{}:
	default: // the writer looks anyway
	}
}

func (j *Journal) usable() error {
	if j.closed {
		return ErrClosed
	}
	return j.stop.check()
}

// Read returns the value of a record; ErrNoRecord where there is none, and ErrCorrupt where the disk does not give back what was written.
func (j *Journal) Read(id RecordID) ([]byte, error) {
	j.mu.Lock()
	at, found := j.index[id]
	err := j.usable()
	if found && err == nil {
		at.in.readers.Add(1)
		defer at.in.readers.Done()
	}
	j.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, ErrNoRecord
	}
	return at.in.read(id, at)
}

// Remove forgets records; those that are not there are skipped. It does not wait for the disk.
func (j *Journal) Remove(ids []RecordID) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return err
	}
	w := &journalWrite{}
	for _, id := range ids {
		at, found := j.index[id]
		if !found {
			continue
		}
		j.drop(id, at)
		w.removed = append(w.removed, id)
	}
	if len(w.removed) > 0 {
		j.enqueue(w)
	}
	return nil
}

// put and drop keep the index; they are called under mu, or before the journal is open.
func (j *Journal) put(id RecordID, at place) {
	j.index[id] = at
	at.in.live++
}

func (j *Journal) drop(id RecordID, at place) {
	delete(j.index, id)
	at.in.live--
	j.bytes -= int64(at.length)
}

// Stats sums the journal up.
func (j *Journal) Stats() JournalStats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return JournalStats{Records: len(j.index) + j.waiting, Bytes: j.bytes, Damaged: j.damaged, Segments: len(j.segments)}
}

// Close writes what was appended before and gives the files up.
func (j *Journal) Close() error {
	j.mu.Lock()
	already := j.closed
	j.closed = true
	j.mu.Unlock()
	if already {
		<-j.stopped
		return nil
	}
	close(j.arrived)
	<-j.stopped
	return j.closeSegments()
}

func (j *Journal) closeSegments() (err error) {
	for _, s := range j.segments {
		err = errors.Join(err, s.close())
	}
	j.segments = nil
	return err
}

func (j *Journal) aside() string { return filepath.Join(j.path, asideName) }
