package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// Snapshots keeps a group's snapshots as files, readable by their owner only: a raft.SnapshotStore. It is meant for small
// manifests, since raft copies a whole snapshot and cannot resume.
type Snapshots struct {
	*raft.FileSnapshotStore
	dir string
}

// OpenSnapshots opens or makes the store in dir and keeps the newest retain snapshots, at least one.
func OpenSnapshots(dir string, retain int, logger *slog.Logger) (*Snapshots, error) {
	// raft keeps its snapshots in this directory below dir.
	inner := filepath.Join(dir, "snapshots")
	if err := errors.Join(makePrivateDir(vfs.Default, inner), os.Chmod(dir, 0o700)); err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", dir, err)
	}
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, retain, RaftLogger(logger))
	if err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", dir, err)
	}
	return &Snapshots{FileSnapshotStore: store, dir: inner}, nil
}

// Create begins a snapshot (raft.SnapshotStore). raft makes its files readable by everyone; here they are not.
func (s *Snapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.FileSnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		return nil, err
	}
	// The directory has this name until the sink is closed.
	under := filepath.Join(s.dir, sink.ID()+".tmp")
	if err := makePrivate(under); err != nil {
		return nil, errors.Join(err, sink.Cancel())
	}
	return sink, nil
}

// makePrivate takes a directory and the files in it from everyone but the owner.
func makePrivate(dir string) error {
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.Chmod(filepath.Join(dir, entry.Name()), 0o600); err != nil {
			return err
		}
	}
	return nil
}
