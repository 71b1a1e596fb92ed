package cluster

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"parley/mls"
)

// A follower of Raft finds out that its leader is gone by its silence, which takes once to twice the heartbeat timeout; and it refuses
// its vote to others for as long. But the death of a process is no silence: the kernel breaks its streams at once, and refuses whoever
// dials its port. So a replica whose leader's streams have all broken has the port dialled. Where the machine says that nothing listens,
// and the nodes of a majority of the group's voters find the same, the replica makes its Raft stand for election at once, by the request
// with which a leader hands over (TimeoutNow): there is no pre-vote, and followers that have not noticed yet grant their vote.
//
// That a leader lives and is disturbed by this takes more than a broken stream, and more than a firewall between two nodes: a majority
// of its voters must be refused at its port, and then it leads nobody. Safety does not rest on any of this. It is Raft's: a vote is
// granted once a term, and to no one whose log is behind. Silence still leads to an election the ordinary way: where a machine has lost
// its power, nobody refuses anything.
//
// Each node dials a dead one once for all groups, and asks each other node once, who tells how far its logs go too. In each group the
// voters stand one after the other, the one with the longest log first, since nobody votes for a shorter one than its own; among equals
// the order differs from group to group. One whose turn comes stands only if no leader has appeared meanwhile, and a replica stands once
// for each term of a dead leader.

const (
	// opinionMax bounds a dial of a node that may be dead, and the question to another node: beyond it an ordinary election is near.
	opinionMax = 300 * time.Millisecond

	// opinionLasts is how long a dial that was refused serves all groups, whose streams break within moments of each other. It is
	// shorter than any node takes to start again and to be elected.
	opinionLasts = 50 * time.Millisecond

	// candidacyStep is how long each voter leaves the one before it for its election, which takes some syncs and two messages.
	candidacyStep = 150 * time.Millisecond

	// standMax is how long a candidacy waits for Raft to take it. It is decided on what Raft knows now.
	standMax = 50 * time.Millisecond
)

// deathWatch finds out, for all groups of a node, whether another node is dead. Safe for concurrent use.
type deathWatch struct {
	node *Node

	mu     sync.Mutex
	asked  map[opinionOf]*opinion
	closed bool
	wait   sync.WaitGroup // Add under mu and only while not closed
}

// opinionOf is a node's opinion of another node's death.
type opinionOf struct{ witness, of string }

// opinion is one that is being formed, or was formed a moment ago.
type opinion struct {
	formed chan struct{}
	// Valid once formed:
	dead   bool
	claims map[uint32]claim // how far the logs of the witness go, by group; where it is another node, and finds the other dead
}

// claim is how far a replica's log goes: its last entry's term and index. Who has the greater one is voted for.
type claim struct{ term, index uint64 }

func (c claim) compare(other claim) int {
	return cmp.Or(cmp.Compare(c.term, other.term), cmp.Compare(c.index, other.index))
}

func newDeathWatch(n *Node) *deathWatch {
	return &deathWatch{node: n, asked: make(map[opinionOf]*opinion)}
}

// of is what a witness, this node or another, finds when it dials a node. Not to know is not to find it dead.
func (d *deathWatch) of(ctx context.Context, who opinionOf) *opinion {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return &opinion{}
	}
	known := d.asked[who]
	if known == nil {
		known = &opinion{formed: make(chan struct{})}
		d.asked[who] = known
		d.wait.Go(func() { d.form(who, known) })
	}
	d.mu.Unlock()
	select {
	case <-known.formed:
		return known
	case <-ctx.Done():
		return &opinion{}
	}
}

func (d *deathWatch) form(who opinionOf, o *opinion) {
	ctx, cancel := context.WithTimeout(d.node.life, opinionMax)
	defer cancel()
	if who.witness == d.node.id {
		address, known := d.node.addressOf(who.of)
		o.dead = known && d.node.port.Refused(ctx, address)
	} else {
		o.dead, o.claims = d.node.askGone(ctx, who)
	}
	close(o.formed)
	if !o.dead {
		d.forget(who) // it may die at any time
		return
	}
	time.AfterFunc(opinionLasts, func() { d.forget(who) })
}

