package fsm

import (
	"math"

	"parley/mimi"
	"parley/mls"
)

// freedLateMillis is after how long an item counts as one that has waited (Result.FreedLate).
const freedLateMillis = 60_000

// openOutbox is an outbox that an entry is changing: its head and the rooms that are touched, which are written once, by close. From
// FormatBulk on it keeps the records of rooms in step with the items; before, it changes items and the head's count alone, as programs
// of that time do.
type openOutbox struct {
	t     *tx
	ref   OutboxRef
	head  OutboxPosition
	was   OutboxPosition // as it is in the state
	left  bool           // an item has left
	rooms []*openRoom    // in the order in which they came up

	roomAt map[RoomPlace]*openRoom // those of rooms, looked up by key
}

// openRoom is a room of an outbox under change.
type openRoom struct {
	OutboxRoom
	was  OutboxRoom // as it is in the state; Items is 0 where it is not
	left bool       // an item has left
}

func (t *tx) openOutbox(slot SlotID, destination mimi.Provider) *openOutbox {
	head, err := ReadOutboxPosition(t.store, slot, destination)
	t.check(err)
	o := &openOutbox{t: t, ref: OutboxRef{slot, destination}, head: head, was: head, roomAt: make(map[RoomPlace]*openRoom)}
	if t.format >= FormatBulk && head.version == 1 {
		o.adopt()
	}
	return o
}

// adopt brings a head of an older format into the layout of this one. Its items are left where they are, to be indexed by sweeps.
func (o *openOutbox) adopt() {
	o.head.version = outboxHeadVersion
	o.head.First, o.head.unindexed, o.head.indexed = o.head.Next, o.head.Next, o.head.Next
	if first, found := o.itemFrom(1); found {
		o.head.First, o.head.OldestMillis, o.head.unindexed = first.Sequence, first.Millis, first.Sequence
		o.lookAt(o.t.now)
	}
}

// room is a room's record under change, an empty one where nothing of the room waits.
func (o *openOutbox) room(room mimi.RoomURI) *openRoom {
	place := placeOf(room)
	if known, open := o.roomAt[place]; open {
		return known
	}
	stored, _ := get(o.t, func(r Reader) (OutboxRoom, bool, error) {
		return readOutboxRoomAt(r, o.ref.Slot, o.ref.Destination, place)
	})
	opened := &openRoom{OutboxRoom: stored, was: stored}
	opened.Room, opened.Place = room, place
	o.roomAt[place] = opened
	o.rooms = append(o.rooms, opened)
	return opened
}

// append puts an item behind all others.
func (o *openOutbox) append(item OutboxItem, handshake bool) {
	sequence := max(o.head.Next, o.t.slotGeneration(o.ref.Slot).generation.sequences()+1)
	o.head.Next = sequence + 1
	record := item.record()
	o.t.set(outboxItemKey(o.ref.Slot, o.ref.Destination, sequence), record)
	if o.t.format < FormatBulk {
		o.head.Waiting++
		return
	}
	if o.head.Waiting == 0 {
		o.head.First, o.head.OldestMillis = sequence, item.Millis
		o.head.unindexed, o.head.indexed = sequence, sequence
	}
	o.head.Waiting++
	o.enter(sequence, item.Room, outboxEntry{bytes: uint64(len(record)), millis: item.Millis, handshake: handshake})
	if o.head.lookMillis == 0 {
		o.lookAt(o.t.nextLook(item.Millis))
	}
}

// enter takes an item that is there into its room's records.
func (o *openOutbox) enter(sequence uint64, room mimi.RoomURI, e outboxEntry) {
	in := o.room(room)
	o.t.set(o.entryKey(in, sequence), record(e.appendTo))
	if in.Items == 0 {
		o.head.Rooms++
	}
	if in.Items == 0 || sequence < in.First {
		in.First, in.OldestMillis = sequence, e.millis
	}
	in.Items++
	in.Bytes += e.bytes
	o.head.Bytes += e.bytes
	if e.handshake {
		in.Handshakes++
		o.head.Handshakes++
	}
}

