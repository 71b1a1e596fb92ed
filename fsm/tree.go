package fsm

import (
	"encoding/binary"
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// TreeWidthMax bounds a room's tree: the array of a tree of 65,536 leaves, the power of two above the 50,000 that a group may
// have.
const TreeWidthMax = 2*65536 - 1

// ReadTree returns the ratchet tree of a room as its array (RFC 9420 appendix C), each node encoded as it was given, nil where
// it is blank; false where there is no such room.
func ReadTree(r Reader, room mimi.RoomURI) (nodes [][]byte, found bool, err error) {
	head, found, err := readHead(r, room)
	if err != nil || !found {
		return nil, false, err
	}
	nodes = make([][]byte, head.treeWidth)
	prefix := roomKey(keyTreeNode, room)
	err = scanRecords(r, prefix, "tree node", readTreeNode, func(rest []byte, node []byte) (bool, error) {
		index := binary.BigEndian.Uint32(rest)
		if index >= head.treeWidth {
			return false, fmt.Errorf("node %d lies outside a tree of %d nodes", index, head.treeWidth)
		}
		nodes[index] = node
		return true, nil
	})
	return nodes, err == nil, err
}

func readTreeNode(r *mls.Reader) []byte { return r.Opaque("node") }

// proveTree says what is wrong with the tree's changes, or nothing.
func proveTree(f RoomFacts) (reason string) {
	if f.TreeWidth > TreeWidthMax {
		return "the ratchet tree is larger than this hub takes"
	}
	for _, change := range f.TreeChanges {
		if change.Index >= f.TreeWidth {
			return "a changed node lies outside the ratchet tree"
		}
	}
	return ""
}

func (t *tx) setTree(head roomHead, f RoomFacts) {
	prefix := roomKey(keyTreeNode, head.room)
	if f.TreeWidth < head.treeWidth {
		t.deleteRange(prefix.uint32(f.TreeWidth), prefix.end())
	}
	for _, change := range f.TreeChanges {
		k := prefix.uint32(change.Index)
		if change.Node == nil {
			t.delete(k)
		} else {
			t.set(k, record(func(w *mls.Writer) { w.Opaque(change.Node) }))
		}
	}
}
