package mls

import (
	"math/bits"
	"testing"
)

// newVertices counts what a tree does not share with an earlier one of the same width.
func newVertices(now, was *vertex) int {
	if now == was || now == nil {
		return 0
	}
	if was == nil {
		was = &vertex{}
	}
	return 1 + newVertices(now.left, was.left) + newVertices(now.right, was.right)
}

// TestCommitIsLogarithmic counts, not times, what a Commit makes: a path is as long as the tree is deep, whatever the tree has.
func TestCommitIsLogarithmic(t *testing.T) {
	for _, members := range []int{16, 256, 4096} {
		w, trees := wide(t, members)
		depth := bits.Len(uint(members)) - 1
		for i := 2; i < len(trees); i++ {
			vertices, changed := newVertices(trees[i].root, trees[i-1].root), len(trees[i].Changes(trees[i-1]))
			t.Logf("%d members: %d new vertices, %d changed nodes", members, vertices, changed)
			if vertices > depth+1 || changed > depth+1 {
				t.Errorf("%d members: %d new vertices and %d changed nodes, for a depth of %d", members, vertices, changed, depth)
			}
		}
		// The vertices are new, so their hashes were made by this Commit; no other was made again.
		if w.group.Tree().root.hash == nil {
			t.Error("the tree has no hash")
		}
	}
}
