package cluster

import (
	"fmt"
	"slices"
	"testing"

	"parley/fsm"
)

// What is proposed for a slot counts for it on every node that asks, by commands and by what they bring, and grows old.
func TestSlotLoads(t *testing.T) {
	c := threeNodes(t, nil)
	ctx := c.context()
	c.openRoom("n1", "busy")
	slot := fsm.SlotOfRoom(room(t, "busy"))
	opened := c.nodes["n2"].slotLoads(ctx)
	if opened[slot] == 0 {
		t.Error("what was proposed does not count")
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		c.nodes[id].load.note(slot, 0)
		c.nodes[id].load.note(slot, 2*loadBytes)
		c.nodes[id].load.note(fsm.ShardLevel, 0)
	}
	after := c.nodes["n3"].slotLoads(ctx)
	if got := after[slot] - opened[slot]; got != 3*(1+3) {
		t.Errorf("it counts %d", got)
	}
	layout, err := c.nodes["n1"].Layout(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range layout.Shards {
		at := slices.IndexFunc(s.Slots, func(one LayoutSlot) bool { return one.Slot == slot })
		found = found || at >= 0 && s.Slots[at].Load == after[slot]
	}
	if !found {
		t.Error("the layout does not have it")
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
