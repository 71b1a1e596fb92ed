package dev

import (
	"context"
	"fmt"
	"strings"
	"time"

	"parley/fsm"
	"parley/mimi"
)

// tailPrefix begins the names of the steps that only the scenario failover plays.
const tailPrefix = "tail_"

// afterRace plays a branch. Just before commit_after_kill the leader of the room's shard dies.
func (c *conversation) afterRace(ctx context.Context, steps []recordedStep) error {
	for i, step := range steps {
		var err error
		switch {
		case strings.HasPrefix(step.Name, tailPrefix):
			c.tail = steps[i:]
			return nil
		case step.Name == "commit_after_kill":
			c.show.heading("The leader of the room's shard is killed")
			err = c.killAndCommit(ctx, step)
		case step.Kind == kindRefusedCommit:
			err = c.retryAndRival(ctx, steps[i-1], step)
		default:
			err = c.send(ctx, step, describe(step), c.both()...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// killAndCommit kills the leader and commits at once; the time until the Commit is accepted is the failover as a client sees it.
func (c *conversation) killAndCommit(ctx context.Context, step recordedStep) error {
	if err := c.kill(ctx); err != nil {
		return err
	}
	start := time.Now()
	if err := c.send(ctx, step, describe(step)+", while nobody leads", c.both()...); err != nil {
		return err
	}
	c.failover = time.Since(start)
	return nil
}

// kill ends the process that leads the room's shard.
func (c *conversation) kill(ctx context.Context) error {
	killed, _, err := c.hubNodes.killLeader(ctx, fsm.SlotOfRoom(c.room()))
	if err != nil {
		return err
	}
	if c.killed.IsZero() {
		c.killed = time.Now()
	}
	c.show.note("kill -9 %s, the leader of the room's shard", killed.ID)
	return nil
}

// retryAndRival asks each node that is left for the accepted Commit again, and for another one in the same epoch.
func (c *conversation) retryAndRival(ctx context.Context, accepted, rival recordedStep) error {
	var original uint64
	for _, n := range c.hubNodes.alive() {
		text := fmt.Sprintf("the same Commit again, through %s", n.ID)
		err := c.timed(ctx, text, func(ctx context.Context) ([]string, error) {
			again, err := c.retryThrough(ctx, n, accepted)
			if err != nil {
				return nil, err
			}
			if original != 0 && again != original {
				return nil, fmt.Errorf("accepted at %d by one node and at %d by another", original, again)
			}
			original = again
			return []string{"the original success"}, nil
		})
		if err != nil {
			return err
		}
	}
	c.won, c.rival = accepted, rival
	return c.askRival(ctx, accepted, rival)
}

// askRival asks for a Commit in an epoch that another Commit has taken.
func (c *conversation) askRival(ctx context.Context, accepted, rival recordedStep) error {
	text := fmt.Sprintf("a different Commit of %s for epoch %d", shortName(rival.From), rival.Epoch)
	return c.timed(ctx, text, func(ctx context.Context) ([]string, error) {
		lost, err := c.handshake(ctx, nil, rival)
		if err != nil {
			return nil, err
		}
		wrong, ok := lost.Result.(mimi.UpdateWrongEpoch)
		if !ok {
			return nil, fmt.Errorf("%s: %s", lost.Result.Code(), lost.Description)
		}
		return []string{fmt.Sprintf("wrongEpoch: the room is in epoch %d", wrong.Current)}, checkLost(lost, accepted)
	})
}

// retryThrough sends an accepted Commit again through one node of the hub, as its sender's provider would, and returns the
// acceptance time that it is told.
func (c *conversation) retryThrough(ctx context.Context, n *node, accepted recordedStep) (uint64, error) {
	again, err := c.askNode(ctx, n, accepted)
	if err != nil {
		return 0, err
	}
	success, ok := again.Result.(mimi.UpdateSuccess)
	if !ok {
		return 0, fmt.Errorf("the retry got %s: %s", again.Result.Code(), again.Description)
	}
	return success.AcceptedMillis, nil
}

// askNode hands a handshake to one node of the hub: at its local listener for the hub's own users, at its peer listener for others.
func (c *conversation) askNode(ctx context.Context, n *node, step recordedStep) (updated, error) {
	sender, err := c.recording.sender(step)
	if err != nil {
		return updated{}, err
	}
	if c.backendOf(sender) == c.hub {
		return c.handshake(ctx, n, step)
	}
	bundle, err := step.bundle()
	if err != nil {
		return updated{}, err
	}
	return c.door.update(ctx, n, c.room(), bundle)
}
