package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"parley/cmd/parley/adminclient"
)

// exchange is the scenario bulk: the users of two providers send each other letters in many rooms, half of them hosted at each, while a
// node that delivers is killed and one provider goes away for a while.
type exchange struct {
	size   Bulk
	sides  [2]*side
	forums []*forum
	book   *book
	show   *show
	caPEM  []byte
	budget *rate.Limiter // of letters
	over   chan struct{} // closed when nobody is to begin anything new
	begun  time.Time     // of the load
	loaded time.Duration // until the last letter was decided or kept
	taken  time.Duration // until nothing was under way any more
	meter  meter

	during work                      // what happens meanwhile, and how long the load lasts at least; nil: the mishaps
	others func(item collected) bool // takes an item of the first side's inbox that is of rooms which are none of this; nil: there are none
	then   []phase                   // that come when nothing is under way any more
}

// budgetOf is what may be sent; a rate of 0 is no bound.
func budgetOf(size Bulk) *rate.Limiter {
	if size.Rate == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(size.Rate), 2*batchLetters)
}

// openExchange makes the rooms.
func openExchange(ctx context.Context, size Bulk, sides [2]*side, s *show, b *book, caPEM []byte) (*exchange, error) {
	x := &exchange{
		size: size, sides: sides, book: b, show: s, caPEM: caPEM, over: make(chan struct{}),
		budget: budgetOf(size),
	}
	s.heading("Preparing")
	began := time.Now()
	for i := range size.Rooms {
		hub := i % 2
		if size.oneHub {
			hub = 0
		}
		f, err := newForum(i, sides[hub], sides[1-hub])
		if err != nil {
			return nil, err
		}
		x.forums = append(x.forums, f)
	}
	if err := x.each(ctx, func(ctx context.Context, f *forum) error { return f.open(ctx, b) }); err != nil {
		return nil, err
	}
	s.done(time.Since(began), fmt.Sprintf("%d rooms with users of both providers, %d of them hosted at %s", len(x.forums), len(x.hostedBy(sides[0])), sides[0].provider.domain))
	return x, nil
}

// each does something for every forum, for some at the same time, up to the first error.
func (x *exchange) each(ctx context.Context, do func(context.Context, *forum) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	todo := make(chan *forum)
	var all sync.WaitGroup
	for range uploadersMax {
		all.Go(func() {
			for f := range todo {
				if ctx.Err() != nil {
					continue
				}
				if err := do(ctx, f); err != nil {
					fail(err)
				}
			}
		})
	}
	for _, f := range x.forums {
		todo <- f
	}
	close(todo)
	all.Wait()
	return context.Cause(ctx)
}

const (
	lanesEach      = 2 // for each pair of a side and a hub
	conductorsEach = 3 // for each hub
)

// last ends the load when its time is up and all that was to happen to the nodes has happened.
func (x *exchange) last(ctx context.Context) error {
	defer close(x.over)
	during := x.mishaps
	if x.during != nil {
		during = x.during
	}
	err := during(ctx)
	wait(ctx, time.Until(x.begun.Add(x.size.load())))
	return err
}

// run sends letters for as long as the load lasts, and returns when all of them are decided or kept. The error says what kept it from its
// end, not what it found.
func (x *exchange) run(ctx context.Context) error {
	x.show.heading("%d letters a second for %s, one of %d wrong", x.size.Rate, x.size.load(), wrongEvery)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if err := x.meter.begin(x.sides); err != nil {
		return err
	}
	if err := x.assign(ctx); err != nil {
		return err
	}
	x.begun = time.Now()
	watching, watched := context.WithCancel(ctx)
	defer watched()
	go (&gauge{exchange: x}).run(watching)
	var all sync.WaitGroup
	for _, do := range append(x.workers(), x.last) {
		all.Go(func() {
			if err := do(ctx); err != nil {
				fail(err)
			}
		})
	}
	all.Wait()
	x.loaded = time.Since(x.begun)
	return context.Cause(ctx)
}

// assign says, where the scenario compares, at which nodes everything comes in, that of backends and that of the other provider: the leader
// of everything, or the others.
func (x *exchange) assign(ctx context.Context) error {
	if x.size.Delivery == "" {
		return nil
	}
	for i, s := range x.sides {
		leader, _, err := s.nodes.leaderOf(ctx, 0)
		if err != nil {
			return err
		}
		at := slices.DeleteFunc(slices.Clone(s.provider.nodes), func(n *node) bool {
			return (n == leader) != (x.size.Delivery == deliveryLeader)
		})
		s.backend.talksTo(at...)
		admin := adminclient.New(x.sides[1-i].provider.nodes[0].adminURL())
		if err := introduce(ctx, admin, s.provider, at, x.caPEM); err != nil {
			return err
		}
		x.show.note("%s: %s leads", s.provider.domain, leader.ID)
	}
	x.show.note("everything comes in at, and is delivered by: %s", x.size.Delivery)
	return nil
}

// workers are all who have a part in the load.
func (x *exchange) workers() (all []work) {
	for _, hub := range x.sides {
		hosted := x.hostedBy(hub)
		for i := range conductorsEach {
			if mine := every(hosted, conductorsEach, i); len(mine) > 0 {
				all = append(all, (&conductor{exchange: x, forums: mine}).run)
			}
		}
		for _, origin := range x.sides {
			for i := range lanesEach {
				if mine := every(hosted, lanesEach, i); len(mine) > 0 {
					all = append(all, newLane(x, origin, mine, x.gate(origin, hub, i), everybody).run)
				}
			}
		}
	}
	return all
}

