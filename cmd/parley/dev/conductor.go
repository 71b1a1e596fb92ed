package dev

import (
	"context"
	"fmt"
	"time"

	"parley/mls"
	"parley/mls/mlstest"
)

// conductor brings the rooms that are its own through epochs while letters are sent in them.
type conductor struct {
	*exchange
	forums []*forum
}

// run commits in one room after the other, so that each has a Commit about once in a while, until the load is over.
func (c *conductor) run(ctx context.Context) error {
	for turn := 0; c.pause(ctx, c.size.commitEvery()/time.Duration(len(c.forums))); turn++ {
		f := c.forums[turn%len(c.forums)]
		if err := c.conduct(ctx, f, turn/len(c.forums)+f.number); err != nil {
			return fmt.Errorf("a handshake in %s: %w", f.room, err)
		}
	}
	return nil
}

// conduct has one side's speaker commit, two times in three with an Update that the other's has proposed: by itself or, every other time,
// submitted in bulk. The sides take turns.
func (c *conductor) conduct(ctx context.Context, f *forum, turn int) error {
	committer, other := f.hub, f.far
	if turn%2 == 1 {
		committer, other = other, committer
	}
	plan := mlstest.Plan{Committer: f.leaves[committer.place], Path: true}
	if turn%3 != 0 {
		var g gate
		if turn%3 == 1 && !c.size.Single {
			g = c.gate(other, f.hub, turn)
		}
		ref, err := f.propose(ctx, c.book, other, g)
		if err != nil {
			return err
		}
		plan.References = []mls.ProposalRef{ref}
	}
	return f.commit(ctx, c.book, committer, plan)
}
