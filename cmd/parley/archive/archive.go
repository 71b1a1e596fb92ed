// Package archive makes backups of a node's cluster and brings them back: it joins package ops/backup, which knows no cluster, to package
// cluster, which knows no stores.
package archive

import (
	"context"
	"fmt"

	"parley/cluster"
	"parley/fsm/meta"
	"parley/ops/backup"
)

// Archive implements cluster.Archive.
type Archive struct {
	node    *cluster.Node
	program string
	reached func(point string)
	runs    *runs // by verb and backup
}

// New makes a node's archive. program is what made the backups, for people; reached is told of each step before it is taken, nil: nobody is.
func New(node *cluster.Node, program string, reached func(point string)) *Archive {
	if reached == nil {
		reached = func(string) {}
	}
	return &Archive{node: node, program: program, reached: reached, runs: newRuns()}
}

// Backup implements cluster.Archive.
func (a *Archive) Backup(ctx context.Context, spec cluster.BackupSpec) (cluster.ArchiveProgress, error) {
	return a.runs.ask(ctx, "backup "+spec.ID, func(ctx context.Context, p backup.Progress) error {
		store, err := open(spec.Location)
		if err != nil {
			return err
		}
		made, err := backup.Create(ctx, clusterSource{a.node}, store, backup.Creation{
			ID: spec.ID, Program: a.program, BytesPerSecond: spec.BytesPerSecond, Reached: a.reached,
		}, p)
		if err == nil {
			p.Step(fmt.Sprintf("backup %s: %d records of %d bytes; %d of %d chunks were new, %d bytes", made.ID, made.Records, made.Manifest.Bytes,
				made.NewChunks, made.Chunks, made.NewBytes))
		}
		return err
	})
}

// Restore implements cluster.Archive.
func (a *Archive) Restore(ctx context.Context, restore meta.Restore) (cluster.ArchiveProgress, error) {
	return a.runs.ask(ctx, "restore "+restore.Backup, func(ctx context.Context, p backup.Progress) error {
		store, err := open(restore.Location)
		if err != nil {
			return err
		}
		return backup.Restore(ctx, store, restore.Backup, clusterTarget{a.node, a.reached}, p)
	})
}

// open opens a store. A location that no machine can open is final; one that cannot be reached now may be later.
func open(location string) (backup.Store, error) {
	if _, err := backup.Local(location); err != nil {
		return nil, fmt.Errorf("%w: %w", cluster.ErrArchive, err)
	}
	return backup.Open(location)
}

// Stop implements cluster.Archive.
func (a *Archive) Stop(id string) {
	a.runs.stop("backup " + id)
	a.runs.stop("restore " + id)
}

// Close implements cluster.Archive.
func (a *Archive) Close() { a.runs.close() }
