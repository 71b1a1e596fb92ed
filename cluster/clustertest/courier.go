package clustertest

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

const (
	courierRescan = time.Second            // looking again although nothing was heard
	courierRooms  = 32                     // with a body on its way
	flightMax     = 300 * time.Millisecond // of a body
)

// courier is what a node does about a destination while one of its lives lasts: it sends the first bodies of rooms, one at a time of each,
// and the next when the acknowledgement of the one before is recorded.
type courier struct {
	receiver *receiver
	life     *life
	calm     bool // no answer is lost, and no body is long on its way

	mu     sync.Mutex
	random *rand.Rand
	busy   map[mimi.RoomURI]bool
	done   map[itemName]bool // whose acknowledgements were answered
	flying sync.WaitGroup
	freed  chan struct{} // capacity 1: a room is free again
}

func newCourier(r *receiver, l *life, calm bool) *courier {
	return &courier{
		receiver: r, life: l, calm: calm, random: rand.New(rand.NewPCG(r.random.Uint64(), r.random.Uint64())),
		busy: make(map[mimi.RoomURI]bool), done: make(map[itemName]bool), freed: make(chan struct{}, 1),
	}
}

// run delivers until the life or stop ends, and returns when nothing is on its way any more.
func (c *courier) run(stop context.Context) {
	defer c.flying.Wait()
	ticker := time.NewTicker(courierRescan)
	defer ticker.Stop()
	for stop.Err() == nil && !c.life.dead.Load() {
		c.look(stop)
		select {
		case <-c.life.node.OutboxChanged():
		case <-c.freed:
		case <-ticker.C:
		case <-stop.Done():
		}
	}
}

// look sends what may be sent.
func (c *courier) look(stop context.Context) {
	ctx, cancel := context.WithTimeout(stop, callTimeout)
	defer cancel()
	c.mu.Lock()
	busy := maps.Clone(c.busy) // a room that becomes free while it is looked is not looked at: the state may be one of before
	c.mu.Unlock()
	idle := func(room mimi.RoomURI) bool { return busy[room] }
	page, err := c.life.node.Heads(ctx, c.receiver.to, idle, fsm.OutboxPage{Rooms: courierRooms, PerRoom: 1})
	if err != nil || c.life.dead.Load() {
		return
	}
	for _, one := range page {
		c.mu.Lock()
		again := c.done[itemName{one.Slot, one.Sequence}]
		c.busy[one.Room] = true
		flight := time.Duration(c.random.Int64N(int64(flightMax)))
		lost := c.random.IntN(8) == 0
		c.mu.Unlock()
		if again {
			c.receiver.crowd.world.violated("%s: %s sends item %d of slot %d again, of which it knows the acknowledgement", c.receiver.to, c.life.id, one.Sequence, one.Slot)
		}
		if c.calm {
			flight, lost = time.Millisecond, false
		}
		c.flying.Go(func() { c.send(one, flight, lost) })
	}
}

// send is one body's way. It arrives also where its sender dies meanwhile.
func (c *courier) send(one fsm.OutboxItem, flight time.Duration, lost bool) {
	defer c.free(one.Room)
	time.Sleep(flight)
	c.receiver.take(one, c.life.id)
	if lost {
		return // the answer is
	}
	request := must(judge.NewAcknowledge(one.Slot, one.Destination, []uint64{one.Sequence}))
	for !c.life.dead.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		outcome, err := c.life.node.Do(ctx, request)
		cancel()
		if err == nil && outcome == (fsm.Done{}) {
			c.mu.Lock()
			c.done[itemName{one.Slot, one.Sequence}] = true
			c.mu.Unlock()
			return
		}
		if !errors.Is(err, fsm.ErrUnknownOutcome) && !errors.Is(err, fsm.ErrNotProposed) && !errors.Is(err, fsm.ErrOverloaded) {
			c.receiver.crowd.world.violated("%s: an acknowledgement at %s came to %#v, %v", one.Destination, c.life.id, outcome, err)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (c *courier) free(room mimi.RoomURI) {
	c.mu.Lock()
	delete(c.busy, room)
	c.mu.Unlock()
	select {
	case c.freed <- struct{}{}:
	default: // it will look anyway
	}
}
