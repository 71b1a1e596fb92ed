package cluster

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"parley/fsm"
	"parley/mls"
)

// A group's leader stamps its entries with its own clock, and hub time never goes back. So the nodes that vote together learn each
// other's wall clocks: each asks each of the others once a second. Whoever is far from the median of a group's voters stamps with the
// median in place of its own clock, and hands the lead over to a voter whose clock is right. Nothing but the use of hub time rests on
// this, and no order of decisions.

const (
	clockInterval = time.Second            // between two questions, and the longest that an answer may take: it is wrong by half of that at most
	clockBound    = 500 * time.Millisecond // how far a leader's clock may be from the median
	clockKept     = 8                      // answers of each node
	clockLasts    = 30 * time.Second       // how long an answer counts
	clockDrift    = 50 * time.Millisecond  // what two clocks that nobody sets come apart meanwhile, and more
	clockAnswers  = 4 * clockInterval      // within which a node must have answered, to be given the lead

	// clockStrikes is how many rounds in a row a leader is found to be off before it hands over, so that a machine that was suspended
	// can hear what time it is first.
	clockStrikes  = 2
	handoverPause = 5 * time.Second // between two attempts
)

// near reports whether clocks that are so many milliseconds apart can be taken for the same.
func near(millis int64) bool { return max(millis, -millis) <= clockBound.Milliseconds() }

// reading is another node's wall clock as it was seen once. Base is that clock less this node's Monotonic, halfway through the round
// trip; it is wrong by at most half the round trip. This node's own wall clock has no part in it, so that setting that one is noticed at
// once.
type reading struct {
	base      time.Duration
	roundTrip time.Duration
	taken     time.Duration // Monotonic
}

// readings are the last ones of one node, the newest last; clockKept at most.
type readings []reading

// add takes a reading in and drops what is too much, and earlier ones that it contradicts: the clock has been set since.
func (all readings) add(r reading) readings {
	all = slices.DeleteFunc(all, func(old reading) bool {
		apart := old.base - r.base
		return max(apart, -apart) > (old.roundTrip+r.roundTrip)/2+clockDrift
	})
	all = append(all, r)
	return slices.Delete(all, 0, max(0, len(all)-clockKept))
}

// best is the reading with the shortest round trip among those that still count.
func (all readings) best(now time.Duration) (best reading, found bool) {
	for _, r := range all {
		if now-r.taken <= clockLasts && (!found || r.roundTrip <= best.roundTrip) {
			best, found = r, true
		}
	}
	return best, found
}

// answers reports whether the node has answered lately.
func (all readings) answers(now time.Duration) bool {
	return len(all) > 0 && now-all[len(all)-1].taken <= clockAnswers
}

// medianBase is the median of clocks, of an even number the earlier one in the middle: all who see the same come to the same, and where
// two clocks contradict each other hub time goes by the one that does not run ahead.
func medianBase(bases []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(bases))[(len(bases)-1)/2]
}

// clocks is what a node knows of the wall clocks of those that it votes with. Safe for concurrent use.
type clocks struct {
	node *Node

	mu     sync.Mutex
	seen   map[string]readings
	voters []string // who votes with this node in any group, itself too

	handovers map[uint32]*handover // by group; of run's goroutine
}

func newClocks(n *Node) *clocks {
	return &clocks{node: n, seen: make(map[string]readings), handovers: make(map[uint32]*handover)}
}

// run asks and acts until the node's life ends.
func (c *clocks) run() {
	ticker := time.NewTicker(clockInterval)
	defer ticker.Stop()
	for {
		c.round()
		select {
		case <-c.node.life.Done():
			return
		case <-ticker.C:
		}
	}
}

// round asks everybody and tells each group's hub time what has come out.
func (c *clocks) round() {
	groups := c.node.groups()
	voters := make(map[uint32][]string)
	var all []string
	for _, g := range groups {
		voters[g.id] = g.voters()
		all = append(all, voters[g.id]...)
	}
	slices.Sort(all)
	c.ask(slices.Compact(all))
	for _, g := range groups {
		median, known := c.median(voters[g.id])
		if t := c.node.timeOf(g.id); t != nil {
			t.compare(median, known)
		}
		c.judge(g, voters[g.id], median, known)
	}
}

// timeOf is what stamps a group's entries here; nil where the group is not here any more.
func (n *Node) timeOf(group uint32) *hubTime {
	if group == metaGroup {
		return n.meta.time
	}
	if r := n.replica(fsm.ShardID(group)); r != nil {
		return r.time
	}
	return nil
}

