//go:build !seededbugs

package storage

// Mistakes that a build with the tag seededbugs can make, to see that the tests find them. None is in any other build.
const (
	bugVoteOrder = false // a vote's term is set before the older candidate is cleared
)
