//go:build seededbugs

package fsm

// The mistakes, off until SeedBug.
var (
	bugMapOrder bool // a KeyPackage is chosen in the order of a Go map
)

// SeedBug switches a mistake on or off by its name, and reports whether it is one of this package's. It must be called while no
// node runs.
func SeedBug(name string, on bool) bool {
	bug, known := map[string]*bool{
		"map-order": &bugMapOrder,
	}[name]
	if known {
		*bug = on
	}
	return known
}

// chooseByMap takes any KeyPackage of a client.
func (t *tx) chooseByMap(prefix key) (number uint64, best KeyPackageFacts) {
	all := make(map[uint64]KeyPackageFacts)
	t.check(scanRecords(t.store, prefix, "KeyPackage", readKeyPackage, func(rest []byte, p KeyPackageFacts) (bool, error) {
		all[numberOf(rest)] = p
		return true, nil
	}))
	for number, best = range all {
		return number, best
	}
	panic("fsm: no KeyPackage is left")
}
