package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"parley/fsm"
	"parley/fsm/meta"
)

// A replica that the map does not want here any more goes by itself, in the way in which a damaged one is rebuilt (rebuild.go), and does
// not come back:
//
//  1. Its node makes sure that its map is not behind, and asks the group's leader to take it out of the group. It runs on until that is
//     done: the others may need its vote for it.
//  2. The node marks it QUARANTINED, and closes it. From then on it promises nothing more.
//  3. It is taken out again, as a damaged one is: the leader may have let it in meanwhile, by a map that is behind. What that answers
//     stands behind everything that this replica ever voted for or acknowledged, and is noted in REBUILDING. Its data, its log and its
//     snapshots are destroyed, and VACATED says that nothing is here. QUARANTINED goes last.
//
// A crash anywhere begins again where the marks say. REBUILDING stays for as long as the directory: it is the tombstone. A replica that
// comes back to this node takes VACATED away, begins with nothing, and does not vote before it has outgrown that mark.
//
// A node that was away meanwhile finds its replica on its disk when it comes back, opens it, since it may still be needed, and sees that
// the map does not want it.

// vacatedName says that nothing of a group is here but the mark by which its replica was taken out.
const vacatedName = "VACATED"

// movedAway is why a replica does not run that is on its way out.
const movedAway = "its shard has no replica on this node any more"

// vacated reports whether a group's replica has gone from here, or never was.
func (q quarantines) vacated(group uint32) (bool, error) {
	files := q.dir.FS()
	if _, err := files.Stat(q.dir.GroupPath(group)); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	_, err := q.dir.ReadFile(groupFile(group, vacatedName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// vacate says durably that nothing of a group is here.
func (q quarantines) vacate(group uint32) error {
	return q.dir.WriteFile(groupFile(group, vacatedName), []byte("the replica has gone to another node\n"))
}

// occupy is for a group of which there is to be something here again. It comes before anything of it.
func (q quarantines) occupy(group uint32) error {
	if gone, err := q.vacated(group); err != nil || !gone {
		return err
	}
	if err := q.dir.MakeGroup(group); err != nil {
		return err
	}
	return q.dir.Remove(groupFile(group, vacatedName))
}

// remains reports whether something is here of a shard that the map does not give to this node.
func (n *Node) remains(shard fsm.ShardID) bool {
	n.mu.Lock()
	gone := n.vacant[shard]
	n.mu.Unlock()
	if gone {
		return false
	}
	gone, err := n.stores.vacated(uint32(shard))
	if err != nil {
		n.log.Warn("it cannot be told whether anything is here of a shard", "shard", shard, "error", err)
		return false
	}
	if gone {
		n.mu.Lock()
		n.vacant[shard] = true
		n.mu.Unlock()
	}
	return !gone
}

// unwanted are the running replicas that the map does not want here.
func (n *Node) unwanted(current *meta.Map) (replicas []*replica) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, r := range n.replicas {
		if place, known := current.Shard(id); known && departs(place, n.id) {
			replicas = append(replicas, r)
		}
	}
	slices.SortFunc(replicas, func(a, b *replica) int { return int(a.shard) - int(b.shard) })
	return replicas
}

// departs reports whether a shard that serves has no replica on a node any more. One that is still to begin has the members that it is born
// with, and one that is retired ends in another way (retire.go).
func departs(place meta.Shard, node string) bool {
	return place.State == meta.ShardActive && !replicates(place, node)
}

// depart has a running replica taken out of its group, and closes it for good. tendRebuilds clears it.
func (n *Node) depart(r *replica) error {
	ctx, cancel := context.WithTimeout(n.life, rebuildTimeout)
	defer cancel()
	if err := n.refreshMap(ctx); err != nil {
		return fmt.Errorf("whether the map wants it: %w", err)
	}
	if place, known := n.Map().Shard(r.shard); !known || !departs(place, n.id) {
		return nil
	}
	n.reached("replica.depart")
	if _, err := n.askEviction(ctx, uint32(r.shard)); err != nil {
		return err
	}
	n.reached("replica.close")
	if err := n.stores.hold([]uint32{uint32(r.shard)}, movedAway); err != nil {
		return err
	}
	n.mu.Lock()
	mine := n.replicas[r.shard] == r
	if mine {
		delete(n.replicas, r.shard)
		n.quarantined[r.shard] = &quarantine{reason: movedAway}
	}
	n.mu.Unlock()
	if !mine {
		return nil // it is being opened again, finds its mark, and is cleared
	}
	n.log.Info("a replica that has gone to another node is closed", "shard", r.shard)
	if err := r.close(); err != nil {
		n.fatal(fmt.Errorf("close the replica of shard %d: %w", r.shard, err))
		return err
	}
	return nil
}

// refreshMap makes sure, once for as long as this node is open, that its map is not an older one than it has known before: maps do not go
// back after that.
func (n *Node) refreshMap(ctx context.Context) error {
	if n.refreshed.Load() {
		return nil
	}
	if err := n.hearMap(ctx); err != nil {
		return err
	}
	n.refreshed.Store(true)
	return nil
}

// hearMap returns when this node has all that the meta group had decided at the time of the call. The context has a deadline.
func (n *Node) hearMap(ctx context.Context) error {
	index, err := n.bringMeta(ctx, meta.UpdateNode{Node: n.self()}) // whoever asked: it is no action of an operator
	var refused *RefusedError                                       // it went through the log all the same
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	return n.meta.machine.applied.wait(ctx, index)
}
