package mls

import (
	"bytes"
	"fmt"
	"iter"
)

// RatchetTree is a group's public tree (RFC 9420 §4, §7.8), always of a full width: 2^d leaves. Trees share the parts in which
// they are alike, so a copy costs nothing and a change O(log n). From outside the package a tree is constant; its methods may
// run concurrently once TreeHash has run.
type RatchetTree struct {
	root  *vertex // nil where the tree is one blank leaf
	top   NodeIndex
	suite CipherSuite // of the kept hashes; 0 where none are
	keys  *keySet     // what indexKeys has counted; nil before
}

// LeavesMax bounds a tree's leaves, blank ones included. A blank node costs an octet on the wire and fifty here.
const LeavesMax = 1 << 17

// ReadRatchetTree reads `optional<Node> ratchet_tree<V>` (RFC 9420 §12.4.3.3), which must not end in a blank node, and
// widens it to its full width.
func ReadRatchetTree(r *Reader) *RatchetTree {
	var nodes []*treeNode
	v := r.Vector("")
	v.at = &place{outer: v.at.outer, field: v.at.field}
	for v.More() {
		v.at.element++
		if len(nodes) >= 2*LeavesMax {
			v.Fail("", fmt.Sprintf("the tree has more than %d leaves", LeavesMax))
			return nil
		}
		if !v.Optional("") {
			nodes = append(nodes, nil)
			continue
		}
		nodes = append(nodes, readNode(v, NodeIndex(len(nodes))))
	}
	switch {
	case r.Failed():
		return nil
	case len(nodes) == 0:
		r.Fail("", "the tree is empty")
		return nil
	case nodes[len(nodes)-1] == nil:
		r.Fail("", "the last node is blank")
		return nil
	}
	return newTree(nodes, fullWidth(len(nodes)))
}

// newTree builds a tree of a full width from its nodes by index; those past the end are blank.
func newTree(nodes []*treeNode, width int) *RatchetTree {
	t := &RatchetTree{top: rootOf(width)}
	if t.root = buildVertex(nodes, t.top); t.root == nil && !t.top.isLeaf() {
		t.root = &vertex{}
	}
	return t
}

func ParseRatchetTree(b []byte) (*RatchetTree, error) {
	return Parse("ratchet_tree", b, ReadRatchetTree)
}

// NewRatchetTree builds a tree from the encodings of its nodes (Node, without the octet of its optional), by index; nil is
// blank. The number of nodes must be a full width. It is the inverse of Nodes, and keeps the slices.
func NewRatchetTree(nodes [][]byte) (*RatchetTree, error) {
	if len(nodes) == 0 || fullWidth(len(nodes)) != len(nodes) {
		return nil, &MalformedError{Field: "ratchet_tree", Reason: fmt.Sprintf("%d nodes are not the width of a tree", len(nodes))}
	}
	made := make([]*treeNode, len(nodes))
	for i, raw := range nodes {
		if raw == nil {
			continue
		}
		n, err := Parse(fmt.Sprintf("ratchet_tree[%d]", i), raw, func(r *Reader) *treeNode { return readNode(r, NodeIndex(i)) })
		if err != nil {
			return nil, err
		}
		made[i] = n
	}
	return newTree(made, len(made)), nil
}

// AppendTo appends ratchet_tree<V>, without the blank nodes at its end.
func (t *RatchetTree) AppendTo(w *Writer) {
	w.Vector(func(w *Writer) {
		next := NodeIndex(0)
		t.root.each(t.top, func(x NodeIndex, n *treeNode) bool {
			for ; next < x; next++ {
				w.Bool(false)
			}
			w.Bool(true)
			w.Fixed(n.raw)
			next++
			return true
		})
	})
}

func (t *RatchetTree) Marshal() []byte { return marshal(t) }

// Width is the number of nodes, blank ones included: 2^(d+1) - 1.
func (t *RatchetTree) Width() int { return 2*int(t.top) + 1 }

// LeafCount is the number of leaves, blank ones included: 2^d.
func (t *RatchetTree) LeafCount() int { return int(t.top) + 1 }

