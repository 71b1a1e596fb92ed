package httpapi

import (
	"context"

	"parley/fsm"
	"parley/mimi"
)

// noteQueues keeps in which slots something waits for other hubs; under mu.
func (h *memoryHub) noteQueues(positions []fsm.QueuePosition) {
	for _, p := range positions {
		if h.queues == nil {
			h.queues = map[mimi.Provider]map[fsm.SlotID]bool{}
		}
		if h.queues[p.Hub] == nil {
			h.queues[p.Hub] = map[fsm.SlotID]bool{}
		}
		if h.queues[p.Hub][p.Slot] = true; p.Items == 0 {
			delete(h.queues[p.Hub], p.Slot)
		}
		select {
		case h.woken <- struct{}{}:
		default:
		}
	}
}

func (h *memoryHub) QueuedHubs() (hubs []mimi.Provider) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for hub, slots := range h.queues {
		if len(slots) > 0 {
			hubs = append(hubs, hub)
		}
	}
	return hubs
}

func (h *memoryHub) Inherited(q fsm.QueuedSubmission) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.inherited[q.Receipt]
}

func (h *memoryHub) QueueHeads(_ context.Context, hub mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) (heads []fsm.QueuedSubmission, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := map[mimi.RoomURI]int{}
	for slot := range h.queues[hub] {
		h.must(fsm.ReadQueue(h.store, slot, hub, func(q fsm.QueuedSubmission) (bool, error) {
			if !busy(q.Room) && seen[q.Room] < page.PerRoom && (seen[q.Room] > 0 || len(seen) < page.Rooms) {
				seen[q.Room]++
				heads = append(heads, q)
			}
			return true, nil
		}))
	}
	return heads, nil
}
