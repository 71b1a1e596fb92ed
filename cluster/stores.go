package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"parley/cluster/pki"
	"parley/storage"
)

// snapshotsKept is how many manifests a group keeps.
const snapshotsKept = 2

// quarantineName is the file that keeps a group from being started, with the reason in it.
const quarantineName = "QUARANTINED"

// Disk is what a node's directory lies on. The zero value is the machine's own files, with votes and the meta group's log in
// bolt. Tests give a disk that loses what was not synced, and logs that are slow or fail.
type Disk struct {
	FS vfs.FS // nil: the operating system's

	// Stable keeps a group's term and vote; nil: a bolt file each. bolt knows no other file system, so with it the meta group's
	// log lies in the shards' engine.
	Stable func(group uint32) raft.StableStore

	// Log stands between Raft and a group's log; nil: nothing does.
	Log func(group uint32, log raft.LogStore) raft.LogStore
}

// stores are the node's directory and the engines that its groups share.
type stores struct {
	dir      *storage.Dir
	identity storage.Identity
	state    *storage.StateEngine
	logs     *storage.LogEngine // nil where the shards' logs are bolt
	log      *slog.Logger
	fatal    func(error)
	kind     LogStore
	disk     Disk
}

// openStores opens the directory for this node alone. A directory of another node, or of another cluster, is refused.
func openStores(config Config, fatal func(error)) (_ *stores, err error) {
	s := &stores{log: config.Log, fatal: fatal, kind: config.LogStore, disk: config.Disk}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = storage.OpenDir(config.Disk.FS, config.DataDir); err != nil {
		return nil, err
	}
	if err := s.identify(config.Credentials); err != nil {
		return nil, err
	}
	if _, err := checkFloor(s.dir, config.diskReserve()); err != nil && !errors.Is(err, vfs.ErrUnsupported) {
		return nil, err
	}
	if err := s.probe(); err != nil {
		return nil, err
	}
	if err := s.dir.MakeDir(stagingName); err != nil {
		return nil, err
	}
	state := storage.StateOptions{
		OnFatal: fatal, OnCorrupt: s.corrupt, OnDamage: s.damaged, Logger: quiet(config.Log), FS: config.Disk.FS,
	}
	if s.state, err = storage.OpenState(s.dir.StatePath(), state); err != nil {
		return nil, err
	}
	if s.kind == PebbleLogs {
		logs := storage.LogOptions{
			OnFatal: fatal, OnCorrupt: s.corrupt, OnDamage: s.damaged, Logger: quiet(config.Log), FS: config.Disk.FS,
		}
		if s.logs, err = storage.OpenLog(s.dir.LogPath(), logs); err != nil {
			return nil, err
		}
		err = s.logs.Probe() // within the time that a write may take
	}
	return s, err
}

// probe makes one durable write before anything stands on the disk again: the process may have ended because one failed.
func (s *stores) probe() error {
	if err := s.dir.WriteFile(probeName, []byte("a node writes here before it starts\n")); err != nil {
		return fmt.Errorf("the disk does not take a write: %w", err)
	}
	return nil
}

const probeName = "PROBE"

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
func (s *stores) staging() string { return filepath.Join(s.dir.Path(), stagingName) }

const stagingName = "staging"

// corrupt ends the node because something of a group's log or state is not what was written, and keeps the group from starting again: to
// truncate its log and rejoin would break the promises that its votes made, and to answer from its state would be to invent.
func (s *stores) corrupt(group uint32, cause error) { s.damaged([]uint32{group}, cause) }

// damaged is corrupt for several groups: every mark is durable before the node ends.
func (s *stores) damaged(groups []uint32, cause error) {
	err := fmt.Errorf("what is stored of groups %v: %w", groups, cause)
	for _, group := range groups {
		err = errors.Join(err, s.dir.MakeGroup(group), s.dir.WriteFile(quarantineFile(group), []byte(cause.Error()+"\n")))
	}
	s.fatal(err)
}

// quarantineFile is the path of a group's quarantine below the node's directory.
func quarantineFile(group uint32) string {
	return filepath.Join(storage.GroupName(group), quarantineName)
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
	id        uint32
	dir       *storage.Dir
	state     *storage.GroupState
	log       raft.LogStore
	stable    raft.StableStore
	snapshots *storage.Snapshots
	staged    string // the directory of a state that is being fetched
	closing   func() error
}

// group opens a group's stores: the meta group's log is bolt where there is bolt, a shard's as configured.
func (s *stores) group(id uint32) (groupStores, error) {
	g := groupStores{
		id: id, dir: s.dir, state: s.state.Group(id), closing: func() error { return nil },
		staged: filepath.Join(s.staging(), fmt.Sprintf("%08x", id)),
	}
	if err := s.dir.MakeGroup(id); err != nil {
		return g, err
	}
	var err error
	if g.snapshots, err = storage.OpenSnapshots(s.disk.FS, s.dir.SnapshotsPath(id), snapshotsKept); err != nil {
		return g, err
	}
	if err := s.openRaftStores(&g); err != nil {
		return g, err
	}
	if s.disk.Log != nil {
		g.log = s.disk.Log(id, g.log)
	}
	return g, nil
}

// openRaftStores opens a group's log and its term and vote.
func (s *stores) openRaftStores(g *groupStores) error {
	switch {
	case s.disk.Stable != nil:
		g.log, g.stable = s.logs.Group(g.id), s.disk.Stable(g.id)
	case g.id == metaGroup || s.kind == BoltLogs:
		bolt, err := storage.OpenBoltLog(s.dir.BoltLogPath(g.id), storage.BoltLogOptions{OnFatal: s.fatal, OnCorrupt: s.corrupt, Group: g.id})
		if err != nil {
			return err
		}
		g.log, g.stable, g.closing = bolt, bolt, bolt.Close
	default:
		stable, err := storage.OpenStable(s.dir.StablePath(g.id))
		if err != nil {
			return err
		}
		g.log, g.stable, g.closing = s.logs.Group(g.id), stable, stable.Close
	}
	return nil
}

func (g groupStores) close() error { return g.closing() }

// check compares what a crash may have left. The error is a *quarantine where the group must not start.
func (g groupStores) check() error {
	switch mark, err := g.dir.ReadFile(quarantineFile(g.id)); {
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
	if errors.Is(err, storage.ErrCorrupt) { // the entries that it stood for may be in no log any more
		if err := g.dir.WriteFile(quarantineFile(g.id), []byte(err.Error()+"\n")); err != nil {
			return err
		}
		return &quarantine{err.Error()}
	}
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