// MemberCount is the number of leaves that are not blank.
func (t *RatchetTree) MemberCount() int { return t.root.members() }

// node returns a node, nil where it is blank or past the tree.
func (t *RatchetTree) node(x NodeIndex) *treeNode {
	if int64(x) >= int64(t.Width()) {
		return nil
	}
	if v := t.root.at(t.top, x); v != nil {
		return v.node
	}
	return nil
}

// Leaf returns a leaf, or nil where it is blank or past the tree.
func (t *RatchetTree) Leaf(i LeafIndex) *LeafNode {
	if int64(i) >= int64(t.LeafCount()) {
		return nil
	}
	if n := t.node(i.Node()); n != nil {
		return n.leaf
	}
	return nil
}

// Leaves ranges over the leaves that are not blank, from the left.
func (t *RatchetTree) Leaves() iter.Seq2[LeafIndex, *LeafNode] {
	return func(yield func(LeafIndex, *LeafNode) bool) {
		t.root.each(t.top, func(x NodeIndex, n *treeNode) bool { return n.leaf == nil || yield(x.leaf(), n.leaf) })
	}
}

// Node returns the encoding of a node, nil where it is blank or past the tree.
func (t *RatchetTree) Node(x NodeIndex) []byte {
	if n := t.node(x); n != nil {
		return n.raw
	}
	return nil
}

// Nodes returns the encodings of all nodes by index, nil where blank; its length is Width.
func (t *RatchetTree) Nodes() [][]byte {
	out := make([][]byte, t.Width())
	t.root.each(t.top, func(x NodeIndex, n *treeNode) bool {
		out[x] = n.raw
		return true
	})
	return out
}

// Changes lists what differs from an earlier tree within this tree's width: node index to encoding, nil where the node is
// now blank. With Width it is all that is needed to bring the earlier tree up to this one. What the trees share is passed over.
func (t *RatchetTree) Changes(earlier *RatchetTree) map[NodeIndex][]byte {
	changes := make(map[NodeIndex][]byte)
	now, was := t.root, earlier.root
	x := t.top
	for ; x > earlier.top; x = x.left() { // this tree has grown: all but its leftmost part is new
		if now.node != nil {
			changes[x] = now.node.raw
		}
		now.right.changes(nil, x.right(), changes)
		now = now.left
	}
	for y := earlier.top; y > x; y = y.left() {
		was = was.left
	}
	now.changes(was, x, changes)
	return changes
}

// changes collects the nodes at and under the vertex that are not as they were.
func (v *vertex) changes(was *vertex, x NodeIndex, changes map[NodeIndex][]byte) {
	if v == was || v.blank() && was.blank() {
		return
	}
	var now, before vertex
	if v != nil {
		now = *v
	}
	if was != nil {
		before = *was
	}
	switch {
	case now.node == before.node:
	case now.node == nil:
		changes[x] = nil
	case before.node == nil || !bytes.Equal(now.node.raw, before.node.raw):
		changes[x] = now.node.raw
	}
	if !x.isLeaf() {
		now.left.changes(before.left, x.left(), changes)
		now.right.changes(before.right, x.right(), changes)
	}
}

// clone copies the tree, sharing everything.
func (t *RatchetTree) clone() *RatchetTree { return pointerTo(*t) }

// set replaces a node, nil to blank it.
func (t *RatchetTree) set(x NodeIndex, n *treeNode) {
	if t.keys != nil {
		t.keys = t.keys.withNode(t.node(x), -1).withNode(n, 1)
	}
	t.root = t.root.with(t.top, x, n)
}

// indexKeys counts the tree's keys, unless that has been done; from then on set keeps count.
func (t *RatchetTree) indexKeys() {
	if t.keys != nil {
		return
	}
	t.keys = keysOf(func(yield func(NodeIndex, *treeNode) bool) { t.root.each(t.top, yield) })
}

// keyCount is how many nodes of an indexed tree have a key.
func (t *RatchetTree) keyCount(purpose keyPurpose, key []byte) int {
	return t.keys.count(digestOf(purpose, key))
}
