package mls

import (
	"slices"
	"testing"
)

// committedTree is a group's tree that has leaves of KeyPackages, one of a Commit, and parents.
func committedTree(t *testing.T) (*world, *client, *RatchetTree) {
	w, founder := newWorld(t, 1)
	w.add(founder, "b", "c")
	w.accept(w.message(founder, MemberSender{}, Commit{Path: w.path(founder, w.group.Tree().clone())}), w.input())
	return w, founder, must(ParseRatchetTree(w.group.Tree().Marshal()))(t)
}

// blankParents takes the parent hashes away, which cover the leaves.
func blankParents(tree *RatchetTree) {
	for x := range NodeIndex(tree.Width()) {
		if !x.isLeaf() {
			tree.set(x, nil)
		}
	}
}

func TestVerifyTree(t *testing.T) {
	w, _, tree := committedTree(t)
	context := w.group.Context()
	w.ok(context.VerifyTree(tree))
	other := context
	other.TreeHash = w.tag()
	wantSection(t, other.VerifyTree(tree), "RFC 9420 §12.4.3.1")
	other = context
	other.GroupID = "another"
	wantSection(t, other.VerifyTree(tree), "RFC 9420 §7.3")
	other = context
	other.Extensions = Extensions{{0xf0f0, nil}}
	wantSection(t, other.VerifyTree(tree), "RFC 9420 §13.4")
	other = context
	other.Suite = 0x7777
	wantSection(t, other.VerifyTree(tree), "RFC 9420 §5.1")
}

func TestVerifyAlone(t *testing.T) {
	w, founder, tree := committedTree(t)
	unverified, err := tree.VerifyAlone(w.suite)
	w.ok(err)
	if !slices.Equal(unverified, []LeafIndex{founder.leaf}) {
		t.Errorf("the signatures of leaves %d were left out, want that of the committer", unverified)
	}
	for name, c := range map[string]struct {
		section string
		change  func(*RatchetTree)
	}{
		"a leaf's signature": {"RFC 9420 §7.3", func(tree *RatchetTree) {
			leaf := *tree.Leaf(1)
			leaf.Signature = w.tag()
			blankParents(tree)
			tree.set(2, newLeaf(leaf))
		}},
		"a parent hash": {"RFC 9420 §7.9.2", func(tree *RatchetTree) {
			parent := *tree.node(3).parent
			parent.ParentHash = w.tag()
			tree.set(3, newParent(parent))
		}},
		"a suite not listed": {"RFC 9420 §11.1", func(tree *RatchetTree) {
			leaf := w.changedPackage(w.client("x"), func(k *KeyPackage) { k.Leaf.Capabilities.Suites = nil }).Leaf
			blankParents(tree)
			tree.set(2, newLeaf(leaf))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			changed := tree.clone()
			c.change(changed)
			_, err := changed.VerifyAlone(w.suite)
			wantSection(t, err, c.section)
		})
	}
}
