package backup

import (
	"context"
	"errors"
	"fmt"
)

// Report is what a check of a backup came to.
type Report struct {
	Manifest
	Problems []string `json:"problems"` // none: the backup is whole
	Chunks   uint64   `json:"chunks"`   // that were read
	Stored   uint64   `json:"stored"`   // bytes of them in the store
}

// Whole reports whether nothing was found.
func (r Report) Whole() bool { return len(r.Problems) == 0 }

// problemsMax is how many problems are told one by one.
const problemsMax = 100

// Verify reads all of a backup, and says everything that is not as it was written: chunks that are gone, cut short or altered, parts, the
// digests of slots and shards, and slots that are in no part or in two. No cluster is needed. An error is one of the store itself, or that
// there is no such backup.
func Verify(ctx context.Context, store Store, id string, progress Progress) (Report, error) {
	m, err := readManifest(ctx, store, id)
	if errors.Is(err, ErrDamaged) {
		return Report{Manifest: Manifest{ID: id}, Problems: []string{err.Error()}}, nil
	}
	if err != nil {
		return Report{}, err
	}
	r, err := newReader(store)
	if err != nil {
		return Report{}, err
	}
	defer r.close()
	check := verification{Report: Report{Manifest: m}, reader: r, progress: watched(progress)}
	parts, err := check.parts(ctx)
	if err != nil {
		return Report{}, err
	}
	for _, p := range parts {
		check.progress.Step(fmt.Sprintf("checking group %d", p.Group))
		if err := check.part(ctx, p); err != nil {
			return Report{}, err
		}
	}
	return check.Report, nil
}

// verification is one run of Verify.
type verification struct {
	Report
	reader   *reader
	progress Progress
	chunks   uint64 // that there are
	bytes    uint64 // of chunks, that were read
	total    uint64 // of chunks
}

// found notes what belongs to the backup, and passes on what does not: a store that cannot be read says nothing of what is in it.
func (v *verification) found(err error) error {
	if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrMissing) {
		return err
	}
	if len(v.Problems) < problemsMax {
		v.Problems = append(v.Problems, err.Error())
	}
	return nil
}

// parts reads what the manifest names, and holds it against the manifest.
func (v *verification) parts(ctx context.Context) (parts []Part, err error) {
	var records, bytes uint64
	var shards []Part
	for i, place := range v.Manifest.Parts {
		p, err := readPart(ctx, v.reader.store, v.ID, place)
		if err != nil {
			if err := v.found(err); err != nil {
				return nil, err
			}
			continue
		}
		if (place.Group == 0) != (i == 0) {
			if err := v.found(fmt.Errorf("%w: the manifest does not name the meta group's part first", ErrDamaged)); err != nil {
				return nil, err
			}
		}
		if place.Group != 0 {
			shards = append(shards, p)
		}
		parts = append(parts, p)
		records, bytes, v.chunks = records+p.Records, bytes+p.Bytes, v.chunks+uint64(len(p.Chunks))
		for _, place := range p.Chunks {
			v.total += place.Bytes
		}
	}
	if len(parts) < len(v.Manifest.Parts) {
		return parts, nil // what is missing was told
	}
	if missing, twice := coverage(shards, v.Slots); len(missing) > 0 || len(twice) > 0 {
		err = errors.Join(err, v.found(fmt.Errorf("%w: %d slots are in no part, and %d parts have slots of others", ErrDamaged, len(missing), len(twice))))
	}
	if records != v.Records || bytes != v.Bytes {
		err = errors.Join(err, v.found(fmt.Errorf("%w: the parts have %d records of %d bytes, and the manifest says %d of %d", ErrDamaged, records, bytes, v.Records, v.Bytes)))
	}
	return parts, err
}

// part reads a part's chunks. Where one of them is not what it was, the others are still looked at.
func (v *verification) part(ctx context.Context, p Part) error {
	began := v.Chunks
	err := v.reader.records(ctx, p, v.read, func(_, _ []byte) error { return nil })
	if err == nil {
		return nil
	}
	if err := v.found(err); err != nil {
		return err
	}
	// The records behind the damage cannot be added up any more; their chunks can be held against their names.
	for _, place := range p.Chunks[min(int(v.Chunks-began)+1, len(p.Chunks)):] {
		if _, err := v.reader.packer.fetch(ctx, v.reader.store, place.ID); err != nil {
			if err := v.found(err); err != nil {
				return err
			}
		}
		v.read(place)
	}
	return nil
}

func (v *verification) read(place chunkPlace) {
	v.Chunks++
	v.Stored += uint64(place.Stored)
	v.bytes += place.Bytes
	v.progress.Units(v.Chunks, v.chunks)
	v.progress.Bytes(v.bytes, v.total)
}
