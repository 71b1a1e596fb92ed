package mls

import "fmt"

// ParentNode is an intermediate node's public state (RFC 9420 §7.1). Unmerged leaves are in increasing order.
//
//	struct {
//	    HPKEPublicKey encryption_key;
//	    opaque parent_hash<V>;
//	    uint32 unmerged_leaves<V>;
//	} ParentNode;
type ParentNode struct {
	EncryptionKey  []byte
	ParentHash     []byte
	UnmergedLeaves []LeafIndex
}

func ReadParentNode(r *Reader) ParentNode {
	n := ParentNode{
		EncryptionKey:  r.Opaque("encryption_key"),
		ParentHash:     r.Opaque("parent_hash"),
		UnmergedLeaves: ReadList(r, "unmerged_leaves", func(r *Reader) LeafIndex { return LeafIndex(r.Uint32("")) }),
	}
	for i := 1; i < len(n.UnmergedLeaves); i++ {
		if n.UnmergedLeaves[i] <= n.UnmergedLeaves[i-1] {
			r.Fail("unmerged_leaves", "leaf indices do not increase")
			break
		}
	}
	return n
}

func (n ParentNode) AppendTo(w *Writer) {
	w.Opaque(n.EncryptionKey)
	w.Opaque(n.ParentHash)
	w.Vector(func(w *Writer) {
		for _, l := range n.UnmergedLeaves {
			w.Uint32(uint32(l))
		}
	})
}

func (n ParentNode) Marshal() []byte { return marshal(n) }

// treeNode is a node that is not blank; exactly one of leaf and parent is set. It never changes once made, so trees share it.
//
//	struct {
//	    NodeType node_type; // leaf(1), parent(2)
//	    select (Node.node_type) {
//	        case leaf:   LeafNode leaf_node;
//	        case parent: ParentNode parent_node;
//	    };
//	} Node;
type treeNode struct {
	leaf   *LeafNode
	parent *ParentNode
	raw    []byte // the encoding of Node
}

const (
	nodeLeaf   = 1
	nodeParent = 2
)

// readNode reads a Node that is to stand at index x, and refuses a leaf in a parent's place and the reverse.
func readNode(r *Reader, x NodeIndex) *treeNode {
	n := &treeNode{}
	start := r.Offset()
	switch t := r.Uint8("node_type"); {
	case r.Failed():
		return nil
	case t == nodeLeaf && x.isLeaf():
		n.leaf = pointerTo(ReadIn(r, "leaf_node", ReadLeafNode))
	case t == nodeParent && !x.isLeaf():
		n.parent = pointerTo(ReadIn(r, "parent_node", ReadParentNode))
	case t == nodeLeaf || t == nodeParent:
		r.Fail("node_type", fmt.Sprintf("node type %d cannot stand at node %d", t, x))
	default:
		r.Fail("node_type", fmt.Sprintf("node type %d is unknown", t))
	}
	n.raw = r.Since(start)
	return n
}

func newLeaf(leaf LeafNode) *treeNode {
	w := newWriter(256)
	w.Uint8(nodeLeaf)
	leaf.AppendTo(w)
	return &treeNode{leaf: &leaf, raw: w.Bytes()}
}

func newParent(parent ParentNode) *treeNode {
	w := newWriter(8 + len(parent.EncryptionKey) + len(parent.ParentHash) + 4*len(parent.UnmergedLeaves))
	w.Uint8(nodeParent)
	parent.AppendTo(w)
	return &treeNode{parent: &parent, raw: w.Bytes()}
}
