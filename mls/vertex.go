package mls

// vertex is a place in a ratchet tree with all that hangs below it. Trees of neighbouring epochs share their vertices: a
// change makes new ones from the changed place up to the root, and leaves the rest. A vertex never changes but for its hash,
// which is filled in once, before the tree is shown to anyone.
//
// A blank leaf is nil. Above the leaves a vertex is never nil; where everything under it is blank its children may be absent.
type vertex struct {
	node        *treeNode // nil where blank
	left, right *vertex
	hash        []byte // under the tree's suite; nil where not known
	leaves      int32  // not blank, at and under it
	nodes       int32  // not blank, at and under it
	credentials credentialKinds
	common      codes // what every leaf at and under it supports; of no meaning where there is none
}

// leafVertex is the vertex of a leaf, nil for a blank one.
func leafVertex(n *treeNode) *vertex {
	if n == nil {
		return nil
	}
	return &vertex{node: n, leaves: 1, nodes: 1, credentials: kindOf(n.leaf.Credential), common: supportedCodes(n.leaf)}
}

// innerVertex puts a node, nil where blank, over two subtrees.
func innerVertex(n *treeNode, left, right *vertex) *vertex {
	v := &vertex{node: n, left: left, right: right}
	if n != nil {
		v.nodes = 1
	}
	for _, child := range [...]*vertex{left, right} {
		if child == nil || child.nodes == 0 {
			continue
		}
		if child.leaves > 0 {
			if v.leaves == 0 {
				v.common = child.common
			} else {
				v.common = v.common.and(child.common)
			}
		}
		v.nodes += child.nodes
		v.leaves += child.leaves
		v.credentials |= child.credentials
	}
	return v
}

// children are the subtrees under the vertex of a parent node, whose absent ones are made: blank.
func (v *vertex) children(x NodeIndex) (left, right *vertex) {
	left, right = v.left, v.right
	if x.level() > 1 {
		if left == nil {
			left = &vertex{}
		}
		if right == nil {
			right = &vertex{}
		}
	}
	return left, right
}

// at finds the vertex of y in the subtree whose top is x; nil for a blank leaf and inside a blank subtree.
func (v *vertex) at(x, y NodeIndex) *vertex {
	for v != nil && x != y {
		if y < x {
			v, x = v.left, x.left()
		} else {
			v, x = v.right, x.right()
		}
	}
	return v
}

// with is the subtree under x after the node y in it has been replaced.
func (v *vertex) with(x, y NodeIndex, n *treeNode) *vertex {
	switch {
	case x.isLeaf():
		return leafVertex(n)
	case x == y:
		left, right := v.children(x)
		return innerVertex(n, left, right)
	}
	left, right := v.children(x)
	if y < x {
		left = left.with(x.left(), y, n)
	} else {
		right = right.with(x.right(), y, n)
	}
	return innerVertex(v.node, left, right)
}

// withPath is the subtree under x after its leaf y has been replaced, and the nodes above that by those of a path, lowest first.
func (v *vertex) withPath(x, y NodeIndex, leaf *treeNode, path []pathNode) *vertex {
	if x.isLeaf() {
		return leafVertex(leaf)
	}
	var n *treeNode
	if end := len(path) - 1; end >= 0 && path[end].at == x {
		n, path = path[end].node, path[:end]
	}
	left, right := v.children(x)
	if y < x {
		left = left.withPath(x.left(), y, leaf, path)
	} else {
		right = right.withPath(x.right(), y, leaf, path)
	}
	return innerVertex(n, left, right)
}

// blank reports whether every node at and under the vertex is blank: its resolution is empty.
func (v *vertex) blank() bool { return v == nil || v.nodes == 0 }

// members is the number of leaves that are not blank.
func (v *vertex) members() int {
	if v == nil {
		return 0
	}
	return int(v.leaves)
}

// buildVertex makes the subtree under x of nodes by index, nil or past the end where blank; nil where all of it is.
func buildVertex(nodes []*treeNode, x NodeIndex) *vertex {
	first := int(x) - (1<<x.level() - 1)
	if first >= len(nodes) {
		return nil
	}
	var n *treeNode
	if int(x) < len(nodes) {
		n = nodes[x]
	}
	if x.isLeaf() {
		return leafVertex(n)
	}
	left, right := buildVertex(nodes, x.left()), buildVertex(nodes, x.right())
	if n == nil && left == nil && right == nil {
		return nil
	}
	left, right = (&vertex{left: left, right: right}).children(x)
	return innerVertex(n, left, right)
}

// each calls yield for the nodes at and under the vertex that are not blank, from the left; false ends it.
func (v *vertex) each(x NodeIndex, yield func(NodeIndex, *treeNode) bool) bool {
	switch {
	case v.blank():
		return true
	case x.isLeaf():
		return yield(x, v.node)
	}
	return v.left.each(x.left(), yield) && (v.node == nil || yield(x, v.node)) && v.right.each(x.right(), yield)
}
