package dev

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"parley/fsm"
)

// killsMore is how often the scenario failover kills the leader after the conversation has done so once.
const killsMore = 10

// endure plays the tail of the recording. Before each of the first killsMore Commits the leader of the room's shard dies; after each
// the Commit is asked for again through every node that is left. Last, the whole hub is stopped and started.
func (c *conversation) endure(ctx context.Context) error {
	c.show.heading("The leader is killed %d times more", killsMore)
	if err := c.timed(ctx, "the killed node starts again and catches up", c.revive); err != nil {
		return err
	}
	failovers := []time.Duration{c.failover}
	var commits []recordedStep
	for _, step := range c.tail {
		if step.Kind != kindCommit || len(commits) == killsMore {
			if err := c.deliverTimed(ctx, step); err != nil {
				return err
			}
			continue
		}
		if err := c.killAndCommit(ctx, step); err != nil {
			return err
		}
		failovers = append(failovers, c.failover)
		commits = append(commits, step)
		if err := c.askAgain(ctx, step); err != nil {
			return err
		}
		if err := c.timed(ctx, "the killed node starts again", c.revive); err != nil {
			return err
		}
	}
	slices.Sort(failovers)
	c.show.note("a Commit was accepted after a kill within: median %s, least %s, most %s, of %d kills",
		failovers[len(failovers)/2].Round(time.Millisecond), failovers[0].Round(time.Millisecond),
		failovers[len(failovers)-1].Round(time.Millisecond), len(failovers))
	return c.restart(ctx, commits)
}

func (c *conversation) deliverTimed(ctx context.Context, step recordedStep) error {
	ctx, cancel := context.WithTimeout(ctx, stepMax)
	defer cancel()
	return c.deliver(ctx, step, c.both()...)
}

// askAgain holds every living node of the hub to the same original success.
func (c *conversation) askAgain(ctx context.Context, accepted recordedStep) error {
	ctx, cancel := context.WithTimeout(ctx, stepMax)
	defer cancel()
	var original uint64
	for _, n := range c.hubNodes.alive() {
		again, err := c.retryThrough(ctx, n, accepted)
		if err != nil {
			return fmt.Errorf("%s again, through %s: %w", accepted.Name, n.ID, err)
		}
		if original != 0 && again != original {
			return fmt.Errorf("%s: accepted at %d by one node and at %d by another", accepted.Name, original, again)
		}
		original = again
	}
	return nil
}

// restart stops all of the hub's nodes and starts them again: the state must be the same, and so must the answers.
func (c *conversation) restart(ctx context.Context, commits []recordedStep) error {
	c.show.heading("All nodes of the hub are stopped and started")
	before, err := c.hubNodes.quietDigests(ctx)
	if err != nil {
		return err
	}
	return c.timed(ctx, "stopped, started, compared", func(ctx context.Context) ([]string, error) {
		if err := c.hubNodes.stopAll(); err != nil {
			return nil, err
		}
		if err := c.hubNodes.startAll(ctx); err != nil {
			return nil, err
		}
		after, err := c.hubNodes.digests(ctx)
		if err != nil {
			return nil, err
		}
		var wrong []string
		for shard, digest := range before {
			if after[shard] != digest {
				wrong = append(wrong, fmt.Sprintf("shard %d", shard))
			}
		}
		if len(wrong) > 0 {
			return nil, fmt.Errorf("other digests than before: %s", strings.Join(wrong, ", "))
		}
		for _, step := range commits {
			if err := c.askAgain(ctx, step); err != nil {
				return nil, err
			}
		}
		return []string{fmt.Sprintf("%d shards with the digests of before, %d Commits answered as before", len(before), len(commits))}, nil
	})
}

// quietDigests are the digests of the shards' content once nothing changes any more: three rounds agree.
func (o *operator) quietDigests(ctx context.Context) (map[fsm.ShardID]string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepMax)
	defer cancel()
	var last map[fsm.ShardID]string
	for same := 0; same < 2; {
		found, err := o.digests(ctx)
		if err != nil {
			return nil, err
		}
		if same++; !maps.Equal(found, last) {
			same = 0
		}
		last = found
	}
	return last, nil
}
