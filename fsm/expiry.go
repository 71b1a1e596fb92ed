package fsm

import (
	"encoding/binary"
	"fmt"
	"math"

	"parley/mls"
)

// What expires has, beside its record, a note in its slot under the time when it is due; the note goes where the slot goes. A
// note may be older than its record, when the record was written anew with a later time: then the note is dropped and the
// record stays, for it has a later note as well. Records that expire begin with their own time.
//
// keySlotDue says when the earliest note of each slot is due (or earlier), so that a sweep looks only where there is something
// to do. It is of the shard; what brings a slot into a shard writes it too.

// expireAt notes that a record is to be looked at when hub time is at millis or later.
func (t *tx) expireAt(k key, millis uint64) {
	slot := SlotID(binary.BigEndian.Uint16(k))
	t.set(newKey(slot, keyExpiry).uint64(millis).raw(k[2:]), record(func(*mls.Writer) {}))
	if due, noted := t.dueOf(slot); !noted || millis < due {
		t.setDue(slot, millis)
	}
}

func dueKey(slot SlotID) key { return shardKey(keySlotDue).uint16(uint16(slot)) }

func readDue(r *mls.Reader) uint64 { return r.Uint64("due_millis") }

func (t *tx) dueOf(slot SlotID) (millis uint64, noted bool) {
	if due, known := t.slotDue[slot]; known {
		return due, true
	}
	due, noted := get(t, func(r Reader) (uint64, bool, error) {
		return readRecord(r, dueKey(slot), "slot's due time", readDue)
	})
	if noted {
		t.slotDue[slot] = due
	}
	return due, noted
}

func (t *tx) setDue(slot SlotID, millis uint64) {
	t.slotDue[slot] = millis
	t.set(dueKey(slot), record(func(w *mls.Writer) { w.Uint64(millis) }))
}

// sweep removes what has expired, at most c.Max records. What is left over is found by the next sweep.
func (t *tx) sweep(c Sweep) Outcome {
	left := int(c.Max)
	for _, slot := range t.dueSlots() {
		if left <= 0 {
			break
		}
		for _, note := range t.dueNotes(slot, left) {
			if left <= 0 {
				break
			}
			left -= t.follow(note, left)
		}
		t.renewDue(slot)
	}
	return Done{}
}

// follow does what a note asks for, drops it, and tells how many records it has looked at. An outbox has more than one, and may have so
// many that its turn comes again, by another note.
func (t *tx) follow(note key, left int) (records int) {
	target := noted(note)
	switch keyKind(target[2]) {
	case keyOutboxHead:
		t.delete(note)
		return t.tendOutbox(target, left)
	case keySlotGeneration:
		t.delete(note)
		return t.tellGeneration(target.slot(), left)
	}
	t.expire(note)
	t.delete(note)
	return 1
}

// noted is the key of the record that a note names.
func noted(note key) key { return append(key(nil), note[:2]...).raw(note[keyPrefixBytes+8:]) }

// dueSlots lists the owned slots with something due, in order.
func (t *tx) dueSlots() (slots []SlotID) {
	t.check(scanRecords(t.store, shardKey(keySlotDue), "slot's due time", readDue, func(rest []byte, due uint64) (bool, error) {
		if due <= t.now {
			slots = append(slots, SlotID(binary.BigEndian.Uint16(rest)))
		}
		return true, nil
	}))
	return slots
}

// Overdue reports whether something of the shard is due by its hub time, so that a Sweep would have to do.
func Overdue(r Reader) (overdue bool, err error) {
	now, err := ReadClock(r)
	if err != nil {
		return false, err
	}
	err = scanRecords(r, shardKey(keySlotDue), "slot's due time", readDue, func(_ []byte, due uint64) (bool, error) {
		overdue = due <= now
		return !overdue, nil
	})
	return overdue, err
}

