package clustertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

const (
	// hubTimeWithin is how far hub time may be from the true time, whatever one clock says.
	hubTimeWithin = 6 * time.Second

	// leavesWithin is how long a node with a wrong clock may go on leading.
	leavesWithin = 5 * time.Second
)

// hubTimeAt is the hub time at which a Commit is accepted that is proposed at a node.
func hubTimeAt(t *testing.T, at *life, room *fsmtest.Room) time.Time {
	t.Helper()
	commit := room.Commit(fsmtest.Next{Label: fmt.Sprint("at ", time.Now().UnixNano())})
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	outcome, _, err := at.node.Propose(ctx, commit)
	accepted, yes := outcome.(fsm.Accepted)
	if err != nil || !yes {
		t.Fatalf("%#v, %v", outcome, err)
	}
	room.Advance(commit)
	return time.UnixMilli(int64(accepted.Millis))
}

// keepsTime commits again and again for a while, and expects hub time to go on and to stay near the true time.
func keepsTime(t *testing.T, at *life, room *fsmtest.Room, lasts time.Duration) {
	t.Helper()
	before := hubTimeAt(t, at, room)
	for begun := time.Now(); time.Since(begun) < lasts; time.Sleep(200 * time.Millisecond) {
		now := hubTimeAt(t, at, room)
		if off := time.Until(now); off.Abs() > hubTimeWithin {
			t.Fatalf("after %v hub time is off by %v", time.Since(begun), off)
		}
		if !now.After(before) {
			t.Fatalf("after %v hub time is %v; it was %v 200 ms ago", time.Since(begun), now, before)
		}
		before = now
	}
}

// stopsLeading waits until a node leads no group, and expects that to be soon.
func stopsLeading(t *testing.T, l *life) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if !leadsAny(l) {
			t.Logf("no group is led there after %v", time.Since(begun))
			return
		}
		if time.Since(begun) > leavesWithin {
			t.Fatalf("after %v %s still leads", time.Since(begun), l.id)
		}
	}
}

// offsetOf is a node's clock against those of the others, as it tells itself.
func offsetOf(l *life) time.Duration {
	if offset := l.node.View().ClockOffsetMillis; offset != nil {
		return time.Duration(*offset) * time.Millisecond
	}
	return -1
}

// A leader whose clock is set wrong spoils hub time at no moment, and hands its groups over; also if it is made the leader again.
func TestLeaderWithAWrongClockHandsOver(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 2 * time.Second} {
		t.Run(jump.String(), func(t *testing.T) {
			stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
				if offset := offsetOf(leader); offset != 0 {
					t.Errorf("all clocks are right, and the offset is %v", offset)
				}
				w.setClock(leader.id, jump)
				keepsTime(t, other, room, 500*time.Millisecond) // it still leads
				stopsLeading(t, leader)
				if offset := offsetOf(leader); (offset - jump).Abs() > 10*time.Millisecond {
					t.Errorf("the offset is %v, not %v", offset, jump)
				}
				keepsTime(t, other, room, 20*time.Second)

				shard, _ := other.node.Map().ShardOfSlot(fsm.SlotOfRoom(room.URI))
				ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
				defer cancel()
				if err := other.node.TransferLeadership(ctx, shard.ID, leader.id); err != nil {
					t.Fatal(err)
				}
				w.awaitLeads(t, leader, shard.ID)
				keepsTime(t, other, room, time.Second)
				stopsLeading(t, leader)
			})
		})
	}
}

// A follower with a wrong clock changes nothing for its group.
func TestFollowerWithAWrongClockIsIgnored(t *testing.T) {
	stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
		shard, _ := other.node.Map().ShardOfSlot(fsm.SlotOfRoom(room.URI))
		before := leader.termOf(shard.ID)
		w.setClock(other.id, time.Hour)
		keepsTime(t, other, room, 20*time.Second)
		if after := leader.termOf(shard.ID); after != before || !leader.leads(shard.ID) {
			t.Errorf("term %d became %d", before, after)
		}
	})
}

func (l *life) termOf(shard fsm.ShardID) uint64 {
	for _, r := range l.node.View().Replicas {
		if r.Shard == shard {
			return r.Term
		}
	}
	return 0
}

func leadsAny(l *life) bool {
	view := l.node.View()
	for _, r := range append(view.Replicas, view.Meta) {
		if r.Role == "Leader" {
			return true
		}
	}
	return false
}

// Clocks that are all set back together leave hub time where monotonic time brings it, and the leaders in their places.
func TestClocksSetBackTogether(t *testing.T) {
	stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
		before := leader.term(t)
		for _, id := range w.ids() {
			w.setClock(id, -time.Hour)
		}
		keepsTime(t, other, room, 20*time.Second)
		if after := leader.term(t); after != before {
			t.Errorf("terms %d became %d", before, after)
		}
	})
}

// Clocks that are all set ahead together are right: hub time follows them.
func TestClocksSetAheadTogether(t *testing.T) {
	stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
		for _, id := range w.ids() {
			w.setClock(id, time.Hour)
		}
		time.Sleep(3 * time.Second) // until they have asked each other
		if off := hubTimeAt(t, other, room).Sub(time.Now().Add(time.Hour)); off.Abs() > hubTimeWithin {
			t.Errorf("hub time is off by %v from all clocks", off)
		}
	})
}

// A clock that is wrong for one round costs nobody the lead.
func TestClockThatIsWrongForAMoment(t *testing.T) {
	stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
		before := leader.term(t)
		for range 5 {
			w.setClock(leader.id, time.Hour)
			keepsTime(t, other, room, 600*time.Millisecond) // less than a round, with the last Commit and pause
			w.setClock(leader.id, 0)
			time.Sleep(2100 * time.Millisecond)
		}
		if after := leader.term(t); after != before {
			t.Errorf("terms %d became %d", before, after)
		}
	})
}
