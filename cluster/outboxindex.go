package cluster

import (
	"slices"
	"sync"

	"parley/fsm"
	"parley/mimi"
)

// outboxIndex knows which outboxes of a replica may hold items, so that nobody has to search 4096 slots. It may name an outbox
// that has become empty, until somebody looks and says so; it never lacks one that holds something.
type outboxIndex struct {
	mu      sync.Mutex
	waiting map[mimi.Provider]map[fsm.SlotID]uint64 // the number of the last addition
	last    uint64
}

// waitingSlot is a slot with the addition that brought it in.
type waitingSlot struct {
	slot     fsm.SlotID
	addition uint64
}

func newOutboxIndex() *outboxIndex {
	return &outboxIndex{waiting: make(map[mimi.Provider]map[fsm.SlotID]uint64)}
}

func (x *outboxIndex) add(refs []fsm.OutboxRef) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, ref := range refs {
		slots := x.waiting[ref.Destination]
		if slots == nil {
			slots = make(map[fsm.SlotID]uint64)
			x.waiting[ref.Destination] = slots
		}
		x.last++
		slots[ref.Slot] = x.last
	}
}

// emptied takes an outbox out, unless something was added to it after the given addition: the reader has seen an older state.
func (x *outboxIndex) emptied(destination mimi.Provider, at waitingSlot) {
	x.mu.Lock()
	defer x.mu.Unlock()
	slots := x.waiting[destination]
	if slots[at.slot] != at.addition {
		return
	}
	delete(slots, at.slot)
	if len(slots) == 0 {
		delete(x.waiting, destination)
	}
}

// destinations are all that may have something waiting, in order.
func (x *outboxIndex) destinations() []mimi.Provider {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]mimi.Provider, 0, len(x.waiting))
	for destination := range x.waiting {
		all = append(all, destination)
	}
	slices.SortFunc(all, mimi.Provider.Compare)
	return all
}

// slots are those with something for a destination, in order.
func (x *outboxIndex) slots(destination mimi.Provider) []waitingSlot {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]waitingSlot, 0, len(x.waiting[destination]))
	for slot, addition := range x.waiting[destination] {
		all = append(all, waitingSlot{slot, addition})
	}
	slices.SortFunc(all, func(a, b waitingSlot) int { return int(a.slot) - int(b.slot) })
	return all
}