// dueNotes lists the keys of at most n notes of a slot that are due, earliest first.
func (t *tx) dueNotes(slot SlotID, n int) (notes []key) {
	prefix := newKey(slot, keyExpiry)
	upper := prefix.end()
	if t.now != math.MaxUint64 {
		upper = prefix.uint64(t.now + 1)
	}
	t.check(t.store.Scan(prefix, upper, func(k, _ []byte) (bool, error) {
		notes = append(notes, append(key(nil), k...))
		return len(notes) < n, nil
	}))
	return notes
}

// renewDue notes the earliest time that is left in a slot.
func (t *tx) renewDue(slot SlotID) {
	prefix := newKey(slot, keyExpiry)
	var next uint64
	found := false
	t.check(t.store.Scan(prefix, prefix.end(), func(k, _ []byte) (bool, error) {
		next, found = binary.BigEndian.Uint64(k[keyPrefixBytes:]), true
		return false, nil
	}))
	if found {
		t.setDue(slot, next)
		return
	}
	t.clearDue(slot)
}

// clearDue makes sweeps pass a slot by, until it is noted anew.
func (t *tx) clearDue(slot SlotID) {
	delete(t.slotDue, slot)
	t.delete(dueKey(slot))
}

// expire looks at the record that a note names, and removes it if its time has come.
func (t *tx) expire(note key) {
	target := noted(note)
	switch kind := keyKind(target[2]); kind {
	case keyKeyPackageRef:
		t.expireKeyPackage(target)
	case keyLease:
		held, found := get(t, func(r Reader) (leaseRecord, bool, error) {
			return readRecord(r, target, "lease", readLeaseRecord)
		})
		if found && !held.requester.IsZero() && !held.active(t.now) {
			held = leaseRecord{lease: LeaseGranted{Token: held.lease.Token}}
			t.set(target, record(held.appendTo))
		}
	case keyRoute:
		route, found := get(t, func(r Reader) (KeyPackageRoute, bool, error) {
			return readRecord(r, target, "KeyPackage route", readRoute)
		})
		if found && millisAfter(route.NotAfter) <= t.now {
			t.delete(target)
			t.relieve(loadKeyBeside(target), func(l *roomLoad) { l.routes-- })
		}
	case keyPiece:
		t.expirePiece(SlotID(binary.BigEndian.Uint16(target)), target)
	case keyRoomLife:
		if target[keyPrefixBytes+hashBytes] == 0 {
			t.expireRoomEnd(target)
		} else {
			t.expireTimed(target)
		}
	case keyHubStream:
		t.expireHubStream(target)
	case keyClientLog:
		t.expireClientLog(target)
	case keyJoiningCode:
		t.expireCode(target)
	case keyJoinAuthorization:
		t.expireAuthorization(target)
	case keyRejection:
		t.expireRejection(target)
	case keyQueueItem:
		t.expireQueued(target)
	case keyQueuedAs:
		t.expireQueuedAs(target)
	case keyLeaseTurns, keyReplay, keyFanoutBody, keyFanoutMessage, keyCodeGuesses, keyPairClaims, keyFloorClaims, keyHeldMembers:
		t.expireTimed(target)
	default:
		panic(fmt.Sprintf("fsm: a record of kind %#x is noted to expire and has no rule for it", kind))
	}
}

// expireTimed removes a record whose first field behind the version is the time when it goes.
func (t *tx) expireTimed(target key) {
	value, err := t.store.Get(target)
	t.check(err)
	if len(value) >= 9 && binary.BigEndian.Uint64(value[1:]) <= t.now {
		t.delete(target)
	}
}

// millisAfter is the first millisecond behind a second, at most the last there is: a KeyPackage is valid in the whole of the
// second of its not_after (RFC 9420 §7.2).
func millisAfter(seconds uint64) uint64 {
	if seconds >= math.MaxUint64/1000-1 {
		return math.MaxUint64
	}
	return (seconds + 1) * 1000
}

// addUpTo adds a duration to a time of the same unit, at most up to the last moment there is.
func addUpTo(millis, duration uint64) uint64 {
	if sum := millis + duration; sum >= millis {
		return sum
	}
	return math.MaxUint64
}
