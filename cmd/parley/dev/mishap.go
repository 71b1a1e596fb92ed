package dev

import (
	"context"
	"errors"
	"time"
)

// When in the load something happens to the providers, and for how long.
const (
	killAt      = 0.2 // of the load
	stopAt      = 0.4
	aloneAt     = 0.8
	killedFor   = 3 * time.Second
	peerStopped = 5 * time.Second
	aloneFor    = time.Second // from when the node that is left holds something
)

// mishaps happen to the providers while they are under load: a node of the first that delivers to the second is killed, later the
// whole second provider is away, and last one node of the first is left alone, so that its shards have no leaders.
func (x *exchange) mishaps(ctx context.Context) error {
	if x.size.Calm {
		return nil
	}
	wait(ctx, time.Until(x.at(killAt)))
	if err := x.killDeliverer(ctx); err != nil {
		return err
	}
	wait(ctx, time.Until(x.at(stopAt)))
	peer := x.sides[1]
	x.show.note("all nodes of %s are stopped for %s", peer.provider.domain, peerStopped)
	if err := peer.nodes.stopAll(); err != nil {
		return err
	}
	wait(ctx, peerStopped)
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	if err := peer.nodes.startAll(ctx); err != nil {
		return err
	}
	x.show.note("%s is back", peer.provider.domain)
	wait(ctx, time.Until(x.at(aloneAt)))
	return x.leaveAlone(ctx, x.sides[0])
}

// at is a moment of the load.
func (x *exchange) at(part float64) time.Time {
	return x.begun.Add(time.Duration(part * float64(x.size.load())))
}

// wait waits, for no longer than the context lasts.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// killDeliverer kills a node that delivers to the peer, and starts it again a little later.
func (x *exchange) killDeliverer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	nodes := x.sides[0].nodes
	killed, shard, err := nodes.delivererTo(ctx, x.sides[1].provider.domain)
	if err != nil {
		return err
	}
	if err := killed.process.kill(); err != nil {
		return err
	}
	x.show.note("kill -9 %s of %s, which delivers to %s for shard %d", killed.ID, x.sides[0].provider.domain, x.sides[1].provider.domain, shard)
	wait(ctx, killedFor)
	if err := nodes.startAll(ctx); err != nil {
		return err
	}
	x.show.note("%s is back", killed.ID)
	return nil
}

// leaveAlone stops all nodes of a provider but one, until that one has held letters for a while.
func (x *exchange) leaveAlone(ctx context.Context, s *side) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	left, before := s.provider.nodes[0], x.book.keptSoFar(receiptHeld)
	x.show.note("all nodes of %s but %s are stopped", s.provider.domain, left.ID)
	if err := s.nodes.stopAllBut(left); err != nil {
		return err
	}
	err := until(ctx, left.ID+" holds something", func(context.Context) error {
		if x.book.keptSoFar(receiptHeld) == before {
			return errors.New("it holds nothing")
		}
		return nil
	})
	if err != nil {
		return err
	}
	wait(ctx, aloneFor)
	if err := s.nodes.startAll(ctx); err != nil {
		return err
	}
	x.show.note("they are back; %s has held %d letters", left.ID, x.book.keptSoFar(receiptHeld)-before)
	return nil
}
