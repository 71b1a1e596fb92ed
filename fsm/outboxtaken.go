package fsm

// acknowledge removes items that a destination has taken. An item that is not there was removed before, or never was.
func (t *tx) acknowledge(c Acknowledge) Outcome {
	o := t.openOutbox(c.At, t.destination(c.Destination))
	for _, sequence := range c.Sequences {
		o.taken(sequence)
	}
	for _, room := range c.Rooms {
		o.takenThrough(room)
	}
	o.close()
	return Done{}
}

// taken removes one item, of whichever room it is.
func (o *openOutbox) taken(sequence uint64) {
	if sequence >= o.head.Next {
		return
	}
	item, found := get(o.t, func(r Reader) (OutboxItem, bool, error) {
		return readOutboxItem(r, o.ref.Slot, o.ref.Destination, sequence)
	})
	switch {
	case !found:
	case o.t.format < FormatBulk || o.ofOlderFormat(sequence):
		o.leaveUnindexed(sequence)
	default:
		in := o.room(item.Room)
		o.leave(sequence, in, o.entry(in, sequence))
	}
}

// ofOlderFormat reports whether an item that is there is in no room's records.
func (o *openOutbox) ofOlderFormat(sequence uint64) bool {
	return sequence >= o.head.unindexed && sequence < o.head.indexed
}

func (o *openOutbox) leaveUnindexed(sequence uint64) {
	o.t.delete(outboxItemKey(o.ref.Slot, o.ref.Destination, sequence))
	o.head.Waiting--
	o.left = true
}

// takenThrough removes the first items of a room, and looks at no others where the outbox is indexed.
func (o *openOutbox) takenThrough(c RoomTaken) {
	var old []uint64
	o.t.check(o.scanItems(max(o.head.First, o.head.unindexed), min(addUpTo(c.Through, 1), o.head.indexed), func(item OutboxItem) bool {
		if item.Room == c.Room {
			old = append(old, item.Sequence)
		}
		return true
	}))
	for _, sequence := range old {
		o.leaveUnindexed(sequence)
	}
	in := o.room(c.Room)
	if in.Items == 0 {
		return
	}
	type taken struct {
		sequence uint64
		entry    outboxEntry
	}
	var all []taken
	o.t.check(scanOutboxEntries(o.t.store, o.ref.Slot, o.ref.Destination, in.OutboxRoom, addUpTo(c.Through, 1), func(sequence uint64, e outboxEntry) (bool, error) {
		all = append(all, taken{sequence, e})
		return true, nil
	}))
	for _, item := range all {
		o.leave(item.sequence, in, item.entry)
	}
}
