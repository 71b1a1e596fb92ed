package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

const (
	slotWeightsVersion = 1

	// weighBytes is how much of a slot is looked at to weigh it. What has more is estimated from the tables on the disk, in which what was
	// written last is not yet.
	weighBytes = 16 << 10
)

// SlotWeight is what a slot has, about.
type SlotWeight struct {
	Slot  fsm.SlotID
	Bytes uint64 // of keys and values
}

// SlotWeights tells, of each slot that a shard serves, about what it has, by slot.
func (n *Node) SlotWeights(ctx context.Context, shard fsm.ShardID) ([]SlotWeight, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	place, found := n.Map().Shard(shard)
	if !found || place.State != meta.ShardActive {
		return nil, &RefusedError{fmt.Sprintf("shard %d is no active one", shard)}
	}
	return n.slotWeights(ctx, place)
}

// slotWeights asks the shard's leader:
//
//	struct { uint8 version = 1; uint32 shard; } SlotWeightsRequest;
//	struct { uint8 version = 1; SlotWeight weights<V>; } SlotWeightsAnswer;
//	struct { uint16 slot; uint64 bytes; } SlotWeight;
func (n *Node) slotWeights(ctx context.Context, shard meta.Shard) ([]SlotWeight, error) {
	if local := n.replica(shard.ID); local != nil && local.serving(ctx) == nil {
		return local.weigh()
	}
	var w mls.Writer
	w.Uint8(slotWeightsVersion)
	w.Uint32(uint32(shard.ID))
	raw, err := n.askLeading(ctx, shard, methodSlotWeights, w.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fsm.ErrNotProposed, err)
	}
	r := mls.NewReader("SlotWeightsAnswer", raw)
	checkVersion(r, slotWeightsVersion)
	weights := mls.ReadList(r, "weights", func(r *mls.Reader) SlotWeight {
		return SlotWeight{Slot: fsm.SlotID(r.Uint16("slot")), Bytes: r.Uint64("bytes")}
	})
	return weights, r.Close()
}

func (n *Node) serveSlotWeights(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("SlotWeightsRequest", payload)
	checkVersion(r, slotWeightsVersion)
	shard := fsm.ShardID(r.Uint32("shard"))
	if err := r.Close(); err != nil {
		return nil, err
	}
	replica, err := n.leading(ctx, shard)
	if err != nil {
		return nil, err
	}
	weights, err := replica.weigh()
	if err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Uint8(slotWeightsVersion)
	w.Vector(func(w *mls.Writer) {
		for _, weight := range weights {
			w.Uint16(uint16(weight.Slot))
			w.Uint64(weight.Bytes)
		}
	})
	return w.Bytes(), nil
}

// weigh looks at the beginning of each slot.
func (r *replica) weigh() (weights []SlotWeight, err error) {
	view, err := r.view()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	owned, err := ownedSlots(view)
	if err != nil {
		return nil, err
	}
	for _, slot := range owned {
		weight := SlotWeight{Slot: slot}
		lower, upper := slotBounds(slot)
		err := view.Scan(lower, upper, func(key, value []byte) (bool, error) {
			weight.Bytes += uint64(len(key) + len(value))
			return weight.Bytes < weighBytes, nil
		})
		if err == nil && weight.Bytes >= weighBytes {
			var estimated uint64
			estimated, err = r.machine.state.RangeBytes(lower, upper)
			weight.Bytes = max(weight.Bytes, estimated)
		}
		if err != nil {
			return nil, err
		}
		weights = append(weights, weight)
	}
	return weights, nil
}

// slotBounds are the first key of a slot and the first behind it.
func slotBounds(slot fsm.SlotID) (lower, upper []byte) {
	return binary.BigEndian.AppendUint16(nil, uint16(slot)), binary.BigEndian.AppendUint16(nil, uint16(slot)+1)
}
