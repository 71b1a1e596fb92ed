package dev

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"parley/mimi"
	"parley/mls"
)

// racer is a member that wants every epoch of its room: to renew its keys, or to bring its guest in or take it out.
type racer struct {
	*contest
	arena  *arena
	leaf   mls.LeafIndex
	guest  *guest
	key    *mls.SigningKey // with which it claims
	claims int
}

func (r *racer) run(ctx context.Context) error {
	for !r.over(ctx) {
		if err := r.turn(ctx); err != nil {
			return fmt.Errorf("a Commit of %s in %s: %w", r.arena.members[r.leaf], r.arena.room, err)
		}
		// Not always: then nobody would ever hold a lease for long.
		r.pause(ctx, time.Duration(rand.ExpFloat64()*float64(100*time.Millisecond)))
	}
	return nil
}

// turn wants the present epoch, asks again for what it was told, and waits until the room is beyond it. A third of the turns is for the
// guest, and before a third of them comes a Proposal for others to commit.
func (r *racer) turn(ctx context.Context) error {
	if rand.IntN(3) == 0 {
		if err := r.propose(ctx); err != nil {
			return err
		}
	}
	var changing *guest
	if rand.IntN(3) == 0 {
		if err := r.provide(ctx); err != nil {
			return err
		}
		changing = r.guest
	}
	wanted, err := r.arena.want(r.leaf, changing)
	if err != nil {
		return err
	}
	told, err := r.commitTwice(ctx, r.arena, wanted)
	if err != nil {
		return err
	}
	if told.accepted && wanted.move == moveBring {
		r.guest.held = nil
	}
	select {
	case <-r.arena.beyond(wanted.epoch):
	case <-r.finished:
	case <-ctx.Done():
	}
	return nil
}

// propose sends a Proposal. The epoch may be over by then.
func (r *racer) propose(ctx context.Context) error {
	proposal, err := r.arena.propose(r.leaf)
	if err != nil {
		return err
	}
	reply, err := r.update(ctx, r.arena, nil, proposal.body)
	if err != nil {
		return err
	}
	response, err := readUpdateResponse(reply)
	if err != nil {
		return err
	}
	switch response.Result.(type) {
	case mimi.UpdateSuccess:
		r.arena.proposed(proposal)
		r.pause(ctx, time.Duration(rand.ExpFloat64()*float64(30*time.Millisecond))) // somebody else may commit it
		return nil
	case mimi.UpdateWrongEpoch:
		return nil
	default:
		return fmt.Errorf("%s answered a Proposal with %s: %s", reply.node.ID, response.Result.Code(), response.Description)
	}
}

// commitTwice asks for an epoch, and asks another node for the same again.
func (c *contest) commitTwice(ctx context.Context, a *arena, wanted attempt) (commitAnswer, error) {
	first, err := c.commit(ctx, a, nil, wanted)
	if err != nil {
		return first, err
	}
	again, err := c.commit(ctx, a, c.hub.otherThan(first.node), wanted)
	if err != nil {
		return first, err
	}
	c.answers.compare(fmt.Sprintf("the Commit %x for epoch %d of %s", wanted.hash[:4], wanted.epoch, a.room),
		first.String(), again.String(), first.node, again.node)
	return first, nil
}

// commit asks for an epoch, notes the answer, and tells the room's others who won.
func (c *contest) commit(ctx context.Context, a *arena, at *node, wanted attempt) (commitAnswer, error) {
	reply, err := c.update(ctx, a, at, wanted.bundle)
	if err != nil {
		return commitAnswer{}, err
	}
	return c.decided(a, wanted, reply)
}

// decided notes what an attempt came to.
func (c *contest) decided(a *arena, wanted attempt, reply reply) (commitAnswer, error) {
	told, err := readCommitAnswer(a.room, wanted, reply)
	if err != nil {
		return commitAnswer{}, fmt.Errorf("to %s: %w", wanted.move, err)
	}
	c.answers.committed(told)
	if !a.won(wanted.epoch, told.winner) {
		c.answers.broke(promiseEpoch, "%s: %s says that %x took epoch %d, which nobody made", a.room, reply.node.ID, told.winner[:4], wanted.epoch)
	}
	return told, nil
}

func (c *contest) update(ctx context.Context, a *arena, at *node, bundle []byte) (reply, error) {
	q := a.update(bundle)
	q.node = at
	return c.ask(ctx, q)
}

// update is the request for a handshake of the room.
func (a *arena) update(bundle []byte) call {
	return call{method: http.MethodPost, path: "/v1/rooms/" + mimi.PathSegment(a.room) + "/update", body: bundle, media: mediaOctets}
}