func (d *deathWatch) forget(who opinionOf) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.asked, who)
}

// close waits for what is being asked. The node's life has ended.
func (d *deathWatch) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.wait.Wait()
}

// agreed reports whether the nodes of a majority of a group's voters find a node dead, this node among them, with the claims of those
// who do.
func (d *deathWatch) agreed(ctx context.Context, g *group, of string, voters []string) (claims map[string]claim, agreed bool) {
	if !d.of(ctx, opinionOf{d.node.id, of}).dead {
		return nil, false
	}
	claims = map[string]claim{d.node.id: g.claim()}
	type found struct {
		voter string
		*opinion
	}
	opinions := make(chan found, len(voters))
	asked := 0
	for _, voter := range voters {
		if voter != of && voter != d.node.id {
			asked++
			go func() { opinions <- found{voter, d.of(ctx, opinionOf{voter, of})} }()
		}
	}
	for ; asked > 0 && 2*len(claims) <= len(voters); asked-- {
		if o := <-opinions; o.dead {
			claims[o.voter] = o.claims[g.id]
		}
	}
	return claims, 2*len(claims) > len(voters)
}

// askGone asks another node for its opinion:
//
//	struct { uint8 version = 1; opaque node<V>; } GoneRequest;
//	struct { uint32 group; uint64 last_term; uint64 last_index; } Claim;
//	struct { uint8 gone; Claim claims<V>; } GoneAnswer;
func (n *Node) askGone(ctx context.Context, who opinionOf) (bool, map[uint32]claim) {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Opaque([]byte(who.of))
	raw, _, err := n.call(ctx, who.witness, methodGone, w.Bytes())
	if err != nil {
		return false, nil
	}
	r := mls.NewReader("GoneAnswer", raw)
	gone := r.Bool("gone")
	claims := make(map[uint32]claim)
	mls.ReadList(r, "claims", func(r *mls.Reader) struct{} {
		group := r.Uint32("group")
		claims[group] = claim{term: r.Uint64("last_term"), index: r.Uint64("last_index")}
		return struct{}{}
	})
	if r.Close() != nil {
		return false, nil
	}
	return gone, claims
}

// serveGone dials the node in question itself, and passes nobody else's opinion on.
func (n *Node) serveGone(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("GoneRequest", payload)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	of := string(r.Opaque("node"))
	if err := r.Close(); err != nil {
		return nil, err
	}
	gone := of != n.id && n.deaths.of(ctx, opinionOf{n.id, of}).dead
	var w mls.Writer
	w.Bool(gone)
	w.Vector(func(w *mls.Writer) {
		if !gone {
			return
		}
		for _, g := range n.groups() {
			last := g.claim()
			w.Uint32(g.id)
			w.Uint64(last.term)
			w.Uint64(last.index)
		}
	})
	return w.Bytes(), nil
}

// groups are this node's replicas of all groups.
func (n *Node) groups() []*group {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*group
	for _, r := range n.replicas {
		all = append(all, r.group)
	}
	if g := n.meta.started.Load(); g != nil {
		all = append(all, g)
	}
	return all
}

// claim is how far this replica's log goes. Raft tells its last term in its statistics alone.
func (g *group) claim() claim {
	stats := g.raft.Stats()
	number := func(name string) uint64 {
		value, err := strconv.ParseUint(stats[name], 10, 64)
		if err != nil {
			return 0 // a claim that is not known comes last
		}
		return value
	}
	log := claim{number("last_log_term"), number("last_log_index")}
	if snapshot := (claim{number("last_snapshot_term"), number("last_snapshot_index")}); snapshot.compare(log) > 0 {
		return snapshot
	}
	return log
}

