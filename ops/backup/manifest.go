package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// formatNewest is the form of manifests and parts. A program reads its own and all before it.
const formatNewest = 1

const (
	manifestName     = "manifest"
	manifestBytesMax = 16 << 20
	partBytesMax     = 1 << 30
)

// Sum is what records come to: their number, the bytes of their keys and values, and the SHA-256 of all of them, each behind the lengths
// of its key and value, as the cluster's own digests are.
type Sum struct {
	Records uint64  `json:"records"`
	Bytes   uint64  `json:"bytes"`
	Digest  chunkID `json:"digest"`
}

// Counts are what a state holds, by what people call it.
type Counts map[string]uint64

// add sums two counts up.
func (c Counts) add(other Counts) {
	for name, count := range other {
		c[name] += count
	}
}

// Head is what a part says of the state that it was taken from.
type Head struct {
	Group      uint32    `json:"group"`     // the shard; 0 is the meta group
	Index      uint64    `json:"index"`     // that was applied
	IndexBase  uint64    `json:"indexBase"` // above which nothing is counted that was counted by indexes
	HubMillis  uint64    `json:"hubMillis"`
	Format     uint32    `json:"format"` // of the state
	Source     string    `json:"source"` // the node whose replica it was
	TakenAt    time.Time `json:"takenAt"`
	SlotsOwned []Owned   `json:"-"` // in order; they are in the part's Slots
}

// Owned is a slot that a shard owns, and since which of its hands.
type Owned struct {
	Slot       uint16 `json:"slot"`
	Generation uint64 `json:"generation"`
}

// Slot is one slot of a part.
type Slot struct {
	Owned
	Sum
}

// chunkPlace is a chunk of a part. The chunks of a part, one behind the other, are its records.
type chunkPlace struct {
	ID      chunkID `json:"id"`
	Bytes   uint64  `json:"bytes"`  // of the chunk
	Stored  int64   `json:"stored"` // in the store
	Records uint64  `json:"records"`
	First   uint16  `json:"first"` // the slot of its first record
	Last    uint16  `json:"last"`  // and of its last
}

// note adds a record of a slot.
func (c *chunkPlace) note(slot uint16) {
	if c.Records == 0 {
		c.First = slot
	}
	c.Records++
	c.Last = slot
}

// Part is what one group had at one index.
type Part struct {
	Version int `json:"version"`
	Head
	Sum
	Slots  []Slot       `json:"slots"` // none of the meta group
	Counts Counts       `json:"counts"`
	Chunks []chunkPlace `json:"chunks"`
}

// partPlace is a part as the manifest names it.
type partPlace struct {
	Group  uint32  `json:"group"`
	Digest chunkID `json:"digest"` // SHA-256 of the part's object
}

// Manifest is a whole backup.
type Manifest struct {
	Version    int         `json:"version"`
	ID         string      `json:"id"`
	Program    string      `json:"program"` // that made it
	Cluster    string      `json:"cluster"`
	Generation uint64      `json:"generation"` // of the cluster
	Format     uint32      `json:"format"`     // of the cluster's settings
	Slots      uint16      `json:"slots"`      // that there are
	BeganAt    time.Time   `json:"beganAt"`
	EndedAt    time.Time   `json:"endedAt"`
	Parts      []partPlace `json:"parts"` // by group, the meta group first
	Records    uint64      `json:"records"`
	Bytes      uint64      `json:"bytes"`
	Counts     Counts      `json:"counts"`
}

func backupFolder(id string) string { return "backups/" + id + "/" }

func partPrefix(id string, group uint32) string {
	return fmt.Sprintf("%spart-%06d-", backupFolder(id), group)
}

// CheckID refuses what cannot name a backup: letters, digits, dots and hyphens, at most 64.
func CheckID(id string) error {
	if len(id) > 64 || strings.Contains(id, "/") || checkName(id) != nil {
		return fmt.Errorf("%q cannot be the ID of a backup", id)
	}
	return nil
}

// sealed is how a manifest stands in the store: its JSON, and behind it in a line of its own the SHA-256 of that.
func sealed(value any) ([]byte, error) {
	body, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	sum := sha256.Sum256(body)
	return append(body, hex.EncodeToString(sum[:])+"\n"...), nil
}

func unseal(raw []byte, into any) error {
	const tail = 2*sha256.Size + 1
	if len(raw) < tail {
		return fmt.Errorf("%w: it is cut short", ErrDamaged)
	}
	body := raw[:len(raw)-tail]
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:])+"\n" != string(raw[len(body):]) {
		return fmt.Errorf("%w: it does not match its own digest", ErrDamaged)
	}
	return json.Unmarshal(body, into)
}

