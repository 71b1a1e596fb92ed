package mls

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTreeValidationVectors(t *testing.T) {
	type vector struct {
		Suite       CipherSuite   `json:"cipher_suite"`
		Tree        hexBytes      `json:"tree"`
		GroupID     hexBytes      `json:"group_id"`
		Resolutions [][]NodeIndex `json:"resolutions"`
		Hashes      []hexBytes    `json:"tree_hashes"`
	}
	for n, v := range loadVectors[vector](t, "tree-validation.json") {
		s := must(v.Suite.Suite())(t)
		tree := must(ParseRatchetTree(v.Tree))(t)
		tree.TreeHash(s)
		if err := tree.verify(s, GroupID(v.GroupID)); err != nil {
			t.Errorf("vector %d: %v", n, err)
		}
		for x, want := range v.Hashes {
			if got := tree.subtreeHash(s, NodeIndex(x)); !bytes.Equal(got, want) {
				t.Fatalf("vector %d: hash of node %d is %x, want %x", n, x, got, want)
			}
		}
		for x, want := range v.Resolutions {
			got := tree.resolution(NodeIndex(x))
			if len(got)+len(want) > 0 && !cmp.Equal(got, want) {
				t.Errorf("vector %d: resolution of node %d is %v, want %v", n, x, got, want)
			}
			if tree.empty(NodeIndex(x)) != (len(want) == 0) {
				t.Errorf("vector %d: node %d is wrongly called empty, or not", n, x)
			}
		}
		for i, leaf := range tree.Leaves() {
			if !leaf.Verify(s, LeafPlace{GroupID: GroupID(v.GroupID), Leaf: i}) {
				t.Errorf("vector %d: the signature of leaf %d does not verify", n, i)
			}
		}
		checkRebuilt(t, tree, s)
	}
}

// checkRebuilt makes a tree anew from its nodes and compares.
func checkRebuilt(t *testing.T, tree *RatchetTree, s *Suite) {
	t.Helper()
	again := must(NewRatchetTree(tree.Nodes()))(t)
	if !bytes.Equal(again.Marshal(), tree.Marshal()) {
		t.Error("a tree rebuilt from its nodes differs")
	}
	if !bytes.Equal(again.TreeHash(s), tree.TreeHash(s)) {
		t.Error("the kept hashes of a tree differ from those computed anew")
	}
}

func TestTreeOperationsVectors(t *testing.T) {
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		Before     hexBytes    `json:"tree_before"`
		Proposal   hexBytes    `json:"proposal"`
		Sender     LeafIndex   `json:"proposal_sender"`
		HashBefore hexBytes    `json:"tree_hash_before"`
		After      hexBytes    `json:"tree_after"`
		HashAfter  hexBytes    `json:"tree_hash_after"`
	}
	for n, v := range loadVectors[vector](t, "tree-operations.json") {
		s := must(v.Suite.Suite())(t)
		before := must(ParseRatchetTree(v.Before))(t)
		if !bytes.Equal(before.TreeHash(s), v.HashBefore) {
			t.Errorf("vector %d: hash before is %x, want %x", n, before.TreeHash(s), v.HashBefore)
		}
		tree := before.clone()
		switch p := must(ParseProposal(v.Proposal))(t).(type) {
		case Add:
			tree.add(p.KeyPackage.Leaf)
		case Update:
			tree.update(v.Sender, p.Leaf)
		case Remove:
			tree.remove(p.Removed)
		default:
			t.Fatalf("vector %d: a proposal of type %d", n, p.ProposalType())
		}
		if !bytes.Equal(tree.Marshal(), v.After) || !bytes.Equal(tree.TreeHash(s), v.HashAfter) {
			t.Errorf("vector %d: the tree after differs", n)
		}
		if !bytes.Equal(before.Marshal(), v.Before) {
			t.Errorf("vector %d: the change of a copy changed the original", n)
		}
		checkRebuilt(t, tree, s)
		checkChanges(t, before, tree)
	}
}

// checkChanges brings a tree up to a later one by its list of changes.
func checkChanges(t *testing.T, before, after *RatchetTree) {
	t.Helper()
	nodes := append(before.Nodes(), make([][]byte, after.Width())...)[:after.Width()]
	for x, raw := range after.Changes(before) {
		nodes[x] = raw
	}
	if got := must(NewRatchetTree(nodes))(t).Marshal(); !bytes.Equal(got, after.Marshal()) {
		t.Error("the changes of a tree do not lead to the later one")
	}
}

func TestTreeKEMVectors(t *testing.T) {
	type vector struct {
		Suite   CipherSuite `json:"cipher_suite"`
		GroupID hexBytes    `json:"group_id"`
		Tree    hexBytes    `json:"ratchet_tree"`
		Paths   []struct {
			Sender   LeafIndex
			Path     hexBytes `json:"update_path"`
			TreeHash hexBytes `json:"tree_hash_after"`
		} `json:"update_paths"`
	}
	for n, v := range loadVectors[vector](t, "treekem.json") {
		s := must(v.Suite.Suite())(t)
		before := must(ParseRatchetTree(v.Tree))(t)
		for _, u := range v.Paths {
			path := must(ParseUpdatePath(u.Path))(t)
			if !path.Leaf.Verify(s, LeafPlace{GroupID: GroupID(v.GroupID), Leaf: u.Sender}) {
				t.Errorf("vector %d, leaf %d: the new leaf's signature does not verify", n, u.Sender)
			}
			after := before.clone()
			if err := after.merge(s, u.Sender, &path, nil); err != nil {
				t.Errorf("vector %d, leaf %d: %v", n, u.Sender, err)
			} else if got := after.TreeHash(s); !bytes.Equal(got, u.TreeHash) {
				t.Errorf("vector %d, leaf %d: tree hash %x, want %x", n, u.Sender, got, u.TreeHash)
			}
		}
	}
}
