package cluster

import (
	"maps"
	"slices"
	"sync"

	"parley/fsm"
	"parley/mimi"
)

// outboxIndex knows which outboxes of a replica may hold items, and which of them handshakes, so that nobody has to search 4096 slots.
// It may name an outbox that has become empty, until somebody looks and says so; it never lacks one that holds something.
type outboxIndex struct {
	mu      sync.Mutex
	waiting map[mimi.Provider]*waitingSlots
	urgent  map[mimi.Provider]*waitingSlots // those with handshakes
	dropped map[fsm.OutboxRef]uint64        // items that were given up, ever; none that are 0
	last    uint64                          // counts additions
}

// waitingSlots are slots in order, each with the number of its last addition.
type waitingSlots struct {
	slots     []fsm.SlotID
	additions map[fsm.SlotID]uint64
}

func newOutboxIndex() *outboxIndex {
	return &outboxIndex{
		waiting: make(map[mimi.Provider]*waitingSlots), urgent: make(map[mimi.Provider]*waitingSlots), dropped: make(map[fsm.OutboxRef]uint64),
	}
}

// add takes in outboxes to which items were appended; urgent are those among them in which handshakes wait.
func (x *outboxIndex) add(refs, urgent []fsm.OutboxRef) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, ref := range refs {
		x.last++
		addSlot(x.waiting, ref, x.last)
	}
	for _, ref := range urgent {
		x.last++
		addSlot(x.urgent, ref, x.last)
	}
}

func addSlot(to map[mimi.Provider]*waitingSlots, ref fsm.OutboxRef, addition uint64) {
	of := to[ref.Destination]
	if of == nil {
		of = &waitingSlots{additions: make(map[fsm.SlotID]uint64)}
		to[ref.Destination] = of
	}
	if _, known := of.additions[ref.Slot]; !known {
		at, _ := slices.BinarySearch(of.slots, ref.Slot)
		of.slots = slices.Insert(of.slots, at, ref.Slot)
	}
	of.additions[ref.Slot] = addition
}

// addDropped counts items that were given up.
func (x *outboxIndex) addDropped(ref fsm.OutboxRef, items uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if items > 0 {
		x.dropped[ref] += items
	}
}

// droppedItems are all that were given up, by destination.
func (x *outboxIndex) droppedItems() map[mimi.Provider]uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	sums := make(map[mimi.Provider]uint64)
	for ref, items := range x.dropped {
		sums[ref.Destination] += items
	}
	return sums
}

// forgetSlots takes out all that is of slots which the replica does not have any more.
func (x *outboxIndex) forgetSlots(gone map[fsm.SlotID]bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, index := range []map[mimi.Provider]*waitingSlots{x.waiting, x.urgent} {
		for destination, of := range index {
			of.slots = slices.DeleteFunc(of.slots, func(slot fsm.SlotID) bool { return gone[slot] })
			maps.DeleteFunc(of.additions, func(slot fsm.SlotID, _ uint64) bool { return gone[slot] })
			if len(of.slots) == 0 {
				delete(index, destination)
			}
		}
	}
	maps.DeleteFunc(x.dropped, func(ref fsm.OutboxRef, _ uint64) bool { return gone[ref.Slot] })
}

// forget is for a state that was replaced by another.
func (x *outboxIndex) forgetDropped() {
	x.mu.Lock()
	defer x.mu.Unlock()
	clear(x.dropped)
}

// mark is the number of the last addition. A reader takes it before its view of the state, and gives it to emptied.
func (x *outboxIndex) mark() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// emptied takes an outbox out which a view showed empty, unless something was added to it after the mark: the view is older than that.
func (x *outboxIndex) emptied(destination mimi.Provider, slot fsm.SlotID, mark uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	removeSlot(x.waiting, destination, slot, mark)
	removeSlot(x.urgent, destination, slot, mark)
}

// calmed is emptied for the handshakes alone.
func (x *outboxIndex) calmed(destination mimi.Provider, slot fsm.SlotID, mark uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	removeSlot(x.urgent, destination, slot, mark)
}

func removeSlot(from map[mimi.Provider]*waitingSlots, destination mimi.Provider, slot fsm.SlotID, mark uint64) {
	of := from[destination]
	if of == nil {
		return
	}
	if addition, known := of.additions[slot]; !known || addition > mark {
		return
	}
	delete(of.additions, slot)
	at, _ := slices.BinarySearch(of.slots, slot)
	of.slots = slices.Delete(of.slots, at, at+1)
	if len(of.slots) == 0 {
		delete(from, destination)
	}
}

// destinations are all that may have something waiting, in order.
func (x *outboxIndex) destinations() []mimi.Provider {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.SortedFunc(maps.Keys(x.waiting), mimi.Provider.Compare)
}

// slots are those with something for a destination, in order.
func (x *outboxIndex) slots(destination mimi.Provider) []fsm.SlotID {
	return x.slotsFrom(destination, false, 0)
}

// slotsFrom are those with something for a destination, or those with handshakes alone, in order from one on and round to it.
func (x *outboxIndex) slotsFrom(destination mimi.Provider, urgent bool, first fsm.SlotID) []fsm.SlotID {
	x.mu.Lock()
	defer x.mu.Unlock()
	of := x.waiting[destination]
	if urgent {
		of = x.urgent[destination]
	}
	if of == nil {
		return nil
	}
	at, _ := slices.BinarySearch(of.slots, first)
	return slices.Concat(of.slots[at:], of.slots[:at])
}
