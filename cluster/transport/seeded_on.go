//go:build seededbugs

package transport

// The mistakes, off until SeedBug.
var (
	bugPipeline bool // a pipeline whose answers nobody reads any more is left open
	bugFastPath bool // heartbeats are answered beside Raft's main loop
)

// SeedBug switches a mistake on or off by its name, and reports whether it is one of this package's. It must be called while no
// node runs.
func SeedBug(name string, on bool) bool {
	bug, known := map[string]*bool{
		"pipeline":  &bugPipeline,
		"fast-path": &bugFastPath,
	}[name]
	if known {
		*bug = on
	}
	return known
}