func (x *exchange) hostedBy(hub *side) (hosted []*forum) {
	for _, f := range x.forums {
		if f.hub == hub {
			hosted = append(hosted, f)
		}
	}
	return hosted
}

// every takes each n-th, from the i-th on.
func every(forums []*forum, n, i int) (mine []*forum) {
	for ; i < len(forums); i += n {
		mine = append(mine, forums[i])
	}
	return mine
}

// gate is where a side's letters for a hub go in. Those for rooms of the other provider go in there, as the nodes of another provider would
// bring them, and by turns at their own provider, which queues them and brings them to that hub. Where the scenario compares, none is queued.
func (x *exchange) gate(origin, hub *side, turn int) gate {
	switch {
	case x.size.Single:
		return singleGate{origin.backend}
	case origin != hub && (turn%2 == 0 || x.size.Delivery != ""):
		return bulkGate{abroad{from: origin, to: hub}}
	default:
		return bulkGate{home{side: origin}}
	}
}

// pace waits until so many letters may be sent; false once the load is over.
func (x *exchange) pace(ctx context.Context, letters int) bool {
	return x.pause(ctx, x.budget.ReserveN(time.Now(), letters).Delay())
}

// pause waits; false once the load is over.
func (x *exchange) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-x.over:
		return false
	case <-ctx.Done():
		return false
	}
}

// settle waits until everything that was accepted has arrived, everything that waits is told, and nothing waits in any outbox. What is
// still missing when the time is up is the account's to say.
func (x *exchange) settle(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, x.size.Settle)
	defer cancel()
	err := until(limited, "wait for deliveries", func(ctx context.Context) error {
		if open := x.book.outstanding(); open > 0 {
			return fmt.Errorf("%d letters are under way", open)
		}
		return x.nothingWaits(ctx)
	})
	x.taken = time.Since(x.begun)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		x.book.unexplained("after %s: %v", x.size.Settle, err)
	}
	return x.meter.end(ctx, x.sides)
}

// nothingWaits asks every node, for each knows the outboxes of the shards that it leads.
func (x *exchange) nothingWaits(ctx context.Context) error {
	for _, s := range x.sides {
		waiting, err := s.nodes.waiting(ctx)
		if err != nil {
			return err
		}
		if waiting > 0 {
			return fmt.Errorf("%d items wait in the outboxes of %s", waiting, s.provider.domain)
		}
	}
	return nil
}

// exchange has both providers' users send each other letters in bulk, and settles the account of what was submitted and what arrived. An
// exchange that did not come to its end is judged as far as it went.
func (r *run) exchange(ctx context.Context, size Bulk, summary io.Writer) error {
	x, err := r.newExchange(ctx, size)
	if err != nil {
		return err
	}
	held := x.held(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if held != nil {
		x.book.unexplained("the exchange did not come to its end: %v", held)
	}
	return x.report(r.out, summary)
}

// newExchange makes the scenario's rooms between the run's providers.
func (r *run) newExchange(ctx context.Context, size Bulk) (*exchange, error) {
	var sides [2]*side
	for i, p := range r.layout.providers {
		backend, err := newBackend(p, r.layout.caPEM)
		if err != nil {
			return nil, err
		}
		backend.attemptMax = crowdedMax
		door, err := newPeerDoor(p, r.layout.caPEM)
		if err != nil {
			return nil, err
		}
		sides[i] = &side{place: i, provider: p, backend: backend, door: door, nodes: &operator{p}}
		if sides[i].hubKey, err = backend.hubKey(ctx, arenaSuite); err != nil {
			return nil, err
		}
	}
	b := newBook()
	b.tells, b.coarse = !size.Single, size.Single
	return openExchange(ctx, size, sides, r.show, b, r.layout.caPEM)
}

// held runs the exchange from the first letter to the last comparison, while both backends collect what comes.
func (x *exchange) held(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop(nil)
	for i, s := range x.sides {
		c := &collector{side: s, book: x.book}
		if i == 1 {
			c.lose = x.size.Lose
		} else {
			c.others = x.others
		}
		beside.Go(func() {
			if err := c.run(ctx); err != nil {
				stop(err)
			}
		})
	}
	return x.inOrder(ctx, slices.Concat([]phase{
		{"the load is over", x.run},
		{"nothing is under way any more", x.settle},
		{"every rejection was asked for by its receipt", x.inquire},
		{"the replicas of every shard have equal digests at equal indices", x.compare},
	}, x.then)...)
}

// phase is a part of the scenario.
type phase struct {
	text string
	run  work
}

func (x *exchange) inOrder(ctx context.Context, phases ...phase) error {
	for _, p := range phases {
		began := time.Now()
		if err := p.run(ctx); err != nil {
			return err
		}
		x.show.done(time.Since(began), p.text, x.book.read().String())
	}
	return nil
}

// compare holds the replicas of every shard to each other, both providers' at the same time.
func (x *exchange) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	results := make(chan error, len(x.sides))
	for _, s := range x.sides {
		go func() {
			_, err := s.nodes.compare(ctx)
			if err != nil {
				err = fmt.Errorf("%s: %w", s.provider.domain, err)
			}
			results <- err
		}()
	}
	var wrong []error
	for range x.sides {
		wrong = append(wrong, <-results)
	}
	return errors.Join(wrong...)
}
