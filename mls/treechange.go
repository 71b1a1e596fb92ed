package mls

import (
	"bytes"
	"slices"
)

// extend doubles the tree: a blank root, with the old tree on its left (RFC 9420 §7.7).
func (t *RatchetTree) extend() { t.resize(t.nodes, 2*len(t.nodes)+1) }

// truncate halves the tree as long as its right half is all blank (RFC 9420 §7.7).
func (t *RatchetTree) truncate() {
	for len(t.nodes) > 1 {
		half := len(t.nodes) / 2
		if t.lastLeaf() > half {
			return
		}
		t.resize(t.nodes, half)
	}
}

// lastLeaf is the node index of the rightmost leaf that is not blank, -1 without one.
func (t *RatchetTree) lastLeaf() int {
	for i := len(t.nodes) - 1; i >= 0; i -= 2 {
		if t.nodes[i] != nil {
			return i
		}
	}
	return -1
}

// takeBlankLeaf finds the leftmost blank leaf, and widens a full tree to have one.
func (t *RatchetTree) takeBlankLeaf() LeafIndex {
	for i := 0; i < len(t.nodes); i += 2 {
		if t.nodes[i] == nil {
			return LeafIndex(i / 2)
		}
	}
	i := LeafIndex(t.LeafCount())
	t.extend()
	return i
}

// add puts a new member at the leftmost blank leaf, unmerged at every parent above that is not blank (RFC 9420 §12.1.1).
func (t *RatchetTree) add(leaf LeafNode) LeafIndex {
	i := t.takeBlankLeaf()
	for _, x := range directPath(i.Node(), len(t.nodes)) {
		if n := t.nodes[x]; n != nil {
			parent := *n.parent
			at, _ := slices.BinarySearch(parent.UnmergedLeaves, i)
			parent.UnmergedLeaves = slices.Insert(slices.Clone(parent.UnmergedLeaves), at, i)
			t.set(x, newParent(parent))
		}
	}
	t.set(i.Node(), newLeaf(leaf))
	return i
}

// update replaces a leaf and blanks the way to the root (RFC 9420 §12.1.2).
func (t *RatchetTree) update(i LeafIndex, leaf LeafNode) {
	t.blankPath(i)
	t.set(i.Node(), newLeaf(leaf))
}

// remove blanks a leaf and the way to the root, and narrows the tree where it can (RFC 9420 §12.1.3).
func (t *RatchetTree) remove(i LeafIndex) {
	t.blankPath(i)
	t.set(i.Node(), nil)
	t.truncate()
}

func (t *RatchetTree) blankPath(i LeafIndex) {
	for _, x := range directPath(i.Node(), len(t.nodes)) {
		if t.nodes[x] != nil {
			t.set(x, nil)
		}
	}
}

// pathStep is a node of a filtered direct path with its child that is off the path.
type pathStep struct{ node, copath NodeIndex }

// filteredPath lists the nodes above a leaf, lowest first, whose copath child has any node under it (RFC 9420 §4.1.2).
func (t *RatchetTree) filteredPath(i LeafIndex) []pathStep {
	var steps []pathStep
	below := i.Node()
	for _, x := range directPath(below, len(t.nodes)) {
		if copath := below.sibling(); !t.empty(copath) {
			steps = append(steps, pathStep{node: x, copath: copath})
		}
		below = x
	}
	return steps
}

// merge applies an UpdatePath from the member at a leaf (RFC 9420 §7.5), and checks its length, its ciphertext counts (§7.6)
// and the leaf's parent hash (§7.9.2). Leaves added by the same Commit get no path secret. On an error the tree is spoilt.
func (t *RatchetTree) merge(s *Suite, i LeafIndex, path *UpdatePath, added map[NodeIndex]bool) error {
	steps := t.filteredPath(i)
	if len(steps) != len(path.Nodes) {
		return invalid("7.6", "the path has %d nodes, and the filtered direct path of leaf %d has %d", len(path.Nodes), i, len(steps))
	}
	for k, step := range steps {
		want := 0
		for _, x := range t.resolution(step.copath) {
			if !added[x] {
				want++
			}
		}
		if got := len(path.Nodes[k].Secrets); got != want {
			return invalid("7.6", "path node %d has %d secrets for a resolution of %d", k, got, want)
		}
	}
	t.blankPath(i)
	var above []byte
	for k := len(steps) - 1; k >= 0; k-- {
		parent := ParentNode{EncryptionKey: path.Nodes[k].EncryptionKey, ParentHash: above}
		t.set(steps[k].node, newParent(parent))
		above = t.parentHash(s, parent, steps[k].copath)
	}
	source, committed := path.Leaf.Source.(LeafCommit)
	switch {
	case !committed:
		return invalid("7.3", "the leaf of an UpdatePath has another source than commit")
	case !bytes.Equal(source.ParentHash, above):
		return invalid("7.9.2", "the parent hash of the committer's leaf is wrong")
	}
	t.set(i.Node(), newLeaf(path.Leaf))
	return nil
}

// checkShape verifies what the tree's own operations rely on (RFC 9420 §12.4.3.1): unmerged leaves are members under their
// parent.
func (t *RatchetTree) checkShape() error {
	for x, n := range t.nodes {
		if n == nil || n.parent == nil {
			continue
		}
		for _, l := range n.parent.UnmergedLeaves {
			if t.Leaf(l) == nil || !l.Node().below(NodeIndex(x)) {
				return invalid("12.4.3.1", "unmerged leaf %d of node %d is not a member under it", l, x)
			}
		}
	}
	return nil
}
