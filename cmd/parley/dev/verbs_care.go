package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"parley/cmd/parley/adminclient"
	"parley/fsm"
	"parley/httpapi"
	"parley/storage"
)

// careVerbs look after a cluster.
func careVerbs() []verb {
	return []verb{
		{"backup create", (*verbs).toBackUp, ofOneStep, both, nil},
		{"keyring rotate", (*verbs).toRotate, ofAnswer, both, nil},
		{"check --repair", (*verbs).toRepair, []moment{beforeRequest, behindRequest, whileItWaits}, both, nil},
	}
}

// backups is where they go to.
func (v *verbs) backups() string { return "file://" + filepath.Join(v.run.layout.folder, "backups") }

// toBackUp has a backup made, in a place of its own.
func (v *verbs) toBackUp(ctx context.Context) (*task, error) {
	if err := errors.Join(v.allServe(ctx), v.nodes.ready(ctx)); err != nil {
		return nil, err
	}
	v.turn++
	place := fmt.Sprintf("%s-%d", v.backups(), v.turn)
	done, err := v.jobsOf(ctx, "backup")
	return &task{at: v.provider.nodes[0], arguments: []string{"backup", "create", place, "--unless-within", "1h"}, came: func(ctx context.Context) (int, error) {
		times, wrong := done(ctx)
		made, err := v.finished(ctx, place)
		if err == nil {
			_, err = v.stored(ctx, "backup", "verify", place)
		}
		return max(times, made), errors.Join(wrong, err)
	}}, err
}

// finished counts the backups in a place.
func (v *verbs) finished(ctx context.Context, place string) (count int, err error) {
	out, err := v.stored(ctx, "backup", "list", place)
	if err != nil {
		return 0, err
	}
	var list []struct {
		ID    string `json:"id"`
		Fault string `json:"fault"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return 0, fmt.Errorf("backup list printed %q: %w", out, err)
	}
	for _, one := range list {
		if one.Fault != "" {
			err = errors.Join(err, fmt.Errorf("backup %s: %s", one.ID, one.Fault))
		}
	}
	return len(list), err
}

// toRotate has the gossip key changed.
func (v *verbs) toRotate(ctx context.Context) (*task, error) {
	before, err := v.gossipKey(ctx)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{before: true}
	return &task{at: v.provider.nodes[0], arguments: []string{"keyring", "rotate", "--from", before}, came: func(ctx context.Context) (int, error) {
		now, err := v.gossipKey(ctx)
		if err == nil && now == before {
			err = errors.New("the key is the one from before")
		}
		if err == nil {
			seen[now] = true
		}
		return len(seen) - 1, err
	}}, nil
}

// gossipKey waits until the nodes have one key alone.
func (v *verbs) gossipKey(ctx context.Context) (id string, err error) {
	err = until(ctx, "one gossip key is left", func(ctx context.Context) error {
		ring, err := adminclient.New(v.nodes.alive()[0].adminURL()).Keyring(ctx)
		if err != nil {
			return err
		}
		if len(ring.Keys) != 1 || len(ring.Keys[0].Nodes) != len(v.provider.nodes) {
			return fmt.Errorf("the keys are %+v; %s", ring.Keys, ring.Waits)
		}
		id = ring.Keys[0].ID
		return nil
	})
	return id, err
}

// toRepair has a replica rebuilt that differs: one record of it was altered, on the disk of a node that did not run.
func (v *verbs) toRepair(ctx context.Context) (*task, error) {
	status, err := v.nodes.status(ctx)
	if err != nil {
		return nil, err
	}
	v.turn++
	shard := serving(status)[v.turn%len(serving(status))]
	i := slices.IndexFunc(v.provider.nodes, func(n *node) bool { return n != v.provider.nodes[0] && hasReplica(shard, n.ID) })
	altered := v.provider.nodes[i]
	if err := altered.process.stop(); err != nil {
		return nil, err
	}
	if err := alter(altered, shard.ID); err != nil {
		return nil, fmt.Errorf("alter a record of shard %d on %s: %w", shard.ID, altered.ID, err)
	}
	if err := errors.Join(v.nodes.startAll(ctx), v.settled(ctx)); err != nil {
		return nil, err
	}
	asked := adminclient.New(v.provider.nodes[0].adminURL())
	err = until(ctx, "the difference is seen", func(ctx context.Context) error {
		found, err := asked.Check(ctx, shard.ID)
		if err == nil && !slices.ContainsFunc(found.Replicas, func(r httpapi.ReplicaCheck) bool { return r.Differs && r.Node == altered.ID }) {
			err = fmt.Errorf("%+v", found.Replicas)
		}
		return err
	})
	return &task{at: v.provider.nodes[0], arguments: []string{"check", "--repair", "--shard", fmt.Sprint(shard.ID)}, came: func(ctx context.Context) (int, error) {
		found, err := asked.Check(ctx, shard.ID)
		if err == nil && !found.Equal {
			err = fmt.Errorf("they differ still: %+v", found.Replicas)
		}
		return 1, err
	}}, err
}

// alter takes the last record of a replica's state away: that of a slot, which the replica starts without.
func alter(n *node, shard fsm.ShardID) (err error) {
	var failed error
	engine, err := storage.OpenState(filepath.Join(n.Folder, "data", "state"), storage.StateOptions{OnFatal: func(err error) { failed = err }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close(), failed) }()
	group := engine.Group(uint32(shard))
	view, err := group.View()
	if err != nil {
		return err
	}
	var key []byte
	err = view.Scan(nil, nil, func(k, _ []byte) (bool, error) {
		key = slices.Clone(k)
		return true, nil
	})
	if err = errors.Join(err, view.Close()); err != nil {
		return err
	}
	batch := group.NewBatch()
	return errors.Join(batch.Delete(key), batch.Commit(), batch.Close(), engine.Sync())
}

// stored runs a command that asks no node.
func (v *verbs) stored(ctx context.Context, arguments ...string) ([]byte, error) {
	return v.output(ctx, io.Discard, append(arguments, "--json")...)
}

// begunRestore reports whether an answer says that a restore has begun.
func begunRestore(c course) bool {
	return c.changing && c.answered && strings.Contains(c.text, fmt.Sprintf("%q", httpapi.RestoreBegun))
}
