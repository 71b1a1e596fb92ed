package mls

import "math/bits"

// NodeIndex counts the nodes of a ratchet tree in its array form (RFC 9420 appendix C): leaves at even indices, parents at odd.
type NodeIndex uint32

// Node is the index of the leaf's node. The leaf must lie within a tree: past 2^31 it overflows.
func (i LeafIndex) Node() NodeIndex { return NodeIndex(2 * i) }

// isLeaf reports whether the node is a leaf.
func (x NodeIndex) isLeaf() bool { return x&1 == 0 }

// leaf is the leaf index of a node that is a leaf.
func (x NodeIndex) leaf() LeafIndex { return LeafIndex(x / 2) }

// level is the node's height above the leaves.
func (x NodeIndex) level() int { return bits.TrailingZeros32(^uint32(x)) }

// left and right are the children of a parent node.
func (x NodeIndex) left() NodeIndex  { return x ^ (1 << (x.level() - 1)) }
func (x NodeIndex) right() NodeIndex { return x ^ (3 << (x.level() - 1)) }

// parent is the node above, in a tree that is wide enough to have one.
func (x NodeIndex) parent() NodeIndex {
	k := x.level()
	return (x | 1<<k) &^ (1 << (k + 1))
}

// sibling is the other child of the node's parent.
func (x NodeIndex) sibling() NodeIndex {
	p := x.parent()
	if x < p {
		return p.right()
	}
	return p.left()
}

// below reports whether the node is p or lies in the subtree under p.
func (x NodeIndex) below(p NodeIndex) bool {
	half := NodeIndex(1)<<p.level() - 1
	return p-half <= x && x <= p+half
}

// rootOf is the root of a tree of a full width (2^(d+1) - 1 nodes).
func rootOf(width int) NodeIndex { return NodeIndex(width / 2) }

// fullWidth is the least full width that holds so many nodes.
func fullWidth(nodes int) int {
	if nodes <= 1 {
		return 1
	}
	return 1<<bits.Len(uint(nodes)) - 1
}

// directPath lists the nodes above x, lowest first, up to and with the root.
func directPath(x NodeIndex, width int) []NodeIndex {
	root := rootOf(width)
	var path []NodeIndex
	for x != root {
		x = x.parent()
		path = append(path, x)
	}
	return path
}
