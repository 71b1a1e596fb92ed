package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// A lease lends a room's GroupInfo to one requester at a time. It ends at its time, and with any Commit.

// leaseRecord is the newest lease of a room. It stays when the lease has ended, for the token must go on rising.
//
//	struct {
//	    LeaseGranted lease;
//	    opaque requester<V>; // empty: the lease has ended
//	    opaque client<V>;
//	} LeaseRecord;
type leaseRecord struct {
	lease     LeaseGranted
	requester mimi.UserURI
	client    string
}

func (l leaseRecord) appendTo(w *mls.Writer) {
	l.lease.appendTo(w)
	l.requester.AppendTo(w)
	appendText(w, l.client)
}

func readLeaseRecord(r *mls.Reader) leaseRecord {
	return leaseRecord{
		lease:     readLeaseGranted(r),
		requester: mimi.ReadOptionalUserURI(r, "requester"),
		client:    readText[string](r, "client"),
	}
}

// active reports whether the lease is held at a hub time.
func (l leaseRecord) active(now uint64) bool {
	return !l.requester.IsZero() && now < l.lease.UntilMillis
}

// Lease is who may see a room's GroupInfo now.
type Lease struct {
	LeaseGranted
	Requester mimi.UserURI
	Client    string
}

// ReadLease returns the lease that is held as of the hub clock; false where there is none.
func ReadLease(r Reader, room mimi.RoomURI) (Lease, bool, error) {
	now, err := ReadClock(r)
	if err != nil {
		return Lease{}, false, err
	}
	l, _, err := readLease(r, room)
	if err != nil || !l.active(now) {
		return Lease{}, false, err
	}
	return Lease{LeaseGranted: l.lease, Requester: l.requester, Client: l.client}, true, nil
}

func readLease(r Reader, room mimi.RoomURI) (leaseRecord, bool, error) {
	return readRecord(r, roomKey(keyLease, room), "lease", readLeaseRecord)
}

// takeLease lends the GroupInfo. The holder asking again gets the lease that it has.
func (t *tx) takeLease(c TakeLease) Outcome {
	head, found := t.head(c.Room)
	if !found {
		return NoSuchRoom{}
	}
	if refusal := t.refuseEnded(head); refusal != nil {
		return refusal
	}
	if refusal := t.refuseDeparted(head, c.Requester); refusal != nil {
		return refusal
	}
	if refusal := t.checkGrounds(head, c); refusal != nil {
		return refusal
	}
	held, _ := get(t, func(r Reader) (leaseRecord, bool, error) { return readLease(r, c.Room) })
	now := t.now
	if bugLeaseClock {
		c, now = t.localClock(c)
	}
	if held.active(now) {
		if held.requester == c.Requester && held.client == c.Client {
			return held.lease
		}
		return LeaseHeld{UntilMillis: held.lease.UntilMillis, NowMillis: t.now}
	}
	turns := t.turnsOf(c)
	if wait := t.turnsWait(c, turns); wait != nil {
		return wait
	}
	granted := t.grantLease(c, head, max(held.lease.Token, t.slotGeneration(SlotOfRoom(c.Room)).generation.sequences())+1)
	t.countTurns(turns, granted.UntilMillis)
	return granted
}

func (t *tx) grantLease(c TakeLease, head roomHead, token uint64) LeaseGranted {
	duration := c.DurationMillis
	if duration == 0 {
		duration = t.settings.LeaseDefaultMillis
	}
	duration = min(max(duration, t.settings.LeaseMinMillis), t.settings.LeaseMaxMillis)
	granted := LeaseGranted{Token: token, UntilMillis: t.now + duration, Epoch: head.epoch}
	k := roomKey(keyLease, c.Room)
	t.set(k, record(leaseRecord{granted, c.Requester, c.Client}.appendTo))
	t.expireAt(k, granted.UntilMillis)
	return granted
}

// voidLease ends the lease and all waiting times, for a new epoch has a new GroupInfo.
func (t *tx) voidLease(room mimi.RoomURI) {
	held, found := get(t, func(r Reader) (leaseRecord, bool, error) { return readLease(r, room) })
	if !found {
		return // nobody has ever had one, so nobody waits either
	}
	t.endLease(room, held)
	t.deletePrefix(roomKey(keyLeaseTurns, room))
}

func (t *tx) endLease(room mimi.RoomURI, held leaseRecord) {
	ended := leaseRecord{lease: LeaseGranted{Token: held.lease.Token}}
	t.set(roomKey(keyLease, room), record(ended.appendTo))
}
