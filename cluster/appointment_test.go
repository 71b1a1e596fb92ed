package cluster

import (
	"testing"
	"time"

	"parley/fsm"
)

// appointee has appointments for shard 1 on a clock that the test moves.
func appointee() (*appointments, *time.Duration) {
	var now time.Duration
	n := &Node{config: Config{Clock: Clock{Monotonic: func() time.Duration { return now }}}, outboxChanged: make(chan struct{}, 1)}
	return newAppointments(n), &now
}

func (a *appointments) woken() bool {
	select {
	case <-a.node.OutboxChanged():
		return true
	default:
		return false
	}
}

const shardOne fsm.ShardID = 1

// An appointment is over on time, is replaced by later ones alone, and waits for what its replica has to show.
func TestAppointmentIsTaken(t *testing.T) {
	a, now := appointee()
	if !a.take(shardOne, appointment{term: 3, round: 5, lots: 0b11, floor: 20, until: time.Second}) || !a.woken() {
		t.Error("the first was not taken, or nobody was told")
	}
	is := func(leads bool, applied uint64) lots { return a.of[shardOne].current(*now, leads, applied) }
	if got := is(false, 19); got != 0 {
		t.Errorf("%b before the floor is reached", got)
	}
	if got := is(false, 20); got != 0b11 {
		t.Errorf("%b when it is", got)
	}
	for _, old := range []appointment{{term: 2, round: 9}, {term: 3, round: 5}, {term: 3, round: 4}} {
		if a.take(shardOne, old) {
			t.Errorf("term %d, round %d was taken after term 3, round 5", old.term, old.round)
		}
	}
	if !a.take(shardOne, appointment{term: 3, round: 6, lots: 0b10, until: 2 * time.Second}) || is(false, 20) != 0b10 || a.woken() {
		t.Error("a renewal was not taken, or has woken somebody for less than there was")
	}
	if got := is(false, 19); got != 0 {
		t.Errorf("%b although the replica has gone back", got)
	}
	*now = 2*time.Second - 1
	if got := is(false, 20); got != 0b10 || a.lasting(shardOne) != 0b10 {
		t.Errorf("%b just before it is over", got)
	}
	*now = 2 * time.Second
	if got := is(false, 20); got != 0 || a.lasting(shardOne) != 0 {
		t.Errorf("%b when it is over", got)
	}
	if !a.take(shardOne, appointment{term: 4, round: 1, lots: 0b10, until: 3 * time.Second}) || !a.woken() {
		t.Error("one that begins anew was not taken, or nobody was told")
	}
}

// What a leader has appointed itself for ends when it does not lead any more.
func TestLeadersAppointmentEnds(t *testing.T) {
	a, _ := appointee()
	a.take(shardOne, appointment{term: 3, round: 1, lots: 1, until: time.Second, leads: true})
	if a.of[shardOne].current(0, true, 0) != 1 || a.of[shardOne].current(0, false, 0) != 0 || a.lasting(shardOne) != 0 {
		t.Error("it does not hang on the lead, or another leader could adopt it")
	}
	a.lapse(shardOne)
	if a.of[shardOne].current(0, true, 0) != 0 {
		t.Error("it goes on in another term")
	}
	a.take(shardOne, appointment{term: 4, round: 1, lots: 1, until: time.Second})
	if a.lapse(shardOne); a.lasting(shardOne) != 1 {
		t.Error("what another has appointed it for has ended with that")
	}
}
