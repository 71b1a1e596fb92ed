package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/storage"
)

// FsckReport is what is in a node's directory, and what is wrong with it.
type FsckReport struct {
	NodeID    string      `json:"nodeId"`
	ClusterID string      `json:"clusterId"`
	Admitted  string      `json:"admitted,omitempty"` // how it came into its cluster: init or join; empty: it has not
	Groups    []FsckGroup `json:"groups"`
	Held      int         `json:"held"`     // bulk submissions in its journal
	Findings  []string    `json:"findings"` // what is wrong
	Notes     []string    `json:"notes"`    // what a person should know, and is not wrong
}

// FsckGroup is what the directory has of one group.
type FsckGroup struct {
	Group       uint32 `json:"group"` // 0 is the meta group
	Format      uint32 `json:"format,omitempty"`
	FirstLog    uint64 `json:"firstLog"` // 0: the log is empty
	LastLog     uint64 `json:"lastLog"`
	Applied     uint64 `json:"applied"`
	Snapshot    uint64 `json:"snapshot"`
	Records     uint64 `json:"records"` // of its state
	Bytes       uint64 `json:"bytes"`
	Quarantined string `json:"quarantined,omitempty"`
	Rebuilding  bool   `json:"rebuilding,omitempty"`
}

// fsck looks through one directory. It belongs to one goroutine.
type fsck struct {
	ctx    context.Context
	dir    *storage.Dir
	state  *storage.StateEngine // nil where it does not open
	logs   *storage.LogEngine   // nil where there is none, or it does not open
	say    func(string)
	report FsckReport
}

// Fsck reads everything in a node's directory and says what of it is not as it should be: every log record's checksum, the indexes, votes,
// snapshots, and each shard's state as a whole. It changes nothing. A directory whose node runs is refused with storage.ErrLocked. say hears
// of each step.
func Fsck(ctx context.Context, path string, say func(string)) (report FsckReport, err error) {
	dir, err := storage.LookAtDir(path)
	if err != nil {
		return report, err
	}
	f := &fsck{ctx: ctx, dir: dir, say: say}
	f.report.Groups, f.report.Findings, f.report.Notes = []FsckGroup{}, []string{}, []string{}
	defer func() { err = errors.Join(err, f.close()) }()
	f.identity()
	f.open()
	groups, err := f.groups()
	if err != nil {
		return f.report, err
	}
	for _, group := range groups {
		if err := ctx.Err(); err != nil {
			return f.report, err
		}
		say(fmt.Sprintf("group %d of %v", group, groups))
		f.group(group)
	}
	say("the journal")
	f.journal()
	return f.report, f.leftovers()
}

func (f *fsck) close() (err error) {
	if f.state != nil {
		err = f.state.Close()
	}
	if f.logs != nil {
		err = errors.Join(err, f.logs.Close())
	}
	return errors.Join(err, f.dir.Close())
}

func (f *fsck) wrong(format string, arguments ...any) {
	f.report.Findings = append(f.report.Findings, fmt.Sprintf(format, arguments...))
}

func (f *fsck) note(format string, arguments ...any) {
	f.report.Notes = append(f.report.Notes, fmt.Sprintf(format, arguments...))
}

func (f *fsck) identity() {
	identity, err := f.dir.Identity()
	if err != nil {
		f.wrong("identity.json, which says whose directory this is: %v; the node does not start", err)
	}
	f.report.NodeID, f.report.ClusterID = identity.NodeID, identity.ClusterID
	if f.report.Admitted, err = f.dir.Admission(); err != nil {
		f.wrong("ADMITTED, which says how the node came into its cluster: %v; the node does not start", err)
	} else if f.report.Admitted == "" {
		f.note("the node has not come into a cluster yet")
	}
}

// open opens the engines that there are.
func (f *fsck) open() {
	fatal := func(err error) { f.wrong("an engine has failed while it was read: %v", err) }
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if f.there(f.dir.StatePath()) {
		f.say("the state engine")
		f.state, err = storage.OpenState(f.dir.StatePath(), storage.StateOptions{OnFatal: fatal, ReadOnly: true, Logger: quiet})
		if err != nil {
			f.wrong("the state engine does not open: %v; the node will set it aside, and rebuild all its replicas from the others", err)
		}
	}
	if f.there(f.dir.LogPath()) {
		f.say("the log engine")
		f.logs, err = storage.OpenLog(f.dir.LogPath(), storage.LogOptions{OnFatal: fatal, ReadOnly: true, Logger: quiet})
		if err != nil {
			f.wrong("the log engine does not open: %v; the node will set it aside, and rebuild its replicas from the others", err)
		}
	}
}

func (f *fsck) there(path string) bool {
	_, err := f.dir.FS().Stat(path)
	return err == nil
}

