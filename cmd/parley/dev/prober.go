package dev

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"parley/fsm"
	"parley/mls"
)

// prober commits in a room of its own, again and again, so that it is known how long nothing exclusive could be decided there.
type prober struct {
	*contest
	backend *backend // which asks another node soon
	arena   *arena
	stages  *stages
}

const (
	probeEvery   = 100 * time.Millisecond // behind the answer before
	probeAtNode  = 2 * time.Second        // then another node is asked
	probedRooms  = 16                     // spread over the slots
	probeNumbers = 1000                   // from which on the probers' rooms are numbered
)

// addProbers makes the rooms, each in another part of the slots, and lets probers take part in the contest.
func (c *contest) addProbers(ctx context.Context, backend *backend, s *stages, sender mls.ExternalSender) error {
	number := probeNumbers
	for part := range probedRooms {
		for slotsPart(number) != part {
			number++
		}
		a, err := newArena(number, 1, 0, sender)
		if err != nil {
			return err
		}
		if err := backend.createRoom(ctx, a.room, a.members[0], a.group.GroupInfo().Marshal(), a.group.Tree()); err != nil {
			return err
		}
		number++
		c.arenas = append(c.arenas, a)
		c.beside = append(c.beside, (&prober{contest: c, backend: backend, arena: a, stages: s}).run)
	}
	return nil
}

// slotsPart is in which of the probers' parts of the slots the room of a number is.
func slotsPart(number int) int {
	return int(fsm.SlotOfRoom(arenaRoom(number))) * probedRooms / fsm.SlotCount
}

func (p *prober) run(ctx context.Context) error {
	for !p.over(ctx) {
		if err := p.probe(ctx); err != nil {
			return fmt.Errorf("a Commit of the prober in %s: %w", p.arena.room, err)
		}
		p.pause(ctx, probeEvery)
	}
	return nil
}

// probe has one Commit decided. Nobody else commits in the room, so it is accepted.
func (p *prober) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	wanted, err := p.arena.want(0, nil)
	if err != nil {
		return err
	}
	began := time.Now()
	reply, err := p.backend.send(ctx, p.arena.update(wanted.bundle))
	if err != nil {
		return err
	}
	p.stages.decided(p.arena, began, time.Now())
	told, err := p.contest.decided(p.arena, wanted, reply)
	if err == nil && !told.accepted {
		p.answers.broke(promiseEpoch, "%s: %s said that %x took epoch %d, and nobody but the prober commits there", p.arena.room, told.node.ID, told.winner[:4], told.epoch)
	}
	return err
}

// stages are the parts of a scenario, with what the probers saw in each. Safe for concurrent use.
type stages struct {
	mu  sync.Mutex
	all []*stage
}

// stage is one of them.
type stage struct {
	text       string
	began      time.Time
	ended      time.Time // zero while it lasts
	probes     int
	latencies  latencies
	longest    time.Duration // from when a prober asked until it was decided
	longestIn  string        // room
	longestAgo time.Duration // from the stage's beginning until it asked
}

// begin ends the stage before, and begins another.
func (s *stages) begin(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(time.Now())
	s.all = append(s.all, &stage{text: text, began: time.Now()})
}

func (s *stages) end(now time.Time) {
	if n := len(s.all); n > 0 && s.all[n-1].ended.IsZero() {
		s.all[n-1].ended = now
	}
}

// finish ends the last stage.
func (s *stages) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(time.Now())
}

// decided notes that something was asked in a room, and decided. It counts in every stage that has a part of that time.
func (s *stages) decided(in *arena, began, ended time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one.began.After(ended) || !one.ended.IsZero() && one.ended.Before(began) {
			continue
		}
		took := ended.Sub(began)
		one.probes++
		one.latencies.add(took)
		if took > one.longest {
			one.longest, one.longestIn, one.longestAgo = took, in.room.String(), began.Sub(one.began)
		}
	}
}

// seen are the stages as they stand.
func (s *stages) seen() (list []stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		list = append(list, *one)
	}
	return slices.Clip(list)
}
