package httpapi

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// fakeOutbox is an outbox whose items go when they are acknowledged, as the state machine's do.
type fakeOutbox struct {
	mu     sync.Mutex
	items  []fsm.OutboxItem // in order of sequence
	wake   chan struct{}
	acks   int  // Acknowledge requests
	byRoom bool // some named rooms
	fail   int  // so many of them fail first, every second one after it took effect
}

func newFakeOutbox(items ...fsm.OutboxItem) *fakeOutbox {
	return &fakeOutbox{items: items, wake: make(chan struct{}, 1)}
}

func (o *fakeOutbox) add(items ...fsm.OutboxItem) {
	o.mu.Lock()
	o.items = append(o.items, items...)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *fakeOutbox) left() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.items)
}

func (o *fakeOutbox) Heads(_ context.Context, destination mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) ([]fsm.OutboxItem, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen, rooms := map[mimi.RoomURI]int{}, 0
	var heads []fsm.OutboxItem
	for _, item := range o.items {
		n := seen[item.Room]
		if item.Destination != destination || n == page.PerRoom || busy(item.Room) || n == 0 && rooms == page.Rooms {
			continue
		}
		if n == 0 {
			rooms++
		}
		seen[item.Room]++
		heads = append(heads, item)
	}
	return heads, nil
}

func (o *fakeOutbox) Waiting() []mimi.Provider {
	o.mu.Lock()
	defer o.mu.Unlock()
	var waiting []mimi.Provider
	for _, item := range o.items {
		if !slices.Contains(waiting, item.Destination) {
			waiting = append(waiting, item.Destination)
		}
	}
	return waiting
}

// Do applies an Acknowledge.
func (o *fakeOutbox) Do(_ context.Context, r judge.Request) (fsm.Outcome, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	verdict, err := r.Judge(nil)
	if err != nil {
		return nil, err
	}
	command := verdict.(judge.Propose).Command.(fsm.Acknowledge)
	o.acks++
	if o.fail > 0 {
		o.fail--
		if o.fail%2 == 0 {
			return nil, fsm.ErrNotProposed
		}
		o.drop(command)
		return nil, fsm.ErrUnknownOutcome
	}
	o.drop(command)
	return fsm.Done{}, nil
}

func (o *fakeOutbox) drop(a fsm.Acknowledge) {
	o.byRoom = o.byRoom || len(a.Rooms) > 0
	o.items = slices.DeleteFunc(o.items, func(i fsm.OutboxItem) bool {
		through := func(r fsm.RoomTaken) bool { return r.Room == i.Room && i.Sequence <= r.Through }
		return i.Slot == a.At && i.Destination == a.Destination && (slices.Contains(a.Sequences, i.Sequence) || slices.ContainsFunc(a.Rooms, through))
	})
}

// fakePeer is the other side: it takes bodies and fails as the test says.
type fakePeer struct {
	mu       sync.Mutex
	fault    func(room mimi.RoomURI, attempt int) (taken bool, err error)
	attempts map[string]int
	sending  map[mimi.RoomURI]bool
	got      map[mimi.RoomURI][]string // bodies in the order in which they were taken
	times    []time.Time               // of every attempt
	most     int                       // bodies on their way at once
	overlap  bool
	delay    time.Duration
}

func newFakePeer() *fakePeer {
	return &fakePeer{attempts: map[string]int{}, sending: map[mimi.RoomURI]bool{}, got: map[mimi.RoomURI][]string{}, delay: time.Millisecond}
}

func (p *fakePeer) Notify(ctx context.Context, _ mimi.Provider, room mimi.RoomURI, body []byte) error {
	p.mu.Lock()
	p.overlap = p.overlap || p.sending[room]
	p.sending[room] = true
	p.most = max(p.most, len(p.sending))
	p.attempts[string(body)]++
	p.times = append(p.times, time.Now())
	taken, err := true, error(nil)
	if p.fault != nil {
		taken, err = p.fault(room, p.attempts[string(body)])
	}
	p.mu.Unlock()
	select { // the round trip
	case <-time.After(p.delay):
	case <-ctx.Done():
		taken, err = false, &SendError{MaybeSent: true, Err: ctx.Err()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sending, room)
	if taken {
		p.got[room] = append(p.got[room], string(body))
	}
	return err
}

// NotifyMany is not offered.
func (p *fakePeer) NotifyMany(_ context.Context, to mimi.Provider, _ []mimi.NotifyItem) (mimi.BulkNotifyResponse, error) {
	return mimi.BulkNotifyResponse{}, &SendError{To: to, Err: errNotOffered}
}

func (p *fakePeer) tries(item fsm.OutboxItem) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attempts[string(item.Body)]
}

