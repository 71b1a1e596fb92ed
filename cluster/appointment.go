package cluster

import (
	"math/rand/v2"
	"sync"
	"time"

	"parley/fsm"
)

// What waits in a shard's outboxes is delivered by its followers, where there are any that keep up: the leader has enough to do. Which
// replica delivers what is the leader's to say. It appoints replicas for lots of destinations, for a second at a time, and renews that
// three times a second.
//
// How long an appointment lasts is counted on one clock only, the one of who is appointed: each of its answers says what its monotonic
// clock shows, and the next appointment says that back, with the time that has passed at the leader since the answer came. So it begins
// before it was sent, however long it was on its way, and it is over, at the latest, a second after it was sent. The leader gives what it
// has appointed to nobody else before that second and a margin are over, unless who had it has said that it has let go of it, or its
// process is dead. A new leader knows nothing of what its predecessor appointed and waits that long before it appoints anybody, itself
// included; only who says that an earlier leader's appointment of it lasts has it renewed at once. So two replicas deliver for one destination only where clocks run at different speeds, or a node of an older program, which
// appoints nobody, comes to lead. Nothing worse comes of it than bodies that are sent twice.
const (
	appointmentLasts  = time.Second
	appointmentRound  = 300 * time.Millisecond
	appointmentMargin = 100 * time.Millisecond // by which two clocks may come apart within appointmentLasts
	clockEchoLasts    = time.Second            // how long the last answer of a node says what its clock shows
)

// appointment is what one replica delivers.
type appointment struct {
	term  uint64 // of the leader
	round uint64 // of the leader's calls in that term
	lots  lots
	floor uint64        // an index that the replica has to have applied first: what was acknowledged before is gone there
	until time.Duration // on this node's monotonic clock
	leads bool          // the leader has appointed itself; it is over when it does not lead any more

	applied uint64 // as of when it was looked at last
}

// appointments are what this node delivers. Safe for concurrent use.
type appointments struct {
	node *Node
	life uint64 // names this process's monotonic clock, which another process of this node does not go on with; never 0

	mu sync.Mutex
	of map[fsm.ShardID]*appointment
}

func newAppointments(n *Node) *appointments {
	return &appointments{node: n, life: rand.Uint64() | 1, of: make(map[fsm.ShardID]*appointment)}
}

// take replaces what this node delivers of a shard, and reports whether it is taken: an earlier term's appointment is not, and no call
// that was overtaken by a later one. What the new one does not name is let go of at once.
func (a *appointments) take(shard fsm.ShardID, next appointment) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.of[shard]
	if was == nil {
		was = &appointment{}
		a.of[shard] = was
	}
	if next.term < was.term || next.term == was.term && next.round <= was.round {
		return false
	}
	wakes := next.lots&^was.lots != 0 || was.until <= a.node.config.Clock.Monotonic() || was.applied < was.floor
	next.applied = was.applied
	a.of[shard] = &next
	if wakes {
		a.node.wakeOutbox()
	}
	return true
}

// lapse ends what this node, as a shard's leader, has appointed itself for, in any term.
func (a *appointments) lapse(shard fsm.ShardID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if was := a.of[shard]; was != nil && was.leads {
		was.lots = 0
	}
}

// current are the lots of a shard that this node may begin to send bodies for now. The replica is this node's.
func (a *appointments) current(r *replica) lots {
	leads, applied := r.leads(), r.machine.applied.current()
	a.mu.Lock()
	defer a.mu.Unlock()
	if was := a.of[r.shard]; was != nil {
		return was.current(a.node.config.Clock.Monotonic(), leads, applied)
	}
	return 0
}

// current are the lots that can be delivered from a replica that leads or not and has applied so much.
func (a *appointment) current(now time.Duration, leads bool, applied uint64) lots {
	if a.until <= now || a.leads && !leads {
		return 0
	}
	// A replica that was closed and opened again may be behind where it was, and would show what is acknowledged.
	if applied < max(a.floor, a.applied) {
		return 0
	}
	a.applied = applied
	return a.lots
}

// lasting are the lots of a shard for which a leader has appointed this node as a follower, and that is not over.
func (a *appointments) lasting(shard fsm.ShardID) lots {
	a.mu.Lock()
	defer a.mu.Unlock()
	if was := a.of[shard]; was != nil && !was.leads && was.until > a.node.config.Clock.Monotonic() {
		return was.lots
	}
	return 0
}
