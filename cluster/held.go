package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/storage"
)

// While a shard has no leader, a node takes what is submitted in bulk for its rooms into a journal on its own disk, and brings it into the log
// when there is one again, each room's in order. An item leaves the journal once its verdict is in the log, from where it goes on the
// submitter's stream; what comes twice, for a crash in between, is recognised there.

const (
	heldForMax    = 24 * time.Hour  // then an item is given up
	heldRoomsMax  = 16              // rooms that are brought at a time
	heldBatchMax  = 100             // messages of one command
	heldBytesMax  = 96 << 10        // likewise
	heldTimeout   = 5 * time.Second // for one attempt
	heldRest      = 250 * time.Millisecond
	heldReasonOld = "its shard could not decide for too long, and it is not tried any more"
)

// HeldStatus is what a node's journal holds.
type HeldStatus struct {
	Items        int
	Bytes        int64
	OldestMillis uint64 // by the clock of the node, 0 for none
	Damaged      int    // parts of the journal that could not be read, and are kept aside until somebody removes them
	Expired      uint64 // given up since the node was started
}

// held is a node's journal, and who brings what is in it into the log.
type held struct {
	node    *Node
	journal *storage.Journal
	expired atomic.Uint64
	woken   chan struct{} // capacity 1

	// taking is held for reading by who takes something, from before the look at the map that allows it until it stands in the journal.
	taking sync.RWMutex

	mu    sync.Mutex
	rooms map[mimi.RoomURI]*heldRoom
}

// heldRoom is what waits for one room, in order.
type heldRoom struct {
	items []heldItem
	busy  bool
	due   time.Time // no attempt before
	tries int
}

type heldItem struct {
	id     storage.RecordID
	millis uint64
}

// openHeld opens the journal with what an earlier process left in it.
func (n *Node) openHeld() (err error) {
	h := &held{node: n, woken: make(chan struct{}, 1), rooms: make(map[mimi.RoomURI]*heldRoom)}
	h.journal, err = storage.OpenJournal(n.stores.dir.HeldPath(), storage.JournalOptions{
		FS: n.stores.dir.FS(), OnFatal: n.fatal, Log: n.log, BytesMax: n.config.HeldBytes, RecordsMax: n.config.HeldItems,
	}, h.recall)
	if err != nil {
		return err
	}
	n.held = h
	return nil
}

// recall takes an item of an earlier process. One that this program cannot read stays where it is.
func (h *held) recall(id storage.RecordID, value []byte) {
	item, err := judge.DecodeHeld(value)
	room, wrong := mimi.ParseRoomURI(item.Submission.Room)
	if err := errors.Join(err, wrong); err != nil {
		h.node.log.Error("an item of the journal cannot be understood; it stays there", "number", id.Number, "error", err)
		return
	}
	h.add(room, heldItem{id, item.Millis})
}

func (h *held) add(room mimi.RoomURI, items ...heldItem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[room]
	if r == nil {
		r = new(heldRoom)
		h.rooms[room] = r
	}
	r.items = append(r.items, items...)
	h.wake()
}

func (h *held) wake() {
	select {
	case h.woken <- struct{}{}:
	default: // it will look anyway
	}
}

// Holds reports whether something for a room waits in this node's journal: what comes later must not go past it.
func (n *Node) Holds(room mimi.RoomURI) bool {
	n.held.mu.Lock()
	defer n.held.mu.Unlock()
	return n.held.rooms[room] != nil
}

