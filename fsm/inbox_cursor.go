package fsm

// InboxCursor says how far a reader of a destination's items has come: for each slot the last sequence it has seen. A slot that
// is absent has not been read; nil begins at the oldest item everywhere. Items that were acknowledged are gone whatever it says.
type InboxCursor map[SlotID]uint64

// Seen reports whether an item lies at or before the cursor.
func (c InboxCursor) Seen(item OutboxItem) bool {
	last, read := c[item.Slot]
	return read && item.Sequence <= last
}
