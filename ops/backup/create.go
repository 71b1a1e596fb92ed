package backup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"
)

// paceBytes is how many bytes pass at once where a backup is paced.
const paceBytes = 256 << 10

// roundsMax is how often shards are taken again because slots moved between them meanwhile.
const roundsMax = 5

// Creation is one backup that is to be made. What it has put into the store is found there by whoever makes it again under the same ID.
type Creation struct {
	ID      string
	Program string // that makes it
	// BytesPerSecond bounds what is read of the cluster; 0 does not.
	BytesPerSecond uint64
	// Reached is called before each step; nil: nobody is.
	Reached func(point string)

	cuts cutting // the usual ones where zero
}

// Created is what came of a backup.
type Created struct {
	Manifest
	Chunks      uint64 // that it is made of
	StoredBytes uint64 // of them, in the store
	NewChunks   uint64 // that this run brought into the store
	NewBytes    uint64
}

// Create makes a backup, or goes on with one that was cut off: shards whose part is in the store are not read again, and chunks that are
// there are not written again. A backup that exists stays as it is.
//
// Each shard is as of one applied index, and different shards as of different ones. Memory is bounded by a few chunks.
func Create(ctx context.Context, source Source, store Store, c Creation, progress Progress) (Created, error) {
	if err := CheckID(c.ID); err != nil {
		return Created{}, err
	}
	run := creation{Creation: c, source: source, store: store, progress: watched(progress), pace: rate.NewLimiter(rate.Inf, paceBytes)}
	if c.BytesPerSecond > 0 {
		run.pace = rate.NewLimiter(rate.Limit(min(c.BytesPerSecond, math.MaxInt32)), paceBytes)
	}
	if run.Reached == nil {
		run.Reached = func(string) {}
	}
	m, err := readManifest(ctx, store, c.ID)
	if errors.Is(err, ErrMissing) {
		m, err = run.make(ctx)
	}
	if err == nil { // the map's part among them, and all of one that was made before
		parts := uint64(len(m.Parts))
		run.progress.Units(parts, parts)
		run.progress.Bytes(m.Bytes, m.Bytes)
	}
	return Created{
		Manifest: m, Chunks: run.tally.chunks, StoredBytes: run.tally.chunkBytes,
		NewChunks: run.tally.chunks - run.tally.reused, NewBytes: run.tally.chunkBytes - run.tally.reusedByte,
	}, err
}

// creation is one run of Create.
type creation struct {
	Creation
	source   Source
	store    Store
	progress Progress
	pace     *rate.Limiter
	tally    tally
	bytes    uint64 // of records, so far
}

func (c *creation) make(ctx context.Context) (Manifest, error) {
	began := now()
	parts, places, err := c.shards(ctx)
	if err != nil {
		return Manifest{}, err
	}
	// The meta group last: whatever a shard refers to there is in it.
	c.Reached("backup.meta")
	metaPart, metaPlace, err := c.group(ctx, 0, false)
	if err != nil {
		return Manifest{}, err
	}
	cluster, err := c.source.Cluster(ctx)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Version: formatNewest, ID: c.ID, Program: c.Program, Cluster: cluster.ID, Generation: cluster.Generation, Format: cluster.Format,
		Slots: cluster.Slots, BeganAt: began, EndedAt: now(), Parts: append([]partPlace{metaPlace}, places...), Counts: make(Counts),
	}
	for _, p := range append([]Part{metaPart}, parts...) {
		m.Records += p.Records
		m.Bytes += p.Bytes
		m.Counts.add(p.Counts)
	}
	raw, err := sealed(m)
	if err != nil {
		return Manifest{}, err
	}
	c.Reached("backup.manifest")
	c.progress.Step("writing the manifest")
	return m, c.store.Put(ctx, backupFolder(c.ID)+manifestName, raw)
}

// shards takes every shard, and takes some again until each slot is in exactly one part.
func (c *creation) shards(ctx context.Context) ([]Part, []partPlace, error) {
	again := make(map[uint32]bool)
	for round := 0; ; round++ {
		cluster, err := c.source.Cluster(ctx)
		if err != nil {
			return nil, nil, err
		}
		var parts []Part
		var places []partPlace
		for i, shard := range cluster.Shards {
			c.progress.Units(uint64(i), uint64(len(cluster.Shards)+1))
			p, place, err := c.group(ctx, shard, again[shard])
			if err != nil {
				return nil, nil, err
			}
			parts, places = append(parts, p), append(places, place)
		}
		c.progress.Units(uint64(len(cluster.Shards)), uint64(len(cluster.Shards)+1))
		missing, twice := coverage(parts, cluster.Slots)
		switch {
		case len(missing) == 0 && len(twice) == 0:
			return parts, places, nil
		case round == roundsMax:
			return nil, nil, fmt.Errorf("slots moved between shards each time that these were read (%d are in none): back up when nothing is being moved", len(missing))
		}
		clear(again)
		for i, p := range parts {
			again[p.Group] = len(missing) > 0 // any of them may own it by now
			for _, t := range twice {
				again[p.Group] = again[p.Group] || t == i
			}
		}
	}
}

// group takes one group's part, unless the store has it already and it need not be taken again.
func (c *creation) group(ctx context.Context, group uint32, again bool) (Part, partPlace, error) {
	if !again {
		p, place, found, err := findPart(ctx, c.store, c.ID, group)
		if found || err != nil {
			for _, chunk := range p.Chunks {
				c.tally.add(true, chunk.Stored)
			}
			c.bytes += p.Bytes
			c.progress.Bytes(c.bytes, 0)
			return p, place, err
		}
	}
	c.Reached("backup.shard")
	c.progress.Step(fmt.Sprintf("reading shard %d", group))
	if group == 0 {
		c.progress.Step("reading the cluster's map")
	}
	p, err := c.take(ctx, group)
	if err != nil {
		return Part{}, partPlace{}, fmt.Errorf("back up group %d: %w", group, err)
	}
	c.Reached("backup.part")
	place, err := putPart(ctx, c.store, c.ID, p)
	return p, place, err
}

// sourceError is the cluster's fault, and not the store's.
type sourceError struct{ cause error }

func (e *sourceError) Error() string { return e.cause.Error() }
func (e *sourceError) Unwrap() error { return e.cause }

// sourceTries is how often a group is asked for its state again, as its source may go in the middle.
const sourceTries = 5

func (c *creation) take(ctx context.Context, group uint32) (Part, error) {
	for try := 1; ; try++ {
		before := c.bytes
		p, err := c.takeOnce(ctx, group)
		var gone *sourceError
		if err == nil || !errors.As(err, &gone) || try == sourceTries || ctx.Err() != nil {
			return p, err
		}
		c.bytes = before
		c.progress.Step(fmt.Sprintf("group %d is read again: %v", group, err))
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(try) * 500 * time.Millisecond):
		}
	}
}

func (c *creation) takeOnce(ctx context.Context, group uint32) (p Part, err error) {
	state, err := c.source.Open(ctx, group)
	if err != nil {
		return Part{}, &sourceError{err}
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	w, err := newPartWriter(c.store, state.Head())
	if err != nil {
		return Part{}, err
	}
	w.pace, w.stored = c.pace, &c.tally
	if c.cuts != (cutting{}) {
		w.cuts = c.cuts
	}
	w.grew = func(_, bytes uint64) {
		c.bytes += bytes
		c.progress.Bytes(c.bytes, 0)
	}
	w.count = func(counts Counts, key []byte) { c.source.Count(counts, group, key) }
	return w.write(ctx, state)
}
