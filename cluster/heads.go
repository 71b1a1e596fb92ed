package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"parley/fsm"
	"parley/mimi"
)

const (
	headsBytesMax = 8 << 20 // items of one answer of Heads, over all shards; a single larger one comes alone
	headsRoomsMax = 4096    // that one answer looks at of either kind, those included that are busy or of the other kind
)

// Heads returns, of the shards of which this node is appointed to deliver to the destination, the first waiting items of rooms that are not busy,
// in order per room, as many as the page allows; none where the peer is paused. Rooms of which handshakes wait come first. Each look goes on where the one before has ended, so that every room has
// its turn, and reads rooms and the items that it returns, however much waits. An item stays waiting until it is acknowledged.
func (n *Node) Heads(ctx context.Context, destination mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) ([]fsm.OutboxItem, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	replicas := n.delivering(destination)
	if len(replicas) == 0 {
		return nil, nil
	}
	replicas = n.inTurn(replicas)
	look := newHeadsLook(destination, busy, page)
	err = look.through(ctx, len(replicas), func(i int) error {
		if err := replicas[i].heads(look); err != nil {
			return fmt.Errorf("outbox of shard %d: %w", replicas[i].shard, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return look.items, nil
}

// inTurn is some replicas in their order, each time from another one on, so that a full answer does not always leave the same ones out.
func (n *Node) inTurn(replicas []*replica) []*replica {
	first := int(n.looks.Add(1) % uint64(len(replicas)))
	return slices.Concat(replicas[first:], replicas[:first])
}

// headsLook is an answer of Heads under way, over all shards.
type headsLook struct {
	destination mimi.Provider
	busy        func(mimi.RoomURI) bool
	page        fsm.OutboxPage
	urgent      bool // rooms with handshakes are looked for, and not the others

	items []fsm.OutboxItem
	rooms int
	bytes uint64 // of items
	seen  int    // rooms looked at, of those with handshakes or of the others
	over  bool   // the next item does not fit
}

func newHeadsLook(destination mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) *headsLook {
	if page.Bytes == 0 || page.Bytes > headsBytesMax {
		page.Bytes = headsBytesMax
	}
	page.PerRoom = max(page.PerRoom, 1)
	return &headsLook{destination: destination, busy: busy, page: page}
}

// through looks at so many replicas, first for rooms with handshakes and then for the others, until the answer is full.
func (l *headsLook) through(ctx context.Context, replicas int, look func(i int) error) error {
	for _, l.urgent = range []bool{true, false} {
		l.seen = 0
		for i := range replicas {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if l.full() {
				break // with rooms of this kind that are busy, it may be: the others have their turn all the same
			}
			if err := look(i); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *headsLook) full() bool {
	return l.over || l.rooms >= l.page.Rooms || l.bytes >= uint64(l.page.Bytes) || l.seen >= headsRoomsMax
}

// take adds a room's items; false where the first does not fit any more.
func (l *headsLook) take(view fsm.Reader, slot fsm.SlotID, room fsm.OutboxRoom) (bool, error) {
	items, size, err := fsm.ReadRoomOutbox(view, slot, l.destination, room, l.page.PerRoom, uint64(l.page.Bytes)-l.bytes)
	if err == nil && len(items) == 0 && len(l.items) == 0 {
		items, size, err = fsm.ReadRoomOutbox(view, slot, l.destination, room, 1, math.MaxUint64)
	}
	if err != nil {
		return false, err
	}
	if len(items) == 0 {
		l.over = true
		return false, nil
	}
	l.items = append(l.items, items...)
	l.bytes += size
	l.rooms++
	return true, nil
}

// headsTurn is behind which room of a replica the next look begins.
type headsTurn struct {
	slot  fsm.SlotID
	place fsm.RoomPlace
}

// headsTurns are the turns of a replica, by destination and kind of room. They are hints: any is right.
type headsTurns struct {
	mu    sync.Mutex
	turns map[headsTurnOf]headsTurn
}

type headsTurnOf struct {
	destination mimi.Provider
	urgent      bool
}

func (h *headsTurns) of(look *headsLook) headsTurn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.turns[headsTurnOf{look.destination, look.urgent}]
}

func (h *headsTurns) ended(look *headsLook, turn headsTurn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.turns == nil {
		h.turns = make(map[headsTurnOf]headsTurn)
	}
	h.turns[headsTurnOf{look.destination, look.urgent}] = turn
}

// openView is a state as it was at some index, until it is closed.
type openView interface {
	fsm.Reader
	Close() error
}

// heads adds what the replica has.
func (r *replica) heads(look *headsLook) error {
	return r.headsOn(look, func() (openView, error) { return r.view() })
}

// headsOn adds what a view has that is opened for it.
func (r *replica) headsOn(look *headsLook, open func() (openView, error)) (err error) {
	turn := r.turns.of(look)
	mark := r.outbox.mark() // before the view, see outboxIndex.emptied
	slots := r.outbox.slotsFrom(look.destination, look.urgent, turn.slot)
	if len(slots) == 0 {
		return nil
	}
	view, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	turn, err = r.headsFrom(view, look, turn, slots, mark)
	r.turns.ended(look, turn)
	return err
}

// headsFrom adds what a view has, from a turn on and round to it, and tells the next turn. The slots begin with the turn's, if it has
// anything, or else with the one behind it.
func (r *replica) headsFrom(view fsm.Reader, look *headsLook, begun headsTurn, slots []fsm.SlotID, mark uint64) (turn headsTurn, err error) {
	turn = begun
	for _, slot := range slots {
		part := fsm.RoomsPart{Urgent: look.urgent}
		if slot == begun.slot {
			part.After = begun.place
		}
		if err := r.headsOfSlot(view, look, slot, part, &turn, mark); err != nil || look.full() {
			return turn, err
		}
	}
	if slots[0] == begun.slot && begun.place != (fsm.RoomPlace{}) {
		part := fsm.RoomsPart{Urgent: look.urgent, Through: begun.place}
		err = r.headsOfSlot(view, look, begun.slot, part, &turn, mark)
	}
	return turn, err
}

// headsOfSlot adds what one slot has in a part of its rooms.
func (r *replica) headsOfSlot(view fsm.Reader, look *headsLook, slot fsm.SlotID, part fsm.RoomsPart, turn *headsTurn, mark uint64) error {
	if serves, err := r.servedBy(view).has(slot); err != nil || !serves {
		return err // it is on its way elsewhere, or has gone: its next shard delivers it
	}
	head, err := fsm.ReadOutboxPosition(view, slot, look.destination)
	switch {
	case err != nil:
		return err
	case head.Waiting == 0:
		r.outbox.emptied(look.destination, slot, mark)
		return nil
	case !head.Indexed() && !look.urgent:
		return nil // it had its turn among the urgent ones
	case !head.Indexed():
		*turn = headsTurn{slot: slot + 1}
		return headsUnindexed(view, look, slot)
	case look.urgent && head.Handshakes == 0:
		r.outbox.calmed(look.destination, slot, mark)
		return nil
	}
	return fsm.OutboxRooms(view, slot, look.destination, part, func(room fsm.OutboxRoom) (bool, error) {
		look.seen++
		if look.urgent == (room.Handshakes > 0) && !look.busy(room.Room) {
			if taken, err := look.take(view, slot, room); err != nil || !taken {
				return false, err
			}
		}
		*turn = headsTurn{slot, room.Place}
		return !look.full(), nil
	})
}

// headsUnindexed adds what a slot has, by going through all that waits in it. That is for what an older format has left behind, until
// sweeps have indexed it; what came later in the slot waits in line meanwhile. However many items of a busy room stand in front, those
// of other rooms are found: a peer that refuses one room must not hold up the rest.
func headsUnindexed(view fsm.Reader, look *headsLook, slot fsm.SlotID) error {
	seen := make(map[mimi.RoomURI]int) // items by room; negative: no more of it
	return fsm.ReadOutbox(view, slot, look.destination, 0, func(item fsm.OutboxItem) (bool, error) {
		n := seen[item.Room]
		size := uint64(len(item.Body))
		switch {
		case n < 0 || n >= look.page.PerRoom:
			return true, nil
		case n == 0 && (look.busy(item.Room) || look.rooms >= look.page.Rooms), len(look.items) > 0 && look.bytes+size > uint64(look.page.Bytes):
			seen[item.Room] = -1
			return true, nil
		case n == 0:
			look.rooms++
		}
		seen[item.Room]++
		look.items = append(look.items, item)
		look.bytes += size
		return look.bytes < uint64(look.page.Bytes), nil
	})
}
