package cluster

import (
	"context"
	"sync"

	"parley/cluster/transport"
)

// herald tells the followers that deliver what waits in a shard's outboxes how far its log is committed, as soon as nothing more is on its
// way to them. Raft's leader tells its followers with the next entries, and with nothing to send every RaftSettings.Commit: a body that is
// cut when little happens would wait for that, and so would its acknowledgement. While entries follow each other nothing is told here.
type herald struct {
	replica *replica
	woken   chan struct{} // capacity 1
	stopped chan struct{}
	tells   sync.WaitGroup // under way

	mu   sync.Mutex
	told map[string]uint64 // by node: the last index that it is being, or was, told
	busy map[string]bool   // it is being told
}

func newHerald(r *replica) *herald {
	return &herald{
		replica: r, woken: make(chan struct{}, 1), stopped: make(chan struct{}), told: make(map[string]uint64), busy: make(map[string]bool),
	}
}

// wake makes the herald look.
func (h *herald) wake() {
	select {
	case h.woken <- struct{}{}:
	default: // it will look anyway
	}
}

// run tells until the context ends. Those whom it is telling then are cut off when the group's transport closes.
func (h *herald) run(ctx context.Context) {
	defer close(h.stopped)
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.woken:
			h.look()
		}
	}
}

func (h *herald) look() {
	r := h.replica
	term := r.raft.CurrentTerm()
	last := r.machine.last.Load()
	// Of the two looks at the term the one before says in which term it led, and the one after that it was no other.
	if last == nil || !r.leads() || r.raft.CurrentTerm() != term || r.raft.LastIndex() > last.index {
		return
	}
	for _, node := range r.node.appointer.deliverers(r.shard) {
		h.tell(node, transport.Committed{Term: term, Index: last.index, IndexTerm: last.term})
	}
}

// tell tells one node, unless it is being told of something: then it is told of the newest when that is through.
func (h *herald) tell(node string, place transport.Committed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy[node] || h.told[node] >= place.Index {
		return
	}
	h.busy[node], h.told[node] = true, place.Index
	h.tells.Go(func() {
		// Without it the node hears of it from Raft, a little later.
		_ = h.replica.transport.TellCommitted(h.replica.node.id, node, place)
		h.mu.Lock()
		h.busy[node] = false
		h.mu.Unlock()
		h.wake()
	})
}