// leave takes an item out of its room's records, and out of the outbox.
func (o *openOutbox) leave(sequence uint64, in *openRoom, e outboxEntry) {
	o.t.delete(o.entryKey(in, sequence))
	o.t.delete(outboxItemKey(o.ref.Slot, o.ref.Destination, sequence))
	o.head.Waiting--
	o.left, in.left = true, true
	if o.t.now >= addUpTo(e.millis, freedLateMillis) {
		o.t.freedLate += e.bytes
	}
	in.Items--
	in.Bytes -= e.bytes
	o.head.Bytes -= e.bytes
	if e.handshake {
		in.Handshakes--
		o.head.Handshakes--
	}
	if in.Items == 0 {
		o.head.Rooms--
	}
	if sequence == in.gap {
		in.gap = 0
	}
}

func (o *openOutbox) entryKey(in *openRoom, sequence uint64) key {
	return outboxEntriesPrefix(o.ref.Slot, o.ref.Destination, in.Place).uint64(sequence)
}

// entry is an indexed item's. An item has one, or the state is broken.
func (o *openOutbox) entry(in *openRoom, sequence uint64) outboxEntry {
	e, found := get(o.t, func(r Reader) (outboxEntry, bool, error) {
		return readRecord(r, o.entryKey(in, sequence), "entry of an outbox", readOutboxEntry)
	})
	if !found {
		panic("fsm: an item of an outbox is in no room's records")
	}
	return e
}

// close writes what has changed.
func (o *openOutbox) close() {
	for _, room := range o.rooms {
		o.closeRoom(room)
	}
	if o.t.format >= FormatBulk {
		o.findFirst()
	}
	if o.head != o.was {
		o.t.set(outboxHeadKey(o.ref.Slot, o.ref.Destination), o.head.record(o.layout()))
	}
}

func (o *openOutbox) layout() uint8 {
	if o.t.format >= FormatBulk {
		return outboxHeadVersion
	}
	return 1
}

func (o *openOutbox) closeRoom(room *openRoom) {
	recordKey := outboxRoomKey(o.ref.Slot, o.ref.Destination, room.Place)
	urgentKey := outboxUrgentKey(o.ref.Slot, o.ref.Destination, room.Place)
	switch {
	case room.OutboxRoom == room.was || room.Items == 0 && room.was.Items == 0:
		return
	case room.Items == 0:
		o.t.delete(recordKey)
	default:
		o.findFirstOf(room)
		o.t.set(recordKey, record(room.appendTo))
	}
	switch is, was := room.Handshakes > 0, room.was.Handshakes > 0; {
	case is && !was:
		o.t.set(urgentKey, record(func(*mls.Writer) {}))
	case !is && was:
		o.t.delete(urgentKey)
	}
}

// findFirstOf looks for the first item of a room, from where it was on.
func (o *openOutbox) findFirstOf(room *openRoom) {
	if !room.left {
		return
	}
	o.t.check(scanOutboxEntries(o.t.store, o.ref.Slot, o.ref.Destination, room.OutboxRoom, 0, func(sequence uint64, e outboxEntry) (bool, error) {
		room.First, room.OldestMillis = sequence, e.millis
		return false, nil
	}))
}

// findFirst looks for the first item of all, from where it was on. The items in front of it are gone, and never come again.
func (o *openOutbox) findFirst() {
	if !o.left {
		return
	}
	if o.head.Waiting == 0 {
		o.head.First, o.head.OldestMillis = o.head.Next, 0
		o.head.unindexed, o.head.indexed = o.head.Next, o.head.Next
		return
	}
	first, found := o.itemFrom(o.head.First)
	if !found {
		panic("fsm: an outbox counts items that are not there")
	}
	o.head.First, o.head.OldestMillis = first.Sequence, first.Millis
	o.head.unindexed = min(max(o.head.unindexed, first.Sequence), o.head.indexed)
}

// itemFrom is the first item with a sequence of at least from.
func (o *openOutbox) itemFrom(from uint64) (first OutboxItem, found bool) {
	o.t.check(o.scanItems(from, math.MaxUint64, func(item OutboxItem) bool {
		first, found = item, true
		return false
	}))
	return first, found
}

// scanItems visits items with sequences of at least from, and below another.
func (o *openOutbox) scanItems(from, below uint64, visit func(OutboxItem) (more bool)) error {
	if from >= below {
		return nil
	}
	prefix := newKey(o.ref.Slot, keyOutboxItem).provider(o.ref.Destination)
	return scanRangeUpTo(o.t.store, prefix, prefix.uint64(from), prefix.uint64(below), "outbox item", ItemVersion, readStoredItem, func(rest []byte, item OutboxItem) (bool, error) {
		item.Slot, item.Destination, item.Sequence = o.ref.Slot, o.ref.Destination, numberOf(rest)
		return visit(item), nil
	})
}
