package dev

import (
	"context"
	"time"
)

// When in the load something happens to the providers, and for how long.
const (
	killAt      = 0.25 // of the load
	stopAt      = 0.5
	killedFor   = 3 * time.Second
	peerStopped = 5 * time.Second
)

// mishaps happen to the providers while they are under load: a node of the first that delivers to the second is killed, and later the
// whole second provider is away.
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
	return nil
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
