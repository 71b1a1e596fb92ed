package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

const (
	snapshotSuffix   = ".snapshot"
	snapshotVersion  = 1
	snapshotHeadSize = 1 + 4 + 4

	// SnapshotBytesMax bounds what a snapshot holds. It is meant for manifests: raft copies a whole snapshot and cannot resume.
	SnapshotBytesMax = 1 << 20
)

// Snapshots keeps a group's snapshots, one file each that its owner alone can read: a raft.SnapshotStore for small manifests.
// Safe for concurrent use.
//
//	struct {
//	    uint8  version = 1;
//	    uint32 crc;         // CRC-32C of everything behind it
//	    uint32 meta_length;
//	    opaque meta[meta_length]; // raft.SnapshotMeta as JSON
//	    opaque content[];         // to the end
//	} SnapshotFile;
type Snapshots struct {
	fs     vfs.FS
	dir    string
	retain int

	mu sync.Mutex // held while files come and go
}

var _ raft.SnapshotStore = (*Snapshots)(nil)

// OpenSnapshots opens or makes the store in dir, in the operating system's files where fs is nil, and keeps the newest retain
// snapshots, at least one.
func OpenSnapshots(fs vfs.FS, dir string, retain int) (*Snapshots, error) {
	if fs == nil {
		fs = vfs.Default
	}
	if retain < 1 {
		return nil, errors.New("storage: at least one snapshot must be kept")
	}
	if err := makePrivateDir(fs, dir); err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	return &Snapshots{fs: fs, dir: dir, retain: retain}, nil
}

// LookAtSnapshots is OpenSnapshots for a directory that is not to be changed: List and Open are all that may be called. Where there is none
// there are no snapshots.
func LookAtSnapshots(fs vfs.FS, dir string) *Snapshots {
	if fs == nil {
		fs = vfs.Default
	}
	return &Snapshots{fs: fs, dir: dir, retain: 1}
}

// Create begins a snapshot, which appears when its sink is closed (raft.SnapshotStore).
func (s *Snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != 1 {
		return nil, fmt.Errorf("storage: snapshot version %d is not known", version)
	}
	return &snapshotSink{store: s, meta: raft.SnapshotMeta{
		Version: version, ID: snapshotID(term, index), Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}}, nil
}

// snapshotID sorts as snapshots do: by term, then by index.
func snapshotID(term, index uint64) string { return fmt.Sprintf("%016x-%016x", term, index) }

// List gives what is known of each snapshot, the newest first (raft.SnapshotStore). A file that does not read back as it was
// written is ErrCorrupt: the entries that it stood for may be in no log any more.
func (s *Snapshots) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	metas := make([]*raft.SnapshotMeta, 0, len(ids))
	for _, id := range ids {
		meta, _, err := s.read(id)
		if err != nil {
			return nil, err
		}
		metas = append(metas, meta)
	}
	return metas, nil
}

// Open gives a snapshot's content (raft.SnapshotStore).
func (s *Snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	meta, content, err := s.read(id)
	if err != nil {
		return nil, nil, err
	}
	return meta, io.NopCloser(bytes.NewReader(content)), nil
}

// ids are those of all snapshots, the newest first.
func (s *Snapshots) ids() ([]string, error) {
	names, err := s.fs.List(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var ids []string
	for _, name := range names {
		if id, is := strings.CutSuffix(name, snapshotSuffix); is {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids, nil
}

func (s *Snapshots) path(id string) string { return filepath.Join(s.dir, id+snapshotSuffix) }

func (s *Snapshots) read(id string) (*raft.SnapshotMeta, []byte, error) {
	raw, err := readWhole(s.fs, s.path(id))
	if err != nil {
		return nil, nil, fmt.Errorf("read snapshot %s: %w", id, err)
	}
	corrupt := func(what string) error { return fmt.Errorf("snapshot %s: %w: %s", id, ErrCorrupt, what) }
	if len(raw) < snapshotHeadSize || raw[0] != snapshotVersion {
		return nil, nil, corrupt("it does not begin as a snapshot")
	}
	if binary.BigEndian.Uint32(raw[1:]) != crc32.Checksum(raw[5:], castagnoli) {
		return nil, nil, corrupt("checksum differs")
	}
	encoded := raw[snapshotHeadSize:]
	length := binary.BigEndian.Uint32(raw[5:])
	if uint64(length) > uint64(len(encoded)) {
		return nil, nil, corrupt("it is cut short")
	}
	var meta raft.SnapshotMeta
	if err := json.Unmarshal(encoded[:length], &meta); err != nil || meta.ID != id {
		return nil, nil, corrupt("what it says of itself does not parse")
	}
	return &meta, encoded[length:], nil
}

// add makes a snapshot appear, durably, and removes what is older than those to be kept.
func (s *Snapshots) add(meta raft.SnapshotMeta, content []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	meta.Size = int64(len(content))
	encoded, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", meta.ID, err)
	}
	raw := make([]byte, snapshotHeadSize, snapshotHeadSize+len(encoded)+len(content))
	raw[0] = snapshotVersion
	binary.BigEndian.PutUint32(raw[5:], uint32(len(encoded)))
	raw = append(append(raw, encoded...), content...)
	binary.BigEndian.PutUint32(raw[1:], crc32.Checksum(raw[5:], castagnoli))
	if err := writeFile(s.fs, s.path(meta.ID), raw); err != nil {
		return fmt.Errorf("snapshot %s: %w", meta.ID, err)
	}
	ids, err := s.ids()
	if err != nil {
		return err
	}
	for _, id := range ids[min(s.retain, len(ids)):] {
		if err := s.fs.Remove(s.path(id)); err != nil {
			return fmt.Errorf("remove snapshot %s: %w", id, err)
		}
	}
	return nil
}

// snapshotSink gathers one snapshot in memory. It belongs to one goroutine.
type snapshotSink struct {
	store   *Snapshots
	meta    raft.SnapshotMeta
	content []byte
	closed  bool
}

// ID is the snapshot's (raft.SnapshotSink).
func (s *snapshotSink) ID() string { return s.meta.ID }

// Write adds to the snapshot, up to SnapshotBytesMax.
func (s *snapshotSink) Write(b []byte) (int, error) {
	if len(s.content)+len(b) > SnapshotBytesMax {
		return 0, fmt.Errorf("storage: a snapshot of more than %d bytes", SnapshotBytesMax)
	}
	s.content = append(s.content, b...)
	return len(b), nil
}

// Close makes the snapshot appear, durably.
func (s *snapshotSink) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	return s.store.add(s.meta, s.content)
}

// Cancel drops the snapshot (raft.SnapshotSink).
func (s *snapshotSink) Cancel() error {
	s.closed = true
	return nil
}
