package clustertest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

const receiveInterval = 3 * time.Second

// receiver takes what goes out to one destination, acknowledges it, and remembers all of it.
type receiver struct {
	crowd  *crowd
	to     mimi.Provider
	random *rand.Rand // of run's goroutine
	calm   bool       // of a peer: its couriers lose no answers and are quick

	mu     sync.Mutex
	items  map[itemName]item
	last   map[mimi.RoomURI]uint64 // the highest sequence that came of each room
	copies int                     // how often something came again
	latest time.Time               // when something came for the first time
}

type itemName struct {
	slot     fsm.SlotID
	sequence uint64
}

type item struct {
	room mimi.RoomURI
	sum  [32]byte
	body []byte
}

func newReceiver(c *crowd, to mimi.Provider) *receiver {
	return &receiver{
		crowd: c, to: to, random: rand.New(rand.NewPCG(c.world.seed, sum64(to.String()))),
		items: make(map[itemName]item), last: make(map[mimi.RoomURI]uint64),
	}
}

func sum64(s string) uint64 {
	sum := sha256.Sum256([]byte(s))
	return binary.BigEndian.Uint64(sum[:])
}

// run receives until it is stopped: the local provider asks, and to a peer each node has a courier.
func (r *receiver) run(stop context.Context) {
	var couriers sync.WaitGroup
	defer couriers.Wait()
	sent := make(map[*life]bool)
	for stop.Err() == nil {
		for _, l := range r.crowd.world.alive() {
			switch {
			case r.to == local:
				r.receive(l)
			case !sent[l]:
				sent[l] = true
				courier := newCourier(r, l, r.calm) // here, for couriers draw their seeds one after the other
				couriers.Go(func() { courier.run(stop) })
			}
		}
		select {
		case <-time.After(r.interval()):
		case <-stop.Done():
		}
	}
}

func (r *receiver) interval() time.Duration {
	if r.to == local {
		return receiveInterval
	}
	return 100 * time.Millisecond // after which a life has its courier
}

// nothingWaits reports whether a node knows for certain of nothing that waits for the receiver, after the receiver has taken what it is
// given. Of the shards of a peer's items only their leaders know.
func (r *receiver) nothingWaits(l *life) bool {
	if r.to == local {
		items, whole := r.receive(l)
		return items == 0 && whole
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	backlog, err := l.node.Backlog(ctx)
	return err == nil && backlog[r.to].Items == 0
}

// receive takes one page of the inbox from one node. It returns how much there was, and whether no shard was left out.
func (r *receiver) receive(l *life) (items int, whole bool) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	page, err := l.node.ReadInbox(ctx, fsm.InboxQuery{Items: 200})
	if err != nil || l.dead.Load() {
		return 0, false
	}
	bySlot := make(map[fsm.SlotID][]uint64)
	for _, one := range page.Items {
		r.take(one, l.id)
		bySlot[one.Slot] = append(bySlot[one.Slot], one.Sequence)
	}
	if r.random.IntN(4) == 0 {
		return len(page.Items), page.Whole // an acknowledgement that is lost
	}
	for _, slot := range slices.Sorted(maps.Keys(bySlot)) {
		if _, _, err := l.node.Propose(ctx, fsm.Acknowledge{At: slot, Destination: r.to, Sequences: bySlot[slot]}); err != nil {
			break
		}
	}
	return len(page.Items), page.Whole
}

// take checks one item: the same bytes each time that it comes, and never before one that stands before it in its room.
func (r *receiver) take(one fsm.OutboxItem, node string) {
	w := r.crowd.world
	name := itemName{one.Slot, one.Sequence}
	sum := sha256.Sum256(one.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, known := r.items[name]; known {
		if before.sum != sum {
			w.violated("%s: item %d of slot %d came from %s with other bytes", r.to, one.Sequence, one.Slot, node)
		}
		r.copies++
		return
	}
	r.items[name], r.latest = item{one.Room, sum, one.Body}, time.Now()
	if one.Sequence < r.last[one.Room] {
		w.violated("%s: item %d of %s came after item %d", r.to, one.Sequence, one.Room, r.last[one.Room])
	}
	r.last[one.Room] = max(r.last[one.Room], one.Sequence)
}

// verify compares all that came with what was accepted: everything once, and each room's Commits in the order of their epochs.
func (r *receiver) verify() {
	w, h := r.crowd.world, r.crowd.history
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]itemName, 0, len(r.items))
	for name := range r.items {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b itemName) int {
		if a.slot != b.slot {
			return int(a.slot) - int(b.slot)
		}
		return int(int64(a.sequence) - int64(b.sequence))
	})
	came := make(map[[32]byte]int)
	epochs := make(map[mimi.RoomURI]mls.Epoch)
	for i, name := range names {
		if i > 0 && names[i-1].slot == name.slot && names[i-1].sequence+1 != name.sequence {
			w.violated("%s: of slot %d there is no item %d", r.to, name.slot, names[i-1].sequence+1)
		}
		r.readBody(r.items[name], came, epochs)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for room, hashes := range h.accepted {
		for hash := range hashes {
			if came[hash] != 1 {
				w.violated("%s: %x of %s, which was accepted, came %d times", r.to, hash[:4], room, came[hash])
			}
		}
	}
	for hash, node := range h.denied {
		if came[hash] > 0 {
			w.violated("%s: Commit %x came, of which %s said that nothing was written", r.to, hash[:4], node)
		}
	}
}

func (r *receiver) readBody(one item, came map[[32]byte]int, epochs map[mimi.RoomURI]mls.Epoch) {
	w := r.crowd.world
	events, err := mimi.ParseFanout(one.body)
	if err != nil {
		w.violated("%s: a body of %s cannot be read: %v", r.to, one.room, err)
		return
	}
	for _, event := range events {
		first := event.Event.MLSMessages()[0]
		came[hashOf(first)]++
		if commit, is := first.Body.(*mls.PublicMessage); is {
			if _, is := commit.Content.Body.(mls.Commit); !is {
				continue
			}
			if commit.Content.Epoch != epochs[one.room] {
				w.violated("%s: in %s the Commit of epoch %d stands where that of %d must", r.to, one.room, commit.Content.Epoch, epochs[one.room])
			}
			epochs[one.room] = commit.Content.Epoch + 1
		}
	}
}
