package cluster

import (
	"context"
	"errors"

	"parley/fsm"
)

// StaleRooms sums up what waits to be brought forward (fsm/stale.go) in the shards that this node leads.
type StaleRooms struct {
	Rooms    uint64
	Unsought uint64 // slots whose rooms have not all been looked at since the generation began
}

// StaleRooms counts them. In a cluster of the first generation nothing is looked at.
func (n *Node) StaleRooms(ctx context.Context) (sum StaleRooms, err error) {
	_, done, err := n.begin(ctx)
	if err != nil {
		return sum, err
	}
	defer done()
	if n.Map().Generation() == fsm.FirstGeneration {
		return sum, nil
	}
	for _, r := range n.led() {
		if err := r.countStale(&sum); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func (r *replica) countStale(sum *StaleRooms) (err error) {
	view, err := r.view()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	return fsm.VisitOwnedSlots(view, func(slot fsm.SlotID, _ fsm.Ownership) (bool, error) {
		rooms, whole, err := fsm.CountStaleRooms(view, slot)
		sum.Rooms += rooms
		if !whole {
			sum.Unsought++
		}
		return true, err
	})
}
