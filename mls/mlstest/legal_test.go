package mlstest_test

import (
	"bytes"
	"fmt"
	"testing"

	"parley/mls"
	"parley/mls/mlstest"
)

// TestLegal lets a hub follow random Commits of every suite, from a tree with parents and from one without.
func TestLegal(t *testing.T) {
	for suite := mls.CipherSuite(1); suite <= 7; suite++ {
		for _, parents := range []bool{false, true} {
			t.Run(fmt.Sprintf("suite%d/%v", suite, parents), func(t *testing.T) {
				t.Parallel()
				config := mlstest.Config{Suite: suite, Seed: 7, Members: 6, Parents: parents, Epoch: 3, ExternalSenders: 2}
				steps := 40
				if suite > 3 { // whose signatures are dear
					steps = 8
				}
				if kinds := follow(t, config, steps); steps == 40 && len(kinds) < 9 {
					t.Errorf("of ten kinds of proposals only %v were made", kinds)
				}
			})
		}
	}
}

// follow makes Commits, sees the hub accept each and come to the group's own GroupContext and tree, and counts their Proposals.
func follow(t *testing.T, config mlstest.Config, steps int) map[mls.ProposalType]int {
	t.Helper()
	kinds := make(map[mls.ProposalType]int)
	group, err := mlstest.New(config)
	if err != nil {
		t.Fatal(err)
	}
	hub, err := group.Public()
	if err != nil {
		t.Fatal(err)
	}
	for n := range steps {
		plan, err := group.Legal()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range group.Waiting() {
			if _, err := hub.VerifyProposal(m, mlstest.Now); err != nil {
				t.Fatalf("step %d: a Proposal is refused: %v", n, err)
			}
		}
		step, err := group.Commit(plan)
		if err != nil {
			t.Fatal(err)
		}
		staged, err := step.Check(hub, group.Input())
		if err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		for _, p := range staged.Proposals {
			kinds[p.Proposal.ProposalType()]++
		}
		group, hub = step.After, staged.After
		context := group.Context()
		if !bytes.Equal(context.Marshal(), hub.ContextBytes()) || !bytes.Equal(group.Tree(), hub.Tree().Marshal()) {
			t.Fatalf("step %d: the hub's epoch is another", n)
		}
	}
	return kinds
}

// TestRepeatable makes the same group twice from one seed, and another from another.
func TestRepeatable(t *testing.T) {
	run := func(seed uint64) string {
		group, err := mlstest.New(mlstest.Config{Suite: 2, Seed: seed, Members: 5, Parents: true})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			plan, err := group.Legal()
			if err != nil {
				t.Fatal(err)
			}
			step, err := group.Commit(plan)
			if err != nil {
				t.Fatal(err)
			}
			group = step.After
		}
		info := group.GroupInfo()
		return string(info.Marshal())
	}
	first, again, other := run(1), run(1), run(2)
	if first != again || first == other {
		t.Error("a seed is not what a group is made of")
	}
}

// TestLarge makes a group of ten thousand, and lets the hub follow a Commit of it.
func TestLarge(t *testing.T) {
	group, err := mlstest.New(mlstest.Config{Suite: 1, Members: 10_000, Parents: true})
	if err != nil {
		t.Fatal(err)
	}
	hub, err := group.Public()
	if err != nil {
		t.Fatal(err)
	}
	step, err := group.Commit(mlstest.Plan{Committer: 9_999, Path: true, Inline: []mls.Proposal{mls.Remove{Removed: 5}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := step.Check(hub, group.Input()); err != nil {
		t.Fatal(err)
	}
}
