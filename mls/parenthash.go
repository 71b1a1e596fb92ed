package mls

import (
	"bytes"
	"slices"
)

// checkShape verifies what the tree's own operations rely on (RFC 9420 §12.4.3.1): unmerged leaves are members under their
// parent, and every parent between a leaf and one that has it unmerged has it unmerged as well.
func (t *RatchetTree) checkShape() error { return t.root.checkShape(t.top, nil) }

// checkShape looks at one subtree. above are the leaves in it that the nearest parent over it has unmerged.
func (v *vertex) checkShape(x NodeIndex, above []LeafIndex) error {
	if v.blank() {
		if len(above) > 0 {
			return invalid("12.4.3.1", "unmerged leaf %d is blank", above[0])
		}
		return nil
	}
	if x.isLeaf() {
		return nil
	}
	if v.node != nil {
		own := v.node.parent.UnmergedLeaves
		for _, l := range own {
			if l > LeavesMax || !l.Node().below(x) {
				return invalid("12.4.3.1", "unmerged leaf %d of node %d is not a member under it", l, x)
			}
		}
		for _, l := range above {
			if _, found := slices.BinarySearch(own, l); !found {
				return invalid("12.4.3.1", "leaf %d is unmerged above node %d and not there", l, x)
			}
		}
		above = own
	}
	left, right := splitLeaves(above, x)
	if err := v.left.checkShape(x.left(), left); err != nil {
		return err
	}
	return v.right.checkShape(x.right(), right)
}

// splitLeaves cuts a sorted list into the leaves left and right of a parent node.
func splitLeaves(list []LeafIndex, x NodeIndex) (left, right []LeafIndex) {
	middle, _ := slices.BinarySearch(list, LeafIndex((x+1)/2))
	return list[:middle], list[middle:]
}

// checkParentHashes verifies that every parent is parent-hash valid: it and exactly one node below were set by one UpdatePath
// (RFC 9420 §7.9.2). The tree must have its shape, and its hashes under the suite.
func (t *RatchetTree) checkParentHashes(s *Suite) (err error) {
	t.root.each(t.top, func(x NodeIndex, n *treeNode) bool {
		if n.parent == nil {
			return true
		}
		left, right := splitLeaves(n.parent.UnmergedLeaves, x)
		valid := 0
		for _, side := range [...]struct {
			child, sibling               NodeIndex
			unmerged, unmergedUnderOther []LeafIndex
		}{{x.left(), x.right(), left, right}, {x.right(), x.left(), right, left}} {
			var w Writer
			w.Opaque(n.parent.EncryptionKey)
			w.Opaque(n.parent.ParentHash)
			w.Opaque(t.root.at(t.top, side.sibling).hashWithout(s, side.sibling, side.unmergedUnderOther))
			if t.hangsBelow(side.child, side.unmerged, s.Hash(w.Bytes())) {
				valid++
			}
		}
		if valid != 1 {
			err = invalid("7.9.2", "parent node %d has the parent hash of %d nodes below it, not of one", x, valid)
		}
		return err == nil
	})
	return err
}

// hangsBelow reports whether the resolution of a child is the parent's unmerged leaves and one node that has the parent hash.
func (t *RatchetTree) hangsBelow(child NodeIndex, unmerged []LeafIndex, hash []byte) bool {
	resolution := t.resolution(child)
	if len(resolution) != len(unmerged)+1 {
		return false
	}
	for _, d := range resolution {
		if d.isLeaf() {
			if _, added := slices.BinarySearch(unmerged, d.leaf()); added {
				continue
			}
		}
		n := t.node(d)
		if n.parent != nil {
			return bytes.Equal(n.parent.ParentHash, hash)
		}
		source, committed := n.leaf.Source.(LeafCommit)
		return committed && bytes.Equal(source.ParentHash, hash)
	}
	return false
}

// hashWithout is the tree hash that a subtree had before these leaves were added to it: the original_sibling_tree_hash of
// RFC 9420 §7.9.
func (v *vertex) hashWithout(s *Suite, x NodeIndex, leaves []LeafIndex) []byte {
	if len(leaves) == 0 {
		return v.treeHash(s, x)
	}
	if v == nil || x.isLeaf() {
		return blankHash(s, x)
	}
	n := v.node
	if n != nil {
		parent := *n.parent
		parent.UnmergedLeaves = slices.DeleteFunc(slices.Clone(parent.UnmergedLeaves), func(l LeafIndex) bool {
			_, gone := slices.BinarySearch(leaves, l)
			return gone
		})
		n = newParent(parent)
	}
	left, right := splitLeaves(leaves, x)
	return s.Hash(treeHashInput(n, x, v.left.hashWithout(s, x.left(), left), v.right.hashWithout(s, x.right(), right)))
}
