package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
	"parley/storage"
)

// A cluster that has lost a quorum for good goes on from what is left, in a new generation (fsm/generation.go). Its nodes do not run meanwhile. What
// is done in a directory is done in an order that a crash may cut anywhere, and then again:
//
//  1. The plan is noted in RECOVERING. From then on the node does not start.
//  2. Of each group that goes on from here, the log behind what is taken for decided is replaced: by a configuration in which this replica alone votes,
//     the beginning of the generation, and what can be salvaged of what was there. That is computed and noted before a byte of the log changes.
//  3. Every other group of the plan is cleared, as a damaged one is: its leader gives it its place back when it runs.
//  4. The directory is of the new generation. RECOVERING goes last.
//
// A replica may hold what only it had accepted, under a leader that was deposed, while the others decided otherwise. So of what it had not applied
// nothing exclusive is taken for decided: a Commit among it may be one of two of its epoch.

// rewritten is what a group's log is to have behind an index: it stands in the group's directory while it is being written.
const rewrittenName = "RECOVERING"

// salvageBytes bounds one entry of what is salvaged.
const salvageBytes = 256 << 10

// Recover carries out a plan in a node's directory. It may be repeated, and goes on where it was cut off; the plan must be the same. The error is a
// *RefusedError where the directory is not as the plan has it.
func (d SurvivingDir) Recover(plan RecoveryPlan) (err error) {
	s, err := d.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	reached := d.Reached
	if reached == nil {
		reached = func(string) {}
	}
	if s.identity.ClusterID != plan.ClusterID || !slices.Contains(plan.Survivors, s.identity.NodeID) {
		return &RefusedError{fmt.Sprintf("the directory is node %s's of cluster %s, which is not in the plan", s.identity.NodeID, s.identity.ClusterID)}
	}
	noted, err := s.notePlan(plan, reached)
	if err != nil || !noted {
		return err
	}
	for _, group := range plan.Groups {
		if group.Source == s.identity.NodeID {
			err = s.beginAnew(plan, group, reached)
		} else if slices.Contains(group.Replicas, s.identity.NodeID) || group.Group == metaGroup {
			reached(fmt.Sprintf("recover.clear %d", group.Group))
			err = s.giveUp(group)
		}
		if err != nil {
			return fmt.Errorf("group %d: %w", group.Group, err)
		}
	}
	reached("recover.generation")
	if err := s.dir.SetGeneration(uint64(plan.Generation)); err != nil {
		return err
	}
	reached("recover.end")
	return s.dir.Remove(recoveringName)
}

// UnfinishedPlan is the plan of a recovery that was begun in a directory and has not ended; false where there is none.
func (d SurvivingDir) UnfinishedPlan() (plan RecoveryPlan, found bool, err error) {
	dir, err := storage.OpenDirThere(d.Disk.FS, d.DataDir)
	if err != nil {
		return plan, false, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	raw, err := dir.ReadFile(recoveringName)
	if errors.Is(err, fs.ErrNotExist) {
		return plan, false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &plan)
	}
	return plan, err == nil, err
}

