package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"parley/fsm"
)

// Delivery says which replicas deliver what waits in the outboxes of the shards that a node leads.
type Delivery string

const (
	// FollowersDeliver is for all but measurements. The leader delivers where no follower keeps up.
	FollowersDeliver Delivery = "followers"
	// LeadersDeliver leaves all of it to the leader, so that it can be measured what followers save it.
	LeadersDeliver Delivery = "leader"
)

// appointer appoints the deliverers of the shards that this node leads: once a round it calls each node that has replicas of them, with
// all that the node is to deliver.
type appointer struct {
	node  *Node
	woken chan struct{}  // capacity 1
	calls sync.WaitGroup // under way; run waits for them

	mu       sync.Mutex
	round    uint64
	dealings map[fsm.ShardID]*dealing
	deputies map[string]*deputy // by node
	past     uint64             // takeovers of dealings that are over
}

// deputy is what is known of a node that can be appointed.
type deputy struct {
	calling   bool                     // a call of it is under way; there is never another beside it
	life      uint64                   // names its clock; 0 before it has answered
	shows     time.Duration            // on its clock
	heard     time.Duration            // when that was heard, on this node's
	standings map[fsm.ShardID]standing // of its replicas
}

func newAppointer(n *Node) *appointer {
	return &appointer{
		node: n, woken: make(chan struct{}, 1), dealings: make(map[fsm.ShardID]*dealing), deputies: make(map[string]*deputy),
	}
}

// wake makes a round come at once.
func (a *appointer) wake() {
	select {
	case a.woken <- struct{}{}:
	default: // one is coming already
	}
}

// run goes round until the node's life ends.
func (a *appointer) run() {
	defer a.calls.Wait()
	ticker := time.NewTicker(appointmentRound)
	defer ticker.Stop()
	for {
		a.goRound()
		select {
		case <-a.node.life.Done():
			return
		case <-a.woken:
		case <-ticker.C:
		}
	}
}

// goRound deals everything out anew and tells those whom it concerns.
func (a *appointer) goRound() {
	led := a.node.led()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.round++
	now := a.node.config.Clock.Monotonic()
	a.forgetAllBut(led)
	calls := make(map[string]*appointRequest)
	for _, r := range led {
		place, known := a.node.Map().Shard(r.shard)
		if !known {
			continue
		}
		followers := slices.DeleteFunc(slices.Clone(place.Replicas), func(node string) bool { return node == a.node.id })
		a.dealShard(now, r, followers, calls)
	}
	for node, request := range calls {
		a.begin(now, node, request)
	}
}

// forgetAllBut ends what this node has said of shards that it does not lead any more. mu is held, as in all that goRound calls.
func (a *appointer) forgetAllBut(led []*replica) {
	for shard, d := range a.dealings {
		if !slices.ContainsFunc(led, func(r *replica) bool { return r.shard == shard }) {
			a.end(d)
		}
	}
}

func (a *appointer) end(d *dealing) {
	a.node.appointed.lapse(d.shard)
	a.past += d.takeovers
	delete(a.dealings, d.shard)
}

// dealing is what this node has said of a shard in the present term.
func (a *appointer) dealing(now time.Duration, r *replica, alone bool) *dealing {
	term := r.raft.CurrentTerm()
	d := a.dealings[r.shard]
	if d != nil && d.term != term {
		a.end(d)
		d = nil
	}
	if d == nil {
		due := now + appointmentLasts + appointmentMargin
		if alone {
			due = now // nobody else can have been appointed
		}
		d = newDealing(r.shard, a.node.id, term, r.raft.LastIndex(), due)
		d.adopt(now, a.node.id, a.node.appointed.lasting(r.shard))
		a.dealings[r.shard] = d
	}
	return d
}

