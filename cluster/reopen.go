package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Two states of raft v1.7.3 last for as long as the instance does, and there is no way out of them but another instance on the same
// stores. What the stores hold is sound in both, so closing the replica and opening it again loses nothing.
//
// #697: raft keeps the index of its log's last entry in memory, and does not correct it when it removes the whole log because of a
// snapshot. A follower that had entries past the snapshot's index, uncommitted ones of a term that is over, then looks up the entry
// before the next one in an empty log, refuses, and gets the snapshot again, for ever.
//
// #696: a leader that hands over and steps down in the middle of it may leave its mark that it is handing over. When it is elected
// again, it refuses every entry and goes on sending heartbeats, so that nobody else is elected.

// transferMax is how long a leader may refuse entries because it hands over. raft gives a transfer an election timeout.
const transferMax = 10 * time.Second

// errStaleLog is what a follower answers to a snapshot that it has installed and cannot go on from in this instance.
var errStaleLog = errors.New("the log's end in memory is not that on the disk; the replica is opened again")

// spoilage notes that a group's Raft instance cannot be used any more, and why. The zero value is sound.
type spoilage struct {
	mu      sync.Mutex
	reason  string    // empty: sound
	refused time.Time // since when every entry has been refused for a transfer of leadership; zero: they are not
}

// spoil asks for another instance.
func (g *group) spoil(reason string) {
	g.spoiled.mu.Lock()
	first := g.spoiled.reason == ""
	if first {
		g.spoiled.reason = reason
	}
	g.spoiled.mu.Unlock()
	if first {
		g.onSpoiled()
	}
}

// unusable is why the instance cannot be used any more; empty if it can.
func (g *group) unusable() string {
	g.spoiled.mu.Lock()
	defer g.spoiled.mu.Unlock()
	return g.spoiled.reason
}

// installed looks at the log when Raft has installed a snapshot.
func (g *group) installed(index uint64) error {
	<-g.ready
	last, err := g.stores.log.LastIndex()
	if err != nil {
		return err
	}
	if held := g.raft.LastIndex(); held > max(last, index) {
		g.spoil(fmt.Sprintf("a snapshot at %d was installed over a log to %d (hashicorp/raft #697)", index, held))
		return errStaleLog
	}
	return nil
}

// Apply implements raftApplier: it is Raft's, and takes note of what becomes of entries.
func (g *group) Apply(entry []byte, timeout time.Duration) raft.ApplyFuture {
	return heededFuture{g.raft.Apply(entry, timeout), g}
}

type heededFuture struct {
	raft.ApplyFuture
	group *group
}

// Error waits for the entry's fate.
func (f heededFuture) Error() error {
	err := f.ApplyFuture.Error()
	f.group.heed(err, time.Now())
	return err
}

// heed finds the leader that is handing over for ever.
func (g *group) heed(err error, now time.Time) {
	g.spoiled.mu.Lock()
	switch {
	case !errors.Is(err, raft.ErrLeadershipTransferInProgress):
		g.spoiled.refused = time.Time{}
	case g.spoiled.refused.IsZero():
		g.spoiled.refused = now
	}
	refused := g.spoiled.refused
	g.spoiled.mu.Unlock()
	if !refused.IsZero() && now.Sub(refused) > transferMax {
		g.spoil(fmt.Sprintf("a transfer of leadership has not ended for %v (hashicorp/raft #696)", transferMax))
	}
}

// reopenSpoiled closes the replicas whose Raft cannot be used any more. startReplicas opens those of shards again.
func (n *Node) reopenSpoiled() {
	var spoiled []*replica
	n.mu.Lock()
	for id, r := range n.replicas {
		if r.unusable() != "" {
			spoiled = append(spoiled, r)
			delete(n.replicas, id)
		}
	}
	n.mu.Unlock()
	for _, r := range spoiled {
		n.log.Warn("a replica is opened again", "shard", r.shard, "reason", r.unusable())
		if err := r.close(); err != nil {
			n.fatal(fmt.Errorf("close the replica of shard %d: %w", r.shard, err))
			return
		}
	}
	if g := n.meta.started.Load(); g != nil && g.unusable() != "" {
		n.log.Warn("the replica of the meta group is opened again", "reason", g.unusable())
		if err := n.reopenMeta(g); err != nil {
			n.fatal(fmt.Errorf("open the meta group again: %w", err))
		}
	}
}

func (n *Node) reopenMeta(old *group) error {
	n.meta.starts.Lock()
	n.meta.started.Store(nil)
	err := old.close()
	n.meta.starts.Unlock()
	if err != nil {
		return err
	}
	if err := n.startMeta(nil); err != nil && n.meta.held.Load() == nil {
		return err
	}
	return nil
}
