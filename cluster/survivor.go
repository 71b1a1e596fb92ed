package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/storage"
)

// SurvivingDir is a node's directory whose node does not run, to be read and changed by who recovers the cluster (Recover).
type SurvivingDir struct {
	DataDir string
	Disk    Disk         // the machine's own outside tests
	Log     *slog.Logger // nil: slog.Default()
	// Reached is told of each step before it is taken; tests end the program there. nil tells nobody.
	Reached func(point string)
}

// Survivor is what is left of a cluster in one node's directory. It is written by Survey and read by PlanRecovery, as JSON in between.
type Survivor struct {
	ClusterID   string          `json:"clusterId"`
	Node        string          `json:"node"`
	Incarnation string          `json:"incarnation"`
	Generation  fsm.Generation  `json:"generation"`
	Recovering  bool            `json:"recovering,omitempty"` // a recovery was begun here and has not ended
	Map         *SurvivingMap   `json:"map,omitempty"`        // as the node knows it; nil where it has none
	Groups      []SurvivorGroup `json:"groups"`               // by number; 0 is the meta group
}

// SurvivingMap is what a recovery needs of the cluster's map.
type SurvivingMap struct {
	Version    uint64           `json:"version"`
	Generation fsm.Generation   `json:"generation"`
	Nodes      []SurvivingNode  `json:"nodes"`             // active ones, by ID
	Removed    []string         `json:"removed,omitempty"` // those that are out, by ID
	Shards     []SurvivingShard `json:"shards"`
}

// SurvivingNode is a member of the cluster and where it was reached.
type SurvivingNode struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

// SurvivingShard is a shard that has replicas, and which slots the map says it has.
type SurvivingShard struct {
	ID       fsm.ShardID `json:"id"`
	State    string      `json:"state"`
	Replicas []string    `json:"replicas"`
	Slots    []SlotRun   `json:"slots"`
}

// SlotRun is some slots in a row, of one generation of their ownership.
type SlotRun struct {
	First      fsm.SlotID `json:"first"`
	Last       fsm.SlotID `json:"last"`
	Generation uint64     `json:"generation"`
}

// SurvivorGroup is one node's replica of a group.
type SurvivorGroup struct {
	Group    uint32   `json:"group"`
	Unusable string   `json:"unusable,omitempty"` // why the group cannot go on from it; empty where it can
	Applied  uint64   `json:"applied"`            // in the state: all of that was decided
	Last     uint64   `json:"last"`               // in the log: what is behind Applied may have been
	LastTerm uint64   `json:"lastTerm"`
	Term     uint64   `json:"term"` // the last that it knew of
	Voters   []string `json:"voters"`
	// Of a shard:
	HubMillis  uint64         `json:"hubMillis,omitempty"` // hub time as of Applied
	Generation fsm.Generation `json:"generation,omitempty"`
	Slots      []SlotRun      `json:"slots,omitempty"` // that it has, by the state
	Messages   int            `json:"messages"`        // commands behind Applied that can be kept whether they were decided or not
	Others     int            `json:"others"`          // those that cannot: Commits, claims, leases, rooms
}

