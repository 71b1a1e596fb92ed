package backup

import (
	"bytes"
	"context"
	"fmt"
)

// reader reads the records of parts out of a store, and holds all that it reads against what it should be. It belongs to one goroutine.
type reader struct {
	store  Store
	packer *packer
}

func newReader(store Store) (*reader, error) {
	p, err := newPacker()
	return &reader{store, p}, err
}

func (r *reader) close() { r.packer.close() }

// records hands out a part's records in order, whose slices are valid until the end of the visit of the next chunk's first. nil means that
// they were all, as they were written. chunk is told of each chunk that was read.
func (r *reader) records(ctx context.Context, p Part, chunk func(chunkPlace), visit func(key, value []byte) error) error {
	total, slots := newSummer(), slotSums{owned: ownedOf(p)}
	var last []byte
	for _, place := range p.Chunks {
		content, err := r.packer.fetch(ctx, r.store, place.ID)
		if err != nil {
			return err
		}
		seen := chunkPlace{ID: place.ID, Bytes: uint64(len(content)), Stored: place.Stored}
		err = visitRecords(content, func(key, value []byte) error {
			seen.note(slotOf(key))
			if bytes.Compare(key, last) <= 0 {
				return fmt.Errorf("%w: the records of group %d are out of order", ErrDamaged, p.Group)
			}
			last = append(last[:0], key...)
			if p.Group != 0 && !slots.add(key, value) {
				return fmt.Errorf("%w: group %d has a record of slot %d, which is not its own", ErrDamaged, p.Group, slotOf(key))
			}
			total.add(key, value)
			return visit(key, value)
		})
		if err == nil && seen != place {
			err = fmt.Errorf("%w: chunk %s is not what group %d says of it", ErrDamaged, place.ID, p.Group)
		}
		if err != nil {
			return err
		}
		chunk(place)
	}
	if sum := total.end(); sum != p.Sum {
		return fmt.Errorf("%w: group %d comes to %d records with digest %s, not %d with %s", ErrDamaged, p.Group, sum.Records, sum.Digest, p.Sum.Records, p.Sum.Digest)
	}
	for i, s := range slots.end() {
		if s != p.Slots[i] {
			return fmt.Errorf("%w: slot %d of group %d has digest %s, not %s", ErrDamaged, s.Slot, p.Group, s.Digest, p.Slots[i].Digest)
		}
	}
	return nil
}

func ownedOf(p Part) []Owned {
	owned := make([]Owned, len(p.Slots))
	for i, s := range p.Slots {
		owned[i] = s.Owned
	}
	return owned
}
