package clustertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

// briskly is a pace at which some message is always under way.
const briskly = 20 * time.Millisecond

// resumedWithin is how long nothing may be delivered, whatever has happened to whoever delivered it.
const resumedWithin = 3 * time.Second

// traffic is messages that are accepted in a room one after the other, and their delivery by couriers who lose nothing.
type traffic struct {
	t         *testing.T
	world     *World
	room      *fsmtest.Room
	receiver  *receiver
	pace      time.Duration // between two messages
	deliverer *life         // before the mishap

	mu       sync.Mutex
	accepted int
	overlap  string // who delivered at once; empty while nobody else did
}

// watched is how a mishap goes: from when on until when, and how often bodies came again.
type watched struct {
	silence time.Duration // the longest time in which nothing came, although something waited
	copies  int
}

// underTraffic plays a mishap while messages come and go. It expects every message that was accepted to come, in order, and never two
// nodes to deliver at once.
func underTraffic(t *testing.T, pace time.Duration, mishap func(w *World, leader, deliverer *life)) (seen watched) {
	t.Helper()
	stageOf(t, func(t *testing.T, w *World, leader, other *life, room *fsmtest.Room) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		f := &traffic{t: t, world: w, room: room, pace: pace, receiver: newReceiver(newCrowd(w, ctx), peer)}
		f.receiver.calm = true
		f.deliverer = f.delivers()
		if f.deliverer == nil || f.deliverer == leader {
			t.Fatal("no follower delivers")
		}
		var running sync.WaitGroup
		defer running.Wait()
		sending, endSending := context.WithCancel(ctx)
		defer endSending()
		running.Go(func() { f.receiver.run(sending) })
		for !f.arrived() {
			time.Sleep(10 * time.Millisecond)
		}
		f.receiver.copies = 0
		stop := make(chan struct{})
		running.Go(func() { f.submit(stop) })
		running.Go(func() { f.watch(stop, &seen.silence) })
		time.Sleep(time.Second)
		mishap(w, leader, f.deliverer)
		time.Sleep(20 * time.Second)
		close(stop)
		time.Sleep(5 * time.Second)
		if !f.arrived() {
			t.Errorf("%d messages were accepted, and %d items came", f.accepted, len(f.receiver.items))
		}
		if f.overlap != "" {
			t.Errorf("two delivered at once: %s", f.overlap)
		}
		seen.copies = f.receiver.copies
		endSending()
	})
	t.Logf("at most %v in which nothing came, %d copies", seen.silence, seen.copies)
	if seen.silence > resumedWithin {
		t.Errorf("nothing came for %v", seen.silence)
	}
	return seen
}

// delivers is the living node that delivers the room; nil where none does.
func (f *traffic) delivers() (found *life) {
	for _, l := range f.world.alive() {
		if l.node.Delivers(fsm.SlotOfRoom(f.room.URI), peer) {
			if found != nil && f.overlap == "" {
				f.overlap = fmt.Sprintf("%s and %s at %v", found.id, l.id, time.Now())
			}
			found = l
		}
	}
	return found
}

// submit has one message after the other accepted, at whatever node takes it.
func (f *traffic) submit(stop chan struct{}) {
	for i := 0; ; i++ {
		message := f.room.Message(fmt.Sprint("message ", i), f.room.Epoch, people[0])
		for try := 0; ; try++ {
			select {
			case <-stop:
				return
			case <-time.After(f.pace):
			}
			all := f.world.alive()
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			outcome, _, err := all[try%len(all)].node.Propose(ctx, message)
			cancel()
			if _, yes := outcome.(fsm.Accepted); err == nil && yes {
				break
			}
		}
		f.mu.Lock()
		f.accepted++
		f.mu.Unlock()
	}
}

// arrived reports whether everything that was accepted has come: the room's beginning, and the messages.
func (f *traffic) arrived() bool {
	f.mu.Lock()
	accepted := f.accepted
	f.mu.Unlock()
	f.receiver.mu.Lock()
	defer f.receiver.mu.Unlock()
	return len(f.receiver.items) >= accepted
}

// watch measures the longest silence.
func (f *traffic) watch(stop chan struct{}, silence *time.Duration) {
	heard := time.Now() // the last moment at which something came, or nothing was missing
	for {
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
		f.delivers()
		f.receiver.mu.Lock()
		latest := f.receiver.latest
		f.receiver.mu.Unlock()
		if f.arrived() {
			heard = time.Now()
		} else if latest.After(heard) {
			heard = latest
		}
		*silence = max(*silence, time.Since(heard))
	}
}

