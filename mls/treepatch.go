package mls

import (
	"bytes"
	"fmt"
	"slices"
)

// TreePatch brings a group's tree from one epoch to another, later or not (docs/extensions.md). It is checked by both tree
// hashes, so that a patch that is made for another tree, or is not true, leads nowhere.
//
//	struct {
//	    uint32 node_index;
//	    optional<Node> node; // absent where it is now blank
//	} NodeChange;
//
//	struct {
//	    uint8 format = 1;
//	    CipherSuite cipher_suite;
//	    opaque from_tree_hash<V>;
//	    opaque to_tree_hash<V>;
//	    uint8 levels;          // the tree has 2^levels leaves
//	    NodeChange changes<V>; // by increasing node_index
//	} TreePatch;
type TreePatch struct {
	Suite    CipherSuite
	From, To []byte // tree hashes
	levels   int
	changes  []nodeChange
}

type nodeChange struct {
	index NodeIndex
	node  *treeNode
}

const (
	treePatchFormat = 1
	treeLevelsMax   = 17 // LeavesMax is 2^17
)

// PatchFrom makes the patch that leads from another tree of the group to this one. Its cost, and its size, are those of the
// nodes in which the trees differ. The hashes of both must have been computed under the suite.
func (t *RatchetTree) PatchFrom(s *Suite, other *RatchetTree) TreePatch {
	p := TreePatch{Suite: s.ID, From: other.TreeHash(s), To: t.TreeHash(s), levels: t.top.level()}
	for x := range t.Changes(other) {
		p.changes = append(p.changes, nodeChange{x, t.node(x)})
	}
	slices.SortFunc(p.changes, func(a, b nodeChange) int { return int(a.index) - int(b.index) })
	return p
}

// Apply makes the tree that the patch leads to. The error is an *InvalidError where the patch is not for this tree, or does not
// lead to the tree that it names.
func (p TreePatch) Apply(t *RatchetTree) (*RatchetTree, error) {
	s, err := p.Suite.Suite()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(t.TreeHash(s), p.From) {
		return nil, invalid("7.8", "the patch is for another tree: its hash differs")
	}
	next := t.clone()
	for next.top.level() < p.levels {
		next.extend()
	}
	for next.top.level() > p.levels {
		next.root, _ = next.root.children(next.top)
		next.top = next.top.left()
	}
	next.keys = nil // of nodes that are gone with a half of the tree, nothing was taken off
	for _, c := range p.changes {
		next.set(c.index, c.node)
	}
	if !bytes.Equal(next.TreeHash(s), p.To) {
		return nil, invalid("7.8", "the patch does not lead to the tree that it names")
	}
	return next, nil
}

func ReadTreePatch(r *Reader) TreePatch {
	if format := r.Uint8("format"); !r.Failed() && format != treePatchFormat {
		r.Fail("format", fmt.Sprintf("format %d of a tree patch is unknown", format))
	}
	p := TreePatch{
		Suite: CipherSuite(r.Uint16("cipher_suite")), From: r.Opaque("from_tree_hash"), To: r.Opaque("to_tree_hash"),
		levels: int(r.Uint8("levels")),
	}
	if p.levels > treeLevelsMax {
		r.Fail("levels", fmt.Sprintf("a tree of 2^%d leaves is too large", p.levels))
	}
	last := int64(-1)
	p.changes = ReadList(r, "changes", func(r *Reader) nodeChange {
		c := nodeChange{index: NodeIndex(r.Uint32("node_index"))}
		switch {
		case r.Failed():
			return c
		case int64(c.index) <= last || int64(c.index) >= 2<<p.levels-1:
			r.Fail("node_index", fmt.Sprintf("node %d stands after node %d in a tree of 2^%d leaves", c.index, last, p.levels))
			return c
		}
		last = int64(c.index)
		if r.Optional("node") {
			c.node = readNode(r, c.index)
		}
		return c
	})
	return p
}

func ParseTreePatch(b []byte) (TreePatch, error) { return Parse("TreePatch", b, ReadTreePatch) }

func (p TreePatch) AppendTo(w *Writer) {
	w.Uint8(treePatchFormat)
	w.Uint16(uint16(p.Suite))
	w.Opaque(p.From)
	w.Opaque(p.To)
	w.Uint8(uint8(p.levels))
	w.Vector(func(w *Writer) {
		for _, c := range p.changes {
			w.Uint32(uint32(c.index))
			w.Bool(c.node != nil)
			if c.node != nil {
				w.Fixed(c.node.raw)
			}
		}
	})
}

func (p TreePatch) Marshal() []byte { return marshal(p) }

// Len is the number of nodes that the patch changes.
func (p TreePatch) Len() int { return len(p.changes) }
