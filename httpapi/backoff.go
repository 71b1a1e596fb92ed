package httpapi

import (
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait after failures in a row: First, then double each time up to Max, each shortened by up to half
// at random, so that those who failed together do not come back together.
type Backoff struct{ First, Max time.Duration }

// after returns the wait after the nth failure in a row, counting from 1.
func (b Backoff) after(failures int) time.Duration {
	wait := b.Max
	if shift := failures - 1; shift < 32 && b.First<<shift < b.Max && b.First<<shift > 0 {
		wait = b.First << shift
	}
	return wait - rand.N(wait/2+1)
}