// lost is told that a peer has no stream to a group's replica any more. It does not block.
func (d *deathWatch) lost(g *group, peer string) {
	select {
	case <-g.ready:
	default:
		return
	}
	if g.leader() == peer {
		g.candidacy.begin(func(ctx context.Context) { d.succeed(ctx, g, peer) })
	}
}

// succeed makes this replica a candidate for the place of a leader that has died, when its turn comes.
func (d *deathWatch) succeed(ctx context.Context, g *group, leader string) {
	dead, voters := g.lead(), g.voters()
	if dead.node != leader || g.candidacy.stood(dead.term) || !slices.Contains(voters, d.node.id) {
		return
	}
	claims, agreed := d.agreed(ctx, g, leader, voters)
	if !agreed {
		return
	}
	turn := turnOf(d.node.id, g.id, claims)
	if !g.leaderless(ctx, leader, time.Duration(turn)*candidacyStep) {
		return
	}
	if g.raft.CurrentTerm() > dead.term && !g.leaderless(ctx, leader, 2*candidacyStep) {
		return // another has stood, and has won
	}
	if g.raft.State() != raft.Follower || g.transport.Hears(leader) {
		return
	}
	standing, cancel := context.WithTimeout(ctx, standMax)
	defer cancel()
	g.candidacy.stand(dead.term)
	if err := g.transport.StandNow(standing); err != nil {
		d.node.log.Info("a group's leader is dead, but this replica could not stand for election", "group", g.id, "error", err)
		return
	}
	d.node.log.Info("a group's leader is dead; this replica stands for election", "group", g.id, "leader", leader, "term", dead.term)
}

// leaderless reports that after a while this replica still knows no leader but one that is dead.
func (g *group) leaderless(ctx context.Context, dead string, after time.Duration) bool {
	waiting, cancel := context.WithTimeout(ctx, after)
	defer cancel()
	_, err := g.awaitOther(waiting, dead)
	return err != nil && ctx.Err() == nil
}

// turnOf is a node's place among those who stand for election in a group, 0 for the first. Who knows the same claims comes to the same
// order.
func turnOf(node string, group uint32, claims map[string]claim) int {
	order := slices.Sorted(maps.Keys(claims))
	first := int(group % uint32(len(order)))
	order = slices.Concat(order[first:], order[:first])
	slices.SortStableFunc(order, func(a, b string) int { return claims[b].compare(claims[a]) })
	return slices.Index(order, node)
}

// voters are the group's, as far as this replica knows.
func (g *group) voters() []string {
	var voters []string
	for _, server := range g.raft.GetConfiguration().Configuration().Servers {
		if server.Suffrage == raft.Voter {
			voters = append(voters, string(server.ID))
		}
	}
	return voters
}

// candidacy is the care that a replica takes when its leader's streams break, by one goroutine at a time. The zero value is ready.
type candidacy struct {
	mu      sync.Mutex
	last    uint64             // the term of the dead leader for whose place this replica stood last
	end     context.CancelFunc // of the care that runs; nil while none does
	pending func(context.Context)
	closed  bool
	wait    sync.WaitGroup
}

// begin runs the care, once more after that which runs.
func (c *candidacy) begin(care func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.pending = care
	if c.end == nil {
		ctx, end := context.WithCancel(context.Background())
		c.end = end
		c.wait.Go(func() { c.run(ctx) })
	}
}

func (c *candidacy) run(ctx context.Context) {
	for {
		c.mu.Lock()
		care := c.pending
		c.pending = nil
		if care == nil || c.closed {
			c.end()
			c.end = nil
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		care(ctx)
	}
}

// stood reports whether the replica has stood for the place of the leader of a term, or of a later one.
func (c *candidacy) stood(term uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last >= term
}

func (c *candidacy) stand(term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = term
}

// close ends the care and returns when nothing runs any more.
func (c *candidacy) close() {
	c.mu.Lock()
	c.closed = true
	if c.end != nil {
		c.end()
	}
	c.mu.Unlock()
	c.wait.Wait()
}
