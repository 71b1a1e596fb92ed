package mlstest

import (
	"slices"

	"parley/mls"
)

// tree is a ratchet tree as an array of a full width (RFC 9420 §4). It is changed in place; clone it before. Nodes never
// change, so clones share them.
type tree struct {
	suite  *mls.Suite
	nodes  []*node  // nil where blank
	hashes [][]byte // of subtrees; nil where not known
}

// node is a leaf or a parent, with the encoding of Node.
type node struct {
	leaf   *mls.LeafNode
	parent *mls.ParentNode
	raw    []byte
}

const (
	nodeTypeLeaf   = 1
	nodeTypeParent = 2
)

func newLeaf(leaf mls.LeafNode) *node {
	return &node{leaf: &leaf, raw: append([]byte{nodeTypeLeaf}, leaf.Marshal()...)}
}

func newParent(parent mls.ParentNode) *node {
	return &node{parent: &parent, raw: append([]byte{nodeTypeParent}, parent.Marshal()...)}
}

// newTree is a blank tree that has room for so many members.
func newTree(suite *mls.Suite, members int) *tree {
	leaves := 1
	for leaves < members {
		leaves *= 2
	}
	return &tree{suite: suite, nodes: make([]*node, 2*leaves-1), hashes: make([][]byte, 2*leaves-1)}
}

func (t *tree) clone() *tree {
	return &tree{suite: t.suite, nodes: slices.Clone(t.nodes), hashes: slices.Clone(t.hashes)}
}

func (t *tree) root() index { return index(len(t.nodes) / 2) }

func (t *tree) leaf(i mls.LeafIndex) *mls.LeafNode {
	if n := 2 * uint64(i); n < uint64(len(t.nodes)) && t.nodes[n] != nil {
		return t.nodes[n].leaf
	}
	return nil
}

// set replaces a node, nil to blank it, and forgets the hashes that hang on it.
func (t *tree) set(x index, n *node) {
	t.nodes[x] = n
	for t.hashes[x] = nil; x != t.root(); {
		x = parentOf(x)
		t.hashes[x] = nil
	}
}

// directPath lists the nodes above a leaf, lowest first, up to and with the root.
func (t *tree) directPath(i mls.LeafIndex) (path []index) {
	for x := i.Node(); x != t.root(); {
		x = parentOf(x)
		path = append(path, x)
	}
	return path
}

// resolution lists the nodes that together cover every member under x (RFC 9420 §4.1.1).
func (t *tree) resolution(x index) (list []index) {
	switch n := t.nodes[x]; {
	case n != nil && n.parent != nil:
		list = append(list, x)
		for _, l := range n.parent.UnmergedLeaves {
			list = append(list, l.Node())
		}
	case n != nil:
		list = append(list, x)
	case level(x) > 0:
		list = append(t.resolution(leftOf(x)), t.resolution(rightOf(x))...)
	}
	return list
}

// blank reports whether the resolution of x is empty.
func (t *tree) blank(x index) bool {
	return t.nodes[x] == nil && (level(x) == 0 || t.blank(leftOf(x)) && t.blank(rightOf(x)))
}

// filteredPath lists the direct path but for the nodes whose child off the path is blank (RFC 9420 §4.1.2), with that child.
func (t *tree) filteredPath(i mls.LeafIndex) (path, copath []index) {
	below := i.Node()
	for _, x := range t.directPath(i) {
		if c := siblingOf(below); !t.blank(c) {
			path, copath = append(path, x), append(copath, c)
		}
		below = x
	}
	return path, copath
}

// vacancy finds the leftmost blank leaf, and doubles a full tree to have one (RFC 9420 §7.7).
func (t *tree) vacancy() mls.LeafIndex {
	for x := 0; x < len(t.nodes); x += 2 {
		if t.nodes[x] == nil {
			return leafOf(index(x))
		}
	}
	more := len(t.nodes) + 1
	t.nodes = append(t.nodes, make([]*node, more)...)
	t.hashes = append(t.hashes, make([][]byte, more)...)
	return leafOf(index(more))
}

// add is RFC 9420 §12.1.1: the new member is unmerged at every parent above it.
func (t *tree) add(leaf mls.LeafNode) mls.LeafIndex {
	i := t.vacancy()
	for _, x := range t.directPath(i) {
		if n := t.nodes[x]; n != nil {
			p := *n.parent
			p.UnmergedLeaves = append(slices.Clone(p.UnmergedLeaves), i)
			slices.Sort(p.UnmergedLeaves)
			t.set(x, newParent(p))
		}
	}
	t.set(i.Node(), newLeaf(leaf))
	return i
}

// update is RFC 9420 §12.1.2.
func (t *tree) update(i mls.LeafIndex, leaf mls.LeafNode) {
	t.blankPath(i)
	t.set(i.Node(), newLeaf(leaf))
}

// remove is RFC 9420 §12.1.3: what is right of the last half that has members is cut off. A leaf that is not there stays away.
func (t *tree) remove(i mls.LeafIndex) {
	if t.leaf(i) == nil {
		return
	}
	t.blankPath(i)
	t.set(i.Node(), nil)
	for len(t.nodes) > 1 && !slices.ContainsFunc(t.nodes[len(t.nodes)/2+1:], func(n *node) bool { return n != nil && n.leaf != nil }) {
		t.nodes = slices.Clip(t.nodes[:len(t.nodes)/2])
		t.hashes = slices.Clip(t.hashes[:len(t.nodes)])
	}
}

func (t *tree) blankPath(i mls.LeafIndex) {
	for _, x := range t.directPath(i) {
		t.set(x, nil)
	}
}

// hash is the tree hash of the subtree under x (RFC 9420 §7.8).
func (t *tree) hash(x index) []byte {
	if t.hashes[x] == nil {
		var w mls.Writer
		if level(x) == 0 {
			w.Uint8(nodeTypeLeaf)
			w.Uint32(uint32(leafOf(x)))
		} else {
			w.Uint8(nodeTypeParent)
		}
		if n := t.nodes[x]; n == nil {
			w.Uint8(0)
		} else {
			w.Uint8(1)
			w.Fixed(n.raw[1:])
		}
		if level(x) > 0 {
			w.Opaque(t.hash(leftOf(x)))
			w.Opaque(t.hash(rightOf(x)))
		}
		t.hashes[x] = t.suite.Hash(w.Bytes())
	}
	return t.hashes[x]
}

// parentHash is what a child says of its parent, beside a sibling that has not changed since (RFC 9420 §7.9).
func (t *tree) parentHash(p mls.ParentNode, sibling index) []byte {
	var w mls.Writer
	w.Opaque(p.EncryptionKey)
	w.Opaque(p.ParentHash)
	w.Opaque(t.hash(sibling))
	return t.suite.Hash(w.Bytes())
}

// marshal is ratchet_tree<V>, without the blank nodes at its end (RFC 9420 §12.4.3.3).
func (t *tree) marshal() []byte {
	end := len(t.nodes)
	for end > 0 && t.nodes[end-1] == nil {
		end--
	}
	var w mls.Writer
	w.Vector(func(w *mls.Writer) {
		for _, n := range t.nodes[:end] {
			w.Bool(n != nil)
			if n != nil {
				w.Fixed(n.raw)
			}
		}
	})
	return w.Bytes()
}
