package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/mls"
	"parley/storage"
)

// A replica that is held back for damage is rebuilt from its peers, by itself:
//
//  1. Its node asks the group's leader to take it out of the group. The answer names an index of the log by which that is decided, and
//     a term in which it was (evict.go).
//  2. The node notes both durably in REBUILDING, while QUARANTINED still stands, destroys all that it has of the group, seeds its votes
//     so that it has voted in every term up to that one, and takes QUARANTINED away last. A crash anywhere begins again at 1.
//  3. The replica opens on nothing. The leader sees that it runs and adds it without a vote; it fetches the state; when it has caught up
//     the leader gives it its vote back, and REBUILDING goes.
//
// What it had promised is forgotten, so it must not vote before it holds everything that its old votes and acknowledgements stood for. A
// leader of an older term could still ask it, with a configuration in which it has a vote, and with five replicas of which two are
// rebuilt such votes could make a majority. So Raft can neither read nor write a vote here (storage.HoldVotes) until the replica's own log
// reaches past the index of the answer and its last configuration gives it a vote. Since its term begins at the one of the answer, entries
// come only from leaders that have its removal in their log, and so everything before it; a candidate that lacks any of that is refused
// by Raft's own comparison of logs from then on.

const (
	// rebuildInterval is how often a node looks after what it has to rebuild.
	rebuildInterval = time.Second
	// rebuildTimeout bounds one attempt to be taken out of a group.
	rebuildTimeout = 15 * time.Second
)

// eviction is the point of a group's log by which a replica was taken out.
type eviction struct{ term, index uint64 }