// dealShard appoints this node for its own part, and puts the others' into the calls.
func (a *appointer) dealShard(now time.Duration, r *replica, followers []string, calls map[string]*appointRequest) {
	d := a.dealing(now, r, len(followers) == 0)
	d.note(now, r.raft.CommitIndex())
	if a.node.config.Delivery == LeadersDeliver {
		followers = nil
	}
	standings := make(map[string]standing)
	for _, node := range followers {
		if other := a.deputies[node]; other != nil {
			standings[node] = other.standings[r.shard]
		}
	}
	dealt := d.deal(now, followers, standings)
	own := appointment{term: d.term, round: a.round, lots: dealt[a.node.id], until: now + appointmentLasts, leads: true}
	own.floor = d.grant(now, a.node.id, own.lots)
	a.node.appointed.take(r.shard, own)
	for _, node := range followers {
		if other := a.deputies[node]; other != nil && other.calling {
			continue
		}
		request := calls[node]
		if request == nil {
			request = &appointRequest{round: a.round}
			calls[node] = request
		}
		request.shards = append(request.shards, shardAppointment{
			shard: r.shard, asks: now < d.due && dealt[node] == 0, term: d.term, lots: dealt[node], floor: d.grant(now, node, dealt[node]),
		})
	}
}

// begin calls a node. Without a recent word of its clock it cannot be appointed for anything, and is asked for that.
func (a *appointer) begin(now time.Duration, node string, request *appointRequest) {
	other := a.deputies[node]
	if other == nil {
		other = &deputy{}
		a.deputies[node] = other
	}
	if other.life != 0 && now-other.heard <= clockEchoLasts {
		request.life, request.base = other.life, other.shows+now-other.heard
	}
	other.calling = true
	a.calls.Go(func() { a.call(now, node, request) })
}

func (a *appointer) call(sent time.Duration, node string, request *appointRequest) {
	ctx, cancel := context.WithTimeout(a.node.life, appointmentLasts)
	defer cancel()
	answer, err := a.node.appoint(ctx, node, *request)
	dead := err != nil && a.node.deaths.of(ctx, opinionOf{a.node.id, node}).dead
	a.mu.Lock()
	defer a.mu.Unlock()
	other, now := a.deputies[node], a.node.config.Clock.Monotonic()
	other.calling = false
	if err != nil {
		if dead && other.life != 0 {
			a.gone(now, node)
		}
		return
	}
	if answer.life != other.life {
		a.gone(now, node) // what was appointed was another process
	}
	wakes := false
	other.life, other.shows, other.heard, other.standings = answer.life, answer.shows, now, make(map[fsm.ShardID]standing)
	for _, s := range answer.standings {
		other.standings[s.shard] = standing{known: true, at: sent, applied: s.applied}
		d := a.dealings[s.shard]
		switch {
		case d == nil:
		case s.taken:
			wakes = d.kept(node, request.lotsOf(s.shard, d.term)) || wakes
		default:
			wakes = d.adopt(now, node, s.lots) || wakes
		}
	}
	if wakes {
		a.wake()
	}
}

// gone takes note that a node's process is dead, or was.
func (a *appointer) gone(now time.Duration, node string) {
	for _, d := range a.dealings {
		d.gone(now, node)
	}
	a.deputies[node].life, a.deputies[node].standings = 0, nil
	a.wake()
}

// deliverer is who delivers a destination's lot of a shard that this node leads; none where nobody does, or another leads.
func (a *appointer) deliverer(shard fsm.ShardID, lot int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d := a.dealings[shard]; d != nil {
		return d.deliverer(a.node.config.Clock.Monotonic(), lot)
	}
	return ""
}

// deliverers are the other nodes that deliver something of a shard that this node leads.
func (a *appointer) deliverers(shard fsm.ShardID) (nodes []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.dealings[shard]
	if d == nil {
		return nil
	}
	now := a.node.config.Clock.Monotonic()
	for lot := range lotCount {
		if node := d.deliverer(now, lot); node != "" && node != d.self && !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// takeovers is how often another replica was appointed, since this node was opened, for what one had that had not let go of it: the
// one before had died, or did not answer.
func (a *appointer) takeovers() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	total := a.past
	for _, d := range a.dealings {
		total += d.takeovers
	}
	return total
}