// Hold takes submissions for rooms hosted here into this node's journal, all or none, and returns when they are durable there. They survive a crash
// of the node, and not the loss of its disk. Each gets a verdict on its submitter's stream. The error wraps fsm.ErrOverloaded where there is no
// room, fsm.ErrNotProposed where the node leaves the cluster, whose journal has to become empty, and fsm.ErrUnknownOutcome where the journal has
// failed.
func (n *Node) Hold(ctx context.Context, submissions []judge.HeldSubmission) error {
	_, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if n.disk.low.Load() {
		return fmt.Errorf("%w: the disk is almost full", fsm.ErrOverloaded)
	}
	now := uint64(n.config.Clock.Wall().UnixMilli())
	values := make([][]byte, len(submissions))
	rooms := make([]mimi.RoomURI, len(submissions))
	for i, s := range submissions {
		if rooms[i], err = mimi.ParseRoomURI(s.Submission.Room); err != nil {
			return err
		}
		s.Millis = now
		values[i] = s.Encode()
	}
	n.held.taking.RLock()
	defer n.held.taking.RUnlock()
	if n.Map().Duty(n.id).Kind == meta.Leaving {
		return fmt.Errorf("%w: the node leaves the cluster", fsm.ErrNotProposed)
	}
	ids, err := n.held.journal.Append(values)
	switch {
	case errors.Is(err, storage.ErrJournalFull):
		return fmt.Errorf("%w: %w", fsm.ErrOverloaded, err)
	case err != nil:
		return fmt.Errorf("%w: %w", fsm.ErrUnknownOutcome, err)
	}
	for i, id := range ids {
		n.held.add(rooms[i], heldItem{id, now})
	}
	return nil
}

// run brings what is held into the log, until the context ends.
func (h *held) run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	turns := make(chan struct{}, heldRoomsMax)
	for {
		for _, room := range h.ready() {
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
				return
			}
			work.Go(func() {
				defer func() { <-turns }()
				h.bring(ctx, room)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-h.woken:
		case <-time.After(heldRest):
		}
	}
}

// ready takes the rooms that may be tried now, and marks them busy.
func (h *held) ready() (rooms []mimi.RoomURI) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for room, r := range h.rooms {
		if !r.busy && !now.Before(r.due) {
			r.busy = true
			rooms = append(rooms, room)
		}
	}
	return rooms
}

// bring makes one attempt on what stands first for a room.
func (h *held) bring(ctx context.Context, room mimi.RoomURI) {
	h.mu.Lock()
	items := h.rooms[room].items
	items = items[:min(len(items), heldBatchMax)]
	h.mu.Unlock()
	done, err := h.decide(ctx, room, items)
	if removed := h.remove(items[:done]); err == nil {
		err = removed
	}
	if err != nil && ctx.Err() == nil {
		h.node.log.Info("what is held for a room will be tried again", "room", room, "error", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[room]
	r.items, r.busy = r.items[done:], false
	if r.tries++; done > 0 {
		r.tries = 0
	}
	r.due = time.Now().Add(min(heldRest<<min(r.tries, 5), heldTimeout))
	switch {
	case len(r.items) == 0:
		delete(h.rooms, room)
	case done > 0:
		r.due = time.Time{}
		h.wake()
	}
}

func (h *held) remove(items []heldItem) error {
	ids := make([]storage.RecordID, len(items))
	for i, item := range items {
		ids[i] = item.id
	}
	return h.journal.Remove(ids)
}

// Held is what this node's journal holds.
func (n *Node) Held() HeldStatus { return n.held.status() }

// statusAsOf is the status once nothing is being taken any more that a map before this one allowed. Where by this map the node leaves, what is
// empty stays so.
func (h *held) statusAsOf(current *meta.Map) HeldStatus {
	if current.Duty(h.node.id).Kind != meta.Leaving {
		return h.status()
	}
	h.taking.Lock()
	defer h.taking.Unlock()
	return h.status()
}

// status sums the journal up.
func (h *held) status() HeldStatus {
	stats := h.journal.Stats()
	status := HeldStatus{Items: stats.Records, Bytes: stats.Bytes, Damaged: stats.Damaged, Expired: h.expired.Load()}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.rooms {
		if oldest := r.items[0].millis; status.OldestMillis == 0 || oldest < status.OldestMillis {
			status.OldestMillis = oldest
		}
	}
	return status
}
