package archive

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"parley/cluster"
	"parley/fsm"
	"parley/ops/backup"
)

// Checker reads backups before anything is made of them, for as long as it is asked how far it is. Safe for concurrent use.
type Checker struct {
	runs *runs

	mu    sync.Mutex
	whole map[string]*cluster.RestoreOptions // of those that were found whole, by location and ID
}

// NewChecker makes one. Close ends it.
func NewChecker() *Checker {
	return &Checker{runs: newRuns(), whole: make(map[string]*cluster.RestoreOptions)}
}

// Close ends what goes on.
func (c *Checker) Close() { c.runs.close() }

// Check tells how far the check of a backup is: all of it is read, and held against what was written. Options are what a cluster is made
// of it, once it is done and the backup is whole; they name node as the one that can open a directory. An empty ID is the newest one's.
// An error that wraps cluster.ErrArchive is about the backup or its place.
func (c *Checker) Check(ctx context.Context, location, id, node string) (*cluster.RestoreOptions, cluster.ArchiveProgress, error) {
	name := location + " " + id
	c.mu.Lock()
	whole := c.whole[name]
	c.mu.Unlock()
	if whole != nil {
		return whole, cluster.ArchiveProgress{Done: true}, nil
	}
	p, err := c.runs.ask(ctx, name, func(ctx context.Context, p backup.Progress) error {
		options, err := check(ctx, location, id, node, p)
		if err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.whole[name] = options
		return nil
	})
	if err != nil || !p.Done {
		return nil, p, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.whole[name], p, nil
}

func check(ctx context.Context, location, id, node string, p backup.Progress) (*cluster.RestoreOptions, error) {
	local, err := backup.Local(location)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", cluster.ErrArchive, err)
	}
	store, err := backup.Open(location)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", cluster.ErrArchive, err)
	}
	if id == "" {
		if id, err = backup.Newest(ctx, store); err != nil {
			return nil, fmt.Errorf("%w: %w", cluster.ErrArchive, err)
		}
	}
	report, err := backup.Verify(ctx, store, id, p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", cluster.ErrArchive, err)
	}
	if !report.Whole() {
		return nil, fmt.Errorf("%w: backup %s is damaged, and nothing was restored of it: %s", cluster.ErrArchive, id, strings.Join(report.Problems, "; "))
	}
	if report.Slots != fsm.SlotCount {
		return nil, fmt.Errorf("%w: backup %s is of a cluster with %d slots", cluster.ErrArchive, id, report.Slots)
	}
	if report.Format > uint32(fsm.FormatNewest) {
		return nil, fmt.Errorf("%w: backup %s is of format %d, and this program knows formats up to %d", cluster.ErrArchive, id, report.Format, fsm.FormatNewest)
	}
	options := &cluster.RestoreOptions{Backup: id, Location: location, Cluster: report.Cluster, Generation: fsm.Generation(report.Generation)}
	if local {
		options.Node = node
	}
	_, _, err = backup.MetaRecords(ctx, store, id, func(key, value []byte) error {
		options.Records = append(options.Records, cluster.MetaRecord{Key: key, Value: value})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", cluster.ErrArchive, err)
	}
	return options, nil
}
