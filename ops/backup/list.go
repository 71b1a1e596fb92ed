package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Entry is a backup in a store.
type Entry struct {
	ID string `json:"id"`
	Manifest
	// Fault says why it is none that could be restored; empty for one that has a manifest. What the manifest names was not looked at.
	Fault string `json:"fault,omitempty"`
}

// errUnfinished is the fault of a backup without a manifest.
const errUnfinished = "it was not finished"

// List are the backups of a store, the oldest first by their IDs.
func List(ctx context.Context, store Store) ([]Entry, error) {
	var ids []string
	err := store.List(ctx, "backups/", func(name string, _ int64) error {
		id, _, inside := strings.Cut(strings.TrimPrefix(name, "backups/"), "/")
		if inside && (len(ids) == 0 || ids[len(ids)-1] != id) {
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	entries := make([]Entry, 0, len(ids))
	for _, id := range slices.Compact(ids) {
		m, err := readManifest(ctx, store, id)
		entry := Entry{ID: id, Manifest: m}
		switch {
		case errors.Is(err, ErrMissing):
			entry.Fault = errUnfinished
		case err != nil && ctx.Err() != nil:
			return nil, err
		case err != nil:
			entry.Fault = err.Error()
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// Newest is the ID of the latest backup of a store that was finished.
func Newest(ctx context.Context, store Store) (string, error) {
	entries, err := List(ctx, store)
	if err != nil {
		return "", err
	}
	for _, entry := range slices.Backward(entries) {
		if entry.Fault == "" {
			return entry.ID, nil
		}
	}
	return "", fmt.Errorf("there is no finished backup: %w", ErrMissing)
}

// Inspection is a backup with what each of its parts says of itself.
type Inspection struct {
	Manifest
	Parts []Part
}

// Inspect reads a backup's manifest and parts, and none of its chunks.
func Inspect(ctx context.Context, store Store, id string) (Inspection, error) {
	m, err := readManifest(ctx, store, id)
	if err != nil {
		return Inspection{}, err
	}
	all := Inspection{Manifest: m}
	for _, place := range m.Parts {
		p, err := readPart(ctx, store, id, place)
		if err != nil {
			return Inspection{}, err
		}
		all.Parts = append(all.Parts, p)
	}
	return all, nil
}

// Pruned is what Prune has removed.
type Pruned struct {
	Backups []string
	Chunks  int
	Bytes   int64 // of the chunks
}

// Prune removes all backups but the newest keep that were finished, and then the chunks that none of those left has. What an unfinished
// backup has put there is removed too, unless it is newer than all that are kept: it may be under way. A store must not be pruned while a
// backup goes into it, for that may count on chunks of the backups that are removed; whoever calls sees to that.
func Prune(ctx context.Context, store Store, keep int) (Pruned, error) {
	if keep < 1 {
		return Pruned{}, errors.New("at least one backup has to be kept")
	}
	entries, err := List(ctx, store)
	if err != nil {
		return Pruned{}, err
	}
	var pruned Pruned
	needed := make(map[chunkID]bool)
	finished := 0
	for _, entry := range slices.Backward(entries) {
		switch {
		case entry.Fault == "":
			finished++
		case entry.Fault != errUnfinished:
			return pruned, fmt.Errorf("backup %s: %s: nothing is removed while it cannot be told which chunks are needed", entry.ID, entry.Fault)
		}
		if finished > keep || finished > 0 && entry.Fault != "" {
			pruned.Backups = append(pruned.Backups, entry.ID)
			continue
		}
		if err := keepChunks(ctx, store, entry.ID, needed); err != nil {
			return pruned, err
		}
	}
	for _, id := range pruned.Backups {
		if err := removeAll(ctx, store, id); err != nil {
			return pruned, err
		}
	}
	return pruned, removeChunks(ctx, store, needed, &pruned)
}

// keepChunks notes what the parts of a backup name, finished or not.
func keepChunks(ctx context.Context, store Store, id string, needed map[chunkID]bool) error {
	return store.List(ctx, backupFolder(id), func(name string, _ int64) error {
		group, digest, is := strings.Cut(strings.TrimPrefix(name, backupFolder(id)+"part-"), "-")
		var place partPlace
		if _, err := fmt.Sscanf(group, "%d", &place.Group); !is || err != nil || place.Digest.UnmarshalText([]byte(digest)) != nil {
			return nil // the manifest
		}
		p, err := readPart(ctx, store, id, place)
		if err != nil {
			return err
		}
		for _, chunk := range p.Chunks {
			needed[chunk.ID] = true
		}
		return nil
	})
}

// removeAll removes a backup, its manifest first: without that it is none.
func removeAll(ctx context.Context, store Store, id string) error {
	if err := store.Remove(ctx, backupFolder(id)+manifestName); err != nil {
		return err
	}
	var names []string
	err := store.List(ctx, backupFolder(id), func(name string, _ int64) error {
		names = append(names, name)
		return nil
	})
	for _, name := range names {
		err = errors.Join(err, store.Remove(ctx, name))
	}
	return err
}

func removeChunks(ctx context.Context, store Store, needed map[chunkID]bool, pruned *Pruned) error {
	type object struct {
		name  string
		bytes int64
	}
	var gone []object
	err := store.List(ctx, "chunks/", func(name string, bytes int64) error {
		var id chunkID
		if id.UnmarshalText([]byte(name[strings.LastIndex(name, "/")+1:])) == nil && !needed[id] {
			gone = append(gone, object{name, bytes})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range gone {
		if err := store.Remove(ctx, o.name); err != nil {
			return err
		}
		pruned.Chunks++
		pruned.Bytes += o.bytes
	}
	return nil
}
