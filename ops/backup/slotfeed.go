package backup

import (
	"bytes"
	"context"
	"fmt"
)

// slotFeeds hands the records of a part out to the sinks of its slots. It belongs to one goroutine; each slot has one of its own.
type slotFeeds struct {
	*restoration
	part Part
	done map[uint16]bool
	next int       // of part.Slots: those before it were fed, or need not be
	open *slotFeed // of the slot at next; nil where it has not begun
}

// slotFeed is one slot on its way.
type slotFeed struct {
	batches chan []feedRecord
	batch   []feedRecord
	bytes   int64 // of batch
}

type feedRecord struct{ key, value []byte }

// all reads what has slots that are not done.
func (f *slotFeeds) all(ctx context.Context, in *reader) error {
	for _, place := range f.part.Chunks {
		if f.skips(place) {
			f.passed(place.Bytes - recordHeadBytes*place.Records)
			continue
		}
		chunk, err := in.packer.fetch(ctx, f.store, place.ID)
		if err != nil {
			return err
		}
		err = visitRecords(chunk, func(key, value []byte) error { return f.record(ctx, key, value) })
		if err != nil {
			return err
		}
	}
	return f.through(ctx, len(f.part.Slots))
}

// skips reports whether all slots that a chunk has records of are done.
func (f *slotFeeds) skips(place chunkPlace) bool {
	for _, s := range f.part.Slots {
		if place.First <= s.Slot && s.Slot <= place.Last && !f.done[s.Slot] {
			return false
		}
	}
	return true
}

func (f *slotFeeds) record(ctx context.Context, key, value []byte) error {
	slot, at := slotOf(key), f.next
	for at < len(f.part.Slots) && f.part.Slots[at].Slot < slot {
		at++
	}
	if at == len(f.part.Slots) || f.part.Slots[at].Slot != slot {
		return fmt.Errorf("%w: group %d has a record of slot %d, which is not its own", ErrDamaged, f.part.Group, slot)
	}
	if err := f.through(ctx, at); err != nil {
		return err
	}
	size := len(key) + len(value)
	f.passed(uint64(size))
	if f.done[slot] {
		return nil
	}
	if f.open == nil {
		if err := f.begin(ctx, f.part.Slots[at]); err != nil {
			return err
		}
	}
	f.open.batch = append(f.open.batch, feedRecord{bytes.Clone(key), bytes.Clone(value)})
	f.open.bytes += int64(size)
	if f.open.bytes < feedBytes {
		return nil
	}
	return f.hand(ctx)
}

// through ends the slots before one: that which is open, and those that have no records.
func (f *slotFeeds) through(ctx context.Context, at int) error {
	for ; f.next < at; f.next++ {
		s := f.part.Slots[f.next]
		if f.done[s.Slot] {
			continue
		}
		if f.open == nil {
			if err := f.begin(ctx, s); err != nil {
				return err
			}
		}
		if err := f.hand(ctx); err != nil {
			return err
		}
		close(f.open.batches)
		f.open = nil
	}
	return nil
}

// begin starts the goroutine of a slot once there is a turn for it.
func (f *slotFeeds) begin(ctx context.Context, s Slot) error {
	select {
	case f.turns <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	feed := &slotFeed{batches: make(chan []feedRecord)}
	f.open = feed
	run, from := f.restoration, f.part.Head
	f.slots.Go(func() {
		defer func() { <-run.turns }()
		if err := run.bring(ctx, RestoredSlot{s, from}, feed.batches); err != nil {
			run.failed(fmt.Errorf("slot %d: %w", s.Slot, err))
		}
	})
	return nil
}

// hand gives what has gathered to the slot's goroutine.
func (f *slotFeeds) hand(ctx context.Context) error {
	feed := f.open
	if len(feed.batch) == 0 {
		return nil
	}
	cost := min(feed.bytes, feedBytesMax)
	if err := f.budget.Acquire(ctx, cost); err != nil {
		return context.Cause(ctx)
	}
	select {
	case feed.batches <- feed.batch:
		feed.batch, feed.bytes = nil, 0
		return nil
	case <-ctx.Done():
		f.budget.Release(cost)
		return context.Cause(ctx)
	}
}

// bring takes one slot into the target. When the run ends early, nobody closes the channel.
func (r *restoration) bring(ctx context.Context, s RestoredSlot, batches <-chan []feedRecord) error {
	sink, err := r.target.Open(ctx, s)
	if err != nil {
		return err
	}
	for {
		select {
		case batch, more := <-batches:
			if !more {
				return sink.Close(ctx)
			}
			var size int64
			for _, record := range batch {
				size += int64(len(record.key) + len(record.value))
			}
			for _, record := range batch {
				if err = sink.Put(ctx, record.key, record.value); err != nil {
					break
				}
			}
			r.budget.Release(min(size, feedBytesMax))
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