// Survey reads a directory, and changes nothing in it. It is refused with storage.ErrLocked while the node runs.
func (d SurvivingDir) Survey() (found Survivor, err error) {
	s, err := d.open()
	if err != nil {
		return Survivor{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.survey()
}

// open opens a node's directory and its engines, without its node.
func (d SurvivingDir) open() (_ *stores, err error) {
	log := d.Log
	if log == nil {
		log = slog.Default()
	}
	var failed error
	fatal := func(cause error) { failed = errors.Join(failed, cause) }
	s := &stores{log: log, fatal: fatal, disk: d.Disk, kind: PebbleLogs}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = storage.OpenDirThere(d.Disk.FS, d.DataDir); err != nil {
		return nil, err
	}
	if s.identity, err = s.dir.Identity(); err != nil {
		return nil, err
	}
	if _, err := s.dir.FS().Stat(s.dir.LogPath()); errors.Is(err, fs.ErrNotExist) {
		s.kind = BoltLogs
	} else if err != nil {
		return nil, err
	}
	if s.state, err = storage.OpenState(s.dir.StatePath(), storage.StateOptions{OnFatal: fatal, Logger: quiet(log), FS: d.Disk.FS}); err != nil {
		return nil, err
	}
	if s.kind == PebbleLogs {
		if s.logs, err = storage.OpenLog(s.dir.LogPath(), storage.LogOptions{OnFatal: fatal, Logger: quiet(log), FS: d.Disk.FS}); err != nil {
			return nil, err
		}
	}
	return s, failed
}

func (s *stores) survey() (found Survivor, err error) {
	found = Survivor{ClusterID: s.identity.ClusterID, Node: s.identity.NodeID, Incarnation: s.identity.Incarnation}
	generation, err := s.dir.Generation()
	if err != nil {
		return found, err
	}
	found.Generation = fsm.Generation(generation)
	switch _, err := s.dir.ReadFile(recoveringName); {
	case err == nil:
		found.Recovering = true
	case !errors.Is(err, fs.ErrNotExist):
		return found, err
	}
	groups, err := s.dir.Groups()
	if err != nil {
		return found, err
	}
	for _, id := range groups {
		group, known, err := s.surveyGroup(id)
		if err != nil {
			return found, fmt.Errorf("group %d: %w", id, err)
		}
		found.Groups = append(found.Groups, group)
		if known != nil {
			found.Map = known
		}
	}
	return found, nil
}

// surveyGroup reads what is left of a group. What is damaged is said, and is no error.
func (s *stores) surveyGroup(id uint32) (found SurvivorGroup, known *SurvivingMap, err error) {
	found = SurvivorGroup{Group: id}
	unusable := func(reason string) (SurvivorGroup, *SurvivingMap, error) {
		found.Unusable = reason
		return found, nil, nil
	}
	held, err := s.held(id)
	if err != nil {
		return found, nil, err
	}
	if held != nil {
		return unusable(held.reason)
	}
	g := groupStores{quarantines: s.quarantines, id: id, state: s.state.Group(id), closing: func() error { return nil }, staged: s.staged(id)}
	rebuilding, err := s.rebuilding(id)
	switch {
	case err != nil:
		return found, nil, err
	case rebuilding != nil:
		return unusable("it was being rebuilt from others")
	case g.state.Restoring():
		return unusable("it was getting its state from another when it stopped")
	}
	if g.snapshots, err = storage.OpenSnapshots(s.disk.FS, s.dir.SnapshotsPath(id), snapshotsKept); err != nil {
		return found, nil, err
	}
	if err := s.openRaftStores(&g); err != nil {
		return unusable(err.Error())
	}
	defer func() { err = errors.Join(err, g.close()) }()
	err = found.read(g)
	if err == nil && id == metaGroup && found.Unusable == "" {
		known, err = surveyMap(g, found)
	}
	if errors.Is(err, storage.ErrCorrupt) {
		return unusable(err.Error())
	}
	return found, known, err
}

// read fills in what the stores of a replica say.
func (f *SurvivorGroup) read(g groupStores) (err error) {
	if f.Applied, err = g.state.Applied(); err != nil {
		return err
	}
	if f.Term, err = storage.CurrentTerm(g.stable); err != nil {
		return err
	}
	manifests, err := g.snapshots.List()
	if err != nil {
		return err
	}
	first, err := g.log.FirstIndex()
	if err != nil {
		return err
	}
	if f.Last, err = g.log.LastIndex(); err != nil {
		return err
	}
	var configuration raft.Configuration
	if len(manifests) > 0 {
		newest := manifests[0]
		configuration, f.LastTerm = newest.Configuration, newest.Term
		f.Last = max(f.Last, newest.Index)
	}
	if first > f.Applied+1 || f.Applied > f.Last {
		f.Unusable = fmt.Sprintf("its log is from %d to %d, and its state at %d", first, f.Last, f.Applied)
		return nil
	}
	for index := first; first > 0 && index <= f.Last; index++ {
		var entry raft.Log
		if err := g.log.GetLog(index, &entry); err != nil {
			return err
		}
		f.LastTerm = entry.Term
		switch {
		case entry.Type == raft.LogConfiguration:
			configuration = raft.DecodeConfiguration(entry.Data)
		case entry.Type == raft.LogCommand && index > f.Applied && f.Group != metaGroup:
			if err := f.count(entry.Data); err != nil {
				return err
			}
		}
	}
	for _, server := range configuration.Servers {
		if server.Suffrage == raft.Voter {
			f.Voters = append(f.Voters, string(server.ID))
		}
	}
	slices.Sort(f.Voters)
	if f.Group == metaGroup {
		return nil
	}
	return f.readShard(g)
}

// count tells apart what an entry behind the state has.
func (f *SurvivorGroup) count(entry []byte) error {
	e, err := fsm.DecodeEntry(entry)
	if err != nil {
		return err
	}
	kept := len(fsm.Salvaged(e))
	f.Messages += kept
	for _, c := range e.Commands {
		if c.Lane() == fsm.Exclusive && c != fsm.Command(fsm.Fence{}) {
			f.Others++
		}
	}
	return nil
}

func (f *SurvivorGroup) readShard(g groupStores) (err error) {
	view, err := g.state.View()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if f.HubMillis, err = fsm.ReadClock(view); err != nil {
		return err
	}
	if f.Generation, err = fsm.ReadGeneration(view); err != nil {
		return err
	}
	return fsm.VisitOwnedSlots(view, func(slot fsm.SlotID, o fsm.Ownership) (bool, error) {
		f.Slots = appendSlot(f.Slots, slot, o.Generation)
		return true, nil
	})
}

// appendSlot adds a slot above all those that are there.
func appendSlot(runs []SlotRun, slot fsm.SlotID, generation uint64) []SlotRun {
	if n := len(runs); n > 0 && runs[n-1].Last+1 == slot && runs[n-1].Generation == generation {
		runs[n-1].Last = slot
		return runs
	}
	return append(runs, SlotRun{First: slot, Last: slot, Generation: generation})
}

// surveyMap reads the map as it is with all that stands in the log, which the meta group goes on with. Nothing of that is written.
func surveyMap(g groupStores, f SurvivorGroup) (_ *SurvivingMap, err error) {
	batch := g.state.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	for index := f.Applied + 1; index <= f.Last; index++ {
		var entry raft.Log
		if err := g.log.GetLog(index, &entry); err != nil {
			return nil, err
		}
		if entry.Type != raft.LogCommand {
			continue
		}
		if _, err := meta.Apply(batch, index, entry.Data); err != nil {
			return nil, err
		}
	}
	m, err := meta.ReadMap(batch)
	if err != nil || !m.Initialised() {
		return nil, err
	}
	return survivingMap(m), nil
}

// GoesOnWithout reports whether the directory is of a cluster that has no other node than this one, and these are out of it already: a recovery
// that gave them up has ended.
func (s Survivor) GoesOnWithout(lost []string) bool {
	if s.Map == nil || s.Recovering || len(lost) == 0 || len(s.Map.Nodes) != 1 || s.Map.Nodes[0].ID != s.Node {
		return false
	}
	return !slices.ContainsFunc(lost, func(id string) bool { return !slices.Contains(s.Map.Removed, id) })
}

func survivingMap(m *meta.Map) *SurvivingMap {
	found := &SurvivingMap{Version: m.Version(), Generation: m.Generation()}
	for _, n := range m.Nodes() {
		switch n.State {
		case meta.NodeActive:
			found.Nodes = append(found.Nodes, SurvivingNode{ID: n.ID, Address: n.ClusterAddr})
		case meta.NodeRemoved:
			found.Removed = append(found.Removed, n.ID)
		}
	}
	at := make(map[fsm.ShardID]int)
	for _, shard := range m.Shards() {
		if shard.State == meta.ShardRetired {
			continue
		}
		at[shard.ID] = len(found.Shards)
		found.Shards = append(found.Shards, SurvivingShard{ID: shard.ID, State: shard.State.String(), Replicas: shard.Replicas})
	}
	for slot := range fsm.SlotID(fsm.SlotCount) {
		place, placed := m.PlaceOfSlot(slot)
		if i, has := at[place.Shard]; placed && has {
			found.Shards[i].Slots = appendSlot(found.Shards[i].Slots, slot, place.Generation)
		}
	}
	return found
}
