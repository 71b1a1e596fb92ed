package cluster

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"parley/fsm"
	"parley/mimi"
)

// queueIndex is how a replica's queues to other hubs stand, as of the applied index, so that nobody has to search the slots for them.
type queueIndex struct {
	turns atomic.Uint64 // counts looks

	mu     sync.Mutex
	queues map[mimi.Provider]map[fsm.SlotID]fsm.QueuePosition // those in which something waits
}

func newQueueIndex() *queueIndex {
	return &queueIndex{queues: make(map[mimi.Provider]map[fsm.SlotID]fsm.QueuePosition)}
}

// note takes positions as they are now.
func (x *queueIndex) note(positions []fsm.QueuePosition) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range positions {
		slots := x.queues[p.Hub]
		switch {
		case p.Items > 0 && slots == nil:
			x.queues[p.Hub] = map[fsm.SlotID]fsm.QueuePosition{p.Slot: p}
		case p.Items > 0:
			slots[p.Slot] = p
		default:
			delete(slots, p.Slot)
			if len(slots) == 0 {
				delete(x.queues, p.Hub)
			}
		}
	}
}

// forgetSlots takes out what is of slots which the replica does not have any more.
func (x *queueIndex) forgetSlots(gone map[fsm.SlotID]bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for hub, slots := range x.queues {
		maps.DeleteFunc(slots, func(slot fsm.SlotID, _ fsm.QueuePosition) bool { return gone[slot] })
		if len(slots) == 0 {
			delete(x.queues, hub)
		}
	}
}

// hubs are those for which something waits, in order.
func (x *queueIndex) hubs() []mimi.Provider {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]mimi.Provider, 0, len(x.queues))
	for hub := range x.queues {
		all = append(all, hub)
	}
	slices.SortFunc(all, mimi.Provider.Compare)
	return all
}

// slots are those with something for a hub, in order.
func (x *queueIndex) slots(hub mimi.Provider) []fsm.SlotID {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]fsm.SlotID, 0, len(x.queues[hub]))
	for slot := range x.queues[hub] {
		all = append(all, slot)
	}
	slices.Sort(all)
	return all
}

// load sums up what waits for a hub.
func (x *queueIndex) load(hub mimi.Provider) (load QueueLoad) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.queues[hub] {
		load.Items += p.Items
		load.Bytes += p.Bytes
	}
	return load
}
