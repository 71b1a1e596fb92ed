package mls

// TreeHash is the tree hash of the whole tree (RFC 9420 §7.8). Hashes of subtrees are kept, so that after a change only the
// way from the changed nodes to the root is hashed again. It must not run beside any other method until it has run once.
func (t *RatchetTree) TreeHash(s *Suite) []byte {
	if t.suite != s.ID {
		if t.suite != 0 {
			t.root = t.root.unhashed()
		}
		t.suite = s.ID
	}
	return t.root.treeHash(s, t.top)
}

// unhashed is a copy that has no hashes, for another suite.
func (v *vertex) unhashed() *vertex {
	if v == nil {
		return nil
	}
	out := *v
	out.hash, out.left, out.right = nil, v.left.unhashed(), v.right.unhashed()
	return &out
}

// treeHash hashes the subtree under x; its recursion is as deep as the tree. A blank subtree's hash is kept for the whole of
// it alone, so that an input of blank nodes does not grow into vertices.
//
//	struct {
//	    NodeType node_type;
//	    select (TreeHashInput.node_type) {
//	        case leaf:   uint32 leaf_index; optional<LeafNode> leaf_node;
//	        case parent: optional<ParentNode> parent_node; opaque left_hash<V>; opaque right_hash<V>;
//	    };
//	} TreeHashInput;
func (v *vertex) treeHash(s *Suite, x NodeIndex) []byte {
	if v == nil {
		return blankHash(s, x)
	}
	if v.hash == nil {
		var left, right []byte
		if !x.isLeaf() {
			left, right = v.left.treeHash(s, x.left()), v.right.treeHash(s, x.right())
		}
		v.hash = s.Hash(treeHashInput(v.node, x, left, right))
	}
	return v.hash
}

// blankHash is the tree hash of a subtree of blank nodes.
func blankHash(s *Suite, x NodeIndex) []byte {
	if x.isLeaf() {
		return s.Hash(treeHashInput(nil, x, nil, nil))
	}
	return s.Hash(treeHashInput(nil, x, blankHash(s, x.left()), blankHash(s, x.right())))
}

// subtreeHash is the tree hash under a node of a tree that is of the suite.
func (t *RatchetTree) subtreeHash(s *Suite, x NodeIndex) []byte {
	return t.root.at(t.top, x).treeHash(s, x)
}

func treeHashInput(n *treeNode, x NodeIndex, left, right []byte) []byte {
	size := 8 + len(left) + len(right)
	if n != nil {
		size += len(n.raw)
	}
	w := newWriter(size)
	if x.isLeaf() {
		w.Uint8(nodeLeaf)
		w.Uint32(uint32(x.leaf()))
	} else {
		w.Uint8(nodeParent)
	}
	w.Bool(n != nil)
	if n != nil {
		w.Fixed(n.raw[1:]) // without its node_type
	}
	if !x.isLeaf() {
		w.Opaque(left)
		w.Opaque(right)
	}
	return w.Bytes()
}

// parentHash is the parent hash of a parent node whose copath child is the subtree under sibling (RFC 9420 §7.9). The
// parent's unmerged leaves must be none, as they are right after an UpdatePath: then the sibling's original tree hash is
// its present one.
//
//	struct {
//	    HPKEPublicKey encryption_key;
//	    opaque parent_hash<V>;
//	    opaque original_sibling_tree_hash<V>;
//	} ParentHashInput;
func (t *RatchetTree) parentHash(s *Suite, p ParentNode, sibling NodeIndex) []byte {
	w := newWriter(len(p.EncryptionKey) + 2*s.HashBytes() + 5)
	w.Opaque(p.EncryptionKey)
	w.Opaque(p.ParentHash)
	w.Opaque(t.subtreeHash(s, sibling))
	return s.Hash(w.Bytes())
}

// resolution lists the nodes that together cover every leaf under x (RFC 9420 §4.1.1), from the left.
func (t *RatchetTree) resolution(x NodeIndex) []NodeIndex {
	return t.root.at(t.top, x).resolution(x, nil)
}

func (v *vertex) resolution(x NodeIndex, out []NodeIndex) []NodeIndex {
	switch {
	case v.blank():
		return out
	case v.node == nil:
		return v.right.resolution(x.right(), v.left.resolution(x.left(), out))
	case v.node.parent != nil:
		out = append(out, x)
		for _, l := range v.node.parent.UnmergedLeaves {
			out = append(out, l.Node())
		}
		return out
	default:
		return append(out, x)
	}
}

// empty reports whether the resolution of x is empty: every node under it is blank.
func (t *RatchetTree) empty(x NodeIndex) bool { return t.root.at(t.top, x).blank() }
