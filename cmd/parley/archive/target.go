package archive

import (
	"context"

	"parley/cluster"
	"parley/fsm"
	"parley/ops/backup"
)

// clusterTarget is the cluster as something that a backup is brought into.
type clusterTarget struct {
	node    *cluster.Node
	reached func(point string)
}

// Done implements backup.Target.
func (t clusterTarget) Done(ctx context.Context, slots []uint16) (map[uint16]bool, error) {
	wanted := make([]fsm.SlotID, len(slots))
	for i, slot := range slots {
		wanted[i] = fsm.SlotID(slot)
	}
	come, err := t.node.RestoredSlots(ctx, wanted)
	if err != nil {
		return nil, err
	}
	done := make(map[uint16]bool, len(come))
	for _, slot := range come {
		done[uint16(slot)] = true
	}
	return done, nil
}

// Open implements backup.Target.
func (t clusterTarget) Open(ctx context.Context, slot backup.RestoredSlot) (backup.SlotSink, error) {
	t.reached("restore.slot")
	return t.node.RestoreSlot(ctx, cluster.RestoredSlot{
		Slot: fsm.SlotID(slot.Slot.Slot), From: fsm.ShardID(slot.From.Group), Index: slot.From.Index, IndexBase: slot.From.IndexBase,
		Millis: slot.From.HubMillis, Format: fsm.Format(slot.From.Format), Digest: slot.Sum.Digest,
	})
}
