package mls

import (
	"bytes"
	"sync"
	"testing"
)

func TestCheckGroupInfo(t *testing.T) {
	w, founder := newWorld(t, 1)
	members := w.add(founder, "b")
	m := w.message(members[0], MemberSender{members[0].leaf}, Commit{Path: w.path(members[0], w.group.Tree().clone())})
	staged, err := w.group.Stage(m, w.input())
	w.ok(err)
	pub := Extension{ExtensionExternalPub, ExternalPub{Key: w.hpkeKey()}.Marshal()}
	good := GroupInfo{Context: staged.After.Context(), Extensions: Extensions{pub}, ConfirmationTag: staged.ConfirmationTag, Signer: members[0].leaf}
	w.ok(good.Sign(members[0].key))
	w.ok(staged.After.CheckGroupInfo(good))
	for name, c := range map[string]struct {
		section string
		change  func(*GroupInfo)
	}{
		"epoch":            {"RFC 9420 §12.4.3", func(g *GroupInfo) { g.Context.Epoch++ }},
		"tree hash":        {"RFC 9420 §12.4.3", func(g *GroupInfo) { g.Context.TreeHash = w.tag() }},
		"transcript":       {"RFC 9420 §12.4.3", func(g *GroupInfo) { g.Context.ConfirmedTranscriptHash = w.tag() }},
		"extensions":       {"RFC 9420 §12.4.3", func(g *GroupInfo) { g.Context.Extensions = Extensions{{0xf000, nil}} }},
		"confirmation tag": {"RFC 9420 §12.4.3", func(g *GroupInfo) { g.ConfirmationTag = w.tag() }},
		"no external_pub":  {"RFC 9420 §12.4.3.2", func(g *GroupInfo) { g.Extensions = nil }},
		"embedded tree":    {"RFC 9420 §12.4.3.3", func(g *GroupInfo) { g.Extensions = append(g.Extensions, Extension{ExtensionRatchetTree, nil}) }},
		"blank signer":     {"RFC 9420 §12.4.3", func(g *GroupInfo) { g.Signer = 9 }},
		"another signer":   {"RFC 9420 §12.4.3", func(g *GroupInfo) { g.Signer = founder.leaf }},
	} {
		t.Run(name, func(t *testing.T) {
			info := good
			c.change(&info)
			w.ok(info.Sign(members[0].key))
			wantSection(t, staged.After.CheckGroupInfo(info), c.section)
		})
	}
	unsigned := good
	unsigned.Signature = nil
	wantSection(t, staged.After.CheckGroupInfo(unsigned), "RFC 9420 §12.4.3")
	w.ok(staged.After.CheckTree(must(ParseRatchetTree(staged.After.Tree().Marshal()))(t)))
	wantSection(t, staged.After.CheckTree(w.group.Tree()), "RFC 9420 §7.8")
	_, err = NewPublicGroup(good, w.group.Tree().clone())
	wantSection(t, err, "RFC 9420 §12.4.3.1")
	_, err = NewPublicGroup(unsigned, staged.After.Tree().clone())
	wantSection(t, err, "RFC 9420 §12.4.3")
}

// TestUnmergedLeafOutside restores a tree whose parent claims an unmerged leaf that is not under it.
func TestUnmergedLeafOutside(t *testing.T) {
	w, founder := newWorld(t, 1)
	w.add(founder, "b", "c")
	w.accept(w.message(founder, MemberSender{}, Commit{Path: w.path(founder, w.group.Tree().clone())}), w.input())
	for _, leaf := range []LeafIndex{2, 3, 1 << 31} {
		tree := w.group.Tree().clone()
		tree.set(1, newParent(ParentNode{EncryptionKey: w.hpkeKey(), UnmergedLeaves: []LeafIndex{leaf}}))
		context := w.group.Context()
		context.TreeHash = tree.TreeHash(w.suite)
		_, err := RestorePublicGroup(context.Marshal(), tree, nil)
		wantSection(t, err, "RFC 9420 §12.4.3.1")
	}
}

// TestTreeGrowsAndShrinks sees the width follow the rightmost member.
func TestTreeGrowsAndShrinks(t *testing.T) {
	w, founder := newWorld(t, 1)
	members := w.add(founder, "b", "c", "d", "e")
	if w.group.Tree().Width() != 15 {
		t.Fatalf("five members stand in a tree of %d nodes", w.group.Tree().Width())
	}
	tree := w.group.Tree().clone()
	commit := Commit{}
	for _, m := range members[1:] {
		tree.remove(m.leaf)
		commit.Proposals = append(commit.Proposals, InlineProposal{Remove{m.leaf}})
	}
	commit.Path = w.path(founder, tree)
	before := w.group.Tree()
	staged := w.accept(w.message(founder, MemberSender{}, commit), w.input())
	if w.group.Tree().Width() != 3 || len(staged.Removed) != 3 {
		t.Errorf("two members stand in a tree of %d nodes", w.group.Tree().Width())
	}
	checkChanges(t, before, w.group.Tree())
	if before.Leaf(4) == nil || !bytes.Equal(before.Leaf(4).SignatureKey, members[3].key.Public()) {
		t.Error("the tree of the epoch before has changed")
	}
}

// TestLeavesMax adds a member to a tree that has no room and must not grow.
func TestLeavesMax(t *testing.T) {
	w, founder := newWorld(t, 1)
	nodes := make([]*treeNode, 2*LeavesMax-1)
	for i := 0; i < len(nodes); i += 2 {
		nodes[i] = w.group.Tree().node(0)
	}
	tree := newTree(nodes, len(nodes))
	context := w.group.Context()
	context.TreeHash = tree.TreeHash(w.suite)
	group, err := RestorePublicGroup(context.Marshal(), tree, nil)
	w.ok(err)
	w.group = group
	add := Commit{Proposals: inline(Add{w.keyPackage(w.client("b"))})}
	_, err = group.Stage(w.message(founder, MemberSender{}, add), w.input())
	wantSection(t, err, "RFC 9420 §7.7")
}

// TestTreeHashOfAnotherSuite asks one tree for its hash under two suites.
func TestTreeHashOfAnotherSuite(t *testing.T) {
	w, _ := newWorld(t, 1)
	tree := w.group.Tree().clone()
	long := must(CipherSuite(5).Suite())(t)
	if got := tree.TreeHash(long); len(got) != long.HashBytes() {
		t.Errorf("the hash has %d bytes", len(got))
	}
	if !bytes.Equal(tree.TreeHash(w.suite), w.group.Context().TreeHash) {
		t.Error("the hash under the first suite has changed")
	}
}

// TestConcurrentStage judges Commits of one group side by side; the race detector watches that the group stays as it is.
func TestConcurrentStage(t *testing.T) {
	w, founder := newWorld(t, 1)
	members := w.add(founder, "b", "c", "d")
	var messages []*PublicMessage
	for _, c := range append(members, founder) {
		messages = append(messages, w.message(c, MemberSender{c.leaf}, Commit{Path: w.path(c, w.group.Tree().clone())}))
	}
	before := w.group.Tree().Marshal()
	var wait sync.WaitGroup
	for _, m := range messages {
		wait.Go(func() {
			staged, err := w.group.Stage(m, w.input())
			if err != nil || staged.Epoch() != w.group.Epoch()+1 || len(staged.ChangedNodes()) == 0 {
				t.Errorf("staged %v, %v", staged, err)
			}
		})
	}
	wait.Wait()
	if !bytes.Equal(before, w.group.Tree().Marshal()) {
		t.Error("staging changed the group's tree")
	}
}
