//go:build seededbugs

package fsm

import (
	"strconv"
	"strings"
)

// The mistakes, off until SeedBug.
var (
	bugMapOrder   bool // a KeyPackage is chosen in the order of a Go map
	bugLeaseClock bool // whether a lease is over is judged by the clock of the node that leads
)

// SeedBug switches a mistake on or off by its name, and reports whether it is one of this package's. It must be called while no
// node runs.
func SeedBug(name string, on bool) bool {
	bug, known := map[string]*bool{
		"map-order":         &bugMapOrder,
		"lease-local-clock": &bugLeaseClock,
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

// clockMark stands between a request's client and the time of a node's own clock.
const clockMark = " by the clock of a node: "

// ByLocalClock is a request for a lease that brings along what a node's own clock says.
func ByLocalClock(c TakeLease, millis uint64) TakeLease {
	c.Client += clockMark + strconv.FormatUint(millis, 10)
	return c
}

// localClock takes the time out of a request.
func (t *tx) localClock(c TakeLease) (TakeLease, uint64) {
	client, text, _ := strings.Cut(c.Client, clockMark)
	millis, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return c, t.now
	}
	c.Client = client
	return c, millis
}
