package httpapi

import (
	"bytes"
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

	"parley/fsm"
	"parley/mimi"
)

// bulkPeers are destinations that take many bodies in a request. Each fails as the test says.
type bulkPeers struct {
	*fakePeer // for those that do not

	mu       sync.Mutex
	offers   func(mimi.Provider) bool                                                               // nil: all
	fault    func(to mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, bool, error) // the answer, and whether it is lost
	requests map[mimi.Provider][]int                                                                // items of each
	sending  map[mimi.Provider]int
	most     int // requests to one destination at once
	rooms    map[mimi.RoomURI]bool
	overlap  bool
	sent     map[string][]byte // each body as it was first sent, with its notices
	changed  bool              // something was sent again otherwise
	got      map[mimi.RoomURI][]string
	delay    func(mimi.Provider) time.Duration
}

func newBulkPeers() *bulkPeers {
	return &bulkPeers{
		fakePeer: newFakePeer(), requests: map[mimi.Provider][]int{}, sending: map[mimi.Provider]int{}, rooms: map[mimi.RoomURI]bool{},
		sent: map[string][]byte{}, got: map[mimi.RoomURI][]string{},
	}
}

// takesAll answers that everything was taken.
func takesAll(items []mimi.NotifyItem) mimi.BulkNotifyResponse {
	return mimi.BulkNotifyResponse{Taken: uint32(len(items))}
}

func (p *bulkPeers) NotifyMany(ctx context.Context, to mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, error) {
	if p.offers != nil && !p.offers(to) {
		return mimi.BulkNotifyResponse{}, &SendError{To: to, Err: errNotOffered}
	}
	answer, lost, err := p.arrive(to, items)
	wait := time.Millisecond
	if p.delay != nil {
		wait = p.delay(to)
	}
	cut := false
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		cut = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sending[to]--
	for _, item := range items {
		delete(p.rooms, item.Room)
	}
	switch {
	case cut:
		return mimi.BulkNotifyResponse{}, &SendError{To: to, MaybeSent: true, Err: ctx.Err()}
	case err != nil:
		return mimi.BulkNotifyResponse{}, err
	}
	p.take(items, answer)
	if lost {
		return mimi.BulkNotifyResponse{}, &SendError{To: to, MaybeSent: true, Err: errors.New("the answer was lost")}
	}
	return answer, nil
}

func (p *bulkPeers) arrive(to mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests[to] = append(p.requests[to], len(items))
	p.sending[to]++
	p.most = max(p.most, p.sending[to])
	here := map[mimi.RoomURI]bool{}
	for _, item := range items {
		p.overlap = p.overlap || p.rooms[item.Room] && !here[item.Room]
		p.rooms[item.Room], here[item.Room] = true, true
		name, whole := string(item.Body)+to.String(), mimi.BulkNotifyRequest{Items: []mimi.NotifyItem{item}}.Marshal()
		if first, before := p.sent[name]; before {
			p.changed = p.changed || !bytes.Equal(first, whole)
		}
		p.sent[name] = whole
	}
	if p.fault == nil {
		return takesAll(items), false, nil
	}
	return p.fault(to, items)
}

func (p *bulkPeers) take(items []mimi.NotifyItem, answer mimi.BulkNotifyResponse) {
	for i, v := range verdictsOf(len(items), answer) {
		if v.taken {
			p.got[items[i].Room] = append(p.got[items[i].Room], string(items[i].Body))
		}
	}
}

// verify checks that each room's bodies came in order, all of them, and says how many came more than once: those of a request whose fate
// was unknown come again from its first.
func (p *bulkPeers) verify(t *testing.T, rooms, perRoom int) (duplicates int) {
	t.Helper()
	if p.changed {
		t.Error("something was sent again with other octets")
	}
	if p.overlap {
		t.Error("a room was in two requests at once")
	}
	for n := range rooms {
		next := 1
		for _, body := range p.got[testRoom(n)] {
			var sequence int
			if _, err := fmt.Sscanf(body, testRoom(n).String()+"#%d", &sequence); err != nil || sequence > next {
				t.Fatalf("room %d: got %s, expected #%d: %v", n, body, next, err)
			}
			if sequence < next {
				duplicates++
				continue
			}
			next++
		}
		if next != perRoom+1 {
			t.Errorf("room %d: %d of %d bodies came", n, next-1, perRoom)
		}
	}
	return duplicates
}

func TestBulkDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peers := fill(40, 100), newBulkPeers()
		stop := deliver(t, DeliveryConfig{Config: &fakeConfig{fsm.DefaultSettings(hubDomain)}}, outbox, peers)
		time.Sleep(time.Second)
		stop()
		if !outbox.byRoom {
			t.Error("a room's items are acknowledged one by one")
		}
		if n := peers.verify(t, 40, 100); n != 0 || outbox.left() != 0 {
			t.Errorf("%d duplicates, %d left", n, outbox.left())
		}
		requests := peers.requests[peerDomain]
		if len(requests) > 40 || // how many depends on which acknowledgements come before the next look
			slices.Max(requests) > mimi.NotifyItemsMax {
			t.Errorf("4,000 bodies in requests of %v", requests)
		}
		if peers.most > 4 {
			t.Errorf("%d requests at once", peers.most)
		}
	})
}

// A request holds what it may and no more, and one item however large it is.
func TestBulkDeliveryIsBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peers := newFakeOutbox(), newBulkPeers()
		for n := range 30 {
			item := outboxItem(testRoom(n), 1)
			item.Body = append(bytes.Repeat([]byte{byte(n)}, 600<<10), item.Body...)
			if n == 7 {
				item.Body = bytes.Repeat([]byte{7}, 6<<20)
			}
			outbox.add(item)
		}
		over := false
		peers.fault = func(_ mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, bool, error) {
			size := len(mimi.BulkNotifyRequest{Items: items}.Marshal())
			over = over || size > mimi.NotifyBytesMax+16 && len(items) > 1
			return takesAll(items), false, nil
		}
		stop := deliver(t, DeliveryConfig{}, outbox, peers)
		time.Sleep(time.Second)
		stop()
		if over || outbox.left() != 0 {
			t.Errorf("a request was too large: %v; %d left", over, outbox.left())
		}
	})
}

// A peer that fails in every way: nothing is lost, order holds, and something comes twice only where its fate was unknown.
func TestBulkDeliveryToAFlakyPeer(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 2))
			outbox, peers, unknown := fill(12, 30), newBulkPeers(), 0
			outbox.fail = 5
			peers.fault = func(_ mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, bool, error) {
				answer := takesAll(items)
				switch dice.IntN(8) {
				case 0:
					return answer, false, &SendError{Err: errors.New("refused")}
				case 1:
					unknown += len(items)
					return answer, true, nil
				case 2:
					return answer, false, &StatusError{Status: http.StatusServiceUnavailable, RetryAfter: time.Second}
				case 3:
					return answer, false, &StatusError{Status: http.StatusBadRequest}
				case 4:
					answer.Taken = uint32(dice.IntN(len(items) + 1)) // the rest was not looked at
				case 5, 6:
					answer = withExceptions(dice, items)
				}
				return answer, false, nil
			}
			cfg := DeliveryConfig{}
			if seed%2 == 0 {
				cfg.Config = &fakeConfig{fsm.DefaultSettings(hubDomain)}
			}
			stop := deliver(t, cfg, outbox, peers)
			time.Sleep(8 * time.Hour)
			stop()
			if duplicates := peers.verify(t, 12, 30); duplicates > unknown {
				t.Errorf("seed %d: %d duplicates, %d unknown outcomes", seed, duplicates, unknown)
			}
			if outbox.left() != 0 {
				t.Errorf("seed %d: %d items left", seed, outbox.left())
			}
		})
	}
}

// withExceptions refuses some rooms from some item on.
func withExceptions(dice *rand.Rand, items []mimi.NotifyItem) mimi.BulkNotifyResponse {
	answer := takesAll(items)
	failing := map[mimi.RoomURI]bool{}
	codes := []mimi.NotifyCode{mimi.NotifyMalformed, mimi.NotifyOverloaded, mimi.NotifyUndecided, mimi.NotifyOutOfOrder, 0x41, 0xc1}
	for i, item := range items {
		e := mimi.NotifyException{Index: uint32(i), Code: mimi.NotifyBehind}
		if !failing[item.Room] {
			if dice.IntN(10) > 0 {
				continue
			}
			failing[item.Room] = true
			e.Code = codes[dice.IntN(len(codes))]
		}
		answer.Exceptions = append(answer.Exceptions, e)
	}
	return answer
}

