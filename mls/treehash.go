package mls

import "slices"

// TreeHash is the tree hash of the whole tree (RFC 9420 §7.8). Hashes of subtrees are kept, so that after a change only the
// way from the changed nodes to the root is hashed again. It must not run beside any other method until it has run once.
func (t *RatchetTree) TreeHash(s *Suite) []byte {
	if t.suite != s.ID {
		t.suite = s.ID
		clear(t.hashes)
	}
	return t.subtreeHash(s, rootOf(len(t.nodes)))
}

// subtreeHash hashes the subtree under a node; its recursion is as deep as the tree, at most 31.
//
//	struct {
//	    NodeType node_type;
//	    select (TreeHashInput.node_type) {
//	        case leaf:   uint32 leaf_index; optional<LeafNode> leaf_node;
//	        case parent: optional<ParentNode> parent_node; opaque left_hash<V>; opaque right_hash<V>;
//	    };
//	} TreeHashInput;
func (t *RatchetTree) subtreeHash(s *Suite, x NodeIndex) []byte {
	if t.hashes[x] != nil {
		return t.hashes[x]
	}
	var left, right []byte
	if !x.isLeaf() {
		left, right = t.subtreeHash(s, x.left()), t.subtreeHash(s, x.right())
	}
	t.hashes[x] = s.Hash(treeHashInput(t.nodes[x], x, left, right))
	return t.hashes[x]
}

func treeHashInput(n *treeNode, x NodeIndex, left, right []byte) []byte {
	var w Writer
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
	var w Writer
	w.Opaque(p.EncryptionKey)
	w.Opaque(p.ParentHash)
	w.Opaque(t.subtreeHash(s, sibling))
	return s.Hash(w.Bytes())
}

// resolution lists the nodes that together cover every leaf under x (RFC 9420 §4.1.1), from the left.
func (t *RatchetTree) resolution(x NodeIndex) []NodeIndex {
	switch n := t.nodes[x]; {
	case n != nil && n.leaf != nil:
		return []NodeIndex{x}
	case n != nil:
		out := []NodeIndex{x}
		for _, l := range n.parent.UnmergedLeaves {
			out = append(out, l.Node())
		}
		return out
	case x.isLeaf():
		return nil
	default:
		return slices.Concat(t.resolution(x.left()), t.resolution(x.right()))
	}
}

// empty reports whether the resolution of x is empty: every node under it is blank.
func (t *RatchetTree) empty(x NodeIndex) bool {
	return t.nodes[x] == nil && (x.isLeaf() || t.empty(x.left()) && t.empty(x.right()))
}
