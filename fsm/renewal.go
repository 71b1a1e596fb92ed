package fsm

import (
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// What is of a user counts by the generation in the user's record: the first that touches it in a new one drops its single-use KeyPackages. What
// is left of them are their references, as of claimed ones, so that none is taken in again. Beside that a pass goes over each slot by the
// sweeps' notes, so much with each, and tells what nobody would touch by itself.

// renewalStage is how far a slot's pass is.
type renewalStage uint8

const (
	renewalUsers renewalStage = 0 // their owners are told to upload
	renewalRooms renewalStage = 1 // the provider is told which are stale
	renewalDone  renewalStage = 2
)

// RoomIsStale tells the local provider of a stale room: nothing is taken in it before a member's GroupInfo of the epoch in which the group really
// is has come. From FormatResize on.
type RoomIsStale struct {
	Generation Generation
	Epoch      mls.Epoch // the last that the hub knows
}

// RoomForwarded tells the local provider that a stale room was brought forward, and takes everything again. From FormatResize on.
type RoomForwarded struct{ Epoch mls.Epoch }

const (
	NoteRoomIsStale   NoteKind = 40
	NoteRoomForwarded NoteKind = 41
)

func (RoomIsStale) noteKind() NoteKind   { return NoteRoomIsStale }
func (RoomForwarded) noteKind() NoteKind { return NoteRoomForwarded }

//	struct {
//	    uint64 generation;
//	    uint64 epoch;
//	} RoomIsStale;
func (n RoomIsStale) appendTo(w *mls.Writer) {
	w.Uint64(uint64(n.Generation))
	w.Uint64(uint64(n.Epoch))
}

// struct { uint64 epoch; } RoomForwarded;
func (n RoomForwarded) appendTo(w *mls.Writer) { w.Uint64(uint64(n.Epoch)) }

// before says whether the user's KeyPackages are of before a slot's generation.
func (u userRecord) before(g slotGeneration) bool {
	return max(u.generation, FirstGeneration) < g.generation
}

// beforeGeneration is before for who only reads.
func beforeGeneration(r Reader, name mimi.UserURI) (bool, error) {
	user, known, err := readUser(r, name)
	if err != nil || !known {
		return false, err
	}
	g, err := readSlotGeneration(r, SlotOfUser(name))
	return user.before(g), err
}

// renewUser drops what is of before the slot's generation, and tells each of the user's clients that it has to upload; true where it did. It costs
// in proportion to what one user has, which is bounded.
func (t *tx) renewUser(name mimi.UserURI) (renewed bool) {
	g := t.slotGeneration(SlotOfUser(name))
	user, known := get(t, func(r Reader) (userRecord, bool, error) { return readUser(r, name) })
	if !known || !user.before(g) {
		return false
	}
	user.generation = g.generation
	t.set(userKey(keyUser, name), user.record())
	t.deletePrefix(userKey(keyReplay, name))
	for _, c := range t.clientsToClaim(ClaimKeyPackages{User: name}) {
		t.dropSingleUse(name, c)
	}
	return true
}

// dropSingleUse takes a client's single-use KeyPackages out of store. Among them those of last resort may stand that are older than their own place.
func (t *tx) dropSingleUse(user mimi.UserURI, c positionedClient) {
	sort := packagesOf(user, c.position)
	var dropped []KeyPackageFacts
	var numbers []uint64
	t.check(scanRecords(t.store, sort.prefix, "KeyPackage", readKeyPackage, func(rest []byte, p KeyPackageFacts) (bool, error) {
		if !p.LastResort {
			dropped, numbers = append(dropped, p), append(numbers, numberOf(rest))
		}
		return true, nil
	}))
	for i, p := range dropped {
		t.delete(sort.prefix.uint64(numbers[i]))
		ref, found := get(t, func(r Reader) (refRecord, bool, error) { return readRef(r, user, p.Ref) })
		if !found {
			panic("fsm: a KeyPackage has no reference")
		}
		ref.claimed, ref.claimedMillis, ref.consumedMillis = true, t.now, t.now
		t.set(refKey(user, p.Ref), ref.record())
	}
	c.record.singleUse = 0
	t.set(clientKey(user, c.position), record(c.record.appendTo))
	self := t.settings.Domains[0]
	body := t.body(outboxBodyName{slot: SlotOfUser(user), hub: self, destination: self})
	body.notes = append(body.notes, KeyPackagesLow{User: user, Client: c.record.client})
}

// mayBeSpent says whether a KeyPackage may have been uploaded, and handed out, in the part of the history that is lost: all that is known of that is
// when it ended. What became valid later is new. One of last resort may be handed out more than once.
func (t *tx) mayBeSpent(user mimi.UserURI, p KeyPackageFacts) bool {
	g := t.slotGeneration(SlotOfUser(user))
	return g.generation > FirstGeneration && !p.LastResort && p.NotBefore <= g.endedMillis/1000
}

// tellGeneration goes on with a slot's pass, by at most so many records and at least one, and tells how many it has looked at.
func (t *tx) tellGeneration(slot SlotID, left int) (records int) {
	g := t.slotGeneration(slot)
	if len(t.settings.Domains) == 0 { // nobody can be told yet
		t.expireAt(slotGenerationKey(slot), addUpTo(t.now, 1000))
		return 1
	}
	switch g.stage {
	case renewalUsers:
		records = t.renewUsers(&g, slot, left)
	case renewalRooms:
		records = t.tellStale(&g, slot, left)
	default:
		return 1
	}
	t.setSlotGeneration(slot, g)
	if g.stage != renewalDone {
		t.expireAt(slotGenerationKey(slot), t.now)
	}
	return max(records, 1)
}

// turn goes to the pass's next stage where it has looked at less than it might have.
func (g *slotGeneration) turn(looked, most int) {
	if looked < most {
		g.stage, g.behind = g.stage+1, nil
	}
}

// from is where a pass over the records of a kind goes on.
func (g slotGeneration) from(prefix key) key {
	if len(g.behind) == 0 {
		return prefix
	}
	return prefix.raw(g.behind).raw([]byte{0})
}

func (t *tx) renewUsers(g *slotGeneration, slot SlotID, most int) (looked int) {
	prefix := newKey(slot, keyUser)
	var users []mimi.UserURI
	t.check(scanRangeUpTo(t.store, prefix, g.from(prefix), prefix.end(), "user", userVersion, readUserRecord, func(rest []byte, u userRecord) (bool, error) {
		looked++
		g.behind = append([]byte(nil), rest...)
		if u.before(*g) {
			users = append(users, u.user)
		}
		return looked < most, nil
	}))
	for _, user := range users {
		t.renewUser(user)
	}
	g.turn(looked, most)
	return looked
}

func (t *tx) tellStale(g *slotGeneration, slot SlotID, most int) (looked int) {
	prefix := newKey(slot, keyRoom)
	var stale []roomHead
	t.check(scanRangeUpTo(t.store, prefix, g.from(prefix), prefix.end(), "room", roomHeadVersion, readRoomHead, func(rest []byte, h roomHead) (bool, error) {
		looked++
		g.behind = append([]byte(nil), rest...)
		if h.staleIn(*g) {
			stale = append(stale, h)
		}
		return looked < most, nil
	}))
	for _, h := range stale {
		t.listStale(h.room)
		t.note(h.room, t.settings.Domains[0], RoomIsStale{Generation: g.generation, Epoch: h.epoch})
	}
	g.turn(looked, most)
	return looked
}

// firstPosition is the first that an event for clients has in a slot's generation: above all of before, which had ended by then, since no room has
// a thousand events in a millisecond (newClientLog).
func (t *tx) firstPosition(slot SlotID) uint64 {
	g := t.slotGeneration(slot)
	if g.generation == FirstGeneration {
		return 0
	}
	return max(g.beganMillis, g.endedMillis)*1000 + 1
}

// enterGeneration lets a slot that has come alive in the shard begin the shard's generation, where it is of an older one: as one that was brought back
// from a backup is.
func (t *tx) enterGeneration(slot SlotID) {
	generation, err := ReadGeneration(t.store)
	t.check(err)
	if t.slotGeneration(slot).generation >= generation {
		return
	}
	began, found := get(t, func(r Reader) (slotGeneration, bool, error) {
		return readRecord(r, shardKey(keyGeneration), "generation", readSlotGenerationRecord)
	})
	if !found {
		panic(fmt.Sprintf("fsm: a shard of generation %d has no record of it", generation))
	}
	t.beginSlot(slot, began)
}

func (t *tx) beginSlot(slot SlotID, began slotGeneration) {
	began.beganMillis = t.now
	t.setSlotGeneration(slot, began)
	t.expireAt(slotGenerationKey(slot), t.now)
}