// One room's refused item holds up neither the destination nor anybody else, and is tried seldom.
func TestBulkDeliveryParksARoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peers := fill(5, 10), newBulkPeers()
		refusing, tries := true, 0
		peers.fault = func(_ mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, bool, error) {
			answer := takesAll(items)
			for i, item := range items {
				if refusing && item.Room == testRoom(0) {
					if len(answer.Exceptions) > 0 {
						answer.Exceptions = append(answer.Exceptions, mimi.NotifyException{Index: uint32(i), Code: mimi.NotifyBehind})
						continue
					}
					tries++
					answer.Exceptions = append(answer.Exceptions, mimi.NotifyException{Index: uint32(i), Code: mimi.NotifyMalformed, Reason: "x"})
				}
			}
			return answer, false, nil
		}
		stop := deliver(t, DeliveryConfig{Parked: Backoff{5 * time.Second, time.Minute}}, outbox, peers)
		time.Sleep(time.Second)
		if n := outbox.left(); n != 10 {
			t.Errorf("the other rooms were held up: %d items left", n)
		}
		time.Sleep(10 * time.Minute)
		peers.mu.Lock()
		if tries < 10 || tries > 25 {
			t.Errorf("it was tried %d times in ten minutes", tries)
		}
		refusing = false
		peers.mu.Unlock()
		time.Sleep(2 * time.Minute)
		stop()
		peers.verify(t, 5, 10)
	})
}

// A request that is refused whole is taken apart until it is known for whose sake.
func TestBulkDeliveryFindsWhomARefusalIsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peers := fill(60, 3), newBulkPeers()
		peers.fault = func(_ mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, bool, error) {
			for _, item := range items {
				if item.Room == testRoom(17) {
					return mimi.BulkNotifyResponse{}, false, &StatusError{Status: http.StatusBadRequest}
				}
			}
			return takesAll(items), false, nil
		}
		stop := deliver(t, DeliveryConfig{}, outbox, peers)
		time.Sleep(time.Minute)
		stop()
		if outbox.left() != 3 {
			t.Errorf("%d items left", outbox.left())
		}
	})
}

// A slow destination and a dead one cost a third nothing.
func TestBulkDeliveryIsFairBetweenDestinations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peers := fill(20, 200), newBulkPeers()
		slow, dead := provider("slow.example"), provider("dead.example")
		for n := range 20 {
			for sequence := range uint64(50) {
				for _, destination := range []mimi.Provider{slow, dead} {
					item := outboxItem(testRoom(n), sequence+1)
					item.Destination = destination
					item.Body = fmt.Appendf(nil, "%s %s", destination, item.Body)
					outbox.add(item)
				}
			}
		}
		peers.delay = func(to mimi.Provider) time.Duration {
			if to == peerDomain {
				return time.Millisecond
			}
			return 10 * time.Second
		}
		peers.fault = func(to mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, bool, error) {
			if to == dead {
				return mimi.BulkNotifyResponse{}, false, &SendError{Err: errors.New("no route")}
			}
			return takesAll(items), false, nil
		}
		stop := deliver(t, DeliveryConfig{BytesInFlight: 1}, outbox, peers)
		time.Sleep(time.Second)
		peers.mu.Lock()
		for n := range 20 {
			if got := len(peers.got[testRoom(n)]); got < 200 {
				t.Errorf("room %d: %d of 200 bodies in a second", n, got)
			}
		}
		peers.mu.Unlock()
		time.Sleep(time.Hour)
		stop()
		for _, items := range peers.requests[dead][2:] {
			if items != 1 {
				t.Errorf("a dead destination is probed with %d items", items)
			}
		}
		if n := len(peers.requests[dead]); n < 100 || n > 400 {
			t.Errorf("a dead destination was probed %d times in an hour", n)
		}
		if outbox.left() != 20*50 {
			t.Errorf("%d items left", outbox.left())
		}
	})
}

