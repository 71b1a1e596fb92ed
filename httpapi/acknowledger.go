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
	config  Config // nil: not known
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

func newAcknowledger(hub Hub, config Config, backoff Backoff, log *slog.Logger, done func([]fsm.OutboxItem, error)) *acknowledger {
	return &acknowledger{hub: hub, config: config, backoff: backoff, log: log, done: done, waiting: map[ackKey][]fsm.OutboxItem{}}
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
	for failures := 1; ; failures++ {
		sequences, rooms := named(batch, a.byRoom())
		err := acknowledge(ctx, a.hub, key.slot, key.destination, sequences, rooms...)
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

// byRoom reports whether every node knows acknowledgements of rooms.
func (a *acknowledger) byRoom() bool {
	return a.config != nil && a.config.Settings().Format >= fsm.FormatBulk
}

// named names items for their acknowledgement: by sequence, or where that is possible and there are several of a room, by the last of them.
// A room's items are delivered in order, and none before those before it is acknowledged: so nothing else is below the last.
func named(items []fsm.OutboxItem, byRoom bool) (sequences []uint64, rooms []fsm.RoomTaken) {
	of := map[mimi.RoomURI]int{}
	for _, item := range items {
		of[item.Room]++
	}
	at := map[mimi.RoomURI]int{} // index in rooms
	for _, item := range items {
		if !byRoom || of[item.Room] == 1 {
			sequences = append(sequences, item.Sequence)
			continue
		}
		i, begun := at[item.Room]
		if !begun {
			i = len(rooms)
			at[item.Room] = i
			rooms = append(rooms, fsm.RoomTaken{Room: item.Room})
		}
		rooms[i].Through = max(rooms[i].Through, item.Sequence)
	}
	return sequences, rooms
}

// acknowledge records items of one slot: by their sequences, and all of rooms up to one.
func acknowledge(ctx context.Context, hub Hub, slot fsm.SlotID, destination mimi.Provider, sequences []uint64, rooms ...fsm.RoomTaken) error {
	request, err := judge.NewAcknowledge(slot, destination, sequences, rooms...)
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
