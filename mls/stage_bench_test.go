package mls

import (
	"fmt"
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

// BenchmarkStage judges and applies a Commit with a path, in a tree whose parents are all there.
func BenchmarkStage(b *testing.B) {
	for _, members := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			w, founder := newWorld(b, 1)
			everyone := append([]*client{founder}, w.add(founder, make([]string, members-1)...)...)
			for step := members; step > 1; step = (step + 1) / 2 { // fills the tree from below, by halves
				for i := 0; i < members; i += max(1, members/64) {
					c := everyone[i]
					w.accept(w.message(c, MemberSender{c.leaf}, Commit{Path: w.path(c, w.group.Tree().clone())}), w.input())
				}
			}
			m := w.message(founder, MemberSender{}, Commit{Path: w.path(founder, w.group.Tree().clone())})
			b.ReportMetric(float64(len(m.Marshal())), "message-bytes")
			b.ReportAllocs()
			for b.Loop() {
				staged, err := w.group.Stage(m, w.input())
				if err != nil || len(staged.ChangedNodes()) == 0 {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkKeyPackage verifies one, beside its two signatures alone.
func BenchmarkKeyPackage(b *testing.B) {
	for id := CipherSuite(1); id <= 7; id++ {
		w, _ := newWorld(b, id)
		k := w.keyPackage(w.client("b"))
		b.Run(fmt.Sprintf("suite%d/verify", id), func(b *testing.B) {
			for b.Loop() {
				if err := k.Verify(testNow); err != nil {
					b.Fatal(err)
				}
			}
		})
		var tbs Writer
		k.appendUnsigned(&tbs)
		leaf := k.Leaf.signedBytes(LeafPlace{})
		b.Run(fmt.Sprintf("suite%d/signatures", id), func(b *testing.B) {
			for b.Loop() {
				if !w.suite.VerifyWithLabel(k.Leaf.SignatureKey, labelKeyPackage, tbs.Bytes(), k.Signature) ||
					!w.suite.VerifyWithLabel(k.Leaf.SignatureKey, labelLeafNode, leaf, k.Leaf.Signature) {
					b.Fatal("a signature is wrong")
				}
			}
		})
	}
}

// BenchmarkTakeUp parses a tree and verifies the whole of it, and takes it up again from what was stored.
func BenchmarkTakeUp(b *testing.B) {
	w, trees := wide(b, 1000)
	raw, stored := trees[len(trees)-1].Marshal(), w.group.ContextBytes()
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			tree := must(ParseRatchetTree(raw))(b)
			tree.TreeHash(w.suite)
			w.ok(tree.verify(w.suite, w.group.GroupID()))
		}
	})
	b.Run("restore", func(b *testing.B) {
		nodes := w.group.Tree().Nodes()
		for b.Loop() {
			must(RestorePublicGroup(stored, must(NewRatchetTree(nodes))(b), w.group.InterimTranscriptHash()))(b)
		}
	})
}
