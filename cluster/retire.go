package cluster

import (
	"errors"
	"fmt"
	"io/fs"

	"parley/fsm"
	"parley/fsm/meta"
)

// A shard that is retired owns nothing and decides nothing any more: its replicas are stopped and cleared wherever they are. That its number is
// spent the map says for ever; a node that does not know that yet has a replica without a leader, since a majority has gone.

// endRetired stops and clears this node's replicas of retired shards. It belongs to supervise's goroutine.
func (n *Node) endRetired(current *meta.Map) {
	for _, shard := range current.Shards() {
		if shard.State != meta.ShardRetired || n.retired[shard.ID] || n.life.Err() != nil {
			continue
		}
		if err := n.retire(shard.ID); err != nil {
			n.log.Error("what this node has of a retired shard could not be cleared; it will be tried again", "shard", shard.ID, "error", err)
			continue
		}
		n.retired[shard.ID] = true
	}
}

// retire takes everything away that this node has of a shard. It may be repeated.
func (n *Node) retire(shard fsm.ShardID) error {
	n.mu.Lock()
	running := n.replicas[shard]
	delete(n.replicas, shard)
	delete(n.quarantined, shard)
	delete(n.leaders, shard)
	n.mu.Unlock()
	if running != nil {
		if err := running.close(); err != nil {
			err = fmt.Errorf("close the replica of shard %d: %w", shard, err)
			n.fatal(err)
			return err
		}
		n.log.Info("the replica of a retired shard was stopped", "shard", shard)
	}
	return n.stores.forget(uint32(shard))
}

// forget destroys all that this node has of a group that is no more, its directory included.
func (s *stores) forget(group uint32) error {
	if _, err := s.dir.FS().Stat(s.dir.GroupPath(group)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := s.clearing(func() error { return s.destroy(group) }); err != nil {
		return fmt.Errorf("forget group %d: %w", group, err)
	}
	if err := s.dir.FS().RemoveAll(s.dir.GroupPath(group)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget group %d: %w", group, err)
	}
	return nil
}
