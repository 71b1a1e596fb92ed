package fsm

import "parley/mls"

// A client that takes lease after lease without a Commit has to wait longer each time: after its n-th lease of an epoch has
// run out, it gets the next one only when leaseDelay(n) has passed as well. Others may take the lease meanwhile. The count is
// dropped with the epoch, or when the client has kept away for leaseMemory beyond its waiting time.
//
// A client is known by its name and its key, of both of which its provider can have as many as it likes. So the leases of a user and
// of a provider are counted as well, with more of them free. Who has signed with the key of a leaf, which nobody else can, is
// not held up by these counts and does not add to them: what is asked for in a member's name cannot keep the member away.

// leaseDoublingsMax caps the delay at 64 times the default duration.
const leaseDoublingsMax = 6

// How many leases of an epoch without a Commit are free of a delay.
const (
	clientTurnsFree   = 1 // none: after the first there is one already
	userTurnsFree     = 8
	providerTurnsFree = 64
)

// leaseDelay is the default duration, doubled with each lease after the first that is not free.
func (t *tx) leaseDelay(leases, free uint32) uint64 {
	if leases < free {
		return 0
	}
	return t.settings.LeaseDefaultMillis << min(leases-free, leaseDoublingsMax)
}

func (t *tx) leaseMemory() uint64 { return t.settings.LeaseDefaultMillis << leaseDoublingsMax }

// leaseTurns counts the leases of a client, a user or a provider in the room's epoch.
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

// turnsCount is one of the counts that a lease adds to.
type turnsCount struct {
	key   key
	whose string
	free  uint32
	leaseTurns
}

// turnsOf are the counts that a lease adds to, and has to wait for. The name under which a user or a provider is counted begins with
// an octet that no client's does.
func (t *tx) turnsOf(c TakeLease) []turnsCount {
	var client, user, provider mls.Writer
	c.Requester.AppendTo(&client)
	appendText(&client, c.Client)
	counts := []turnsCount{{key: turnsKey(c, &client), whose: "client", free: clientTurnsFree}}
	if c.Right != 0 && !c.Member {
		user.Uint8(0)
		c.Requester.AppendTo(&user)
		provider.Uint16(0)
		c.Peer.AppendTo(&provider)
		counts = append(counts,
			turnsCount{key: turnsKey(c, &user), whose: "user", free: userTurnsFree},
			turnsCount{key: turnsKey(c, &provider), whose: "provider", free: providerTurnsFree})
	}
	for i := range counts {
		k := counts[i].key
		turns, _ := get(t, func(r Reader) (leaseTurns, bool, error) { return readRecord(r, k, "lease turns", readLeaseTurns) })
		counts[i].leaseTurns = turns
	}
	return counts
}

func turnsKey(c TakeLease, name *mls.Writer) key {
	return roomKey(keyLeaseTurns, c.Room).hashed(string(name.Bytes()))
}

// turnsWait is the answer to who has to wait, or nil.
func (t *tx) turnsWait(c TakeLease, counts []turnsCount) Outcome {
	longest := turnsCount{}
	for _, count := range counts {
		if count.nextMillis > longest.nextMillis {
			longest = count
		}
	}
	switch {
	case t.now >= longest.nextMillis:
		return nil
	case c.Right == 0:
		return LeaseHeld{UntilMillis: longest.nextMillis, NowMillis: t.now}
	default:
		return Damped{
			UntilMillis: longest.nextMillis, NowMillis: t.now,
			Reason: "this " + longest.whose + " has taken the GroupInfo before in this epoch, and no Commit came of it",
		}
	}
}

// countTurns counts a lease that ends at a time.
func (t *tx) countTurns(counts []turnsCount, untilMillis uint64) {
	for _, count := range counts {
		turns := count.leaseTurns
		if turns.forgetMillis <= t.now {
			turns = leaseTurns{}
		}
		turns.leases++
		delay := t.leaseDelay(turns.leases, count.free)
		if delay > 0 {
			turns.nextMillis = untilMillis + delay
		}
		turns.forgetMillis = untilMillis + delay + t.leaseMemory()
		t.set(count.key, record(turns.appendTo))
		t.expireAt(count.key, turns.forgetMillis)
	}
}
