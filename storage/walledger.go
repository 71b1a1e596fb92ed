package storage

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble does not notice when a whole file of its write-ahead log is gone, and where the marker of its manifest is gone it begins an
// empty database in the place of the old one. Either would be a log that forgot what it had promised. So each engine has a ledger beside
// its directory: the numbers of the log files whose content is still needed.
//
//	number "\n" ... "crc " CRC-32C in hexadecimal, of all before it "\n"
const (
	ledgerSuffix = ".wals"
	ledgerSum    = "crc "
)

// walLedger is the file system that Pebble gets: it enters each log file before Pebble can put anything into it, and strikes it out before
// Pebble may remove or reuse it. So a crash between two steps leaves a file that nobody misses, never the other way round.
type walLedger struct {
	vfs.FS
	dir  string // of the database
	path string // of the ledger

	mu      sync.Mutex // owns entered, and is held while the file is written
	entered map[uint64]bool
}

// openLedger reads the ledger of the database in dir and looks whether all of it is there: ErrCorrupt if not. A database from before
// there were ledgers gets one of what it has.
func openLedger(fs vfs.FS, dir string) (*walLedger, error) {
	l := &walLedger{FS: fs, dir: dir, path: dir + ledgerSuffix, entered: make(map[uint64]bool)}
	present, err := l.present()
	if err != nil {
		return nil, err
	}
	kept, err := l.read()
	if err != nil {
		return nil, err
	}
	if !kept {
		for number := range present {
			l.entered[number] = true
		}
		return l, nil
	}
	for _, number := range slices.Sorted(maps.Keys(l.entered)) {
		if !present[number] {
			return nil, fmt.Errorf("%s: %w: its log file %06d is gone", dir, ErrCorrupt, number)
		}
	}
	if described, err := pebble.Peek(dir, fs); err != nil {
		return nil, unopened(dir, err)
	} else if !described.Exists && len(l.entered) > 0 {
		return nil, fmt.Errorf("%s: %w: its manifest is gone", dir, ErrCorrupt)
	}
	return l, nil
}

// present are the numbers of the log files that there are.
func (l *walLedger) present() (map[uint64]bool, error) {
	names, err := l.FS.List(l.dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", l.dir, err)
	}
	present := make(map[uint64]bool)
	for _, name := range names {
		if number, isLog := walNumber(name); isLog {
			present[number] = true
		}
	}
	return present, nil
}

// read takes over what the file says. kept is false where there is none.
func (l *walLedger) read() (kept bool, err error) {
	content, err := readWhole(l.FS, l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", l.path, err)
	}
	text, sum, found := strings.Cut(string(content), ledgerSum)
	if !found || sum != ledgerChecksum(text) {
		return false, fmt.Errorf("%s: %w: checksum differs", l.path, ErrCorrupt)
	}
	for line := range strings.Lines(text) {
		number, err := strconv.ParseUint(strings.TrimSuffix(line, "\n"), 10, 64)
		if err != nil {
			return false, fmt.Errorf("%s: %w: %w", l.path, ErrCorrupt, err)
		}
		l.entered[number] = true
	}
	return true, nil
}

func ledgerChecksum(text string) string {
	return fmt.Sprintf("%08x\n", crc32.Checksum([]byte(text), castagnoli))
}

// note makes one change of the ledger durable. The names in the database's directory are made durable before: a ledger that outlived the
// name of a file would miss it.
func (l *walLedger) note(path string, needed bool) error {
	number, isLog := walNumber(l.FS.PathBase(path))
	if !isLog || l.FS.PathDir(path) != l.dir {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entered[number] == needed {
		return nil
	}
	if needed {
		l.entered[number] = true
		if err := SyncDir(l.FS, l.dir); err != nil {
			return err
		}
	} else {
		delete(l.entered, number)
	}
	var text strings.Builder
	for _, number := range slices.Sorted(maps.Keys(l.entered)) {
		fmt.Fprintf(&text, "%d\n", number)
	}
	return writeFile(l.FS, l.path, []byte(text.String()+ledgerSum+ledgerChecksum(text.String())))
}

// Create implements vfs.FS.
func (l *walLedger) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := l.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	if err := l.note(name, true); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// ReuseForWrite implements vfs.FS.
func (l *walLedger) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := l.note(oldname, false); err != nil {
		return nil, err
	}
	file, err := l.FS.ReuseForWrite(oldname, newname, category)
	if err != nil {
		return nil, err
	}
	if err := l.note(newname, true); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Remove implements vfs.FS.
func (l *walLedger) Remove(name string) error {
	if err := l.note(name, false); err != nil {
		return err
	}
	return l.FS.Remove(name)
}

// Unwrap implements vfs.FS.
func (l *walLedger) Unwrap() vfs.FS { return l.FS }