func (w *World) kill(l *life) {
	w.cutOff(l, rand.New(rand.NewPCG(1, 1)))
	w.close(l)
}

// notRaced skips what takes minutes under the race detector, and runs no code there that the tests which stay do not.
func notRaced(t *testing.T) {
	t.Helper()
	if raced && !raceAll {
		t.Skip("under the race detector the death of a deliverer is enough")
	}
}

// Nothing happens: nothing comes twice.
func TestDeliveryUndisturbed(t *testing.T) {
	if seen := underTraffic(t, briskly, func(*World, *life, *life) {}); seen.copies > 0 || seen.silence > 300*time.Millisecond {
		t.Errorf("%v of silence, %d copies", seen.silence, seen.copies)
	}
}

// Where little happens, a body does not wait until Raft tells its followers how far the log is committed.
func TestLoneMessageIsDelivered(t *testing.T) {
	if seen := underTraffic(t, 1900*time.Millisecond, func(*World, *life, *life) {}); seen.copies > 0 || seen.silence > 100*time.Millisecond {
		t.Errorf("%v of silence, %d copies", seen.silence, seen.copies)
	}
}

// A deliverer's process dies, and its machine says so.
func TestDelivererDies(t *testing.T) {
	seen := underTraffic(t, briskly, func(w *World, _, deliverer *life) { w.kill(deliverer) })
	if seen.silence > appointedAgainWithin {
		t.Errorf("nothing came for %v, although a dead process can be told from a silent one", seen.silence)
	}
}

const (
	appointedAgainWithin = 800 * time.Millisecond // less than an appointment lasts
	renewedWithin        = 300 * time.Millisecond // less than a new leader waits for appointments that it does not know of to end
)

func TestDelivererIsCutOff(t *testing.T) {
	notRaced(t)
	underTraffic(t, briskly, func(w *World, _, deliverer *life) {
		w.cut(deliverer.id, true)
		time.Sleep(10 * time.Second)
		w.cut(deliverer.id, false)
	})
}

// Appointments come late to a deliverer behind a slow link. They are over when they would be if they had not been late: it stops before
// another is appointed.
func TestDelivererBehindASlowLink(t *testing.T) {
	notRaced(t)
	underTraffic(t, briskly, func(w *World, leader, deliverer *life) {
		for _, delay := range []time.Duration{400, 700, 900, 1200, 2000, 0} {
			w.network.Set(leader.id, deliverer.id, false, delay*time.Millisecond)
			time.Sleep(3 * time.Second)
		}
	})
}

func TestLeaderOfDelivererDies(t *testing.T) {
	notRaced(t)
	seen := underTraffic(t, briskly, func(w *World, leader, _ *life) { w.kill(leader) })
	if seen.silence > renewedWithin {
		t.Errorf("nothing came for %v, although the deliverer went on and the new leader could renew it", seen.silence)
	}
}

func TestLeaderOfDelivererIsCutOff(t *testing.T) {
	notRaced(t)
	underTraffic(t, briskly, func(w *World, leader, _ *life) {
		w.cut(leader.id, true)
		time.Sleep(10 * time.Second)
		w.cut(leader.id, false)
	})
}

func TestLeadGoesToDeliverer(t *testing.T) {
	notRaced(t)
	underTraffic(t, briskly, func(w *World, leader, deliverer *life) {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		for _, shard := range leader.node.Map().Shards() {
			if leader.leads(shard.ID) {
				if err := leader.node.TransferLeadership(ctx, shard.ID, deliverer.id); err != nil {
					w.violated("transfer: %v", err)
				}
			}
		}
	})
}

// The lead is handed to the third node, and the deliverer dies as it happens.
func TestLeadGoesAndDelivererDies(t *testing.T) {
	notRaced(t)
	underTraffic(t, briskly, func(w *World, leader, deliverer *life) {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		for _, id := range w.ids() {
			if id == leader.id || id == deliverer.id {
				continue
			}
			for _, shard := range leader.node.Map().Shards() {
				if leader.leads(shard.ID) {
					if err := leader.node.TransferLeadership(ctx, shard.ID, id); err != nil {
						w.violated("transfer: %v", err)
					}
				}
			}
		}
		w.kill(deliverer)
	})
}

// The leader dies while the deliverer is cut off. Until that is over there is no quorum.
func TestLeaderDiesAndDelivererIsCutOff(t *testing.T) {
	notRaced(t)
	underTraffic(t, briskly, func(w *World, leader, deliverer *life) {
		w.cut(deliverer.id, true)
		w.kill(leader)
		time.Sleep(500 * time.Millisecond)
		w.cut(deliverer.id, false)
	})
}
