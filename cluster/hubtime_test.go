package cluster

import (
	"testing"
	"time"
)

// handClock is a clock that a test moves by hand.
type handClock struct {
	wall time.Time
	mono time.Duration
}

func (c *handClock) clock() Clock {
	return Clock{Wall: func() time.Time { return c.wall }, Monotonic: func() time.Duration { return c.mono }}
}

// pass lets time go by.
func (c *handClock) pass(d time.Duration) {
	c.wall = c.wall.Add(d)
	c.mono += d
}

// dayMillis is a time of day for tests, well after 1970.
const dayMillis = 1_000_000_000

// stampTest is hub time by a clock that begins at dayMillis.
func stampTest() (*handClock, *hubTime) {
	c := &handClock{wall: time.UnixMilli(dayMillis), mono: time.Hour}
	return c, newHubTime(c.clock())
}

func wantStamp(t *testing.T, h *hubTime, want uint64, why string) {
	t.Helper()
	if got := h.stamp(); got != want {
		t.Errorf("%s: stamp %d, want %d (%+d ms)", why, got, want, int64(got-want))
	}
}

func TestHubTimeNeverGoesBack(t *testing.T) {
	c, h := stampTest()
	wantStamp(t, h, dayMillis, "the first one")
	h.observe(dayMillis + 500_000) // another leader's clock is ahead
	c.wall = time.UnixMilli(dayMillis - 100_000)
	for range 100 { // in steps below a millisecond, which must not be lost
		c.mono += 300 * time.Microsecond
		h.stamp()
	}
	wantStamp(t, h, dayMillis+500_030, "30 ms later")
	h.observe(dayMillis + 400_000)
	wantStamp(t, h, dayMillis+500_030, "after an old observation")
	c.wall = time.UnixMilli(dayMillis + 1_000_000)
	h.compare(c.clock().base(), true)
	wantStamp(t, h, dayMillis+1_000_000, "the wall clock is ahead, and all agree with it")
}

// A clock that is set away from the others does not get into hub time, at no moment, in whichever direction it was set.
func TestHubTimeFollowsTheMedian(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, 501 * time.Millisecond, -501 * time.Millisecond, -time.Hour} {
		c, h := stampTest()
		h.compare(c.clock().base(), true)
		wantStamp(t, h, dayMillis, "before the jump")
		c.wall = c.wall.Add(jump)
		wantStamp(t, h, dayMillis, "just after the jump")
		c.pass(20 * time.Second)
		wantStamp(t, h, dayMillis+20_000, "a while after the jump")
	}
}

// A clock that is near enough counts as it is, so that a leader's stamps do not hang on the others' answers.
func TestHubTimeOfAnOrdinaryClock(t *testing.T) {
	c, h := stampTest()
	h.compare(c.clock().base()-clockBound, true)
	wantStamp(t, h, dayMillis, "500 ms ahead of the median")
}

// A leader that took over from one whose time lags, or that was idle, goes on by the median.
func TestHubTimeCatchesUpWithTheMedian(t *testing.T) {
	c, h := stampTest()
	h.observe(dayMillis - 3_600_000)
	h.compare(c.clock().base(), true)
	c.wall = c.wall.Add(24 * time.Hour)
	wantStamp(t, h, dayMillis, "the own clock is a day ahead of the median, hub time an hour behind")
}

// Without a majority's clocks the own one counts for 5 s, in all and not once an entry.
func TestHubTimeWithoutAMajority(t *testing.T) {
	c, h := stampTest()
	wantStamp(t, h, dayMillis, "nothing was seen")
	c.wall = c.wall.Add(3 * time.Second)
	wantStamp(t, h, dayMillis+3_000, "within 5 s")
	c.wall = c.wall.Add(time.Hour)
	for range 10 {
		wantStamp(t, h, dayMillis+5_000, "beyond 5 s")
	}
	c.pass(time.Minute)
	wantStamp(t, h, dayMillis+65_000, "a minute later")
	h.observe(dayMillis + 70_000)
	wantStamp(t, h, dayMillis+75_000, "after another leader's entry")
	h.compare(c.clock().base(), true)
	wantStamp(t, h, dayMillis+3_663_000, "a majority agrees with the clock")
	h.compare(0, false)
	c.wall = c.wall.Add(time.Hour)
	wantStamp(t, h, dayMillis+3_668_000, "it is not heard any more")
}
