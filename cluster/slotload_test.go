package cluster

import (
	"fmt"
	"slices"
	"testing"

	"parley/fsm"
)

// What is proposed for a slot counts for it on every node that asks, by commands and by what they bring, and grows old.
func TestSlotLoads(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	ctx := c.context()
	c.openRoom("n1", "busy")
	slot := fsm.SlotOfRoom(room(t, "busy"))
	counts := func(at string, least uint64) bool { return c.nodes[at].slotLoads(ctx)[slot] >= least }
	eventually(t, "what was proposed counts", func() bool { return counts("n2", 1) })
	for _, id := range []string{"n1", "n2", "n3"} {
		c.nodes[id].load.note(slot, 0)
		c.nodes[id].load.note(slot, 2*loadBytes)
		c.nodes[id].load.note(fsm.ShardLevel, 0)
	}
	eventually(t, "what is large counts for more", func() bool { return counts("n3", 1+3*(1+3)) })
	layout := c.layout("n1")
	found := false
	for _, s := range layout.Shards {
		at := slices.IndexFunc(s.Slots, func(one LayoutSlot) bool { return one.Slot == slot })
		found = found || at >= 0 && s.Slots[at].Load >= 4
	}
	if !found { // as others may not have answered in time
		t.Error("the layout does not have what this node knows itself")
	}
	var l slotLoad
	l.note(1, 0)
	l.note(2, 0)
	l.note(2, 0)
	l.halve()
	if got := fmt.Sprint(l.counts[1].Load(), l.counts[2].Load()); got != "0 1" {
		t.Errorf("they have grown old to %s", got)
	}
}
