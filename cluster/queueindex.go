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

	// What this replica's node may have from another that led before, see inherited:
	term   uint64                                  // that was seen last while it led
	floor  uint64                                  // the end of the log then
	known  bool                                    // what was queued up to there is applied, and in before
	before map[mimi.Provider]map[fsm.SlotID]uint64 // numbers below were queued before
}

func newQueueIndex() *queueIndex {
	return &queueIndex{
		queues: make(map[mimi.Provider]map[fsm.SlotID]fsm.QueuePosition), before: make(map[mimi.Provider]map[fsm.SlotID]uint64),
	}
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

// recalled takes positions that were read from the state: of a replica that has started, or of slots that have come. What waits there may have
// been brought to its hub by whoever had it.
func (x *queueIndex) recalled(positions []fsm.QueuePosition) {
	x.note(positions)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range positions {
		x.queuedBefore(p)
	}
}

func (x *queueIndex) queuedBefore(p fsm.QueuePosition) {
	if x.before[p.Hub] == nil {
		x.before[p.Hub] = make(map[fsm.SlotID]uint64)
	}
	x.before[p.Hub][p.Slot] = p.Next
}

// tenure takes note of the term in which the replica leads, the end of its log, and how much of that is applied. It has to be told before
// something is brought: what the leader of an earlier term may have brought ends where the log did when the term was seen first.
func (x *queueIndex) tenure(term, last, applied uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.term != term {
		x.term, x.floor, x.known = term, last, false
	}
	if x.known || applied < x.floor {
		return
	}
	x.known = true
	for _, slots := range x.queues {
		for _, p := range slots {
			x.queuedBefore(p)
		}
	}
}

// inherited reports whether a submission that waits may have been brought to its hub by another node, which led before; here is false where
// nothing of its slot waits in this replica.
func (x *queueIndex) inherited(hub mimi.Provider, slot fsm.SlotID, number uint64) (yes, here bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, here = x.queues[hub][slot]
	return !x.known || number < x.before[hub][slot], here
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
	for _, slots := range x.before {
		maps.DeleteFunc(slots, func(slot fsm.SlotID, _ uint64) bool { return gone[slot] })
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
