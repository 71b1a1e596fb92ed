//go:build !seededbugs

package fsm

// Mistakes that a build with the tag seededbugs can make, to see that the tests find them. None is in any other build.
const (
	bugMapOrder = false // a KeyPackage is chosen in the order of a Go map
)

// chooseByMap is never called.
func (t *tx) chooseByMap(key) (number uint64, best KeyPackageFacts) { return 0, best }
