package httpapi

import (
	"slices"
	"sync"
	"time"

	"parley/mimi"
)

// parkedShownMax is how many parked rooms of a destination are shown.
const parkedShownMax = 100

// deliveryBoard is what the deliverer shows of its lanes to whoever asks, while it goes on. The deliverer writes, anybody reads.
type deliveryBoard struct {
	mu    sync.Mutex
	lanes map[mimi.Provider]*shownLane
}

// shownLane is one destination's.
type shownLane struct {
	since    time.Time // when its failures began; zero while it answers
	failure  string    // the last
	until    time.Time
	inFlight int
	parked   map[mimi.RoomURI]ParkedRoom
}

func newDeliveryBoard() *deliveryBoard {
	return &deliveryBoard{lanes: make(map[mimi.Provider]*shownLane)}
}

// lane is a destination's. mu is held.
func (b *deliveryBoard) lane(destination mimi.Provider) *shownLane {
	if b.lanes[destination] == nil {
		b.lanes[destination] = &shownLane{parked: make(map[mimi.RoomURI]ParkedRoom)}
	}
	return b.lanes[destination]
}

// failed shows that a destination as a whole does not take what is sent.
func (b *deliveryBoard) failed(destination mimi.Provider, cause error, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lane(destination)
	if l.failure = cause.Error(); l.since.IsZero() {
		l.since = now
	}
}

// answered shows that a destination has decided on something.
func (b *deliveryBoard) answered(destination mimi.Provider) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lane(destination)
	l.since, l.failure = time.Time{}, ""
}

// park shows that a destination refuses a room's next body.
func (b *deliveryBoard) park(destination mimi.Provider, room mimi.RoomURI, refusal string, now, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lane(destination)
	since := now
	if before, parked := l.parked[room]; parked {
		since = before.Since
	}
	l.parked[room] = ParkedRoom{Room: room, Since: since.UTC(), NextTry: until.UTC(), Refusal: refusal}
}

// unpark shows that it has taken it.
func (b *deliveryBoard) unpark(destination mimi.Provider, room mimi.RoomURI) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.lane(destination).parked, room)
}

// measure shows how many rooms are under way and until when nothing is sent.
func (b *deliveryBoard) measure(destination mimi.Provider, inFlight int, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lane(destination)
	l.inFlight, l.until = inFlight, until
}

// forget shows nothing of a destination any more.
func (b *deliveryBoard) forget(destination mimi.Provider) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.lanes, destination)
}

// Lanes are what the deliverer has learnt of the destinations that it delivers to now, without the node's name. At most a hundred parked
// rooms are listed of each, the ones that are parked longest. It may be called by many goroutines.
func (d *Deliverer) Lanes() map[mimi.Provider]DeliveryLane {
	b, now := d.board, time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	lanes := make(map[mimi.Provider]DeliveryLane)
	for destination, l := range b.lanes {
		lane := DeliveryLane{FailingSince: l.since, Error: l.failure, RoomsInFlight: l.inFlight}
		if l.until.After(now) {
			lane.NextTry = l.until
		}
		for _, room := range l.parked {
			lane.Parked = append(lane.Parked, room)
		}
		slices.SortFunc(lane.Parked, func(a, b ParkedRoom) int { return a.Since.Compare(b.Since) })
		shown := min(len(lane.Parked), parkedShownMax)
		lane.Parked, lane.ParkedMore = lane.Parked[:shown], len(lane.Parked)-shown
		lanes[destination] = lane
	}
	return lanes
}
