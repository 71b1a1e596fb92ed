//go:build seededbugs

package storage

// The mistakes, off until SeedBug.
var (
	bugVoteOrder bool // a vote's term is set before the older candidate is cleared
)

// SeedBug switches a mistake on or off by its name, and reports whether it is one of this package's. It must be called while no
// node runs.
func SeedBug(name string, on bool) bool {
	bug, known := map[string]*bool{
		"vote-order": &bugVoteOrder,
	}[name]
	if known {
		*bug = on
	}
	return known
}
