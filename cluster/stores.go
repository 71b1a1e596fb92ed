package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"parley/cluster/pki"
	"parley/storage"
)

// snapshotsKept is how many manifests a group keeps.
const snapshotsKept = 2

// quarantineName is the file that keeps a group from being started, with the reason in it.
const quarantineName = "QUARANTINED"

// stores are the node's directory and the engines that its groups share.
type stores struct {
	dir      *storage.Dir
	identity storage.Identity
	state    *storage.StateEngine
	logs     *storage.LogEngine // nil where the shards' logs are bolt
	log      *slog.Logger
	fatal    func(error)
	kind     LogStore
}

// openStores opens the directory for this node alone. A directory of another node, or of another cluster, is refused.
func openStores(config Config, fatal func(error)) (_ *stores, err error) {
	s := &stores{log: config.Log, fatal: fatal, kind: config.LogStore}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = storage.OpenDir(config.DataDir); err != nil {
		return nil, err
	}
	if err := s.identify(config.Credentials); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.staging(), 0o700); err != nil {
		return nil, err
	}
	if s.state, err = storage.OpenState(s.dir.StatePath(), storage.StateOptions{OnFatal: fatal, Logger: quiet(config.Log)}); err != nil {
		return nil, err
	}
	if s.kind == PebbleLogs {
		s.logs, err = storage.OpenLog(s.dir.LogPath(), storage.LogOptions{OnFatal: fatal, OnCorrupt: s.corrupt, Logger: quiet(config.Log)})
	}
	return s, err
}

// identify gives a new directory to this node, under a name that no other directory ever has, or finds that it is this node's.
func (s *stores) identify(credentials pki.Credentials) (err error) {
	s.identity, err = s.dir.Identity()
	if errors.Is(err, storage.ErrNoIdentity) {
		var incarnation [16]byte
		if _, err := rand.Read(incarnation[:]); err != nil {
			return err
		}
		s.identity.Incarnation = hex.EncodeToString(incarnation[:])
	} else if err != nil {
		return err
	}
	s.identity.NodeID, s.identity.ClusterID = credentials.NodeID(), credentials.ClusterID()
	return s.dir.SetIdentity(s.identity)
}

// staging holds states that are being fetched from other nodes.
func (s *stores) staging() string { return filepath.Join(s.dir.Path(), "staging") }

// corrupt ends the node because a log record is not what was written, and keeps the group from starting again: to truncate
// its log and rejoin would break the promises that its votes made.
func (s *stores) corrupt(group uint32, cause error) {
	mark := filepath.Join(s.dir.GroupPath(group), quarantineName)
	err := os.WriteFile(mark, []byte(cause.Error()+"\n"), 0o600)
	s.fatal(errors.Join(fmt.Errorf("the log of group %d: %w", group, cause), err))
}

func (s *stores) close() error {
	var err error
	if s.logs != nil {
		err = errors.Join(err, s.logs.Close())
	}
	if s.state != nil {
		err = errors.Join(err, s.state.Close())
	}
	if s.dir != nil {
		err = errors.Join(err, s.dir.Close())
	}
	return err
}

// groupStores are what one Raft group has of the stores.
type groupStores struct {
	state     *storage.GroupState
	log       raft.LogStore
	stable    raft.StableStore
	snapshots *storage.Snapshots
	path      string
	staged    string // a fetched state that is complete
	closing   func() error
}

// group opens a group's stores: the meta group's log is bolt always, a shard's as configured.
func (s *stores) group(id uint32) (groupStores, error) {
	g := groupStores{
		state: s.state.Group(id), path: s.dir.GroupPath(id),
		staged: filepath.Join(s.staging(), fmt.Sprintf("%08x.state", id)),
	}
	if err := s.dir.MakeGroup(id); err != nil {
		return g, err
	}
	var err error
	if g.snapshots, err = storage.OpenSnapshots(s.dir.SnapshotsPath(id), snapshotsKept, quiet(s.log)); err != nil {
		return g, err
	}
	if id == metaGroup || s.kind == BoltLogs {
		bolt, err := storage.OpenBoltLog(s.dir.BoltLogPath(id), storage.BoltLogOptions{OnFatal: s.fatal, OnCorrupt: s.corrupt, Group: id})
		if err != nil {
			return g, err
		}
		g.log, g.stable, g.closing = bolt, bolt, bolt.Close
		return g, nil
	}
	stable, err := storage.OpenStable(s.dir.StablePath(id))
	if err != nil {
		return g, err
	}
	g.log, g.stable, g.closing = s.logs.Group(id), stable, stable.Close
	return g, nil
}

func (g groupStores) close() error { return g.closing() }

// check compares what a crash may have left. The error is a *quarantine where the group must not start.
func (g groupStores) check() error {
	switch mark, err := os.ReadFile(filepath.Join(g.path, quarantineName)); {
	case err == nil:
		return &quarantine{string(mark)}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	var at storage.RestartError
	restoring := g.state.Restoring()
	var err error
	if !restoring {
		if at.Applied, err = g.state.Applied(); err != nil {
			return err
		}
		if at.RestoredThrough, err = g.state.RestoredThrough(); err != nil {
			return err
		}
	}
	manifests, err := g.snapshots.List()
	if err != nil {
		return err
	}
	if len(manifests) > 0 {
		at.Snapshot = manifests[0].Index
	}
	if at.First, err = g.log.FirstIndex(); err != nil {
		return err
	}
	if at.Last, err = g.log.LastIndex(); err != nil {
		return err
	}
	if err := storage.CheckRestart(at.Applied, at.RestoredThrough, at.Snapshot, at.First, at.Last, restoring); err != nil {
		return &quarantine{err.Error()}
	}
	return nil
}