// Who catches up with what has waited for long has one request under way while another gets what is new, and more as soon as nobody does.
func TestCatchingUpLeavesRoomToWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peers := newFakeOutbox(), newBulkPeers()
		behind := provider("behind.example")
		peers.delay = func(to mimi.Provider) time.Duration {
			if to == behind {
				return 100 * time.Millisecond
			}
			return time.Millisecond
		}
		sequence := uint64(0)
		newest := func() { // something new for the other one, for a second
			for range 10 {
				sequence++
				item := outboxItem(testRoom(0), sequence)
				item.Millis = uint64(time.Now().UnixMilli())
				outbox.add(item)
				time.Sleep(100 * time.Millisecond)
			}
		}
		most := func() (n int) {
			peers.mu.Lock()
			defer peers.mu.Unlock()
			n, peers.most = peers.most, 0
			return n
		}
		stop := deliver(t, DeliveryConfig{}, outbox, peers)
		newest()
		for n := range 2000 {
			for sequence := range uint64(20) {
				item := outboxItem(testRoom(1000+n), sequence+1)
				item.Destination = behind
				outbox.add(item)
			}
		}
		for range 3 {
			newest()
		}
		if got := most(); got != 1 {
			t.Errorf("%d requests under way at once beside what is new", got)
		}
		peers.mu.Lock()
		if sent := len(peers.requests[behind]); sent < 10 || sent > 20 { // each takes 100 ms of the three seconds, and then as much is rest
			t.Errorf("%d requests beside what is new, without a rest in between", sent)
		}
		peers.mu.Unlock()
		before := outbox.left()
		time.Sleep(2 * time.Second)
		if got := most(); got < 3 {
			t.Errorf("%d requests under way at once when nothing is new", got)
		}
		if left := outbox.left(); left == before {
			t.Errorf("%d items left, as many as before", left)
		}
		stop()
	})
}

// Who takes no bulk deliveries gets bodies one by one, until it does; and again when it stops.
func TestBulkDeliveryFallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox, peers := fill(10, 5), newBulkPeers()
		offered := false
		peers.offers = func(mimi.Provider) bool {
			peers.mu.Lock()
			defer peers.mu.Unlock()
			return offered
		}
		offer := func(yes bool) {
			peers.mu.Lock()
			offered = yes
			peers.mu.Unlock()
		}
		stop := deliver(t, DeliveryConfig{BulkRetry: time.Minute}, outbox, peers)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := inOrder(t, peers.fakePeer, 10, 5); n != 0 || outbox.left() != 0 || len(peers.requests) != 0 {
			t.Errorf("%d duplicates, %d left, bulk requests %v", n, outbox.left(), peers.requests)
		}
		offer(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		for n := range 10 {
			outbox.add(outboxItem(testRoom(n), 6))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if outbox.left() != 0 || len(peers.requests[peerDomain]) == 0 || len(peers.got) != 10 {
			t.Errorf("%d left, bulk requests %v", outbox.left(), peers.requests)
		}
		offer(false)
		before := len(peers.times)
		for n := range 10 {
			outbox.add(outboxItem(testRoom(n), 7))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		stop()
		if outbox.left() != 0 || len(peers.times) != before+10 {
			t.Errorf("%d left, %d bodies one by one", outbox.left(), len(peers.times)-before)
		}
	})
}

// Notices go with their body where they can, and count as delivered where they cannot.
func TestNoticesAreDelivered(t *testing.T) {
	for _, offers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			item, alone := outboxItem(testRoom(0), 1), outboxItem(testRoom(1), 2)
			notice := fsm.Noticed{Notice: mimi.PolicyChanged{Epoch: 3, Changes: mimi.RolesChanged}}
			item.Notes, alone.Notes, alone.Body = []fsm.Note{notice}, []fsm.Note{notice}, nil
			outbox, peers := newFakeOutbox(item, alone), newBulkPeers()
			peers.offers = func(mimi.Provider) bool { return offers }
			var seen []string
			peers.fault = func(_ mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, bool, error) {
				for _, item := range items {
					notices, err := mimi.ParseNotices(item.Notices)
					seen = append(seen, fmt.Sprint(len(item.Body) > 0, notices, err))
				}
				return takesAll(items), false, nil
			}
			stop := deliver(t, DeliveryConfig{}, outbox, peers)
			time.Sleep(time.Second)
			stop()
			if outbox.left() != 0 || offers && !slices.Equal(seen, []string{"true [{3 4}] <nil>", "false [{3 4}] <nil>"}) {
				t.Errorf("offers %v: %d left, %q", offers, outbox.left(), seen)
			}
			if !offers && len(peers.times) != 1 {
				t.Errorf("%d bodies were sent one by one", len(peers.times))
			}
		})
	}
}
