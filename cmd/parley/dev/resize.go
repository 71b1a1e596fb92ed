package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"parley/mimi"
)

// scenarioResize changes a cluster's size under load.
const scenarioResize = "resize"

// Resize says how large the scenario resize is: a reduced form of the scenarios exclusive and bulk at the same time.
type Resize struct {
	Rate      int           // letters a second
	Forums    int           // rooms in which they are sent, half of them hosted at each provider
	Rooms     int           // in which Commits race; half as many more, at least one, have joiners alone
	Shards    int           // at the beginning; they are doubled
	Quiet     time.Duration // before the first step and behind the last, to compare with
	StepMost  time.Duration // for one of the operator's commands
	ClaimRate int           // KeyPackages a second that may be claimed
}

// ResizeDefault is what two cores carry beside seven nodes.
func ResizeDefault() Resize {
	return Resize{Rate: 100, Forums: 40, Rooms: 3, Shards: 6, Quiet: 5 * time.Second, StepMost: 10 * time.Minute, ClaimRate: 20}
}

// Validate says what is wrong.
func (r Resize) Validate() error {
	switch {
	case r.Rate < batchLetters:
		return fmt.Errorf("at least %d letters a second", batchLetters)
	case r.Forums < 2 || r.Rooms < 1 || r.ClaimRate < 1:
		return errors.New("there must be a room of each provider, one in which Commits race, and claims")
	case r.Shards < 1 || r.Shards > 64:
		return errors.New("there must be 1 to 64 shards at the beginning")
	case r.Quiet < 0 || r.StepMost <= 0:
		return errors.New("each step needs time")
	}
	return nil
}

func (r Resize) bulk() Bulk {
	b := BulkDefault()
	b.Rooms, b.Rate, b.Seconds, b.Calm = r.Forums, r.Rate, 30, true
	return b
}

func (r Resize) exclusive() Exclusive {
	return Exclusive{
		Rooms: r.Rooms, Racers: 2 * r.Rooms, Joiners: 2 * r.Rooms, Claimers: 4, Users: 150, KeyPackages: 10, Epochs: 1, AtMost: time.Hour,
	}
}

// resizing is the scenario under way.
type resizing struct {
	run      *run
	size     Resize
	exchange *exchange
	contest  *contest
	stages   *stages
	over     chan struct{} // closed behind the last step
}

// resize has clients contend and letters exchanged while the first provider's cluster changes its size, and settles both accounts.
func (r *run) resize(ctx context.Context, size Resize, summary io.Writer) error {
	s := &resizing{run: r, size: size, stages: &stages{}, over: make(chan struct{})}
	if err := s.open(ctx); err != nil {
		return err
	}
	held := s.held(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if held != nil {
		s.exchange.book.unexplained("the scenario did not come to its end: %v", held)
	}
	return s.report(r.out, summary)
}

// open makes the rooms and KeyPackages of both.
func (s *resizing) open(ctx context.Context) (err error) {
	if s.exchange, err = s.run.newExchange(ctx, s.size.bulk()); err != nil {
		return err
	}
	hub := s.exchange.sides[0]
	if s.contest, err = newContest(ctx, s.size.exclusive(), 0, hub.backend, hub.nodes, s.run.show); err != nil {
		return err
	}
	s.contest.stock.open(0)
	probing, err := newBackend(hub.provider, s.run.layout.caPEM)
	if err != nil {
		return err
	}
	probing.attemptMax = probeAtNode
	if err := s.contest.addProbers(ctx, probing, s.stages, hub.hubKey); err != nil {
		return err
	}
	s.contest.lasts = s.over
	s.contest.beside = append(s.contest.beside, s.ration)
	backends := []*backend{hub.backend, probing}
	s.exchange.during = func(ctx context.Context) error {
		defer close(s.over)
		defer s.stages.finish()
		// A step that goes wrong ends the scenario, and what was done so far is settled.
		if err := newReshaping(s, backends).carryOut(ctx); err != nil && ctx.Err() == nil {
			s.run.show.note("%v", err)
			s.exchange.book.unexplained("%v", err)
		}
		return ctx.Err()
	}
	s.exchange.others = s.takes
	s.exchange.then = []phase{{"every Commit that anybody was told of is in the provider's inbox", s.delivered}}
	return nil
}

// held runs both accounts' clients to their end.
func (s *resizing) held(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var contending sync.WaitGroup
	contending.Go(func() {
		if err := s.contest.run(ctx); err != nil {
			stop(fmt.Errorf("the contest: %w", err))
		}
	})
	held := s.exchange.held(ctx)
	if held != nil {
		stop(held)
	}
	contending.Wait()
	return context.Cause(ctx)
}

// ration lets KeyPackages be claimed at a steady rate, until none are left or the contest is over.
func (s *resizing) ration(ctx context.Context) error {
	c := s.contest
	for began := time.Now(); !c.over(ctx); c.pause(ctx, 100*time.Millisecond) {
		c.stock.open(min(int(time.Since(began).Seconds()*float64(s.size.ClaimRate)), c.stock.total))
	}
	return nil
}

// takes enters what the inbox has of the contest's rooms, and says whether it was that.
func (s *resizing) takes(item collected) bool {
	if !slices.ContainsFunc(s.contest.arenas, func(a *arena) bool { return a.room == item.Room }) {
		return false
	}
	events, err := item.asEvents()
	if err == nil {
		err = s.contest.inbox.enter(s.run.hub().domain, events)
	}
	if err != nil {
		s.exchange.book.unexplained("inbox item %s: %v", item.ID, err)
	}
	return true
}

// asEvents is a raw item as one that was asked for by its events.
func (c collected) asEvents() (inboxItem, error) {
	item := inboxItem{ID: c.ID, Room: c.Room, WelcomeFor: c.WelcomeFor}
	messages, err := mimi.ParseFanout(c.Body)
	if len(c.Body) == 0 {
		err = nil
	}
	for _, m := range messages {
		event := inboxEvent{Message: m.Event.MLSMessages()[0].Marshal()}
		switch e := m.Event.(type) {
		case mimi.FanoutCommit:
			event.Kind, event.Epoch = "commit", epochOf(e.Commit)
		case mimi.FanoutWelcome:
			event.Kind = "welcome"
			for _, ref := range e.Welcome.Refs() {
				event.KeyPackageRefs = append(event.KeyPackageRefs, []byte(ref))
			}
		}
		item.Events = append(item.Events, event)
	}
	return item, err
}

// delivered waits until the inbox has brought what the contest's clients were told.
func (s *resizing) delivered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	return until(ctx, "wait for deliveries", func(context.Context) error { return s.contest.undelivered() })
}
