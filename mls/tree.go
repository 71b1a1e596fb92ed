package mls

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
)

// RatchetTree is a group's public tree (RFC 9420 §4, §7.8) in its array form, of a full width 2^(d+1) - 1. Its nodes never
// change in place and copies share them, so a copy costs two slices of pointers. From outside the package a tree is
// constant; its methods may run concurrently once TreeHash has run.
type RatchetTree struct {
	nodes  []*treeNode // nil where blank; never empty
	hashes [][]byte    // by node; nil where not known; of the suite below
	suite  CipherSuite
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
	t := &RatchetTree{}
	t.resize(nodes, fullWidth(len(nodes)))
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
	t := &RatchetTree{nodes: make([]*treeNode, len(nodes)), hashes: make([][]byte, len(nodes))}
	for i, raw := range nodes {
		if raw == nil {
			continue
		}
		n, err := Parse(fmt.Sprintf("ratchet_tree[%d]", i), raw, func(r *Reader) *treeNode { return readNode(r, NodeIndex(i)) })
		if err != nil {
			return nil, err
		}
		t.nodes[i] = n
	}
	return t, nil
}

// AppendTo appends ratchet_tree<V>, without the blank nodes at its end.
func (t *RatchetTree) AppendTo(w *Writer) {
	end := len(t.nodes)
	for end > 0 && t.nodes[end-1] == nil {
		end--
	}
	w.Vector(func(w *Writer) {
		for _, n := range t.nodes[:end] {
			w.Bool(n != nil)
			if n != nil {
				w.Fixed(n.raw)
			}
		}
	})
}

func (t *RatchetTree) Marshal() []byte { return marshal(t) }

// Width is the number of nodes, blank ones included: 2^(d+1) - 1.
func (t *RatchetTree) Width() int { return len(t.nodes) }

// LeafCount is the number of leaves, blank ones included: 2^d.
func (t *RatchetTree) LeafCount() int { return (len(t.nodes) + 1) / 2 }

// Leaf returns a leaf, or nil where it is blank or past the tree.
func (t *RatchetTree) Leaf(i LeafIndex) *LeafNode {
	if int64(i) >= int64(t.LeafCount()) {
		return nil
	}
	if n := t.nodes[i.Node()]; n != nil {
		return n.leaf
	}
	return nil
}

// Leaves ranges over the leaves that are not blank, from the left.
func (t *RatchetTree) Leaves() iter.Seq2[LeafIndex, *LeafNode] {
	return func(yield func(LeafIndex, *LeafNode) bool) {
		for i := 0; i < len(t.nodes); i += 2 {
			if n := t.nodes[i]; n != nil && !yield(LeafIndex(i/2), n.leaf) {
				return
			}
		}
	}
}

// Node returns the encoding of a node, nil where it is blank or past the tree.
func (t *RatchetTree) Node(x NodeIndex) []byte {
	if int64(x) >= int64(len(t.nodes)) || t.nodes[x] == nil {
		return nil
	}
	return t.nodes[x].raw
}

// Nodes returns the encodings of all nodes by index, nil where blank; its length is Width.
func (t *RatchetTree) Nodes() [][]byte {
	out := make([][]byte, len(t.nodes))
	for i, n := range t.nodes {
		if n != nil {
			out[i] = n.raw
		}
	}
	return out
}

// Changes lists what differs from an earlier tree within this tree's width: node index to encoding, nil where the node is
// now blank. With Width it is all that is needed to bring the earlier tree up to this one.
func (t *RatchetTree) Changes(earlier *RatchetTree) map[NodeIndex][]byte {
	changes := make(map[NodeIndex][]byte)
	for i, n := range t.nodes {
		var was *treeNode
		if i < len(earlier.nodes) {
			was = earlier.nodes[i]
		}
		switch {
		case n == was:
		case n == nil:
			changes[NodeIndex(i)] = nil
		case was == nil || !bytes.Equal(n.raw, was.raw):
			changes[NodeIndex(i)] = n.raw
		}
	}
	return changes
}

// clone copies the tree, sharing its nodes.
func (t *RatchetTree) clone() *RatchetTree {
	return &RatchetTree{nodes: slices.Clone(t.nodes), hashes: slices.Clone(t.hashes), suite: t.suite}
}

// resize gives the tree these nodes, at a full width. The hashes of subtrees that it had before stay true, because a
// subtree keeps its node's index.
func (t *RatchetTree) resize(nodes []*treeNode, width int) {
	t.nodes = append(make([]*treeNode, 0, width), nodes[:min(len(nodes), width)]...)[:width]
	t.hashes = append(make([][]byte, 0, width), t.hashes[:min(len(t.hashes), width)]...)[:width]
}

// set replaces a node, nil to blank it, and forgets the hashes that covered it.
func (t *RatchetTree) set(x NodeIndex, n *treeNode) {
	t.nodes[x] = n
	t.hashes[x] = nil
	for _, p := range directPath(x, len(t.nodes)) {
		t.hashes[p] = nil
	}
}