// groups are all of which there is anything.
func (f *fsck) groups() ([]uint32, error) {
	all := make(map[uint32]bool)
	ids, err := f.dir.Groups()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		all[id] = true
	}
	if f.state != nil {
		ids, err := f.state.Groups()
		if err != nil {
			f.wrong("the groups of the state engine: %v", err)
		}
		for _, id := range ids {
			if !all[id] {
				f.wrong("group %d has a state, and no directory", id)
			}
			all[id] = true
		}
	}
	if f.logs != nil {
		ids, err := f.logs.Groups()
		if err != nil {
			f.wrong("the groups of the log engine: %v", err)
		}
		for _, id := range ids {
			if !all[id] {
				f.wrong("group %d has a log, and no directory", id)
			}
			all[id] = true
		}
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// group looks at all that there is of one group.
func (f *fsck) group(id uint32) {
	g := FsckGroup{Group: id}
	f.marks(&g)
	log, stable, done := f.raftStores(id)
	defer done()
	restart := storage.RestartError{}
	if f.state != nil {
		f.groupState(&g, &restart)
	}
	f.snapshots(&g, &restart)
	if log != nil {
		f.log(&g, log, &restart)
	}
	switch lacks := !f.there(f.dir.StablePath(id)) && !f.there(f.dir.BoltLogPath(id)); {
	case stable != nil:
		f.votes(&g, stable)
	case lacks && g.Quarantined == "" && (g.LastLog > 0 || g.Applied > 0):
		f.lostVotes(id)
	}
	restoring := f.state != nil && f.state.Group(id).Restoring()
	switch err := storage.CheckRestart(restart.Applied, restart.RestoredThrough, restart.Snapshot, restart.First, restart.Last, restoring); {
	case err == nil || f.state == nil || log == nil:
	case restoring && f.there(filepath.Join(f.dir.Path(), stagingName, fmt.Sprintf("%08x", id))):
		f.note("group %d: an exchange of its state was cut off; it goes on when the node starts, if all of the new state is here", id)
	case g.Quarantined != "":
		f.note("group %d, which is held back: %v", id, err)
	default:
		f.wrong("group %d: %v; the node will hold the replica back, and rebuild it from the others", id, err)
	}
	f.report.Groups = append(f.report.Groups, g)
}

// marks explains what stands in a group's directory beside its stores.
func (f *fsck) marks(g *FsckGroup) {
	q := quarantines{f.dir}
	held, err := q.held(g.Group)
	if err != nil {
		f.wrong("group %d: its mark QUARANTINED cannot be read: %v", g.Group, err)
	} else if held != nil && held.reason == movedAway {
		g.Quarantined = movedAway
		f.note("group %d: %s; the mark keeps what the replica had promised from being forgotten, if it ever comes back", g.Group, movedAway)
	} else if held != nil {
		g.Quarantined = strings.TrimSpace(held.reason)
		f.wrong("group %d is QUARANTINED: the replica does not run until it is rebuilt from the others, by itself: %s", g.Group, g.Quarantined)
	}
	raw, err := f.dir.ReadFile(groupFile(g.Group, rebuildingName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		f.wrong("group %d: its mark REBUILDING cannot be read: %v", g.Group, err)
	default:
		g.Rebuilding = true
		e, err := decodeRebuilding(raw)
		if err != nil {
			f.wrong("group %d: its mark REBUILDING is damaged, and without it nobody knows what the replica has to wait for: %v", g.Group, err)
			return
		}
		f.note("group %d is REBUILDING: it was cleared, and votes again when its log has come past index %d", g.Group, e.index)
	}
}

// raftStores opens a group's log and votes, those that there are.
func (f *fsck) raftStores(id uint32) (log raft.LogStore, stable raft.StableStore, done func()) {
	done = func() {}
	if path := f.dir.BoltLogPath(id); f.there(path) {
		bolt, err := storage.OpenBoltLog(path, storage.BoltLogOptions{
			Group: id, ReadOnly: true, OnFatal: func(err error) { f.wrong("the log of group %d has failed while it was read: %v", id, err) },
		})
		if err != nil {
			f.wrong("group %d: its log and votes do not open: %v", id, err)
			return nil, nil, done
		}
		return bolt, bolt, func() {
			if err := bolt.Close(); err != nil {
				f.wrong("group %d: %v", id, err)
			}
		}
	}
	if f.logs != nil {
		log = f.logs.Group(id)
	}
	path := f.dir.StablePath(id)
	if !f.there(path) {
		return log, nil, done
	}
	votes, err := storage.OpenStableReadOnly(path)
	if err != nil {
		f.wrong("group %d: its votes do not open: %v", id, err)
		return log, nil, done
	}
	return log, votes, func() {
		if err := votes.Close(); err != nil {
			f.wrong("group %d: %v", id, err)
		}
	}
}

// groupState reads a group's state, and holds it to what must be true of any.
func (f *fsck) groupState(g *FsckGroup, at *storage.RestartError) {
	state := f.state.Group(g.Group)
	if state.Restoring() {
		return // nothing of it can be read
	}
	view, err := state.View()
	if err != nil {
		f.wrong("group %d: its state cannot be read: %v", g.Group, err)
		return
	}
	defer func() {
		if err := view.Close(); err != nil {
			f.wrong("group %d: %v", g.Group, err)
		}
	}()
	g.Applied = view.Applied()
	at.Applied = g.Applied
	if at.RestoredThrough, err = state.RestoredThrough(); err != nil {
		f.wrong("group %d: %v", g.Group, err)
	}
	err = fsm.ScanRange(view, nil, nil, func(key, value []byte) error {
		g.Records++
		g.Bytes += uint64(len(key) + len(value))
		return f.ctx.Err()
	})
	if err != nil {
		f.wrong("group %d: its state cannot be read to its end: %v", g.Group, err)
		return
	}
	if err := f.verify(g, view); err != nil {
		f.wrong("group %d: its state is not sound: %v", g.Group, err)
	}
}

// verify looks at what a state says. A record that is damaged in a way nothing was made for makes a reader panic, which is a finding.
func (f *fsck) verify(g *FsckGroup, view fsm.Reader) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("a record cannot be what it is: %v", cause)
		}
	}()
	if g.Group == metaGroup {
		m, err := meta.ReadMap(view)
		if err != nil {
			return err
		}
		settings, _ := m.Settings()
		g.Format = uint32(settings.Format)
		return nil
	}
	format, err := fsm.ReadFormat(view)
	if err != nil {
		return err
	}
	g.Format = uint32(format)
	return fsm.VerifyState(view)
}