// notePlan begins the recovery, or finds that it was begun; false where it has ended.
func (s *stores) notePlan(plan RecoveryPlan, reached func(string)) (begun bool, err error) {
	encoded, err := json.Marshal(plan)
	if err != nil {
		return false, err
	}
	before, err := s.dir.ReadFile(recoveringName)
	if err == nil {
		if !bytes.Equal(before, encoded) {
			return false, &RefusedError{"another recovery of the directory was begun: go on with that"}
		}
		return true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	generation, err := s.dir.Generation()
	switch {
	case err != nil:
		return false, err
	case fsm.Generation(generation) == plan.Generation:
		return false, nil
	case fsm.Generation(generation) > plan.Generation:
		return false, &RefusedError{fmt.Sprintf("the directory is of generation %d already", generation)}
	}
	survey, err := s.survey()
	if err != nil {
		return false, err
	}
	for _, group := range plan.Groups {
		is, usable := survey.group(group.Group)
		if group.Source == s.identity.NodeID && (!usable || is.Applied != group.Applied || is.Last != group.Last || is.LastTerm != group.LastTerm) {
			return false, &RefusedError{fmt.Sprintf("group %d is not as it was when it was surveyed: survey the directories again", group.Group)}
		}
	}
	reached("recover.begin")
	return true, s.dir.WriteFile(recoveringName, encoded)
}

// beginAnew gives a group's log its new beginning.
func (s *stores) beginAnew(plan RecoveryPlan, group GroupPlan, reached func(string)) (err error) {
	g := groupStores{quarantines: s.quarantines, id: group.Group, state: s.state.Group(group.Group), closing: func() error { return nil }}
	if err := s.openRaftStores(&g); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	file := groupFile(group.Group, rewrittenName)
	raw, err := s.dir.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if done, err := beganAnew(g, group); err != nil || done {
			return err
		}
		entries, err := newBeginning(plan, group, g.log)
		if err != nil {
			return err
		}
		reached(fmt.Sprintf("recover.note %d", group.Group))
		raw = encodeLogs(entries)
		if err := s.dir.WriteFile(file, raw); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	entries, err := decodeLogs(raw)
	if err != nil {
		return err
	}
	reached(fmt.Sprintf("recover.write %d", group.Group))
	if err := g.log.StoreLogs(entries); err != nil {
		return err
	}
	if err := storage.SeedVotes(g.stable, group.Term); err != nil {
		return err
	}
	reached(fmt.Sprintf("recover.written %d", group.Group))
	return s.dir.Remove(file)
}

// beganAnew reports whether the log has the plan's new beginning.
func beganAnew(g groupStores, group GroupPlan) (bool, error) {
	var entry raft.Log
	err := g.log.GetLog(group.At+1, &entry)
	if errors.Is(err, raft.ErrLogNotFound) {
		return false, nil
	}
	return err == nil && entry.Term == group.Term && entry.Type == raft.LogConfiguration, err
}

// newBeginning is what a group's log is to have behind the index at which its new history begins.
func newBeginning(plan RecoveryPlan, group GroupPlan, log raft.LogStore) (entries []*raft.Log, err error) {
	add := func(kind raft.LogType, data []byte) {
		entries = append(entries, &raft.Log{Index: group.At + uint64(len(entries)) + 1, Term: group.Term, Type: kind, Data: data})
	}
	add(raft.LogConfiguration, raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{serverOf(group.Source, raft.Voter)}}))
	if group.Group == metaGroup {
		add(raft.LogCommand, meta.EncodeCommand(plan.command()))
		return entries, nil
	}
	begin := fsm.BeginGeneration{Generation: plan.Generation, EndedMillis: plan.EndedMillis}
	for _, s := range group.Slots {
		begin.Slots = append(begin.Slots, fsm.SlotRuling{Slot: s.Slot, Shard: s.Shard, Generation: s.Generation})
	}
	add(raft.LogCommand, fsm.EncodeEntry(fsm.Entry{Commands: []fsm.Command{begin}}))
	for index := group.At + 1; index <= group.Last; index++ {
		var entry raft.Log
		if err := log.GetLog(index, &entry); err != nil {
			return nil, err
		}
		if entry.Type != raft.LogCommand {
			continue
		}
		e, err := fsm.DecodeEntry(entry.Data)
		if err != nil {
			return nil, err
		}
		for _, salvage := range salvagesOf(fsm.Salvaged(e)) {
			add(raft.LogCommand, fsm.EncodeEntry(fsm.Entry{StampMillis: e.StampMillis, Commands: []fsm.Command{salvage}}))
		}
	}
	return entries, nil
}

// salvagesOf splits what is salvaged of one entry so that each part fits one.
func salvagesOf(commands []fsm.Command) (salvages []fsm.Command) {
	var part fsm.Salvage
	size := 0
	for _, c := range commands {
		bytes := len(fsm.EncodeCommand(c))
		if len(part.Commands) > 0 && size+bytes > salvageBytes {
			salvages, part, size = append(salvages, part), fsm.Salvage{}, 0
		}
		part.Commands, size = append(part.Commands, c), size+bytes
	}
	if len(part.Commands) > 0 {
		salvages = append(salvages, part)
	}
	return salvages
}

// command is what the plan does to the map.
func (p RecoveryPlan) command() meta.BeginGeneration {
	c := meta.BeginGeneration{Generation: p.Generation, EndedMillis: p.EndedMillis, Lost: p.Lost, Stamp: p.EndedMillis}
	for _, group := range p.Groups {
		if group.Group != metaGroup {
			c.Shards = append(c.Shards, meta.ShardLeft{ID: fsm.ShardID(group.Group), Replicas: group.Replicas})
		}
	}
	return c
}

// giveUp clears a replica that its group does not go on from. It gets its place back without a vote, and its vote when it has what its leader has.
func (s *stores) giveUp(group GroupPlan) error {
	if err := s.hold([]uint32{group.Group}, "its group was recovered from node "+group.Source); err != nil {
		return err
	}
	return s.clear(group.Group, eviction{term: group.Term, index: group.At + 2}, false)
}

// encodeLogs writes entries of a Raft log.
//
//	struct { uint8 version = 1; LogEntry entries<V>; } LogEntries;
//
//	struct {
//	    uint64 index;
//	    uint64 term;
//	    uint8 type;
//	    opaque data<V>;
//	} LogEntry;
func encodeLogs(entries []*raft.Log) []byte {
	var w mls.Writer
	w.Uint8(logEntriesVersion)
	w.Vector(func(w *mls.Writer) {
		for _, e := range entries {
			w.Uint64(e.Index)
			w.Uint64(e.Term)
			w.Uint8(uint8(e.Type))
			w.Opaque(e.Data)
		}
	})
	return w.Bytes()
}

const logEntriesVersion = 1

func decodeLogs(raw []byte) ([]*raft.Log, error) {
	r := mls.NewReader("LogEntries", raw)
	if version := r.Uint8("version"); version != logEntriesVersion {
		r.Fail("version", "is not known")
	}
	entries := mls.ReadList(r, "entries", func(r *mls.Reader) *raft.Log {
		return &raft.Log{Index: r.Uint64("index"), Term: r.Uint64("term"), Type: raft.LogType(r.Uint8("type")), Data: r.Opaque("data")}
	})
	if err := r.Close(); err != nil {
		return nil, err
	}
	return entries, nil
}
