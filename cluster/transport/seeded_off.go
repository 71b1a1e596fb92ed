//go:build !seededbugs

package transport

// Mistakes that a build with the tag seededbugs can make, to see that the tests find them. None is in any other build.
const (
	bugPipeline = false // a pipeline whose answers nobody reads any more is left open
	bugFastPath = false // heartbeats are answered beside Raft's main loop
)
