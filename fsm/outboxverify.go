package fsm

import (
	"bytes"
	"fmt"
	"maps"
	"math"

	"parley/mimi"
)

// verifyOutbox works out from the items alone what the records of an outbox have to be, and compares.
func verifyOutbox(r Reader, slot SlotID, p OutboxPosition) error {
	want := OutboxPosition{
		Destination: p.Destination, Next: p.Next, Dropped: p.Dropped, First: p.Next, version: p.version, unindexed: p.unindexed, indexed: p.indexed,
		kept: p.kept, lookMillis: p.lookMillis,
	}
	rooms, entries := map[RoomPlace]OutboxRoom{}, map[string]outboxEntry{}
	urgent := map[string]bool{}
	prefix := newKey(slot, keyOutboxItem).provider(p.Destination)
	err := scanRangeUpTo(r, prefix, prefix, prefix.end(), "item", ItemVersion, readStoredItem, func(rest []byte, item OutboxItem) (bool, error) {
		sequence := numberOf(rest)
		if want.Waiting++; want.Waiting == 1 {
			want.First, want.OldestMillis = sequence, item.Millis
		}
		if sequence >= p.unindexed && sequence < p.indexed {
			return true, nil
		}
		place := placeOf(item.Room)
		entryKey := outboxEntriesPrefix(slot, p.Destination, place).uint64(sequence)
		stored, found, err := readRecord(r, entryKey, "entry", readOutboxEntry)
		if err != nil || !found {
			return false, fmt.Errorf("item %d is in no room's records: %v", sequence, err)
		}
		entry := outboxEntry{bytes: uint64(len(item.record())), millis: item.Millis, handshake: stored.handshake}
		if sequence >= p.indexed && len(item.Body) > 0 { // else it may be of an older format, all of which counts as handshakes
			entry.handshake = hasHandshake(item.Body)
		}
		entries[string(entryKey)] = entry
		room := rooms[place]
		if room.Items++; room.Items == 1 {
			want.Rooms++
			room.Room, room.Place, room.First, room.OldestMillis = item.Room, place, sequence, item.Millis
		}
		if gap, yes := gapOf(item); yes && gap.Items > 0 {
			room.gap = sequence
		}
		room.Bytes += entry.bytes
		want.Bytes += entry.bytes
		if entry.handshake {
			room.Handshakes++
			want.Handshakes++
			urgent[string(outboxUrgentKey(slot, p.Destination, place))] = true
		}
		rooms[place] = room
		return true, nil
	})
	switch {
	case err != nil:
		return err
	case p.version == 1:
		if p.Waiting != want.Waiting {
			return fmt.Errorf("%d wait of %d", want.Waiting, p.Waiting)
		}
		return nil
	case want != p:
		return fmt.Errorf("an outbox says\n%+v, and is\n%+v", p, want)
	case p.Waiting > 0 && p.lookMillis == 0 && p.kept < p.Next && p.First >= p.kept:
		return fmt.Errorf("nothing looks at an outbox with %d items", p.Waiting)
	}
	return verifyRooms(r, slot, p, rooms, entries, urgent)
}

func verifyRooms(r Reader, slot SlotID, p OutboxPosition, rooms map[RoomPlace]OutboxRoom, entries map[string]outboxEntry, urgent map[string]bool) error {
	stored := map[RoomPlace]OutboxRoom{}
	err := OutboxRooms(r, slot, p.Destination, RoomsPart{}, func(room OutboxRoom) (bool, error) {
		stored[room.Place] = room
		return true, nil
	})
	if err != nil || !maps.Equal(stored, rooms) {
		return fmt.Errorf("an outbox has of rooms\n%+v, and of items\n%+v; %v", stored, rooms, err)
	}
	listed := map[string]outboxEntry{}
	prefix := newKey(slot, keyOutboxEntry).provider(p.Destination)
	err = scanRecords(r, prefix, "entry", readOutboxEntry, func(rest []byte, e outboxEntry) (bool, error) {
		listed[string(prefix.raw(rest))] = e
		return true, nil
	})
	if err != nil || !maps.Equal(listed, entries) {
		return fmt.Errorf("an outbox lists %d items in rooms and has %d, or they differ; %v", len(listed), len(entries), err)
	}
	marked := map[string]bool{}
	prefix = newKey(slot, keyOutboxUrgent).provider(p.Destination)
	err = r.Scan(prefix, prefix.end(), func(k, _ []byte) (bool, error) {
		marked[string(bytes.Clone(k))] = true
		return true, nil
	})
	if err != nil || !maps.Equal(marked, urgent) {
		return fmt.Errorf("%d rooms are marked for handshakes, and %d have some; %v", len(marked), len(urgent), err)
	}
	for _, room := range rooms {
		items, size, err := ReadRoomOutbox(r, slot, p.Destination, room, math.MaxInt, math.MaxUint64)
		if err != nil || uint64(len(items)) != room.Items || size != room.Bytes {
			return fmt.Errorf("%d items of %d are read of a room: %v", len(items), room.Items, err)
		}
	}
	return nil
}

func hasHandshake(body []byte) bool {
	messages, err := mimi.ParseFanout(body)
	if err != nil {
		return true
	}
	for _, m := range messages {
		if _, application := m.Event.(mimi.FanoutApplication); !application {
			return true
		}
	}
	return false
}

func gapOf(item OutboxItem) (mimi.StreamGap, bool) {
	if len(item.Notes) != 1 || len(item.Body) > 0 {
		return mimi.StreamGap{}, false
	}
	noticed, _ := item.Notes[0].(Noticed)
	gap, yes := noticed.Notice.(mimi.StreamGap)
	return gap, yes
}
