package cluster

import (
	"slices"
	"testing"
	"time"
)

func TestMedianOfClocks(t *testing.T) {
	for _, c := range []struct {
		clocks []time.Duration
		want   time.Duration
	}{
		{[]time.Duration{7}, 7},
		{[]time.Duration{3600, 0, 1}, 1},
		{[]time.Duration{-3600, 0, 1}, 0},
		{[]time.Duration{3600, 0}, 0},
		{[]time.Duration{9, 3, 1, 5}, 3},
	} {
		given := slices.Clone(c.clocks)
		if got := medianBase(given); got != c.want || !slices.Equal(given, c.clocks) {
			t.Errorf("%v: %v, want %v; given back as %v", c.clocks, got, c.want, given)
		}
	}
}

// clocksOf is what node n1 knows, by a clock that begins at dayMillis.
func clocksOf() (*handClock, *clocks) {
	hand := &handClock{wall: time.UnixMilli(dayMillis), mono: time.Hour}
	return hand, newClocks(&Node{id: "n1", config: Config{Clock: hand.clock()}})
}

// see takes in another node's clock, which is so far ahead of the time that began at dayMillis.
func (c *clocks) see(id string, ahead, roundTrip time.Duration) {
	clock := c.node.config.Clock
	const base = dayMillis*time.Millisecond - time.Hour
	c.seen[id] = c.seen[id].add(reading{base: base + ahead, roundTrip: roundTrip, taken: clock.Monotonic()})
}

// The median counts once a majority of the voters is known, and no longer than their answers last.
func TestMedianNeedsAMajority(t *testing.T) {
	hand, c := clocksOf()
	three, five := []string{"n1", "n2", "n3"}, []string{"n1", "n2", "n3", "n4", "n5"}
	want := func(voters []string, ahead time.Duration, known bool, why string) {
		t.Helper()
		median, found := c.median(voters)
		if got := median - (dayMillis*time.Millisecond - time.Hour); found != known || known && got != ahead {
			t.Errorf("%s: %v, %v; want %v, %v", why, got, found, ahead, known)
		}
	}
	want(three[:1], 0, true, "the only voter")
	want(three, 0, false, "nobody has answered")
	c.see("n2", time.Hour, time.Millisecond)
	want(three, 0, true, "two of three, which contradict each other")
	want(five, 0, false, "two of five")
	want([]string{"n2", "n3"}, 0, false, "one of two; this node does not vote")
	c.see("n3", time.Hour, time.Millisecond)
	want(three, time.Hour, true, "this node's clock is behind")
	hand.wall = hand.wall.Add(2 * time.Hour)
	want(three, time.Hour, true, "this node's clock is ahead")
	hand.pass(clockLasts + time.Second)
	want(three, 0, false, "the answers are too old")
	if c.offsetMillis() != nil {
		t.Error("an offset from nobody")
	}
	c.voters = three
	c.see("n2", 0, time.Millisecond)
	c.see("n3", 0, time.Millisecond)
	if offset := c.offsetMillis(); offset == nil || *offset != (2*time.Hour).Milliseconds() {
		t.Errorf("offset %v", offset)
	}
}

// The quickest of the last answers counts, but not against a later one that says that the clock was set.
func TestBestReading(t *testing.T) {
	hand, c := clocksOf()
	best := func() (ahead time.Duration) {
		r, _ := c.seen["n2"].best(hand.mono)
		return r.base - (dayMillis*time.Millisecond - time.Hour)
	}
	c.see("n2", 0, time.Millisecond)
	c.see("n2", 400*time.Millisecond, 900*time.Millisecond) // slow in one direction
	if got := best(); got != 0 {
		t.Errorf("a slow answer counts: %v", got)
	}
	c.see("n2", time.Minute, 900*time.Millisecond)
	if got := best(); got != time.Minute {
		t.Errorf("the clock was set, and is taken for %v", got)
	}
	for range 100 {
		c.see("n2", time.Minute, 900*time.Millisecond)
	}
	if n := len(c.seen["n2"]); n != clockKept {
		t.Errorf("%d readings are kept", n)
	}
}

// The lead goes to nobody whose clock is off too, who has not answered lately, or who does not vote.
func TestWhoCanTakeTheLead(t *testing.T) {
	hand, c := clocksOf()
	c.see("n5", 0, time.Millisecond)
	hand.pass(clockAnswers + time.Second)
	c.see("n2", 500*time.Millisecond, 3*time.Millisecond)
	c.see("n3", 501*time.Millisecond, time.Millisecond)
	c.see("n4", 0, 2*time.Millisecond)
	c.see("n6", 0, time.Millisecond)
	median := dayMillis*time.Millisecond - time.Hour
	if got := c.able([]string{"n1", "n2", "n3", "n4", "n5", "n7"}, median); !slices.Equal(got, []string{"n4", "n2"}) {
		t.Errorf("%v", got)
	}
	if got := c.able([]string{"n1"}, median); len(got) != 0 {
		t.Errorf("the only voter hands over to %v", got)
	}
}

// One round is not enough, rounds that are not in a row neither, and between two attempts there is a pause.
func TestWhenTheLeadIsHandedOver(t *testing.T) {
	h := &handover{}
	for i, round := range []struct {
		off, due bool
		at       time.Duration
	}{
		{true, false, 0}, {false, false, 1}, {true, false, 2}, {true, true, 3}, {true, false, 4}, {true, false, 7}, {true, true, 8}, {false, false, 9}, {true, false, 20},
	} {
		now := round.at * time.Second
		due := h.due(round.off, now)
		if due != round.due {
			t.Errorf("round %d: due %v, want %v", i, due, round.due)
		}
		if due {
			h.next = now + handoverPause
		}
	}
}
