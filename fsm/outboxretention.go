package fsm

import "parley/mimi"

// A sweep looks at each outbox in which something waits, from time to time and by one note for the whole of it. What an older format
// has left behind it takes into the records of rooms. What nobody has taken for as long as items are kept it drops, oldest first, and
// puts in the place of the last item that it drops of a room one that tells of the gap, under the same sequence: so the room's stream
// says where something is missing, before what follows. A gap stays until it is taken, and takes up a gap before it. Who acknowledges
// the last item of a gap had it on the way when it was dropped, and with it all before it in the room; the gap is then none, and goes.

// outboxLookMillis is how long at most an outbox goes without being looked at while something waits in it, so that items are not kept
// longer than settings say which came in force after them.
const outboxLookMillis = 60 * 60 * 1000

// OutboxDrop says what was dropped of a room because a destination had not taken it in time.
type OutboxDrop struct {
	Slot        SlotID
	Destination mimi.Provider
	Room        mimi.RoomURI // none where the items are of no room
	Gap         mimi.StreamGap
}

// nextLook is when to look at an outbox that has an item of the given time to be dropped first.
func (t *tx) nextLook(millis uint64) uint64 {
	return min(addUpTo(millis, t.settings.Bulk.outboxRetention()), addUpTo(t.now, outboxLookMillis))
}

// lookAt notes when a sweep is to look. There must be no other note.
func (o *openOutbox) lookAt(millis uint64) {
	o.head.lookMillis = millis
	o.t.expireAt(outboxHeadKey(o.ref.Slot, o.ref.Destination), millis)
}

// noteOldOutboxes makes sweeps look at what waits when a shard comes to FormatBulk: one note for each slot that ever had an outbox.
func (t *tx) noteOldOutboxes() {
	var slots []SlotID
	t.check(VisitOwnedSlots(t.store, func(slot SlotID, _ Ownership) (bool, error) {
		return true, OutboxPositions(t.store, slot, func(OutboxPosition) (bool, error) {
			slots = append(slots, slot)
			return false, nil
		})
	}))
	for _, slot := range slots {
		t.expireAt(newKey(slot, keyOutboxHead), t.now)
	}
}

// tendOutbox does what a note asks for, with at most so many items, and tells how many records it has looked at. target names an outbox,
// or all of a slot, which then get notes of their own.
func (t *tx) tendOutbox(target key, left int) (records int) {
	slot := SlotID(target[0])<<8 | SlotID(target[1])
	if len(target) == keyPrefixBytes {
		var found []mimi.Provider
		t.check(OutboxPositions(t.store, slot, func(p OutboxPosition) (bool, error) {
			found = append(found, p.Destination)
			return true, nil
		}))
		for _, destination := range found {
			t.openOutbox(slot, destination).close()
		}
		return 1 + len(found)
	}
	head, found, err := readRecordUpTo(t.store, target, "outbox", outboxHeadVersion, readOutboxPosition)
	t.check(err)
	if !found {
		return 1
	}
	o := t.openOutbox(slot, head.Destination)
	o.head.lookMillis = 0
	records = o.index(left)
	if o.head.Indexed() {
		records += o.drop(left - records)
	}
	o.lookAgain()
	o.close()
	return max(records, 1)
}

// index takes at most so many items, at least one, of an older format into the records of rooms. They count as handshakes: what is older goes first.
func (o *openOutbox) index(most int) (records int) {
	var items []OutboxItem
	var bytes []uint64
	o.t.check(o.scanItems(o.head.unindexed, o.head.indexed, func(item OutboxItem) bool {
		if records >= most {
			return false
		}
		records++
		bytes = append(bytes, uint64(len(item.record())))
		item.Body, item.Notes = nil, nil
		items = append(items, item)
		return true
	}))
	for i, item := range items {
		o.enter(item.Sequence, item.Room, outboxEntry{bytes: bytes[i], millis: item.Millis, handshake: true})
	}
	if records < most {
		o.head.unindexed = o.head.indexed
	} else {
		o.head.unindexed = items[records-1].Sequence + 1
	}
	return records
}

// dropped is what is dropped of one room.
type dropped struct {
	in        *openRoom
	hub       mimi.Provider
	sequences []uint64
	gap       mimi.StreamGap
}

// drop gives up at most so many items that have been kept as long as items are kept.
func (o *openOutbox) drop(most int) (records int) {
	var rooms []*dropped
	of := make(map[RoomPlace]*dropped) // those of rooms, looked up by key
	o.t.check(o.scanItems(max(o.head.First, o.head.kept), o.head.Next, func(item OutboxItem) bool {
		if records >= most || !o.overdue(item) {
			return false
		}
		records++
		o.head.kept = item.Sequence + 1
		in := o.room(item.Room)
		d := of[in.Place]
		if d == nil {
			d = &dropped{in: in, gap: mimi.StreamGap{FirstMillis: item.Millis}}
			of[in.Place] = d
			rooms = append(rooms, d)
		}
		d.hub = item.Hub
		d.sequences = append(d.sequences, item.Sequence)
		d.gap.Items++
		d.gap.LastMillis = item.Millis
		return true
	}))
	for _, d := range rooms {
		o.leaveGap(d)
	}
	return records
}

func (o *openOutbox) overdue(item OutboxItem) bool {
	return addUpTo(item.Millis, o.t.settings.Bulk.outboxRetention()) <= o.t.now
}

// leaveGap drops a room's items, and puts in the place of the last of them what tells of it, with what an earlier gap told.
func (o *openOutbox) leaveGap(d *dropped) {
	for _, sequence := range d.sequences {
		o.leave(sequence, d.in, o.entry(d.in, sequence))
	}
	o.head.Dropped += d.gap.Items
	o.t.dropped = append(o.t.dropped, OutboxDrop{Slot: o.ref.Slot, Destination: o.ref.Destination, Room: d.in.Room, Gap: d.gap})
	if d.in.gap != 0 {
		d.gap = o.joined(d.in, d.gap)
	}
	last := d.sequences[len(d.sequences)-1]
	item := OutboxItem{Room: d.in.Room, Hub: d.hub, Millis: d.gap.LastMillis, Notes: []Note{Noticed{d.gap}}}
	record := item.record()
	o.t.set(outboxItemKey(o.ref.Slot, o.ref.Destination, last), record)
	o.head.Waiting++
	o.enter(last, d.in.Room, outboxEntry{bytes: uint64(len(record)), millis: item.Millis})
	d.in.gap = last
}

// joined takes an earlier gap of the room out, and adds it to a later one.
func (o *openOutbox) joined(in *openRoom, later mimi.StreamGap) mimi.StreamGap {
	sequence := in.gap
	item, found := get(o.t, func(r Reader) (OutboxItem, bool, error) {
		return readOutboxItem(r, o.ref.Slot, o.ref.Destination, sequence)
	})
	if !found || len(item.Notes) != 1 {
		panic("fsm: a room's gap is not in its outbox")
	}
	earlier := item.Notes[0].(Noticed).Notice.(mimi.StreamGap)
	o.leave(sequence, in, o.entry(in, sequence))
	return mimi.StreamGap{Items: earlier.Items + later.Items, FirstMillis: earlier.FirstMillis, LastMillis: later.LastMillis}
}

// lookAgain notes when there is something to do next. Where only gaps wait there is nothing, before another item comes.
func (o *openOutbox) lookAgain() {
	if !o.head.Indexed() {
		o.lookAt(o.t.now)
		return
	}
	if next, found := o.itemFrom(max(o.head.First, o.head.kept)); found {
		o.lookAt(o.t.nextLook(next.Millis))
	}
}