// ask asks every node but this one, and forgets those that are not asked any more.
func (c *clocks) ask(nodes []string) {
	c.mu.Lock()
	c.voters = nodes
	for id := range c.seen {
		if !slices.Contains(nodes, id) {
			delete(c.seen, id)
		}
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.node.life, clockInterval)
	defer cancel()
	var wait sync.WaitGroup
	for _, id := range nodes {
		if id == c.node.id {
			continue
		}
		wait.Go(func() {
			r, err := c.node.askClock(ctx, id)
			if err != nil {
				return // not to know is a state of its own: the answers before it run out
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.seen[id] = c.seen[id].add(r)
		})
	}
	wait.Wait()
}

// median is that of the voters' clocks, if those of a majority of them are known; this node's own is.
func (c *clocks) median(voters []string) (median time.Duration, known bool) {
	own, now := c.node.config.Clock.base(), c.node.config.Clock.Monotonic()
	c.mu.Lock()
	defer c.mu.Unlock()
	var bases []time.Duration
	for _, id := range voters {
		if id == c.node.id {
			bases = append(bases, own)
		} else if r, found := c.seen[id].best(now); found {
			bases = append(bases, r.base)
		}
	}
	if 2*len(bases) <= len(voters) {
		return 0, false
	}
	return medianBase(bases), true
}

// offsetMillis is how far this node's clock is ahead of the median of all that it votes with; nil where that is not known.
func (c *clocks) offsetMillis() *int64 {
	c.mu.Lock()
	voters := c.voters
	c.mu.Unlock()
	median, known := c.median(voters)
	if !known {
		return nil
	}
	offset := (c.node.config.Clock.base() - median).Milliseconds()
	return &offset
}

// handover is how a group's leader comes off its place when its clock is wrong.
type handover struct {
	strikes  int           // rounds in a row in which it led and was off
	next     time.Duration // Monotonic before which it is not tried again
	attempts int
	runs     atomic.Bool
}

// due takes note of a round and reports whether the lead is to be handed over now.
func (h *handover) due(off bool, now time.Duration) bool {
	if !off {
		h.strikes = 0
		return false
	}
	h.strikes++
	return h.strikes >= clockStrikes && now >= h.next
}

// judge hands a group over that this node leads with a clock that is off, if another voter can take it.
func (c *clocks) judge(g *group, voters []string, median time.Duration, known bool) {
	h := c.handovers[g.id]
	if h == nil {
		h = &handover{}
		c.handovers[g.id] = h
	}
	offset := (c.node.config.Clock.base() - median).Milliseconds()
	now := c.node.config.Clock.Monotonic()
	if !h.due(known && !near(offset) && g.leads(), now) {
		return
	}
	able := c.able(voters, median)
	if len(able) == 0 || !h.runs.CompareAndSwap(false, true) {
		return
	}
	h.next = now + handoverPause
	to := able[h.attempts%len(able)]
	h.attempts++
	c.node.background.Go(func() {
		defer h.runs.Store(false)
		c.node.handOver(g, to, offset)
	})
}

// able are the voters to which the lead can go: their clocks are near the median and they answer. The quickest comes first.
func (c *clocks) able(voters []string, median time.Duration) (able []string) {
	now := c.node.config.Clock.Monotonic()
	c.mu.Lock()
	defer c.mu.Unlock()
	quickness := make(map[string]time.Duration)
	for _, id := range voters {
		r, found := c.seen[id].best(now)
		if id != c.node.id && found && c.seen[id].answers(now) && near((r.base - median).Milliseconds()) {
			able = append(able, id)
			quickness[id] = r.roundTrip
		}
	}
	slices.SortStableFunc(able, func(a, b string) int { return cmp.Compare(quickness[a], quickness[b]) })
	return able
}

func (n *Node) handOver(g *group, to string, offset int64) {
	log := n.log.With("group", g.id, "to", to, "ahead_millis", offset)
	if err := g.handOver(to); err != nil {
		log.Warn("this node's clock is off the median of the group's voters, but its lead could not be handed over", "error", err)
		return
	}
	log.Warn("this node's clock is off the median of the group's voters, so it has handed its lead over")
}

// askClock reads another node's clock:
//
//	struct { uint8 version = 1; } ClockRequest;
//	struct { uint64 wall_nanos; } ClockAnswer; // since 1970, less than 2^62
func (n *Node) askClock(ctx context.Context, id string) (reading, error) {
	var w mls.Writer
	w.Uint8(answerVersion)
	sent := n.config.Clock.Monotonic()
	raw, _, err := n.call(ctx, id, methodClock, w.Bytes())
	if err != nil {
		return reading{}, err
	}
	back := n.config.Clock.Monotonic()
	r := mls.NewReader("ClockAnswer", raw)
	wall := r.Uint64("wall_nanos")
	if wall >= 1<<62 {
		r.Fail("wall_nanos", "is too large") // differences of such times overflow
	}
	if err := r.Close(); err != nil {
		return reading{}, err
	}
	return reading{base: time.Duration(wall) - sent - (back-sent)/2, roundTrip: back - sent, taken: back}, nil
}

func (n *Node) serveClock(_ context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("ClockRequest", payload)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Uint64(uint64(max(0, n.config.Clock.Wall().UnixNano())))
	return w.Bytes(), nil
}
