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

// KillsDefault is how often the scenario failover kills the leader after the conversation has done so once.
const KillsDefault = 10

// endure plays the tail of the recording. Before each of its first Commits the leader of the room's shard dies; after each the Commit
// is asked for again through every node that is left. Where there are more kills than recorded Commits, the rest are each followed by a
// Commit that comes too late: its refusal is decided by the new leader's log as well. Last, the whole hub is stopped and started.
func (c *conversation) endure(ctx context.Context) error {
	c.show.heading("The leader is killed %d times more", c.kills)
	if err := c.timed(ctx, "the killed node starts again and catches up", c.revive); err != nil {
		return err
	}
	accepted := []time.Duration{c.failover}
	var commits []recordedStep
	for _, step := range c.tail {
		if step.Kind != kindCommit || len(commits) == c.kills {
			if err := c.deliverTimed(ctx, step); err != nil {
				return err
			}
			continue
		}
		if err := c.killAndCommit(ctx, step); err != nil {
			return err
		}
		accepted = append(accepted, c.failover)
		commits = append(commits, step)
		if err := c.askAgain(ctx, step); err != nil {
			return err
		}
		if err := c.timed(ctx, "the killed node starts again", c.revive); err != nil {
			return err
		}
	}
	refused, err := c.killAndRefuse(ctx, c.kills-len(commits))
	if err != nil {
		return err
	}
	c.show.note("a Commit was accepted after a kill within: %s", spread(accepted))
	if len(refused) > 0 {
		c.show.note("a late Commit was refused after a kill within: %s", spread(refused))
		c.show.note("both together: %s", spread(append(accepted, refused...)))
	}
	return c.restart(ctx, commits)
}

// killAndRefuse kills the leader so many times, each time asks at once for a Commit whose epoch another one has taken, and returns how
// long each refusal took. A refusal needs a fence in the log, so it needs the new leader as an acceptance does.
func (c *conversation) killAndRefuse(ctx context.Context, kills int) ([]time.Duration, error) {
	var took []time.Duration
	for range kills {
		if err := c.kill(ctx); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := c.askRival(ctx, c.won, c.rival); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
		if err := c.timed(ctx, "the killed node starts again", c.revive); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// spread describes some durations.
func spread(all []time.Duration) string {
	all = slices.Sorted(slices.Values(all))
	rank := func(percent int) time.Duration { return all[(len(all)*percent+99)/100-1].Round(time.Millisecond) }
	return fmt.Sprintf("median %s, p99 %s, least %s, most %s, of %d kills", rank(50), rank(99), rank(1), rank(100), len(all))
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
	if err := c.awaitNothingDue(ctx); err != nil {
		return err
	}
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

// awaitNothingDue waits until nothing of the conversation expires while the hub is away, since that would change what is compared: the
// lease ends after 10 s, a claim's answer after 60 s, and a sweep comes within 10 s of it.
func (c *conversation) awaitNothingDue(ctx context.Context) error {
	const lease, answer, sweep, away = 10 * time.Second, 60 * time.Second, 12 * time.Second, 15 * time.Second
	from := c.killed.Add(lease + sweep)
	if now := time.Now(); max(now.Sub(c.begun), from.Sub(c.begun)) > answer-away {
		from = c.killed.Add(answer + sweep)
	}
	select {
	case <-time.After(time.Until(from)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