func (f *fsck) snapshots(g *FsckGroup, at *storage.RestartError) {
	kept := storage.LookAtSnapshots(f.dir.FS(), f.dir.SnapshotsPath(g.Group))
	metas, err := kept.List()
	if err != nil {
		f.wrong("group %d: a snapshot's manifest: %v; the entries that it stands for may be in no log any more", g.Group, err)
		return
	}
	for i, m := range metas {
		if i == 0 {
			g.Snapshot, at.Snapshot = m.Index, m.Index
		}
		raw, err := manifestOf(kept, m.ID)
		if err == nil && (raw.group != g.Group || raw.index != m.Index) {
			err = fmt.Errorf("it is of group %d at %d", raw.group, raw.index)
		}
		if err != nil {
			f.wrong("group %d: the manifest of snapshot %s: %v", g.Group, m.ID, err)
		}
	}
}

// log reads every entry of a group's log.
func (f *fsck) log(g *FsckGroup, log raft.LogStore, at *storage.RestartError) {
	first, err := log.FirstIndex()
	if err == nil {
		g.FirstLog = first
		g.LastLog, err = log.LastIndex()
	}
	if err != nil {
		f.wrong("group %d: where its log begins and ends: %v", g.Group, err)
		return
	}
	at.First, at.Last = g.FirstLog, g.LastLog
	term := uint64(0)
	for index := g.FirstLog; index > 0 && index <= g.LastLog && f.ctx.Err() == nil; index++ {
		var entry raft.Log
		if err := log.GetLog(index, &entry); err != nil {
			f.wrong("group %d: %v; the node will hold the replica back, and rebuild it from the others", g.Group, err)
			return
		}
		if entry.Index != index || entry.Term < term {
			f.wrong("group %d: the entry at index %d says that it is at %d, in term %d after term %d", g.Group, index, entry.Index, entry.Term, term)
			return
		}
		term = entry.Term
	}
}

func (f *fsck) votes(g *FsckGroup, stable raft.StableStore) {
	has, err := storage.HasTerm(stable)
	switch {
	case err != nil:
		f.wrong("group %d: its votes: %v", g.Group, err)
	case !has && (g.LastLog > 0 || g.Applied > 0):
		f.lostVotes(g.Group)
	}
}

func (f *fsck) lostVotes(group uint32) {
	f.wrong("group %d: its votes are gone, though it has a log or a state; the node will hold the replica back, and rebuild it from the others", group)
}

func (f *fsck) journal() {
	found, err := storage.LookAtJournal(f.dir.FS(), f.dir.HeldPath())
	if err != nil {
		f.wrong("the journal of held submissions: %v", err)
		return
	}
	f.report.Held = found.Records
	for _, damaged := range found.Damaged {
		f.wrong("the journal of held submissions cannot be read: %s", damaged)
	}
	if len(found.Aside) > 0 {
		f.wrong("the journal has kept aside what it could not read, in %s: %s", f.dir.HeldPath(), strings.Join(found.Aside, " "))
	}
	if found.Torn > 0 {
		f.note("the last write to the journal was cut off, as a crash does: nobody was answered for it")
	}
}

// leftovers explains what lies beside the stores.
func (f *fsck) leftovers() error {
	aside, err := f.dir.DamagedEngines()
	for _, name := range aside {
		f.note("%s was set aside for damage; remove it when you have looked at it", name)
	}
	switch _, missing := f.dir.ReadFile(clearingName); {
	case missing == nil:
		f.note("CLEARING: a group was being cleared when the process ended; that goes on when the node starts")
	case !errors.Is(missing, fs.ErrNotExist):
		err = errors.Join(err, missing)
	}
	staged, listed := vfs.Default.List(filepath.Join(f.dir.Path(), stagingName))
	for _, name := range staged {
		f.note("staging/%s: a state that was being fetched; the node goes on with it", name)
	}
	if errors.Is(listed, fs.ErrNotExist) {
		listed = nil
	}
	return errors.Join(err, listed)
}
