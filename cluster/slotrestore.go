package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
)

// RestoredSlot is a slot that comes out of a backup.
type RestoredSlot struct {
	Slot      fsm.SlotID
	From      fsm.ShardID // whose it was
	Index     uint64      // of that shard's log, as of which it was backed up
	IndexBase uint64      // above the incarnations that the shard had given
	Millis    uint64      // its hub time
	Format    fsm.Format  // its format
	Digest    [32]byte    // of the slot, as of fsm.SlotDigest
}

// errSlotDiffers: what has come of a slot is not what the backup says.
var errSlotDiffers = errors.New("the slot has come otherwise than it was backed up")

// RestoredSlots are those of the slots that have come into their shards, and are served.
func (n *Node) RestoredSlots(ctx context.Context, slots []fsm.SlotID) (come []fsm.SlotID, err error) {
	current := n.Map()
	byShard := make(map[fsm.ShardID][]fsm.SlotID)
	for _, slot := range slots {
		place, placed := current.PlaceOfSlot(slot)
		if !placed {
			return nil, fmt.Errorf("slot %d is in no shard", slot)
		}
		byShard[place.Shard] = append(byShard[place.Shard], slot)
	}
	for _, shard := range current.Shards() {
		if len(byShard[shard.ID]) == 0 {
			continue
		}
		standings, err := n.lookAtRestored(ctx, shard.ID, byShard[shard.ID], false)
		if err != nil {
			return nil, fmt.Errorf("shard %d: %w", shard.ID, err)
		}
		for _, s := range standings {
			if s.here {
				come = append(come, s.slot)
			}
		}
	}
	return come, nil
}

// SlotRestore brings one slot of a backup into the shard that is to have it, as a move does: in pages through the log, which count for
// nothing before all of them are there and come to what the backup says. It belongs to one goroutine.
type SlotRestore struct {
	node    *Node
	slot    RestoredSlot
	place   meta.SlotPlace
	shard   meta.Shard
	move    uint64
	taken   uint64 // the last page that was in already
	page    fsm.ImportSlotPage
	left    int    // bytes that the page has room for
	through []byte // the last key that is in a page whole
}

// slotPageRoom is what a page has room for, and partRoom what it has where it carries a part of one value alone.
const (
	slotPageRoom  = fsm.SlotPageBytes
	recordOutlay  = 16 // of a record beside its key and value
	partOutlay    = 64 // of a part likewise
	restorePauses = 200 * time.Millisecond
)

// RestoreSlot begins to bring a slot in, or goes on with it: pages are cut the same each time, so those that are in are passed over. A slot
// that has come already is refused.
func (n *Node) RestoreSlot(ctx context.Context, slot RestoredSlot) (*SlotRestore, error) {
	current := n.Map()
	restore, made := current.Restore()
	place, placed := current.PlaceOfSlot(slot.Slot)
	shard, found := current.Shard(place.Shard)
	if !made || restore.Done || !placed || !found {
		return nil, &RefusedError{fmt.Sprintf("slot %d does not come out of a backup in this cluster", slot.Slot)}
	}
	r := &SlotRestore{node: n, slot: slot, place: place, shard: shard, move: restore.Move}
	standing, err := r.look(ctx, false)
	switch {
	case err != nil:
		return nil, err
	case standing.here:
		return nil, &RefusedError{fmt.Sprintf("slot %d is in shard %d already", slot.Slot, shard.ID)}
	case standing.move == r.move:
		r.taken = standing.sequence
	}
	r.begin()
	return r, nil
}

func (r *SlotRestore) look(ctx context.Context, digest bool) (restoreStanding, error) {
	standings, err := r.node.lookAtRestored(ctx, r.shard.ID, []fsm.SlotID{r.slot.Slot}, digest)
	if err != nil {
		return restoreStanding{}, err
	}
	return standings[0], nil
}

// begin starts the next page.
func (r *SlotRestore) begin() {
	r.page = fsm.ImportSlotPage{
		At: r.slot.Slot, Move: r.move, From: r.slot.From, Sequence: r.page.Sequence + 1, Index: r.slot.Index, Format: r.slot.Format,
	}
	r.left = slotPageRoom
}

// Put takes a record of the slot, in order of the keys. The slices are its own from then on.
func (r *SlotRestore) Put(ctx context.Context, key, value []byte) error {
	k := key[2:] // behind the slot
	cost := len(k) + len(value) + recordOutlay
	if cost > r.left && len(r.page.Records) > 0 {
		if err := r.send(ctx); err != nil {
			return err
		}
	}
	if cost > r.left {
		return r.parts(ctx, k, value)
	}
	r.add(fsm.SlotValue{Key: k, Value: value}, cost)
	r.through = k
	return nil
}

func (r *SlotRestore) add(record fsm.SlotRecord, cost int) {
	r.page.Records = append(r.page.Records, record)
	r.left -= cost
}

// parts cuts a value that no page holds.
func (r *SlotRestore) parts(ctx context.Context, k, value []byte) error {
	hash := sha256.Sum256(value)
	for at := 0; at < len(value); {
		room := max(r.left-len(k)-partOutlay, 1)
		end := min(at+room, len(value))
		r.add(fsm.SlotPart{Key: k, Offset: uint32(at), Total: uint32(len(value)), Hash: hash, Bytes: value[at:end]}, end-at+len(k)+partOutlay)
		if at = end; at == len(value) {
			r.through = k
			return nil
		}
		if err := r.send(ctx); err != nil {
			return err
		}
	}
	return nil
}

// send brings a page into the log, unless it is there, and begins the next.
func (r *SlotRestore) send(ctx context.Context) error {
	r.page.Through = r.through
	page := r.page
	r.begin()
	if page.Sequence <= r.taken {
		return nil
	}
	outcome, err := r.decide(ctx, page)
	if err != nil {
		return err
	}
	if taken, yes := outcome.(fsm.PageTaken); !yes || taken.Sequence != page.Sequence {
		return fmt.Errorf("page %d came to %#v", page.Sequence, outcome)
	}
	return nil
}

// decide brings a command into the shard's log, for as long as it takes: each is recognised when it comes twice.
func (r *SlotRestore) decide(ctx context.Context, command fsm.Command) (fsm.Outcome, error) {
	for {
		outcome, _, err := r.node.ProposeTo(ctx, r.shard.ID, command)
		if err == nil || ctx.Err() != nil || r.node.life.Err() != nil {
			return outcome, err
		}
		waitFor(ctx, restorePauses)
	}
}

// Close ends the slot: what has come is held against the backup, and served from then on.
func (r *SlotRestore) Close(ctx context.Context) error {
	r.page.Whole = true
	last := r.page.Sequence
	if err := r.send(ctx); err != nil {
		return err
	}
	standing, err := r.look(ctx, true)
	switch {
	case err != nil:
		return err
	case standing.move != r.move || standing.sequence != last:
		return fmt.Errorf("page %d is the last that is in, of %d", standing.sequence, last)
	case standing.digest != r.slot.Digest:
		return fmt.Errorf("slot %d: %w: its digest is %x, and was %x", r.slot.Slot, errSlotDiffers, standing.digest, r.slot.Digest)
	}
	r.node.reached("restore.activate")
	outcome, err := r.decide(ctx, fsm.ActivateSlot{
		At: r.slot.Slot, Move: r.move, Sequence: last, Generation: r.place.Generation, Clock: r.slot.Millis, IndexBase: r.slot.IndexBase,
	})
	if err != nil {
		return err
	}
	if outcome != (fsm.Done{}) {
		return fmt.Errorf("its activation came to %#v", outcome)
	}
	return nil
}
