package mls

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// history is a world whose members do as they are told at random.
type history struct {
	*world
	members []*client
	made    int
}

// newcomer is a client with a name of its own.
func (h *history) newcomer() *client {
	h.made++
	return h.client(fmt.Sprint("client", h.made))
}

// step commits a random legal list: Removes and Adds inline, with or without a path, or an external Commit.
func (h *history) step(t *rapid.T) {
	committer := h.members[rapid.IntRange(0, len(h.members)-1).Draw(t, "committer")]
	if rapid.IntRange(0, 5).Draw(t, "external") == 0 {
		h.join(rapid.Bool().Draw(t, "resync"), committer)
		return
	}
	tree := h.group.Tree().clone()
	var commit Commit
	var staying, added []*client
	for _, m := range h.members {
		if m != committer && rapid.IntRange(0, 9).Draw(t, "remove") == 0 {
			commit.Proposals = append(commit.Proposals, InlineProposal{Remove{m.leaf}})
			tree.remove(m.leaf)
		} else {
			staying = append(staying, m)
		}
	}
	path := len(commit.Proposals) > 0 || rapid.Bool().Draw(t, "path")
	var places []LeafIndex
	for range rapid.IntRange(0, 3).Draw(t, "adds") {
		c := h.newcomer()
		kp := h.keyPackage(c)
		commit.Proposals = append(commit.Proposals, InlineProposal{Add{kp}})
		c.leaf = tree.add(kp.Leaf)
		added, places = append(added, c), append(places, c.leaf)
	}
	if path || len(commit.Proposals) == 0 {
		commit.Path = h.path(committer, tree, places...)
	}
	h.accept(h.message(committer, MemberSender{committer.leaf}, commit), h.input())
	h.members = append(staying, added...)
}

// join is an external Commit, of a new client or of a member that has lost its state.
func (h *history) join(resync bool, old *client) {
	c := h.newcomer()
	tree := h.group.Tree().clone()
	proposals := inline(ExternalInit{KEMOutput: h.kem})
	if resync && len(h.members) > 1 {
		c.key = old.key
		proposals = append(proposals, InlineProposal{Remove{old.leaf}})
		tree.remove(old.leaf)
		h.members = without(h.members, old)
	}
	c.leaf = tree.takeBlankLeaf()
	h.accept(h.message(c, NewMemberCommit{}, Commit{Proposals: proposals, Path: h.path(c, tree)}), h.input())
	h.members = append(h.members, c)
}

func without(list []*client, gone *client) (out []*client) {
	for _, c := range list {
		if c != gone {
			out = append(out, c)
		}
	}
	return out
}

// TestAnyHistory holds that after any legal Commits the tree is as if made from scratch: its hash, its parent hashes, its keys,
// what its members support; that a room could begin with it; and that the patch from any earlier epoch leads to it.
func TestAnyHistory(t *testing.T) {
	epochs, widest := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		w, founder := newWorld(t, CipherSuite(rapid.SampledFrom([]int{1, 3}).Draw(rt, "suite")))
		h := &history{world: w, members: []*client{founder}}
		trees := []*RatchetTree{h.group.Tree()}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			h.step(rt)
			now := h.group.Tree()
			checkRebuilt(t, now, h.suite)
			checkChanges(t, trees[len(trees)-1], now)
			fresh := must(ParseRatchetTree(now.Marshal()))(t)
			fresh.TreeHash(h.suite)
			h.ok(fresh.verify(h.suite, h.group.GroupID()))
			h.ok(fresh.checkSupport(h.suite, h.group.Context().Extensions, nil, nil))
			if now.MemberCount() != len(h.members) || now.root.credentials != fresh.root.credentials {
				t.Fatalf("%d members in a tree that counts %d", len(h.members), now.MemberCount())
			}
			checkKeys(t, now, fresh)
			trees = append(trees, now)
			checkPatches(t, h.suite, trees)
			epochs, widest = epochs+1, max(widest, now.LeafCount())
		}
	})
	t.Logf("%d epochs, trees of up to %d leaves", epochs, widest)
}

// checkKeys compares the keys that a tree has counted along the way with those that it has.
func checkKeys(t *testing.T, now, fresh *RatchetTree) {
	t.Helper()
	fresh.indexKeys()
	left := now.keys
	fresh.root.each(fresh.top, func(_ NodeIndex, n *treeNode) bool {
		left = left.withNode(n, -1)
		return true
	})
	if !left.empty() {
		t.Error("a tree has counted keys that it does not have, or has not counted some that it has")
	}
}

// checkPatches applies the patch from every tree to the last, and the one back, over the wire.
func checkPatches(t *testing.T, s *Suite, trees []*RatchetTree) {
	t.Helper()
	last := trees[len(trees)-1]
	for _, tree := range trees {
		for _, way := range [][2]*RatchetTree{{tree, last}, {last, tree}} {
			patch := must(ParseTreePatch(way[1].PatchFrom(s, way[0]).Marshal()))(t)
			got := must(patch.Apply(way[0]))(t)
			if !bytes.Equal(got.Marshal(), way[1].Marshal()) || got.Width() != way[1].Width() {
				t.Fatal("a patch leads to another tree")
			}
		}
	}
}
