package dev

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/httpapi"
	"parley/storage"
)

// chronicle is what the shards have decided, as it follows from the logs that lie on the nodes' disks: every entry is applied anew, from
// the first on, in memory, by nobody who took part.
type chronicle struct {
	decisions []decision // by shard, in the order of its log
	entries   int        // of all shards, each once
	replicas  int        // logs that were read
	broken    []string   // replicas that differ from one another, or from what follows
}

// decision is a command with what became of it.
type decision struct {
	shard   fsm.ShardID
	index   uint64
	millis  uint64 // hub time
	command fsm.Command
	outcome fsm.Outcome
}

// readChronicle reads the logs of nodes that are stopped, up to where the replicas stood when they were compared.
func readChronicle(nodes []*node, shards []httpapi.ShardDigests) (_ *chronicle, err error) {
	c := &chronicle{}
	var engines []*storage.LogEngine
	defer func() {
		for _, engine := range engines {
			err = errors.Join(err, engine.Close())
		}
	}()
	for _, n := range nodes {
		var failed error
		engine, err := storage.OpenLog(filepath.Join(n.Folder, "data", "log"), storage.LogOptions{OnFatal: func(err error) { failed = err }})
		if err = errors.Join(err, failed); err != nil {
			return nil, fmt.Errorf("the log of %s: %w", n.ID, err)
		}
		engines = append(engines, engine)
	}
	for _, shard := range shards {
		if err := c.readShard(nodes, engines, shard); err != nil {
			return nil, fmt.Errorf("shard %d: %w", shard.Shard, err)
		}
	}
	return c, nil
}

// readShard compares the replicas' logs of one shard, and applies them.
func (c *chronicle) readShard(nodes []*node, engines []*storage.LogEngine, shard httpapi.ShardDigests) (err error) {
	until := shard.Replicas[0].Index
	state, err := newReplay(until)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.close()) }()
	for index := uint64(1); index <= until; index++ {
		var first raft.Log
		for i, engine := range engines {
			var entry raft.Log
			if err := engine.Group(uint32(shard.Shard)).GetLog(index, &entry); err != nil {
				return fmt.Errorf("%s, entry %d of %d: %w", nodes[i].ID, index, until, err)
			}
			if i == 0 {
				first = entry
			} else if entry.Type != first.Type || !bytes.Equal(entry.Data, first.Data) {
				c.broken = append(c.broken, fmt.Sprintf("shard %d, entry %d: %s has %x and %s has %x", shard.Shard, index,
					nodes[0].ID, sha256.Sum256(first.Data), nodes[i].ID, sha256.Sum256(entry.Data)))
			}
		}
		c.entries++
		if first.Type != raft.LogCommand {
			continue
		}
		decided, err := state.apply(index, first.Data)
		if err != nil {
			return err
		}
		for _, d := range decided {
			d.shard = shard.Shard
			c.decisions = append(c.decisions, d)
		}
	}
	c.replicas += len(engines)
	return c.compareState(state, shard)
}

// compareState holds the state of every replica to what its log comes to.
func (c *chronicle) compareState(state *replay, shard httpapi.ShardDigests) error {
	digest, err := state.digest()
	if err != nil {
		return err
	}
	for _, r := range shard.Replicas {
		if r.Digest != digest {
			c.broken = append(c.broken, fmt.Sprintf("shard %d at %d: the state of %s has the digest %s, and its log comes to %s",
				shard.Shard, r.Index, r.Node, r.Digest, digest))
		}
	}
	return nil
}

// replay is a shard's state in memory while its log is applied.
type replay struct {
	engine *storage.StateEngine
	state  *storage.GroupState
	until  uint64
}

func newReplay(until uint64) (*replay, error) {
	var failed error
	engine, err := storage.OpenState("state", storage.StateOptions{FS: vfs.NewMem(), OnFatal: func(err error) { failed = err }})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	return &replay{engine: engine, state: engine.Group(1), until: until}, nil
}

func (r *replay) close() error { return r.engine.Close() }

// apply applies one entry and lists its commands with their outcomes.
func (r *replay) apply(index uint64, encoded []byte) (list []decision, err error) {
	entry, err := fsm.DecodeEntry(encoded)
	if err != nil {
		return nil, err
	}
	batch := r.state.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	result, err := fsm.Apply(batch, index, encoded)
	if err != nil {
		return nil, err
	}
	now, err := fsm.ReadClock(batch)
	if err != nil {
		return nil, err
	}
	for i, command := range entry.Commands {
		if judged, yes := command.(fsm.Judged); yes {
			command = judged.Command
		}
		list = append(list, decision{index: index, millis: now, command: command, outcome: result.Outcomes[i]})
	}
	if err := batch.SetApplied(index); err != nil {
		return nil, err
	}
	return list, batch.Commit()
}

// digest is that of the whole state, as the replicas tell theirs.
func (r *replay) digest() (_ string, err error) {
	view, err := r.state.View()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	sum, err := fsm.Digest(view)
	return hex.EncodeToString(sum[:]), err
}