// rebuilding is the eviction that a group's replica has to outgrow before it votes; nil where there is none. What the file says:
//
//	struct { uint8 version = 1; uint64 term; uint64 index; } Rebuilding;
func (q quarantines) rebuilding(group uint32) (*eviction, error) {
	raw, err := q.dir.ReadFile(groupFile(group, rebuildingName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e, err := decodeRebuilding(raw)
	if err != nil { // without it nobody knows what the replica has to wait for
		return nil, q.quarantined(group, err.Error())
	}
	return e, nil
}

func decodeRebuilding(raw []byte) (*eviction, error) {
	r := mls.NewReader("Rebuilding", raw)
	if version := r.Uint8("version"); version != rebuildingVersion {
		r.Fail("version", "is not known")
	}
	e := &eviction{term: r.Uint64("term"), index: r.Uint64("index")}
	return e, r.Close()
}

const rebuildingVersion = 1

func (q quarantines) setRebuilding(group uint32, e eviction) error {
	var w mls.Writer
	w.Uint8(rebuildingVersion)
	w.Uint64(e.term)
	w.Uint64(e.index)
	return q.dir.WriteFile(groupFile(group, rebuildingName), w.Bytes())
}

// clear destroys all that this node has of a group that is held back, and leaves a replica that was taken out at a point of the log; of
// one that does not come back, its mark alone.
func (s *stores) clear(group uint32, out eviction, gone bool) error {
	if err := s.setRebuilding(group, out); err != nil {
		return err
	}
	if err := s.clearing(func() error { return s.destroy(group) }); err != nil {
		return fmt.Errorf("clear group %d: %w", group, err)
	}
	fresh := groupStores{id: group, closing: func() error { return nil }}
	if err := s.openRaftStores(&fresh); err != nil {
		return fmt.Errorf("clear group %d: %w", group, err)
	}
	if err := errors.Join(storage.SeedVotes(fresh.stable, out.term), fresh.close()); err != nil {
		return fmt.Errorf("clear group %d: %w", group, err)
	}
	if gone {
		if err := s.vacate(group); err != nil {
			return fmt.Errorf("clear group %d: %w", group, err)
		}
	}
	return s.release(group)
}

func (s *stores) destroy(group uint32) error {
	if err := s.state.Group(group).Destroy(); err != nil {
		return err
	}
	if s.logs != nil {
		if err := s.logs.Destroy(group); err != nil {
			return err
		}
	}
	files := s.dir.FS()
	for _, path := range []string{
		s.staged(group), s.dir.SnapshotsPath(group), s.dir.BoltLogPath(group), s.dir.StablePath(group),
	} {
		if err := files.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return storage.SyncDir(files, s.dir.GroupPath(group))
}

// mayVote reports whether a replica that is rebuilt holds all that its old votes stood for. Raft's own goroutine may ask.
func (g *group) mayVote() bool {
	select {
	case <-g.ready:
	default:
		return false
	}
	return g.raft.LastIndex() >= g.stores.rebuilding.index && slices.Contains(g.voters(), g.self)
}

// tendRebuilds rebuilds what is held back for damage, one group after the other, until the node closes.
func (n *Node) tendRebuilds() {
	ticker := time.NewTicker(rebuildInterval)
	defer ticker.Stop()
	said := make(map[uint32]string)
	for {
		select {
		case <-n.life.Done():
			return
		case <-ticker.C:
		}
		for _, group := range n.damagedGroups() {
			err := n.rebuild(group)
			if err != nil && n.life.Err() == nil && said[group] != err.Error() {
				said[group] = err.Error()
				n.log.Warn("a damaged replica waits to be rebuilt", "group", group, "error", err)
			}
		}
		for _, r := range n.unwanted(n.Map()) {
			err := n.depart(r)
			if err != nil && n.life.Err() == nil && said[r.id] != err.Error() {
				said[r.id] = err.Error()
				n.log.Info("a replica that is not wanted here any more stays for now", "shard", r.shard, "error", err)
			}
		}
		for _, g := range n.groups() {
			if err := n.endRebuild(g); err != nil {
				n.log.Warn("the mark of a replica that is rebuilt stays for now", "group", g.id, "error", err)
			}
		}
	}
}

// damagedGroups are those that are held back and can be rebuilt.
func (n *Node) damagedGroups() (groups []uint32) {
	if held := n.meta.held.Load(); held != nil && !held.sound {
		groups = append(groups, metaGroup)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for shard, held := range n.quarantined {
		if !held.sound {
			groups = append(groups, uint32(shard))
		}
	}
	slices.Sort(groups)
	return groups
}

// rebuild has a group's replica taken out, clears it and opens it again.
func (n *Node) rebuild(group uint32) error {
	ctx, cancel := context.WithTimeout(n.life, rebuildTimeout)
	defer cancel()
	out, err := n.askEviction(ctx, group)
	if err != nil {
		return err
	}
	place, known := n.Map().Shard(fsm.ShardID(group))
	gone := group != metaGroup && known && departs(place, n.id)
	if gone {
		n.log.Info("a replica that has gone to another node is cleared", "shard", group, "index", out.index, "term", out.term)
	} else {
		n.log.Warn("a damaged replica was taken out of its group; it is cleared and rebuilt from the others", "group", group, "index", out.index, "term", out.term)
	}
	if group == metaGroup {
		n.meta.machine.forget() // before the group can be opened again
	}
	n.reached("replica.clear")
	if err := n.stores.clear(group, out, gone); err != nil {
		return err
	}
	if !gone {
		n.cleared.Add(1)
	}
	if group == metaGroup {
		n.meta.held.Store(nil)
		return n.startMeta(nil)
	}
	n.mu.Lock()
	delete(n.quarantined, fsm.ShardID(group))
	n.mu.Unlock()
	n.wakeSupervisor()
	return nil
}

// endRebuild takes the mark of a replica away that votes like the others.
func (n *Node) endRebuild(g *group) error {
	if g.stores.rebuilding == nil || g.rebuilt.Load() || !g.mayVote() {
		return nil
	}
	if err := n.stores.dir.Remove(groupFile(g.id, rebuildingName)); err != nil {
		return err
	}
	g.rebuilt.Store(true)
	n.log.Info("a replica is rebuilt", "group", g.id, "index", g.raft.LastIndex())
	return nil
}

// askEviction asks the group's leader, wherever it is, to take this node's replica out.
func (n *Node) askEviction(ctx context.Context, group uint32) (eviction, error) {
	var failed error
	asked := map[string]bool{n.id: true}
	targets := n.othersOf(group)
	for len(targets) > 0 {
		target := targets[0]
		targets = targets[1:]
		if asked[target] {
			continue
		}
		asked[target] = true
		reply, err := n.evictionFrom(ctx, target, group)
		switch {
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("%s: %w", target, err))
		case reply.refusal != "":
			return eviction{}, &RefusedError{fmt.Sprintf("%s: %s", target, reply.refusal)}
		case reply.index > 0:
			return reply.eviction, nil
		default:
			targets = slices.Concat([]string{reply.leader}, targets)
			asked[""] = true // nobody
		}
	}
	return eviction{}, errors.Join(errNoLeader, failed)
}

var errNoLeader = errors.New("no node answers as the group's leader")

// othersOf are the nodes that may have a replica of a group, the likely leader first.
func (n *Node) othersOf(group uint32) (nodes []string) {
	current := n.Map()
	if group == metaGroup {
		for _, member := range n.gossip.Members() {
			nodes = append(nodes, member.NodeID)
		}
		return append(nodes, activeNodes(current)...)
	}
	if leader := n.leaderOf(fsm.ShardID(group)); leader != "" {
		nodes = append(nodes, leader)
	}
	place, _ := current.Shard(fsm.ShardID(group))
	return append(nodes, place.Replicas...)
}

// isVoter reports whether a node has a vote in a configuration.
func isVoter(configuration raft.Configuration, node string) bool {
	return slices.ContainsFunc(configuration.Servers, func(s raft.Server) bool {
		return string(s.ID) == node && s.Suffrage == raft.Voter
	})
}
