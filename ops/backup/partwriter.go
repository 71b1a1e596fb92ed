package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/time/rate"
)

// chunksAtOnce is how many chunks are on their way into the store. Each has its records and what is stored of them in memory.
const chunksAtOnce = 3

// partWriter cuts one group's records into chunks and brings those into the store that it does not have.
type partWriter struct {
	store  Store
	cuts   cutting
	pace   *rate.Limiter // of bytes of records
	grew   func(records, bytes uint64)
	count  func(counts Counts, key []byte)
	part   Part
	total  *summer
	slots  slotSums
	last   []byte
	chunk  []byte
	places []*chunkPlace // of the part's chunks, in order; each is filled in by who puts it

	// Put by goroutines of their own; the channel has a place for each.
	puts    sync.WaitGroup
	packers chan *packer
	mu      sync.Mutex // guards fault
	fault   error      // of a chunk, the first
	stored  *tally
}

// tally counts what went into the store. Safe for concurrent use.
type tally struct {
	mu                     sync.Mutex
	chunks, reused         uint64
	chunkBytes, reusedByte uint64 // as stored
}

func (t *tally) add(reused bool, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.chunks++
	t.chunkBytes += uint64(bytes)
	if reused {
		t.reused++
		t.reusedByte += uint64(bytes)
	}
}

func newPartWriter(store Store, head Head) (*partWriter, error) {
	w := &partWriter{
		store: store, cuts: usual, part: Part{Version: formatNewest, Head: head, Counts: make(Counts)}, total: newSummer(),
		slots: slotSums{owned: head.SlotsOwned}, packers: make(chan *packer, chunksAtOnce), stored: new(tally),
	}
	for range chunksAtOnce {
		p, err := newPacker()
		if err != nil {
			return nil, err
		}
		w.packers <- p
	}
	return w, nil
}

// write takes a state to its end. After an error the chunks that are in the store stay there.
func (w *partWriter) write(ctx context.Context, state State) (Part, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := w.records(ctx, state, func(err error) { cancel(err) })
	w.puts.Wait()
	close(w.packers)
	for p := range w.packers {
		p.close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		return Part{}, w.fault
	}
	if err != nil {
		return Part{}, err
	}
	for _, place := range w.places {
		w.part.Chunks = append(w.part.Chunks, *place)
	}
	w.part.Sum, w.part.Slots = w.total.end(), w.slots.end()
	return w.part, nil
}

func (w *partWriter) records(ctx context.Context, state State, failed func(error)) error {
	for {
		key, value, err := state.Next()
		if err != nil {
			return &sourceError{err}
		}
		if key == nil {
			return w.cut(ctx, failed)
		}
		if err := w.record(key, value); err != nil {
			return err
		}
		size := len(key) + len(value)
		w.grew(1, uint64(size))
		for left := size; left > 0; left -= paceBytes {
			if err := w.pace.WaitN(ctx, min(left, paceBytes)); err != nil {
				return errors.Join(err, context.Cause(ctx))
			}
		}
		if w.cuts.endsAt(len(w.chunk), key, size) {
			if err := w.cut(ctx, failed); err != nil {
				return err
			}
		}
	}
}

func (w *partWriter) record(key, value []byte) error {
	switch {
	case bytes.Compare(key, w.last) <= 0:
		return fmt.Errorf("group %d: its records are out of order", w.part.Group)
	case len(key)+len(value) > recordBytesMax:
		return fmt.Errorf("group %d: a record of %d bytes, more than %d", w.part.Group, len(key)+len(value), recordBytesMax)
	case w.part.Group != 0 && !w.slots.add(key, value):
		return fmt.Errorf("group %d: a record of slot %d, which it does not own", w.part.Group, slotOf(key))
	}
	w.last = append(w.last[:0], key...)
	w.total.add(key, value)
	w.count(w.part.Counts, key)
	w.chunk = appendRecord(w.chunk, key, value)
	w.noteRecord(slotOf(key))
	return nil
}

// cut puts the chunk that was filled, if there is anything in it, once there is a place for it among those on their way.
func (w *partWriter) cut(ctx context.Context, failed func(error)) error {
	if len(w.chunk) == 0 {
		return nil
	}
	var p *packer
	select {
	case p = <-w.packers:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	chunk := slices.Clone(w.chunk)
	place := w.places[len(w.places)-1]
	place.Bytes = uint64(len(chunk))
	w.chunk = w.chunk[:0]
	w.puts.Go(func() {
		err := w.put(ctx, p, chunk, place)
		if err != nil {
			w.mu.Lock()
			w.fault = cmpOr(w.fault, err)
			w.mu.Unlock()
			failed(err)
		}
		w.packers <- p
	})
	return nil
}

// noteRecord notes the record that was added at the chunk that is being filled.
func (w *partWriter) noteRecord(slot uint16) {
	if len(w.places) == 0 || w.places[len(w.places)-1].Bytes > 0 {
		w.places = append(w.places, new(chunkPlace))
	}
	w.places[len(w.places)-1].note(slot)
}

// put brings a chunk into the store. One that is there, as long as it should be, is left as it is; one that was cut short is written anew.
func (w *partWriter) put(ctx context.Context, p *packer, chunk []byte, place *chunkPlace) error {
	place.ID = sha256.Sum256(chunk)
	packed := p.pack(chunk)
	place.Stored = int64(len(packed))
	size, err := w.store.Size(ctx, place.ID.name())
	if err == nil && size == place.Stored {
		w.stored.add(true, size)
		return nil
	}
	if err != nil && !errors.Is(err, ErrMissing) {
		return err
	}
	w.stored.add(false, place.Stored)
	return w.store.Put(ctx, place.ID.name(), packed)
}

func cmpOr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}
