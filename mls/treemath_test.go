package mls

import "testing"

func TestTreeMathVectors(t *testing.T) {
	type vector struct {
		Leaves  int          `json:"n_leaves"`
		Nodes   int          `json:"n_nodes"`
		Root    NodeIndex    `json:"root"`
		Left    []*NodeIndex `json:"left"`
		Right   []*NodeIndex `json:"right"`
		Parent  []*NodeIndex `json:"parent"`
		Sibling []*NodeIndex `json:"sibling"`
	}
	compare := func(what string, x int, want *NodeIndex, got func() NodeIndex) {
		if want != nil && got() != *want {
			t.Errorf("%s of %d is %d, want %d", what, x, got(), *want)
		}
	}
	for _, v := range loadVectors[vector](t, "tree-math.json") {
		if w := fullWidth(2*v.Leaves - 1); w != v.Nodes {
			t.Errorf("%d leaves need %d nodes, want %d", v.Leaves, w, v.Nodes)
		}
		if root := rootOf(v.Nodes); root != v.Root {
			t.Errorf("root of %d nodes is %d, want %d", v.Nodes, root, v.Root)
		}
		for x := range v.Nodes {
			i := NodeIndex(x)
			compare("left", x, v.Left[x], i.left)
			compare("right", x, v.Right[x], i.right)
			compare("parent", x, v.Parent[x], i.parent)
			compare("sibling", x, v.Sibling[x], i.sibling)
		}
	}
}
