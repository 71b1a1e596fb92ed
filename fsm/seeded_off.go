//go:build !seededbugs

package fsm

// Mistakes that a build with the tag seededbugs can make, to see that the tests find them. None is in any other build.
const (
	bugMapOrder   = false // a KeyPackage is chosen in the order of a Go map
	bugLeaseClock = false // whether a lease is over is judged by the clock of the node that leads
)

// chooseByMap is never called.
func (t *tx) chooseByMap(key) (number uint64, best KeyPackageFacts) { return 0, best }

// localClock is never called.
func (t *tx) localClock(c TakeLease) (TakeLease, uint64) { return c, t.now }
