package cluster

import (
	"sync"
	"time"
)

// hubLeapMax is how far a wall clock that no majority of the group's voters can be compared with may bring hub time ahead, in all.
const hubLeapMax = 5 * time.Second

// Clock is where a node's time comes from. Both functions may be called at once from any goroutine.
type Clock struct {
	// Wall is the time of day. It may jump in both directions.
	Wall func() time.Time

	// Monotonic is the time since any fixed moment. It never goes back.
	Monotonic func() time.Duration
}

// SystemClock reads the machine's clocks.
func SystemClock() Clock {
	start := time.Now()
	return Clock{Wall: time.Now, Monotonic: func() time.Duration { return time.Since(start) }}
}

// base is the wall clock less Monotonic: it stays what it is until the wall clock is set.
func (c Clock) base() time.Duration {
	return time.Duration(c.Wall().UnixNano()) - c.Monotonic()
}

// hubTime stamps the entries of one group with max(now, last + monotonic time since last seen), in milliseconds. What was last
// seen comes from applied entries, so a new leader goes on from where the one before stood, and a wall clock that was set back
// stretches hub time instead of stopping it.
//
// Hub time never goes back, so a wall clock that is ahead must not get into it. Where the clocks of a majority of the group's voters
// are known, now is their median while the own clock is more than clockBound off it. Where they are not, the own clock counts up to
// hubLeapMax beyond what monotonic time comes to; a leader in that state hears no majority, and can hardly commit anything.
type hubTime struct {
	clock Clock

	mu       sync.Mutex
	last     uint64        // the greatest hub time seen or given, in milliseconds
	lastSeen time.Duration // Monotonic at that moment
	leapt    uint64        // milliseconds by which last is ahead on the word of the own wall clock alone

	// The median wall clock of the voters less Monotonic, if the clocks of a majority are known.
	median time.Duration
	known  bool
}

func newHubTime(clock Clock) *hubTime {
	return &hubTime{clock: clock, lastSeen: clock.Monotonic()}
}

// compare takes note of the median of the voters' wall clocks, less this node's Monotonic, or that it is not known.
func (h *hubTime) compare(median time.Duration, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.median, h.known = median, known
}

// observe takes note of a hub time that was applied.
func (h *hubTime) observe(millis uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock.Monotonic()
	projected := h.projected(now)
	if millis > projected {
		h.leapt = 0 // this is another leader's, or a former life's: what was given here is no further than the projection
	}
	if millis >= projected {
		h.set(millis, projected, now)
	}
}

// stamp is the hub time of a new entry.
func (h *hubTime) stamp() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock.Monotonic()
	projected := h.projected(now)
	stamp := max(projected, h.wall(now, projected))
	switch {
	case h.known:
		h.leapt = 0
	case h.last != 0:
		h.leapt += stamp - projected
	}
	h.set(stamp, projected, now)
	return stamp
}

// wall is what the wall clocks have to say.
func (h *hubTime) wall(now time.Duration, projected uint64) uint64 {
	wall := h.clock.Wall().UnixMilli()
	switch median := (h.median + now).Milliseconds(); {
	case h.known && !near(wall-median):
		wall = median
	case !h.known && h.last != 0:
		wall = min(wall, int64(projected+uint64(hubLeapMax.Milliseconds())-h.leapt))
	}
	return uint64(max(0, wall))
}

// set keeps the fraction of a millisecond that a projection has left over; without it a busy leader whose wall clock was set
// back would stand still.
func (h *hubTime) set(millis, projected uint64, now time.Duration) {
	if millis == projected && h.last != 0 {
		h.lastSeen += time.Duration(millis-h.last) * time.Millisecond
	} else {
		h.lastSeen = now
	}
	h.last = millis
}

func (h *hubTime) projected(now time.Duration) uint64 {
	if h.last == 0 {
		return 0
	}
	return h.last + uint64(max(0, now-h.lastSeen).Milliseconds())
}
