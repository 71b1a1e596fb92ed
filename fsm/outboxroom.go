package fsm

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// The items of an outbox stand in the order of their sequences, all rooms mixed. Beside them, from FormatBulk on, each room of which
// something waits has a record that sums it up, an entry for each of its items, and, while any of them has handshakes, a mark. So
// whoever looks for what can be sent reads rooms, and of an item only what it sends, however much waits. All of it is of the room's slot.

// OutboxRoom is what of one room waits for a destination. An outbox has no record of a room of which nothing waits.
type OutboxRoom struct {
	Room         mimi.RoomURI // none for the items of no room
	Place        RoomPlace    // of the room, among the others
	Items        uint64       // that wait, a gap included
	Bytes        uint64       // of them, as they are stored
	Handshakes   uint64       // of Items, those with a Commit, Proposals or a Welcome
	First        uint64       // the sequence of the first of Items
	OldestMillis uint64       // hub time of the first
	gap          uint64       // the sequence of the item that tells of a gap, the first then; 0: none
}

// RoomPlace is where a room stands among the rooms of an outbox. The zero place is before all of them.
type RoomPlace [hashBytes]byte

func placeOf(room mimi.RoomURI) RoomPlace { return sha256.Sum256([]byte(room.String())) }

//	struct {
//	    opaque room<V>; // empty: the items of no room
//	    uint64 items;
//	    uint64 bytes;
//	    uint64 handshakes;
//	    uint64 first;
//	    uint64 oldest_millis;
//	    uint64 gap;
//	} OutboxRoom;
func (o OutboxRoom) appendTo(w *mls.Writer) {
	o.Room.AppendTo(w)
	for _, n := range []uint64{o.Items, o.Bytes, o.Handshakes, o.First, o.OldestMillis, o.gap} {
		w.Uint64(n)
	}
}

func readOutboxRoom(r *mls.Reader) OutboxRoom {
	room := mimi.ReadOptionalRoomURI(r, "room")
	return OutboxRoom{
		Room: room, Place: placeOf(room), Items: r.Uint64("items"), Bytes: r.Uint64("bytes"), Handshakes: r.Uint64("handshakes"),
		First: r.Uint64("first"), OldestMillis: r.Uint64("oldest_millis"), gap: r.Uint64("gap"),
	}
}

// outboxEntry is one item of a room, by its sequence, without what it holds.
//
//	struct {
//	    uint64 bytes; // of the item's record
//	    uint64 millis;
//	    uint8 handshake; // 0 or 1
//	} OutboxEntry;
type outboxEntry struct {
	bytes     uint64
	millis    uint64
	handshake bool
}

func (e outboxEntry) appendTo(w *mls.Writer) {
	w.Uint64(e.bytes)
	w.Uint64(e.millis)
	w.Bool(e.handshake)
}

func readOutboxEntry(r *mls.Reader) outboxEntry {
	return outboxEntry{bytes: r.Uint64("bytes"), millis: r.Uint64("millis"), handshake: r.Bool("handshake")}
}

func outboxRoomKey(slot SlotID, destination mimi.Provider, place RoomPlace) key {
	return newKey(slot, keyOutboxRoom).provider(destination).raw(place[:])
}

func outboxUrgentKey(slot SlotID, destination mimi.Provider, place RoomPlace) key {
	return newKey(slot, keyOutboxUrgent).provider(destination).raw(place[:])
}

func outboxEntriesPrefix(slot SlotID, destination mimi.Provider, place RoomPlace) key {
	return newKey(slot, keyOutboxEntry).provider(destination).raw(place[:])
}

// RoomsPart says which rooms of an outbox are visited.
type RoomsPart struct {
	Urgent  bool      // those of which handshakes wait, alone
	After   RoomPlace // those behind it
	Through RoomPlace // those up to it, itself included; the zero place: all
}

// OutboxRooms visits rooms of an outbox in the order of their places, without looking at an item. What is not indexed yet is of no room
// (OutboxPosition.Indexed). destination is the name of the outbox, as for ReadOutbox.
func OutboxRooms(r Reader, slot SlotID, destination mimi.Provider, part RoomsPart, visit func(OutboxRoom) (more bool, err error)) error {
	kind := keyOutboxRoom
	if part.Urgent {
		kind = keyOutboxUrgent
	}
	prefix := newKey(slot, kind).provider(destination)
	lower, upper := prefix, prefix.end()
	if part.After != (RoomPlace{}) {
		lower = successor(prefix.raw(part.After[:]))
	}
	if part.Through != (RoomPlace{}) {
		upper = successor(prefix.raw(part.Through[:]))
	}
	if !part.Urgent {
		return scanRange(r, prefix, lower, upper, "room of an outbox", readOutboxRoom, func(_ []byte, room OutboxRoom) (bool, error) { return visit(room) })
	}
	return r.Scan(lower, upper, func(k, _ []byte) (bool, error) {
		room, found, err := readOutboxRoomAt(r, slot, destination, RoomPlace(k[len(prefix):]))
		if err == nil && !found {
			err = errors.New("the state is damaged: an outbox lacks a room whose handshakes wait")
		}
		if err != nil {
			return false, err
		}
		return visit(room)
	})
}

func readOutboxRoomAt(r Reader, slot SlotID, destination mimi.Provider, place RoomPlace) (OutboxRoom, bool, error) {
	return readRecord(r, outboxRoomKey(slot, destination, place), "room of an outbox", readOutboxRoom)
}

// ReadRoomOutbox returns the first items of a room that OutboxRooms has told of in the same state, in order: at most max, and no more
// than whose records come to the given bytes, which is none where the first is larger. size is what they come to.
func ReadRoomOutbox(r Reader, slot SlotID, destination mimi.Provider, room OutboxRoom, max int, bytes uint64) (items []OutboxItem, size uint64, err error) {
	err = scanOutboxEntries(r, slot, destination, room, 0, func(sequence uint64, e outboxEntry) (bool, error) {
		if len(items) >= max || size+e.bytes > bytes {
			return false, nil
		}
		item, found, err := readOutboxItem(r, slot, destination, sequence)
		if err == nil && !found {
			err = fmt.Errorf("the state is damaged: an outbox lacks item %d of a room", sequence)
		}
		items = append(items, item)
		size += e.bytes
		return true, err
	})
	return items, size, err
}

// scanOutboxEntries visits the entries of a room in order, from its first on and below a sequence; 0: to the end.
func scanOutboxEntries(r Reader, slot SlotID, destination mimi.Provider, room OutboxRoom, below uint64, visit func(sequence uint64, e outboxEntry) (bool, error)) error {
	prefix := outboxEntriesPrefix(slot, destination, room.Place)
	upper := prefix.end()
	if below > 0 {
		upper = prefix.uint64(below)
	}
	return scanRange(r, prefix, prefix.uint64(room.First), upper, "entry of an outbox", readOutboxEntry, func(rest []byte, e outboxEntry) (bool, error) {
		return visit(numberOf(rest), e)
	})
}

// readOutboxItem reads one item, whatever room it is of.
func readOutboxItem(r Reader, slot SlotID, destination mimi.Provider, sequence uint64) (OutboxItem, bool, error) {
	item, found, err := readRecordUpTo(r, outboxItemKey(slot, destination, sequence), "outbox item", ItemVersion, readStoredItem)
	item.Slot, item.Destination, item.Sequence = slot, destination, sequence
	return item, found, err
}
