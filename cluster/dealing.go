package cluster

import (
	"slices"
	"time"

	"parley/fsm"
)

const (
	// appointmentBehind is how old the commit index may be that a replica has reached and still be appointed: an idle leader tells its
	// followers of it every one or two RaftSettings.Commit. One that has lots keeps them until it is appointmentLate behind.
	appointmentBehind = time.Second
	appointmentLate   = 2 * time.Second

	// appointmentSilence is how old the last answer of a node may be that is to have lots.
	appointmentSilence = time.Second
)

// dealing is who delivers what of a shard, as its leader has said in one term. It has no clock and asks nobody; whoever has it guards it.
type dealing struct {
	shard fsm.ShardID
	self  string
	term  uint64
	due   time.Duration // before, only what is adopted is dealt out: a predecessor's appointments may last until then
	floor uint64        // the end of the log when the term was noticed: whatever was acknowledged before is in it

	commits []commitSeen // the leader's commit index, the oldest first
	holder  [lotCount]string
	until   [lotCount]time.Duration // when the holder has certainly stopped, unless it is appointed again
	floors  map[string]uint64       // by node: what it has to have applied for what it has got last

	takeovers uint64 // changes of holder that the one before did not agree to
}

type commitSeen struct {
	at    time.Duration
	index uint64
}

// standing is what a replica has said of itself last. The zero value is of one that has said nothing.
type standing struct {
	known   bool
	at      time.Duration // no later than when the replica was there
	applied uint64
}

func newDealing(shard fsm.ShardID, self string, term, floor uint64, due time.Duration) *dealing {
	return &dealing{shard: shard, self: self, term: term, due: due, floor: floor, floors: make(map[string]uint64)}
}

// note takes the leader's commit index in.
func (d *dealing) note(now time.Duration, index uint64) {
	d.commits = append(d.commits, commitSeen{now, index})
	past := slices.IndexFunc(d.commits, func(c commitSeen) bool { return c.at > now-2*appointmentLate })
	d.commits = slices.Delete(d.commits, 0, past)
}

// committed is the commit index as of a moment, 0 where that is not known.
func (d *dealing) committed(at time.Duration) (index uint64) {
	for _, c := range d.commits {
		if c.at <= at {
			index = c.index
		}
	}
	return index
}

// fit reports whether a follower can have lots: it answers, and is no further behind than so.
func (d *dealing) fit(now time.Duration, s standing, behind time.Duration) bool {
	return s.known && now-s.at <= appointmentSilence && s.applied >= d.committed(s.at-behind)
}

// wanted is who should deliver a lot. Each lot has an order of the followers of its own, and goes to the first that is fit, so that lots
// are spread and come back to where they were. The leader has what nobody else can have.
func (d *dealing) wanted(now time.Duration, lot int, followers []string, standings map[string]standing) string {
	for i := range followers {
		node := followers[(lot+int(d.shard)+i)%len(followers)]
		behind := appointmentBehind
		if d.holder[lot] == node {
			behind = appointmentLate
		}
		if d.fit(now, standings[node], behind) {
			return node
		}
	}
	return d.self
}

// adopt takes note of lots for which a node says that an earlier leader has appointed it, and reports whether there are any. Nobody else
// can have them. Where two say so, the first is believed.
func (d *dealing) adopt(now time.Duration, node string, lasting lots) (any bool) {
	if now >= d.due {
		return false
	}
	for lot := range lotCount {
		if lasting.has(lot) && d.holder[lot] == "" {
			d.holder[lot], d.until[lot] = node, now+appointmentLasts+appointmentMargin
			d.floors[node] = d.floor
			any = true
		}
	}
	return any
}

// adopted is what can be dealt out before it is due.
func (d *dealing) adopted(now time.Duration) map[string]lots {
	dealt := make(map[string]lots)
	for lot, node := range d.holder {
		if node != "" && d.until[lot] > now {
			dealt[node] |= lotsOf(lot)
		}
	}
	return dealt
}

// deal is what each node can be appointed for now: what it should have and has, or nobody has. A lot that should go to another is left
// out until its holder has let go of it or has certainly stopped.
func (d *dealing) deal(now time.Duration, followers []string, standings map[string]standing) map[string]lots {
	if now < d.due {
		return d.adopted(now)
	}
	dealt := make(map[string]lots)
	for lot := range lotCount {
		node := d.wanted(now, lot, followers, standings)
		// What the leader has itself it lets go of before anybody else is told.
		if held := d.holder[lot]; held == node || held == "" || held == d.self || d.until[lot] <= now {
			dealt[node] |= lotsOf(lot)
		}
	}
	return dealt
}

// grant takes note of lots that a node is being appointed for, and returns what it has to have applied for that.
func (d *dealing) grant(now time.Duration, node string, granted lots) (floor uint64) {
	gains, taken := false, false
	for lot := range lotCount {
		if !granted.has(lot) {
			continue
		}
		if held := d.holder[lot]; held != node {
			gains, taken = true, taken || held != "" && held != d.self
			d.holder[lot] = node
		}
		d.until[lot] = now + appointmentLasts + appointmentMargin
	}
	if gains {
		d.floors[node] = max(d.floor, d.committed(now))
	}
	if taken {
		d.takeovers++
	}
	return d.floors[node]
}

// kept takes note of a node's word that it delivers these lots and no others. It reports whether that sets some free.
func (d *dealing) kept(node string, granted lots) (freed bool) {
	for lot := range lotCount {
		if d.holder[lot] == node && !granted.has(lot) {
			d.holder[lot] = ""
			freed = true
		}
	}
	return freed
}

// gone takes note that the process to which a node's appointments were given is dead.
func (d *dealing) gone(now time.Duration, node string) {
	for lot := range lotCount {
		if d.holder[lot] == node {
			d.until[lot] = min(d.until[lot], now)
		}
	}
	delete(d.floors, node)
}

// deliverer is who delivers a lot, as far as the leader knows; none where nobody does.
func (d *dealing) deliverer(now time.Duration, lot int) string {
	if d.until[lot] <= now {
		return ""
	}
	return d.holder[lot]
}
