package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"parley/fsm"
	"parley/mls"
)

const (
	// loadHalving is after how long a request counts for half of one that comes now.
	loadHalving = 10 * time.Minute

	// loadBytes of a command count as much as a command itself: one may bring a thousand messages.
	loadBytes = 4 << 10
)

// slotLoad counts what this node has proposed for each slot of late, as the leader of its shard. Safe for concurrent use.
type slotLoad struct{ counts [fsm.SlotCount]atomic.Uint64 }

func (l *slotLoad) note(slot fsm.SlotID, bytes int) {
	if slot < fsm.SlotCount { // else it is the shard's own
		l.counts[slot].Add(1 + uint64(bytes/loadBytes))
	}
}

// halve lets what has been grow old. What comes in meanwhile is not lost.
func (l *slotLoad) halve() {
	for i := range l.counts {
		was := l.counts[i].Load()
		l.counts[i].Add(-(was - was/2))
	}
}

// age lets counts grow old until the node's life ends.
func (l *slotLoad) age(life context.Context) {
	ticker := time.NewTicker(loadHalving)
	defer ticker.Stop()
	for {
		select {
		case <-life.Done():
			return
		case <-ticker.C:
			l.halve()
		}
	}
}

// loadOf is one slot's.
type loadOf struct {
	slot fsm.SlotID
	load uint64
}

// slotLoads sums up what the nodes have proposed of late, by slot. Of a node that does not answer, or is of an older program, nothing is known:
// what weighs is a difference between slots, and another look comes with another plan.
func (n *Node) slotLoads(ctx context.Context) (sum [fsm.SlotCount]uint64) {
	heard, _ := askAll(ctx, n, methodSlotLoads, nil, n.serveSlotLoads, readSlotLoads)
	for _, loads := range heard {
		for _, one := range loads {
			if one.slot < fsm.SlotCount {
				sum[one.slot] += one.load
			}
		}
	}
	return sum
}

// serveSlotLoads answers methodSlotLoads:
//
//	struct { uint16 slot; uint64 load; } SlotLoad;
//	struct { uint8 version = 1; SlotLoad loads<V>; } SlotLoads; // of slots that have any
func (n *Node) serveSlotLoads(context.Context, string, []byte) ([]byte, error) {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Vector(func(w *mls.Writer) {
		for slot := range n.load.counts {
			if load := n.load.counts[slot].Load(); load > 0 {
				w.Uint16(uint16(slot))
				w.Uint64(load)
			}
		}
	})
	return w.Bytes(), nil
}

func readSlotLoads(raw []byte) ([]loadOf, error) {
	r := mls.NewReader("SlotLoads", raw)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	loads := mls.ReadList(r, "loads", func(r *mls.Reader) loadOf { return loadOf{fsm.SlotID(r.Uint16("slot")), r.Uint64("load")} })
	return loads, r.Close()
}