// readManifest reads a backup's manifest: ErrMissing where there is no such backup, or one that was not finished.
func readManifest(ctx context.Context, store Store, id string) (Manifest, error) {
	if err := CheckID(id); err != nil {
		return Manifest{}, err
	}
	raw, err := store.Get(ctx, backupFolder(id)+manifestName, manifestBytesMax)
	if err != nil {
		return Manifest{}, fmt.Errorf("the manifest of backup %s: %w", id, err)
	}
	var m Manifest
	if err := unseal(raw, &m); err != nil {
		return Manifest{}, fmt.Errorf("the manifest of backup %s: %w", id, err)
	}
	switch {
	case m.Version < 1 || m.Version > formatNewest:
		return Manifest{}, fmt.Errorf("the manifest of backup %s is of version %d, and this program knows versions up to %d", id, m.Version, formatNewest)
	case m.ID != id:
		return Manifest{}, fmt.Errorf("%w: the manifest of backup %s is that of %q", ErrDamaged, id, m.ID)
	}
	return m, nil
}

// readPart reads a part and holds it against the digest in its name.
func readPart(ctx context.Context, store Store, id string, place partPlace) (Part, error) {
	name := partPrefix(id, place.Group) + place.Digest.String()
	raw, err := store.Get(ctx, name, partBytesMax)
	if errors.Is(err, errTooLong) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return Part{}, fmt.Errorf("part %s: %w", name, err)
	}
	if sha256.Sum256(raw) != place.Digest {
		return Part{}, fmt.Errorf("%w: part %s has other contents", ErrDamaged, name)
	}
	var p Part
	if err := json.Unmarshal(raw, &p); err != nil {
		return Part{}, fmt.Errorf("%w: part %s: %w", ErrDamaged, name, err)
	}
	if p.Version < 1 || p.Version > formatNewest || p.Group != place.Group {
		return Part{}, fmt.Errorf("%w: part %s is of version %d, of group %d", ErrDamaged, name, p.Version, p.Group)
	}
	return p, nil
}

// findPart looks for a part that was written before the manifest; false where there is none that is whole. Of several, as a slot that
// moved in the middle makes them, the one with the highest index counts.
func findPart(ctx context.Context, store Store, id string, group uint32) (best Part, at partPlace, found bool, err error) {
	prefix := partPrefix(id, group)
	var places []partPlace
	err = store.List(ctx, backupFolder(id), func(name string, _ int64) error {
		digest, is := strings.CutPrefix(name, prefix)
		place := partPlace{Group: group}
		if is && place.Digest.UnmarshalText([]byte(digest)) == nil {
			places = append(places, place)
		}
		return nil
	})
	if err != nil {
		return Part{}, partPlace{}, false, err
	}
	for _, place := range places {
		p, err := readPart(ctx, store, id, place)
		switch {
		case errors.Is(err, ErrDamaged):
			continue // it is written again
		case err != nil:
			return Part{}, partPlace{}, false, err
		case !found || p.Index > best.Index:
			best, at, found = p, place, true
		}
	}
	return best, at, found, nil
}

// putPart writes a part under its digest.
func putPart(ctx context.Context, store Store, id string, p Part) (partPlace, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return partPlace{}, err
	}
	place := partPlace{Group: p.Group, Digest: sha256.Sum256(raw)}
	return place, store.Put(ctx, partPrefix(id, p.Group)+place.Digest.String(), raw)
}

// coverage compares parts with the slots that there are. missing are those in no part, and twice the parts, by index, that have a slot
// which another one has of a later generation: both come of slots that moved while the parts were taken.
func coverage(parts []Part, slots uint16) (missing []uint16, twice []int) {
	owner := slices.Repeat([]int{-1}, int(slots))
	generation := make([]uint64, slots)
	note := func(part int) {
		if !slices.Contains(twice, part) {
			twice = append(twice, part)
		}
	}
	for i, p := range parts {
		for _, s := range p.Slots {
			switch {
			case s.Slot >= slots:
				note(i)
			case owner[s.Slot] < 0:
				owner[s.Slot], generation[s.Slot] = i, s.Generation
			case s.Generation > generation[s.Slot]:
				note(owner[s.Slot])
				owner[s.Slot], generation[s.Slot] = i, s.Generation
			default:
				note(i)
			}
		}
	}
	for slot, at := range owner {
		if at < 0 {
			missing = append(missing, uint16(slot))
		}
	}
	return missing, twice
}
