package backup

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	// slotsAtOnce is how many slots are on their way into the target, and feedBytesMax how much of them is in memory.
	slotsAtOnce  = 64
	feedBytesMax = 32 << 20
	feedBytes    = 256 << 10 // handed over at once
)

// Target is a new cluster that a backup is brought into, slot by slot. Its methods may be called by many goroutines.
type Target interface {
	// Done are the slots that have come and are served, of those that are asked for.
	Done(ctx context.Context, slots []uint16) (map[uint16]bool, error)
	// Open begins a slot, or goes on with it: what has come of it before is recognised, for it comes again in the same order.
	Open(ctx context.Context, slot RestoredSlot) (SlotSink, error)
}

// RestoredSlot is a slot with what is to be known of the state that it was taken from.
type RestoredSlot struct {
	Slot
	From Head
}

// SlotSink takes one slot's records, in order. It belongs to one goroutine.
type SlotSink interface {
	// Put takes a record, whose slices are its own from then on.
	Put(ctx context.Context, key, value []byte) error
	// Close is called behind the last record: the slot is held against its sum, and served from then on. Until then it is not.
	Close(ctx context.Context) error
}

// MetaRecords reads what a backup has of the meta group.
func MetaRecords(ctx context.Context, store Store, id string, visit func(key, value []byte) error) (Manifest, Head, error) {
	m, err := readManifest(ctx, store, id)
	if err != nil {
		return Manifest{}, Head{}, err
	}
	if len(m.Parts) == 0 || m.Parts[0].Group != 0 {
		return Manifest{}, Head{}, fmt.Errorf("%w: it has no part of the meta group", ErrDamaged)
	}
	p, err := readPart(ctx, store, id, m.Parts[0])
	if err != nil {
		return Manifest{}, Head{}, err
	}
	r, err := newReader(store)
	if err != nil {
		return Manifest{}, Head{}, err
	}
	defer r.close()
	return m, p.Head, r.records(ctx, p, func(chunkPlace) {}, func(key, value []byte) error {
		return visit(bytes.Clone(key), bytes.Clone(value))
	})
}

// Restore brings the slots of a backup into a target. It can be cut off anywhere and begun again: slots that are done are not read a second
// time. Verify is to have found the backup whole before anything of a target is written; here each chunk is held against its name again.
func Restore(ctx context.Context, store Store, id string, target Target, progress Progress) error {
	m, err := readManifest(ctx, store, id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	run := &restoration{
		store: store, target: target, progress: watched(progress), budget: semaphore.NewWeighted(feedBytesMax),
		turns: make(chan struct{}, slotsAtOnce), cancel: cancel, total: m.Bytes,
	}
	for i, place := range m.Parts {
		if place.Group == 0 {
			continue
		}
		run.progress.Step(fmt.Sprintf("bringing in what shard %d had", place.Group))
		run.progress.Units(uint64(i), uint64(len(m.Parts)))
		if err = run.part(ctx, id, place); err != nil {
			break
		}
	}
	cancel(err)
	run.slots.Wait()
	if run.fault != nil {
		return run.fault
	}
	if err == nil {
		run.progress.Units(uint64(len(m.Parts)), uint64(len(m.Parts)))
	}
	return err
}

// restoration is one run of Restore.
type restoration struct {
	store    Store
	target   Target
	progress Progress
	budget   *semaphore.Weighted
	turns    chan struct{} // a token for each slot that is on its way
	cancel   context.CancelCauseFunc
	bytes    uint64 // of records that have been handed over, or need not be
	total    uint64
	slots    sync.WaitGroup

	mu    sync.Mutex
	fault error // the first of a slot's
}

// part brings in one shard's slots, as many at a time as there are turns, and waits for them.
func (r *restoration) part(ctx context.Context, id string, place partPlace) error {
	p, err := readPart(ctx, r.store, id, place)
	if err != nil {
		return err
	}
	numbers := make([]uint16, len(p.Slots))
	for i, s := range p.Slots {
		numbers[i] = s.Slot
	}
	done, err := r.target.Done(ctx, numbers)
	if err != nil {
		return err
	}
	in, err := newReader(r.store)
	if err != nil {
		return err
	}
	defer in.close()
	feeds := slotFeeds{restoration: r, part: p, done: done}
	if err := feeds.all(ctx, in); err != nil {
		return err
	}
	r.slots.Wait()
	return context.Cause(ctx)
}

// failed ends the run with the first slot's error.
func (r *restoration) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault == nil {
		r.fault = err
	}
	r.cancel(err)
}

func (r *restoration) passed(bytes uint64) {
	r.bytes += bytes
	r.progress.Bytes(r.bytes, r.total)
}
