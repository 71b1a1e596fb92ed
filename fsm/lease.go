package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// A lease lends a room's GroupInfo to one requester at a time. It ends at its time, and with any Commit.
//
// A client that takes lease after lease without a Commit has to wait longer each time: after its n-th lease of an epoch has
// run out, it gets the next one only when leaseDelay(n) has passed as well. Others may take the lease meanwhile. The count is
// dropped with the epoch, or when the client has kept away for leaseMemory beyond its waiting time.

// leaseDoublingsMax caps the delay at 64 times the default duration.
const leaseDoublingsMax = 6

// leaseDelay is the default duration, doubled with each lease after the first.
func (t *tx) leaseDelay(leases uint32) uint64 {
	return t.settings.LeaseDefaultMillis << min(leases-1, leaseDoublingsMax)
}

func (t *tx) leaseMemory() uint64 { return t.settings.LeaseDefaultMillis << leaseDoublingsMax }

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

// leaseTurns counts the leases of a client in the room's epoch.
//
//	struct {
//	    uint64 forget_millis;
//	    uint32 leases;
//	    uint64 next_millis; // no earlier lease
//	} LeaseTurns;
type leaseTurns struct {
	forgetMillis uint64
	leases       uint32
	nextMillis   uint64
}

func (l leaseTurns) appendTo(w *mls.Writer) {
	w.Uint64(l.forgetMillis)
	w.Uint32(l.leases)
	w.Uint64(l.nextMillis)
}

func readLeaseTurns(r *mls.Reader) leaseTurns {
	return leaseTurns{forgetMillis: r.Uint64("forget_millis"), leases: r.Uint32("leases"), nextMillis: r.Uint64("next_millis")}
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

func turnsKey(c TakeLease) key {
	var w mls.Writer
	c.Requester.AppendTo(&w)
	appendText(&w, c.Client)
	return roomKey(keyLeaseTurns, c.Room).hashed(string(w.Bytes()))
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
	if _, participant := t.participantSince(c.Room, c.Requester); !participant {
		return NotAllowed{Reason: "the requester is not a participant"}
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
	turns, _ := get(t, func(r Reader) (leaseTurns, bool, error) {
		return readRecord(r, turnsKey(c), "lease turns", readLeaseTurns)
	})
	if t.now < turns.nextMillis {
		return LeaseHeld{UntilMillis: turns.nextMillis, NowMillis: t.now}
	}
	if turns.forgetMillis <= t.now {
		turns = leaseTurns{}
	}
	return t.grantLease(c, head, held.lease.Token+1, turns)
}

func (t *tx) grantLease(c TakeLease, head roomHead, token uint64, turns leaseTurns) Outcome {
	duration := c.DurationMillis
	if duration == 0 {
		duration = t.settings.LeaseDefaultMillis
	}
	duration = min(max(duration, t.settings.LeaseMinMillis), t.settings.LeaseMaxMillis)
	granted := LeaseGranted{Token: token, UntilMillis: t.now + duration, Epoch: head.epoch}
	k := roomKey(keyLease, c.Room)
	t.set(k, record(leaseRecord{granted, c.Requester, c.Client}.appendTo))
	t.expireAt(k, granted.UntilMillis)

	turns.leases++
	turns.nextMillis = granted.UntilMillis + t.leaseDelay(turns.leases)
	turns.forgetMillis = turns.nextMillis + t.leaseMemory()
	t.set(turnsKey(c), record(turns.appendTo))
	t.expireAt(turnsKey(c), turns.forgetMillis)
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
