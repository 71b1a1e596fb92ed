package mls_test

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"parley/mls"
	"parley/mls/mlstest"
)

// tester is a *testing.T, or a *rapid.T, which on a failure looks for a smaller one.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// must fails the test on an error.
func must[T any](v T, err error) func(tester) T {
	return func(t tester) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// followed is a simulated group with the hub's view of it, and what a hub stores.
type followed struct {
	t     tester
	group *mlstest.Group
	hub   *mls.PublicGroup
	nodes map[mls.NodeIndex][]byte // as ChangedNodes has left them
	last  *mls.PublicMessage       // the Commit that began the epoch
}

func follow(t tester, c mlstest.Config) *followed {
	t.Helper()
	group := must(mlstest.New(c))(t)
	f := &followed{t: t, group: group, hub: must(group.Public())(t), nodes: make(map[mls.NodeIndex][]byte)}
	for x, node := range f.hub.Tree().Nodes() {
		if node != nil {
			f.nodes[mls.NodeIndex(x)] = node
		}
	}
	return f
}

// legal takes a step of a random legal Commit, with everything seen that must hold of it.
func (f *followed) legal() {
	t := f.t
	t.Helper()
	step := must(f.group.Commit(must(f.group.Legal())(t)))(t)
	for ref, m := range f.group.Waiting() {
		if got := must(f.hub.VerifyProposal(m, mlstest.Now))(t); got != ref {
			t.Fatal("a Proposal has another reference")
		}
	}
	f.spoilt(step)
	before := f.hub.Tree().Marshal()
	staged := must(step.Check(f.hub, f.group.Input()))(t)
	if !bytes.Equal(before, f.hub.Tree().Marshal()) {
		t.Fatal("staging changed the group's tree")
	}
	f.sameAfterRestore(step, staged)
	patched := f.samePatch(staged)
	f.sameContext(step, staged)
	f.group, f.hub, f.last = step.After, staged.After, step.Message
	if f.hub.Epoch()%2 == 0 { // goes on from the patched tree
		f.hub = must(mls.RestorePublicGroup(f.hub.ContextBytes(), patched, f.hub.InterimTranscriptHash()))(t)
	}
	if _, err := f.hub.Stage(f.last, f.group.Input()); !errors.As(err, new(*mls.WrongEpochError)) {
		t.Fatalf("the Commit that began the epoch is judged in it: %v", err)
	}
}

// sameContext compares the epoch with the group's own, and with what one who joins makes of the GroupInfo and the exported tree.
func (f *followed) sameContext(step *mlstest.Step, staged *mls.Staged) {
	f.t.Helper()
	context := step.After.Context()
	if !bytes.Equal(context.Marshal(), staged.After.ContextBytes()) {
		f.t.Fatal("the hub's GroupContext is another than the group's")
	}
	tree := staged.After.Tree().Marshal()
	if !bytes.Equal(tree, step.After.Tree()) {
		f.t.Fatal("the hub's tree is another than the group's")
	}
	joined := must(mls.NewPublicGroup(step.GroupInfo, must(mls.ParseRatchetTree(tree))(f.t)))(f.t)
	if fresh := joined.Tree().TreeHash(staged.After.Suite()); !bytes.Equal(fresh, staged.After.Context().TreeHash) {
		f.t.Fatal("the tree hash from scratch is another than the one that was kept")
	}
	if !bytes.Equal(joined.InterimTranscriptHash(), staged.After.InterimTranscriptHash()) {
		f.t.Fatal("one who joins has another transcript")
	}
	rebuilt := staged.GroupInfo(step.GroupInfo.Extensions, step.GroupInfo.Signature)
	if !bytes.Equal(rebuilt.Marshal(), step.GroupInfo.Marshal()) {
		f.t.Fatal("the GroupInfo rebuilt from its parts is another")
	}
}

// samePatch brings the tree back and forward by patches, over the wire, and returns where they led.
func (f *followed) samePatch(staged *mls.Staged) (after *mls.RatchetTree) {
	f.t.Helper()
	suite, before, now := f.hub.Suite(), f.hub.Tree(), staged.After.Tree()
	for _, way := range [][2]*mls.RatchetTree{{now, before}, {before, now}} {
		patch := must(mls.ParseTreePatch(way[1].PatchFrom(suite, way[0]).Marshal()))(f.t)
		got := must(patch.Apply(way[0]))(f.t)
		if !bytes.Equal(got.Marshal(), way[1].Marshal()) || got.Width() != way[1].Width() {
			f.t.Fatal("a patch leads to another tree")
		}
		after = got
	}
	return after
}

// sameAfterRestore stores the epoch before as a hub does, by the nodes that each Commit changed, restores it, and sees the same
// Commit come to the same.
func (f *followed) sameAfterRestore(step *mlstest.Step, staged *mls.Staged) {
	f.t.Helper()
	nodes := make([][]byte, f.hub.Tree().Width())
	for x, node := range f.nodes {
		nodes[x] = node
	}
	restored := must(mls.RestorePublicGroup(f.hub.ContextBytes(), must(mls.NewRatchetTree(nodes))(f.t), f.hub.InterimTranscriptHash()))(f.t)
	again := must(step.Check(restored, f.group.Input()))(f.t)
	if !bytes.Equal(again.After.ContextBytes(), staged.After.ContextBytes()) ||
		!bytes.Equal(again.After.InterimTranscriptHash(), staged.After.InterimTranscriptHash()) {
		f.t.Fatal("a restored group comes to another epoch")
	}
	changed := staged.ChangedNodes()
	if !maps.EqualFunc(changed, again.ChangedNodes(), bytes.Equal) {
		f.t.Fatal("a restored group changes other nodes")
	}
	for x, node := range changed {
		if f.nodes[x] = node; node == nil {
			delete(f.nodes, x)
		}
	}
	maps.DeleteFunc(f.nodes, func(x mls.NodeIndex, _ []byte) bool { return int(x) >= staged.After.Tree().Width() })
}

// spoilt changes one bit of the Commit, at a place that differs from step to step. Whatever it is, but for the membership tag,
// which only members can check, the hub has to refuse it, or what came with it.
func (f *followed) spoilt(step *mlstest.Step) {
	f.t.Helper()
	raw := step.Message.Marshal()
	end := len(raw)
	if tag := step.Message.MembershipTag; tag != nil {
		end -= len(tag)
	}
	context := f.group.Context()
	at := rand.New(rand.NewPCG(uint64(context.Epoch), uint64(len(raw)))).IntN(end * 8)
	raw[at/8] ^= 1 << (at % 8)
	m, err := mls.ParsePublicMessage(raw)
	if err != nil {
		return
	}
	bent := *step
	bent.Message = &m
	if _, err := bent.Check(f.hub, f.group.Input()); err == nil {
		f.t.Fatalf("bit %d of %d can be changed", at, end*8)
	}
}

// TestAnyLegalHistory holds, over any legal Commits, that a hub comes to the group's own GroupContext and tree, whichever way it
// computes them: by the Commit alone, from scratch, from a patch, and after it was restored from what it has stored.
func TestAnyLegalHistory(t *testing.T) {
	epochs, suites := 0, map[mls.CipherSuite]int{}
	rapid.Check(t, func(rt *rapid.T) {
		config := mlstest.Config{
			Suite:   rapid.SampledFrom([]mls.CipherSuite{1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 3, 4, 5, 6, 7}).Draw(rt, "suite"),
			Seed:    rapid.Uint64().Draw(rt, "seed"),
			Members: rapid.IntRange(1, 17).Draw(rt, "members"),
			Parents: rapid.Bool().Draw(rt, "parents"), Epoch: mls.Epoch(rapid.IntRange(0, 1).Draw(rt, "epoch")),
			ExternalSenders: rapid.IntRange(0, 2).Draw(rt, "senders"),
		}
		f := follow(rt, config)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			f.legal()
			epochs, suites[config.Suite] = epochs+1, suites[config.Suite]+1
		}
	})
	t.Logf("%d epochs, by suite %v", epochs, suites)
}
