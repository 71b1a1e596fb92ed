package cluster

import (
	"sync"
	"time"
)

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

// hubTime stamps the entries of one shard with max(now, last + monotonic time since last seen), in milliseconds. What was last
// seen comes from applied entries, so a new leader goes on from where the one before stood, and a wall clock that was set back
// stretches hub time instead of stopping it.
type hubTime struct {
	clock Clock

	mu       sync.Mutex
	last     uint64        // the greatest hub time seen or given, in milliseconds
	lastSeen time.Duration // Monotonic at that moment
}

func newHubTime(clock Clock) *hubTime {
	return &hubTime{clock: clock, lastSeen: clock.Monotonic()}
}

// observe takes note of a hub time that was applied.
func (h *hubTime) observe(millis uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock.Monotonic()
	if projected := h.projected(now); millis >= projected {
		h.set(millis, projected, now)
	}
}

// stamp is the hub time of a new entry.
func (h *hubTime) stamp() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock.Monotonic()
	projected := h.projected(now)
	stamp := projected
	if wall := h.clock.Wall().UnixMilli(); wall > 0 && uint64(wall) > stamp {
		stamp = uint64(wall)
	}
	h.set(stamp, projected, now)
	return stamp
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
