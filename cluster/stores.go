package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"parley/cluster/pki"
	"parley/storage"
)

// snapshotsKept is how many manifests a group keeps.
const snapshotsKept = 2

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
	quarantines
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
	if err := s.abandonUnclearable(); err != nil {
		return nil, err
	}
	s.state, err = openOrSetAside(s, s.dir.StatePath(), s.allGroups, func(path string) (*storage.StateEngine, error) {
		return storage.OpenState(path, state)
	})
	if err != nil {
		return nil, err
	}
	if s.kind == PebbleLogs {
		logs := storage.LogOptions{
			OnFatal: fatal, OnCorrupt: s.corrupt, OnDamage: s.damaged, Logger: quiet(config.Log), FS: config.Disk.FS,
		}
		s.logs, err = openOrSetAside(s, s.dir.LogPath(), s.loggedGroups, func(path string) (*storage.LogEngine, error) {
			return storage.OpenLog(path, logs)
		})
		if err != nil {
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

// staged is where a group's state is kept that is being fetched from other nodes.
func (s *stores) staged(group uint32) string {
	return filepath.Join(s.dir.Path(), stagingName, fmt.Sprintf("%08x", group))
}

const stagingName = "staging"

// corrupt ends the node because something of a group's log or state is not what was written, and keeps the group from starting again: to
// truncate its log and rejoin would break the promises that its votes made, and to answer from its state would be to invent.
func (s *stores) corrupt(group uint32, cause error) { s.damaged([]uint32{group}, cause) }

// damaged is corrupt for several groups: every mark is durable before the node ends. Of groups that are held back already nothing new
// is learnt: a compaction may meet their damage until they are cleared.
func (s *stores) damaged(groups []uint32, cause error) {
	var running []uint32
	for _, group := range groups {
		if held, err := s.held(group); held == nil || err != nil {
			running = append(running, group)
		}
	}
	if len(running) == 0 {
		s.log.Warn("what is stored of groups that are held back is damaged", "groups", groups, "error", cause)
		return
	}
	s.fatal(errors.Join(fmt.Errorf("what is stored of groups %v: %w", running, cause), s.hold(running, cause.Error())))
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
	quarantines
	id        uint32
	state     *storage.GroupState
	log       raft.LogStore
	stable    raft.StableStore
	snapshots *storage.Snapshots
	staged    string // the directory of a state that is being fetched
	closing   func() error

	rebuilding *eviction // nil where the replica votes as any other
}

// group opens a group's stores: the meta group's log is bolt where there is bolt, a shard's as configured.
func (s *stores) group(id uint32) (groupStores, error) {
	g := groupStores{
		quarantines: s.quarantines, id: id, state: s.state.Group(id), closing: func() error { return nil },
		staged: s.staged(id),
	}
	if err := s.dir.MakeGroup(id); err != nil {
		return g, err
	}
	held, err := s.held(id)
	if err == nil && held != nil {
		err = held
	}
	if err != nil {
		return g, err
	}
	if g.rebuilding, err = s.rebuilding(id); err != nil {
		return g, err
	}
	if g.snapshots, err = storage.OpenSnapshots(s.disk.FS, s.dir.SnapshotsPath(id), snapshotsKept); err != nil {
		return g, err
	}
	if err := s.openRaftStores(&g); errors.Is(err, storage.ErrCorrupt) {
		return g, s.quarantined(id, err.Error())
	} else if err != nil {
		return g, err
	}
	if lost, err := g.lostVotes(); err != nil || lost {
		if err == nil {
			err = s.quarantined(id, "the votes of a replica that has a log or a state are gone")
		}
		return g, errors.Join(err, g.close())
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

// lostVotes reports that the group has a log or a state and no votes: their file is gone, and with it what it had promised.
func (g groupStores) lostVotes() (bool, error) {
	if held, err := storage.HasTerm(g.stable); held || err != nil {
		return false, err
	}
	last, err := g.log.LastIndex()
	if err != nil || last > 0 || g.state.Restoring() {
		return err == nil, err
	}
	applied, err := g.state.Applied()
	return applied > 0, err
}

// check compares what a crash may have left. The error is a *quarantine where the group must not start.
func (g groupStores) check() error {
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
		return g.quarantined(g.id, err.Error())
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
		return g.quarantined(g.id, err.Error())
	}
	return nil
}
