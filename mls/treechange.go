package mls

import (
	"bytes"
	"slices"
)

// extend doubles the tree: a blank root, with the old tree on its left (RFC 9420 §7.7).
func (t *RatchetTree) extend() {
	old := t.root
	t.top = 2*t.top + 1
	var right *vertex
	if !t.top.right().isLeaf() {
		right = &vertex{}
	}
	t.root = innerVertex(nil, old, right)
}

// truncate halves the tree as long as its right half has no leaf (RFC 9420 §7.7).
func (t *RatchetTree) truncate() {
	for !t.top.isLeaf() && t.root.right.members() == 0 {
		t.root, _ = t.root.children(t.top)
		t.top = t.top.left()
	}
}

// takeBlankLeaf finds the leftmost blank leaf, and widens a full tree to have one.
func (t *RatchetTree) takeBlankLeaf() LeafIndex {
	if t.root.members() == t.LeafCount() {
		i := LeafIndex(t.LeafCount())
		t.extend()
		return i
	}
	v, x := t.root, t.top
	for !x.isLeaf() {
		left, right := v.children(x)
		if left.members() < 1<<(x.level()-1) {
			v, x = left, x.left()
		} else {
			v, x = right, x.right()
		}
	}
	return x.leaf()
}

// add puts a new member at the leftmost blank leaf, unmerged at every parent above that is not blank (RFC 9420 §12.1.1).
func (t *RatchetTree) add(leaf LeafNode) LeafIndex {
	i := t.takeBlankLeaf()
	for _, x := range directPath(i.Node(), t.Width()) {
		if n := t.node(x); n != nil {
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
func (t *RatchetTree) update(i LeafIndex, leaf LeafNode) { t.renew(i, newLeaf(leaf), nil) }

// remove blanks a leaf and the way to the root, and narrows the tree where it can (RFC 9420 §12.1.3).
func (t *RatchetTree) remove(i LeafIndex) {
	t.renew(i, nil, nil)
	t.truncate()
}

// pathNode is what a path puts at a node.
type pathNode struct {
	at   NodeIndex
	node *treeNode
}

// renew replaces a leaf, nil to blank it, and the nodes above it by those of a path, lowest first; where the path has none, the node
// becomes blank. It makes the way to the root anew once, where set would for each node.
func (t *RatchetTree) renew(i LeafIndex, leaf *treeNode, path []pathNode) {
	if t.keys != nil {
		for _, x := range directPath(i.Node(), t.Width()) {
			t.keys = t.keys.withNode(t.node(x), -1)
		}
		t.keys = t.keys.withNode(t.node(i.Node()), -1).withNode(leaf, 1)
		for _, p := range path {
			t.keys = t.keys.withNode(p.node, 1)
		}
	}
	t.root = t.root.withPath(t.top, i.Node(), leaf, path)
}

// pathStep is a node of a filtered direct path with its child that is off the path.
type pathStep struct{ node, copath NodeIndex }

// filteredPath lists the nodes above a leaf, lowest first, whose copath child has any node under it (RFC 9420 §4.1.2).
func (t *RatchetTree) filteredPath(i LeafIndex) []pathStep {
	var steps []pathStep
	below := i.Node()
	for _, x := range directPath(below, t.Width()) {
		if copath := below.sibling(); !t.empty(copath) {
			steps = append(steps, pathStep{node: x, copath: copath})
		}
		below = x
	}
	return steps
}

// merge applies an UpdatePath from the member at a leaf (RFC 9420 §7.5), and checks its length, its ciphertext counts (§7.6)
// and the leaf's parent hash (§7.9.2). Leaves added by the same Commit get no path secret. On an error the tree is as it was.
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
	var above []byte
	made := make([]pathNode, len(steps))
	for k := len(steps) - 1; k >= 0; k-- {
		parent := ParentNode{EncryptionKey: path.Nodes[k].EncryptionKey, ParentHash: above}
		made[k] = pathNode{steps[k].node, newParent(parent)}
		above = t.parentHash(s, parent, steps[k].copath)
	}
	source, committed := path.Leaf.Source.(LeafCommit)
	switch {
	case !committed:
		return invalid("7.3", "the leaf of an UpdatePath has another source than commit")
	case !bytes.Equal(source.ParentHash, above):
		return invalid("7.9.2", "the parent hash of the committer's leaf is wrong")
	}
	t.renew(i, newLeaf(path.Leaf), made)
	return nil
}
