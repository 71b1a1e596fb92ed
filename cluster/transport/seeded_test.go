//go:build seededbugs

package transport

import "testing"

// With the heartbeat handler that raft asks for, the deposed leader writes.
func TestSeededFastPathIsFound(t *testing.T) {
	SeedBug("fast-path", true)
	defer SeedBug("fast-path", false)
	if !wroteUnderForeignTerm(t) {
		t.Error("not found")
	}
}