func testRoom(n int) mimi.RoomURI { return room(fmt.Sprintf("mimi://a.example/r/%d", n)) }

func outboxItem(room mimi.RoomURI, sequence uint64) fsm.OutboxItem {
	return fsm.OutboxItem{
		Slot: fsm.SlotOfRoom(room), Destination: peerDomain, Sequence: sequence, Room: room, Hub: hubDomain, Millis: 1,
		Body: fmt.Appendf(nil, "%s#%d", room, sequence),
	}
}

// deliver runs a deliverer inside a synctest bubble until stop is called.
func deliver(t *testing.T, cfg DeliveryConfig, outbox *fakeOutbox, peer Notifier) (stop func()) {
	t.Helper()
	metrics, err := NewDeliveryMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	pulse := NewPulse(outbox.wake)
	d := NewDeliverer(cfg, outbox, outbox, peer, pulse, metrics, quiet())
	var running sync.WaitGroup
	running.Go(func() { pulse.Run(ctx) })
	running.Go(func() { d.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// inOrder checks that each room's bodies came in order, all of them, and says how many came more than once.
func inOrder(t *testing.T, peer *fakePeer, rooms, perRoom int) (duplicates int) {
	t.Helper()
	for n := range rooms {
		next := uint64(1)
		for _, body := range peer.got[testRoom(n)] {
			switch want := string(outboxItem(testRoom(n), next).Body); {
			case body == want:
				next++
			case next > 1 && body == string(outboxItem(testRoom(n), next-1).Body):
				duplicates++
			default:
				t.Fatalf("room %d: got %s, expected %s", n, body, want)
			}
		}
		if next != uint64(perRoom)+1 {
			t.Errorf("room %d: %d of %d bodies came", n, next-1, perRoom)
		}
	}
	if peer.overlap {
		t.Error("two bodies of one room were on their way at once")
	}
	return duplicates
}

func fill(rooms, perRoom int) *fakeOutbox {
	outbox := newFakeOutbox()
	for sequence := range perRoom {
		for n := range rooms {
			outbox.items = append(outbox.items, outboxItem(testRoom(n), uint64(sequence)+1))
		}
	}
	return outbox
}

func TestDeliveryInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peer := fill(10, 20), newFakePeer()
		stop := deliver(t, DeliveryConfig{RoomsInFlight: 4}, outbox, peer)
		time.Sleep(time.Second)
		stop()
		if n := inOrder(t, peer, 10, 20); n != 0 {
			t.Errorf("%d duplicates without a reason", n)
		}
		if outbox.left() != 0 || peer.most != 4 {
			t.Errorf("%d items left; at most %d on their way", outbox.left(), peer.most)
		}
	})
}

// A peer that fails in every way: nothing is lost, order holds, and something comes twice only where its fate was unknown.
func TestDeliveryToAFlakyPeer(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 1))
			outbox, peer, unknown := fill(6, 10), newFakePeer(), 0
			outbox.fail = 5
			peer.fault = func(mimi.RoomURI, int) (bool, error) {
				switch dice.IntN(8) {
				case 0:
					return false, &SendError{Err: errors.New("refused")}
				case 1:
					unknown++
					return true, &SendError{MaybeSent: true, Err: errors.New("cut off")}
				case 2:
					return false, &StatusError{Status: http.StatusServiceUnavailable, RetryAfter: time.Second}
				case 3:
					return false, &StatusError{Status: http.StatusBadRequest}
				case 4:
					return false, &SendError{MaybeSent: true, Err: errors.New("lost on the way")}
				}
				return true, nil
			}
			stop := deliver(t, DeliveryConfig{}, outbox, peer)
			time.Sleep(24 * time.Hour)
			stop()
			if duplicates := inOrder(t, peer, 6, 10); duplicates > unknown {
				t.Errorf("%d duplicates, %d unknown outcomes", duplicates, unknown)
			}
			if outbox.left() != 0 {
				t.Errorf("%d items left", outbox.left())
			}
		})
	}
}

func TestDeliveryParksARoomAndNotItsPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peer := fill(5, 10), newFakePeer()
		refusing := true
		peer.fault = func(room mimi.RoomURI, _ int) (bool, error) {
			if refusing && room == testRoom(0) {
				return false, &StatusError{Status: http.StatusBadRequest}
			}
			return true, nil
		}
		stop := deliver(t, DeliveryConfig{Parked: Backoff{5 * time.Second, time.Minute}}, outbox, peer)
		time.Sleep(time.Second)
		if n := outbox.left(); n != 10 {
			t.Errorf("the other rooms were held up: %d items left", n)
		}
		if n := peer.tries(outboxItem(testRoom(0), 1)); n != 1 {
			t.Errorf("a refused body was tried %d times in a second", n)
		}
		time.Sleep(10 * time.Minute)
		tries := peer.tries(outboxItem(testRoom(0), 1))
		if tries < 10 || tries > 25 {
			t.Errorf("a refused body was tried %d times in ten minutes", tries)
		}
		peer.mu.Lock()
		refusing = false
		peer.mu.Unlock()
		time.Sleep(2 * time.Minute)
		stop()
		inOrder(t, peer, 5, 10)
	})
}

func TestDeliveryBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peer := fill(50, 1), newFakePeer()
		peer.fault = func(mimi.RoomURI, int) (bool, error) { return false, &SendError{Err: errors.New("refused")} }
		stop := deliver(t, DeliveryConfig{RoomsInFlight: 8, Failing: Backoff{100 * time.Millisecond, 10 * time.Second}}, outbox, peer)
		time.Sleep(5 * time.Minute)
		stop()
		// Eight at first, then one at a time, less than every ten seconds' half.
		if n := len(peer.times); n < 8+30 || n > 8+80 {
			t.Errorf("%d attempts in five minutes", n)
		}
		for i := 9; i < len(peer.times); i++ {
			if gap := peer.times[i].Sub(peer.times[i-1]); gap < 50*time.Millisecond || gap > 11*time.Second {
				t.Errorf("%s between attempts", gap)
			}
		}
	})
}

func TestDeliveryFollowsRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peer := fill(1, 1), newFakePeer()
		peer.fault = func(_ mimi.RoomURI, attempt int) (bool, error) {
			if attempt == 1 {
				return false, &StatusError{Status: http.StatusTooManyRequests, RetryAfter: time.Hour}
			}
			return true, nil
		}
		begun := time.Now()
		stop := deliver(t, DeliveryConfig{RetryAfterMax: time.Minute}, outbox, peer)
		time.Sleep(2 * time.Minute)
		stop()
		if len(peer.times) != 2 {
			t.Fatalf("%d attempts", len(peer.times))
		}
		if wait := peer.times[1].Sub(begun); wait < time.Minute || wait > time.Minute+time.Second {
			t.Errorf("waited %s", wait)
		}
	})
}

func TestDeliveryWakesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peer := newFakeOutbox(), newFakePeer()
		stop := deliver(t, DeliveryConfig{Rescan: time.Hour}, outbox, peer)
		synctest.Wait()
		outbox.add(outboxItem(testRoom(0), 1))
		time.Sleep(10 * time.Millisecond)
		if outbox.left() != 0 {
			t.Error("nothing was sent")
		}
		stop()
	})
}

// Acknowledgements of a slot that come while one is being recorded go together.
func TestAcknowledgementsGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, done := newFakeOutbox(), make(chan fsm.OutboxItem, 100)
		hub := slowHub{outbox, 10 * time.Millisecond}
		a := newAcknowledger(hub, nil, Backoff{time.Millisecond, time.Second}, quiet(), func(items []fsm.OutboxItem, err error) {
			if err != nil {
				t.Error(err)
			}
			for _, item := range items {
				done <- item
			}
		})
		for sequence := range uint64(100) {
			item := outboxItem(testRoom(0), sequence+1)
			outbox.add(item)
			a.add(context.Background(), []fsm.OutboxItem{item})
		}
		a.wait()
		if len(done) != 100 || outbox.acks > 3 || outbox.left() != 0 {
			t.Errorf("%d recorded in %d requests, %d left", len(done), outbox.acks, outbox.left())
		}
	})
}

type slowHub struct {
	Hub
	delay time.Duration
}

func (h slowHub) Do(ctx context.Context, r judge.Request) (fsm.Outcome, error) {
	time.Sleep(h.delay)
	return h.Hub.Do(ctx, r)
}

// Stopping lets what is under way arrive, and gives up after the grace.
func TestDeliveryStops(t *testing.T) {
	for delay, left := range map[time.Duration]int{time.Second: 0, time.Hour: 1} {
		synctest.Test(t, func(t *testing.T) {
			outbox, peer := fill(1, 1), newFakePeer()
			peer.delay = delay
			stop := deliver(t, DeliveryConfig{StopGrace: 2 * time.Second}, outbox, peer)
			time.Sleep(time.Millisecond)
			begun := time.Now()
			stop()
			if outbox.left() != left || time.Since(begun) > 3*time.Second {
				t.Errorf("delay %s: %d left after %s", delay, outbox.left(), time.Since(begun))
			}
		})
	}
}
