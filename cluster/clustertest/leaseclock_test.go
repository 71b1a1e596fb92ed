package clustertest

import (
	"context"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

// A lease ends by hub time, whatever the clock of a node says that has run ahead.
func TestLeaseOutlivesAClock(t *testing.T) {
	if lendsTwice(t) {
		t.Error("one room's lease has two holders at a time")
	}
}

// lendsTwice has a room lent to one holder, puts the leader's clock ahead by a minute, and lets another holder ask for the rest of the
// lease. It reports whether the answers fit no order in which one holder has it at a time.
func lendsTwice(t *testing.T) (twice bool) {
	stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
		h := newHistory()
		ask := func(who int) {
			mine := wish{holder: people[who].String() + " device", duration: 15_000}
			ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
			defer cancel()
			called := h.clock.Add(1)
			outcome, _, err := other.node.Propose(ctx, fsm.TakeLease{
				Room: room.URI, Requester: people[who], Client: "device", DurationMillis: mine.duration,
			})
			if err != nil {
				t.Fatal(err)
			}
			h.lent(who, room.URI, mine, called, outcome)
		}
		ask(0)
		w.setClock(leader.id, time.Minute)
		defer w.setClock(leader.id, 0)
		for range 10 {
			ask(1)
			time.Sleep(time.Second)
		}
		twice = !porcupine.CheckOperations(lending, h.lendings[room.URI])
	})
	return twice
}
