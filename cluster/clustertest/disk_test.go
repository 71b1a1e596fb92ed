package clustertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

func (d *disk) setFree(bytes uint64) {
	d.mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: bytes, TotalBytes: 1 << 40, UsedBytes: 1<<40 - bytes})
}

// A node whose disk runs full hands over what it leads and goes on as a follower; where nobody has room, what is new is refused and said
// to be refused, what makes room is taken, and all goes on when there is room again.
func TestDiskReserve(t *testing.T) {
	longUnderRace(t)
	stageOf(t, func(t *testing.T, w *World, leader, _ *life, room *fsmtest.Room) {
		shard, _ := leader.node.Map().ShardOfSlot(fsm.SlotOfRoom(room.URI))
		for _, l := range w.alive() {
			l.disk.setFree(1 << 40)
		}
		w.restartAll() // a file system that tells nothing at the start is not asked again
		leader, other := w.leaderAndNext(t, shard.ID)
		leader.disk.setFree(500 << 20)
		time.Sleep(20 * time.Second)
		if leader.leads(shard.ID) {
			t.Error("a node without room leads on")
		}
		decided(t, other, room, "led by another")
		for _, l := range w.alive() {
			l.disk.setFree(500 << 20)
		}
		time.Sleep(20 * time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		if outcome, _, err := other.node.Propose(ctx, room.Commit(fsmtest.Next{Label: "refused"})); !errors.Is(err, fsm.ErrOverloaded) {
			t.Errorf("without room: %#v, %v", outcome, err)
		}
		if outcome, _, err := other.node.Propose(ctx, fsm.Acknowledge{At: fsm.SlotOfRoom(room.URI), Destination: peer}); err != nil {
			t.Errorf("an acknowledgement without room: %#v, %v", outcome, err)
		}
		for _, l := range w.alive() {
			l.disk.setFree(1 << 40)
		}
		time.Sleep(20 * time.Second)
		decided(t, other, room, "with room again")

		other.disk.setFree(100 << 20) // under the floor: it stops before its stores meet a full disk
		time.Sleep(20 * time.Second)
		if !other.dead.Load() {
			t.Fatal("a node that is about to meet a full disk runs on")
		}
		w.ending.Wait()
		if _, err := w.start(other.id, w.takeRemains(other.id).disk); err != nil {
			t.Errorf("with room it does not come back: %v", err)
		}
	})
}

// restartAll stops every node and starts it again.
func (w *World) restartAll() {
	for _, l := range w.alive() {
		w.stop(l)
	}
	for _, id := range w.ids() {
		w.revive(id)
	}
}
