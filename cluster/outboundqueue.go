package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"parley/fsm"
	"parley/mimi"
)

// What local clients submit for rooms of other providers waits in queues in the rooms' slots. The node that leads a shard brings it to
// the hubs.

// queueBytesMax is how much may wait for one hub in one shard, beside what the settings say of a slot. Beyond it a node that leads takes
// nothing more for that hub.
const queueBytesMax = 256 << 20

// QueueLoad is how much waits for a hub.
type QueueLoad struct {
	Items uint64
	Bytes uint64
}

// recallQueues finds what waits for other hubs.
func (r *replica) recallQueues(view fsm.Reader, owned []fsm.SlotID) error {
	var waiting []fsm.QueuePosition
	for _, slot := range owned {
		err := fsm.QueuePositions(view, slot, func(p fsm.QueuePosition) (bool, error) {
			if p.Items > 0 {
				waiting = append(waiting, p)
			}
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	r.queues.recalled(waiting)
	return nil
}

// queueIsFull reports whether a command would add to a queue that has no room.
func (r *replica) queueIsFull(command fsm.Command) bool {
	c, queues := command.(fsm.QueueSubmissions)
	return queues && r.queues.load(c.Room.Provider()).Bytes >= queueBytesMax
}

// QueuedHubs lists the hubs of other providers for which something waits on the shards that this node leads, but for peers that are
// paused.
func (n *Node) QueuedHubs() []mimi.Provider {
	current := n.Map()
	hubs := slices.SortedFunc(maps.Keys(n.QueueLoads()), mimi.Provider.Compare)
	return slices.DeleteFunc(hubs, current.Paused)
}

// QueueLoads is how much waits for each hub on the shards that this node leads.
func (n *Node) QueueLoads() map[mimi.Provider]QueueLoad {
	loads := make(map[mimi.Provider]QueueLoad)
	for _, r := range n.led() {
		r.noteTenure()
		for _, hub := range r.queues.hubs() {
			here, sum := r.queues.load(hub), loads[hub]
			loads[hub] = QueueLoad{Items: sum.Items + here.Items, Bytes: sum.Bytes + here.Bytes}
		}
	}
	return loads
}

// QueueHeads returns, for the shards that this node leads, the first submissions that wait for a hub in rooms that are not busy, in order
// per room, as many as the page allows; none where the hub's provider is paused. One stays until it has its verdict.
func (n *Node) QueueHeads(ctx context.Context, hub mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) ([]fsm.QueuedSubmission, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if n.Map().Paused(hub) {
		return nil, nil
	}
	heads := newQueueHeads(hub, busy, page)
	for _, r := range n.led() {
		if heads.full || ctx.Err() != nil {
			break
		}
		r.noteTenure()
		if err := r.queueHeads(heads); err != nil {
			return nil, fmt.Errorf("queues of shard %d: %w", r.shard, err)
		}
	}
	return heads.items, nil
}

// Inherited reports whether a submission that waits may have been brought to its hub before this node led its shard, by another node or by an
// earlier process. It may say so of what was queued soon after, and of what this node does not lead.
func (n *Node) Inherited(q fsm.QueuedSubmission) bool {
	for _, r := range n.led() {
		if yes, here := r.queues.inherited(q.Hub, q.Slot, q.Number); here {
			return yes
		}
	}
	return true
}

// noteTenure tells the queues what of them is older than this node's lead. The end of the log is read behind the term: a leader's log has all
// that an earlier one has decided.
func (r *replica) noteTenure() {
	term := r.raft.CurrentTerm()
	r.queues.tenure(term, r.raft.LastIndex(), r.machine.applied.current())
}

// queueHeads is a page under way.
type queueHeads struct {
	hub   mimi.Provider
	page  fsm.OutboxPage
	busy  func(mimi.RoomURI) bool
	items []fsm.QueuedSubmission
	bytes int
	seen  map[mimi.RoomURI]int // items of each room
	full  bool
}

func newQueueHeads(hub mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) *queueHeads {
	if page.Bytes == 0 || page.Bytes > headsBytesMax {
		page.Bytes = headsBytesMax
	}
	return &queueHeads{hub: hub, page: page, busy: busy, seen: make(map[mimi.RoomURI]int)}
}

func (r *replica) queueHeads(heads *queueHeads) (err error) {
	view, err := r.view()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	return r.queueHeadsIn(view, heads)
}

// queueHeadsIn adds what a view has.
func (r *replica) queueHeadsIn(view fsm.Reader, heads *queueHeads) error {
	slots, err := r.servedBy(view).of(r.queues.slots(heads.hub))
	if err != nil || len(slots) == 0 {
		return err
	}
	first := int(r.queues.turns.Add(1) % uint64(len(slots))) // each time another, so that the first ones do not always go before the others
	for i := range slots {
		if err := fsm.ReadQueue(view, slots[(first+i)%len(slots)], heads.hub, heads.visit); err != nil {
			return err
		}
		if heads.full {
			break
		}
	}
	return nil
}

// visit takes a submission into the page if it is to be there. The first that has no room ends the page, so that none overtakes it.
func (h *queueHeads) visit(q fsm.QueuedSubmission) (more bool, err error) {
	taken, known := h.seen[q.Room]
	switch {
	case h.busy(q.Room), taken >= h.page.PerRoom:
		return true, nil
	case !known && len(h.seen) >= h.page.Rooms, len(h.items) > 0 && h.bytes+len(q.Body) > h.page.Bytes:
		h.full = true
		return false, nil
	}
	h.seen[q.Room]++
	h.items = append(h.items, q)
	h.bytes += len(q.Body)
	return true, nil
}
