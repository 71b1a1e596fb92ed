package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// sequencesMax is how many items one Acknowledge names.
const sequencesMax = 1000

// acknowledger records what destinations have taken. While an Acknowledge of a slot and destination is on its way, further
// items of the same gather for the next one. It tries until it succeeds: an acknowledgement may be repeated without harm, and
// a lost one would send a body twice.
type acknowledger struct {
	hub     Hub
	backoff Backoff
	log     *slog.Logger
	done    func(items []fsm.OutboxItem, err error) // called once for each item, with others of its slot; err only after the context's end

	mu       sync.Mutex
	waiting  map[ackKey][]fsm.OutboxItem // a key is present while its goroutine runs; under mu
	recorder sync.WaitGroup
}

type ackKey struct {
	slot        fsm.SlotID
	destination mimi.Provider
}

func newAcknowledger(hub Hub, backoff Backoff, log *slog.Logger, done func([]fsm.OutboxItem, error)) *acknowledger {
	return &acknowledger{hub: hub, backoff: backoff, log: log, done: done, waiting: map[ackKey][]fsm.OutboxItem{}}
}

// add takes items of one destination. It does not wait.
func (a *acknowledger) add(ctx context.Context, items []fsm.OutboxItem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, item := range items {
		key := ackKey{item.Slot, item.Destination}
		waiting, running := a.waiting[key]
		a.waiting[key] = append(waiting, item)
		if !running {
			a.recorder.Add(1)
			go a.record(ctx, key)
		}
	}
}

// wait returns when nothing is being recorded any more.
func (a *acknowledger) wait() { a.recorder.Wait() }

func (a *acknowledger) record(ctx context.Context, key ackKey) {
	defer a.recorder.Done()
	for {
		batch := a.take(key)
		if len(batch) == 0 {
			return
		}
		a.done(batch, a.recordBatch(ctx, key, batch))
	}
}

// take returns what has gathered; with nothing gathered the key's goroutine must end.
func (a *acknowledger) take(key ackKey) []fsm.OutboxItem {
	a.mu.Lock()
	defer a.mu.Unlock()
	items := a.waiting[key]
	if len(items) == 0 {
		delete(a.waiting, key)
		return nil
	}
	n := min(len(items), sequencesMax)
	a.waiting[key] = items[n:]
	return items[:n:n]
}

func (a *acknowledger) recordBatch(ctx context.Context, key ackKey, batch []fsm.OutboxItem) error {
	sequences := make([]uint64, len(batch))
	for i, item := range batch {
		sequences[i] = item.Sequence
	}
	for failures := 1; ; failures++ {
		err := acknowledge(ctx, a.hub, key.slot, key.destination, sequences)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		wait := a.backoff.after(failures)
		a.log.Warn("acknowledgement not recorded yet", "destination", key.destination, "slot", key.slot, "items", len(batch), "wait", wait, "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// acknowledge records sequences of one slot.
func acknowledge(ctx context.Context, hub Hub, slot fsm.SlotID, destination mimi.Provider, sequences []uint64) error {
	request, err := judge.NewAcknowledge(slot, destination, sequences)
	if err != nil {
		return err
	}
	outcome, err := hub.Do(ctx, request)
	if err != nil {
		return err
	}
	switch outcome.(type) {
	case fsm.Done, fsm.Accepted:
		return nil
	default:
		return fmt.Errorf("slot %d: %w", slot, unexpected("an acknowledgement", outcome))
	}
}
