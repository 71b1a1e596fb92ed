package cluster

import (
	"context"
	"errors"
	"fmt"

	"parley/fsm"
	"parley/mls"
)

// Who brings a slot back looks at how far its shard has come with it: at any replica, behind a fence.

// restoreStanding is what a shard knows of a slot that comes out of a backup.
type restoreStanding struct {
	slot     fsm.SlotID
	here     bool // it has come, and is served
	move     uint64
	sequence uint64   // of the last page that is in, of that move
	digest   [32]byte // of what is in, where it was asked for
}

const restoreLookVersion = 1

// lookAtRestored asks a replica of a shard, which may be here.
//
//	struct {
//	    uint8 version = 1;
//	    uint32 shard;
//	    uint64 at_least;
//	    uint8 digests;
//	    uint16 slots<V>;
//	} RestoreLookRequest;
//
//	struct { uint8 version = 1; RestoreStanding standings<V>; } RestoreLookAnswer; // in the order of the slots
//
//	struct { uint16 slot; uint8 here; uint64 move; uint64 sequence; opaque digest[32]; } RestoreStanding;
func (n *Node) lookAtRestored(ctx context.Context, shard fsm.ShardID, slots []fsm.SlotID, digests bool) ([]restoreStanding, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	place, known := n.Map().Shard(shard)
	if !known {
		return nil, fmt.Errorf("there is no shard %d", shard)
	}
	_, index, err := n.ProposeTo(ctx, shard, fsm.Fence{})
	if err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Uint8(restoreLookVersion)
	w.Uint32(uint32(shard))
	w.Uint64(index)
	w.Bool(digests)
	w.Vector(func(w *mls.Writer) {
		for _, slot := range slots {
			w.Uint16(uint16(slot))
		}
	})
	var wrong []error
	for _, node := range n.copySources(place) {
		raw, err := n.askRestoreLook(ctx, node, w.Bytes())
		if err == nil {
			return readRestoreStandings(raw, len(slots))
		}
		wrong = append(wrong, fmt.Errorf("node %s: %w", node, err))
	}
	return nil, fmt.Errorf("no replica of shard %d tells of its slots: %w", shard, errors.Join(wrong...))
}

func (n *Node) askRestoreLook(ctx context.Context, node string, request []byte) (raw []byte, err error) {
	if node == n.id {
		return n.serveRestoreLook(ctx, n.id, request)
	}
	raw, _, err = n.call(ctx, node, methodRestoreLook, request)
	return raw, err
}

func readRestoreStandings(raw []byte, want int) ([]restoreStanding, error) {
	r := mls.NewReader("RestoreLookAnswer", raw)
	if version := r.Uint8("version"); version != restoreLookVersion {
		r.Fail("version", "is not known")
	}
	standings := mls.ReadList(r, "standings", func(r *mls.Reader) restoreStanding {
		s := restoreStanding{
			slot: fsm.SlotID(r.Uint16("slot")), here: r.Bool("here"), move: r.Uint64("move"), sequence: r.Uint64("sequence"),
		}
		copy(s.digest[:], r.Fixed("digest", len(s.digest)))
		return s
	})
	if err := r.Close(); err != nil {
		return nil, err
	}
	if len(standings) != want {
		return nil, fmt.Errorf("%d answers for %d slots", len(standings), want)
	}
	return standings, nil
}

func (n *Node) serveRestoreLook(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("RestoreLookRequest", payload)
	if version := r.Uint8("version"); version != restoreLookVersion {
		r.Fail("version", "is not known")
	}
	shard, atLeast, digests := fsm.ShardID(r.Uint32("shard")), r.Uint64("at_least"), r.Bool("digests")
	slots := mls.ReadList(r, "slots", func(r *mls.Reader) fsm.SlotID { return fsm.SlotID(r.Uint16("")) })
	if err := r.Close(); err != nil {
		return nil, err
	}
	replica := n.replica(shard)
	if replica == nil {
		return nil, fmt.Errorf("shard %d is not here", shard)
	}
	if err := replica.reach(ctx, atLeast, copyPatience); err != nil {
		return nil, err
	}
	standings, err := replica.restoreStandings(slots, digests)
	if err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Uint8(restoreLookVersion)
	w.Vector(func(w *mls.Writer) {
		for _, s := range standings {
			w.Uint16(uint16(s.slot))
			w.Bool(s.here)
			w.Uint64(s.move)
			w.Uint64(s.sequence)
			w.Fixed(s.digest[:])
		}
	})
	return w.Bytes(), nil
}

func (r *replica) restoreStandings(slots []fsm.SlotID, digests bool) (standings []restoreStanding, err error) {
	view, err := r.view()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	for _, slot := range slots {
		owned, _, ownedErr := fsm.ReadOwnership(view, slot)
		came, _, cameErr := fsm.ReadSlotImport(view, slot)
		s := restoreStanding{slot: slot, here: owned.Here, move: came.Move, sequence: came.Sequence}
		var digestErr error
		if digests {
			s.digest, digestErr = fsm.SlotDigest(view, slot)
		}
		if err := errors.Join(ownedErr, cameErr, digestErr); err != nil {
			return nil, err
		}
		standings = append(standings, s)
	}
	return standings, nil
}
