package cluster

import (
	"context"
	"errors"
	"fmt"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

// Who moves a slot looks at what both shards know of it, each at its leader, which has applied all that was ever answered for.

const (
	slotLookVersion = 1
	slotPageVersion = 1
)

// slotStanding is what a shard knows of a slot, as of one index.
type slotStanding struct {
	slot     fsm.SlotID
	owned    fsm.Ownership // zero where the shard never had the slot
	last     fsm.SlotMove  // the last move of it that the shard has heard of; zero for none
	export   fsm.SlotExport
	came     fsm.SlotImport
	settings uint64   // the version of the shard's
	digest   [32]byte // of the slot's data, where it was asked for
}

// stage is how far a shard has come with a move; 0 where it has not heard of it. superseded: it has heard of a later one.
func (s slotStanding) stage(move uint64) (stage fsm.SlotStage, superseded bool) {
	if s.last.Move != move {
		return 0, s.last.Move > move
	}
	return s.last.Stage, false
}

// lookAtSlots asks a shard's leader how it stands with slots.
//
//	struct {
//	    uint8 version = 1;
//	    uint32 shard;
//	    uint8 digests;  // 0 or 1
//	    uint16 slots<V>;
//	} SlotLookRequest;
//
//	struct { uint8 version = 1; SlotStanding standings<V>; } SlotLookAnswer; // in the order of the slots
func (n *Node) lookAtSlots(ctx context.Context, shard meta.Shard, slots []fsm.SlotID, digests bool) ([]slotStanding, error) {
	if local := n.replica(shard.ID); local != nil && local.serving(ctx) == nil {
		return local.standings(slots, digests)
	}
	var w mls.Writer
	w.Uint8(slotLookVersion)
	w.Uint32(uint32(shard.ID))
	w.Bool(digests)
	w.Vector(func(w *mls.Writer) {
		for _, slot := range slots {
			w.Uint16(uint16(slot))
		}
	})
	raw, err := n.askLeading(ctx, shard, methodSlotLook, w.Bytes())
	if err != nil {
		return nil, err
	}
	r := mls.NewReader("SlotLookAnswer", raw)
	checkVersion(r, slotLookVersion)
	standings := mls.ReadList(r, "standings", readSlotStanding)
	if err := r.Close(); err != nil {
		return nil, err
	}
	if len(standings) != len(slots) {
		return nil, fmt.Errorf("%d answers for %d slots", len(standings), len(slots))
	}
	return standings, nil
}

func checkVersion(r *mls.Reader, known uint8) {
	if version := r.Uint8("version"); version != known {
		r.Fail("version", "is not known")
	}
}

func (n *Node) serveSlotLook(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("SlotLookRequest", payload)
	checkVersion(r, slotLookVersion)
	shard, digests := fsm.ShardID(r.Uint32("shard")), r.Bool("digests")
	slots := mls.ReadList(r, "slots", func(r *mls.Reader) fsm.SlotID { return fsm.SlotID(r.Uint16("")) })
	if err := r.Close(); err != nil {
		return nil, err
	}
	replica, err := n.leading(ctx, shard)
	if err != nil {
		return nil, err
	}
	standings, err := replica.standings(slots, digests)
	if err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Uint8(slotLookVersion)
	w.Vector(func(w *mls.Writer) {
		for _, s := range standings {
			s.appendTo(w)
		}
	})
	return w.Bytes(), nil
}

// leading is this node's replica of a shard, which leads it and has applied all that was ever answered for.
func (n *Node) leading(ctx context.Context, shard fsm.ShardID) (*replica, error) {
	replica := n.replica(shard)
	if replica == nil {
		return nil, fmt.Errorf("shard %d is not here", shard)
	}
	return replica, replica.serving(ctx)
}

func (r *replica) standings(slots []fsm.SlotID, digests bool) (standings []slotStanding, err error) {
	view, err := r.view()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	_, settings, err := fsm.ReadSettings(view)
	if err != nil {
		return nil, err
	}
	for _, slot := range slots {
		s := slotStanding{slot: slot, settings: settings}
		var failed [5]error
		s.owned, _, failed[0] = fsm.ReadOwnership(view, slot)
		s.last, _, failed[1] = fsm.ReadSlotMove(view, slot)
		s.export, _, failed[2] = fsm.ReadSlotExport(view, slot)
		s.came, _, failed[3] = fsm.ReadSlotImport(view, slot)
		if digests {
			s.digest, failed[4] = fsm.SlotDigest(view, slot)
		}
		if err := errors.Join(failed[:]...); err != nil {
			return nil, err
		}
		standings = append(standings, s)
	}
	return standings, nil
}

//	struct {
//	    uint16 slot;
//	    uint32 owned_shard;
//	    uint64 owned_generation;
//	    uint8 owned_here;
//	    uint64 move;
//	    uint8 stage;         // SlotStage
//	    uint64 settings;
//	    opaque digest[32];
//	    uint32 to;           // of an export, like what follows; all 0 where there is none
//	    uint64 since;
//	    uint8 frozen;
//	    uint64 frozen_index;
//	    uint64 clock;
//	    uint64 index_base;
//	    uint64 frozen_settings;
//	    CameSlot came;       // of an import
//	} SlotStanding;
func (s slotStanding) appendTo(w *mls.Writer) {
	w.Uint16(uint16(s.slot))
	w.Uint32(uint32(s.owned.Shard))
	w.Uint64(s.owned.Generation)
	w.Bool(s.owned.Here)
	w.Uint64(s.last.Move)
	w.Uint8(uint8(s.last.Stage))
	w.Uint64(s.settings)
	w.Fixed(s.digest[:])
	w.Uint32(uint32(s.export.To))
	w.Uint64(s.export.Since)
	w.Bool(s.export.Frozen)
	w.Uint64(s.export.FrozenIndex)
	w.Uint64(s.export.Clock)
	w.Uint64(s.export.IndexBase)
	w.Uint64(s.export.Settings)
	appendCame(w, s.came)
}

func readSlotStanding(r *mls.Reader) slotStanding {
	s := slotStanding{
		slot:     fsm.SlotID(r.Uint16("slot")),
		owned:    fsm.Ownership{Shard: fsm.ShardID(r.Uint32("owned_shard")), Generation: r.Uint64("owned_generation"), Here: r.Bool("owned_here")},
		last:     fsm.SlotMove{Move: r.Uint64("move"), Stage: fsm.SlotStage(r.Uint8("stage"))},
		settings: r.Uint64("settings"),
	}
	copy(s.digest[:], r.Fixed("digest", len(s.digest)))
	s.export = fsm.SlotExport{
		Move: s.last.Move, To: fsm.ShardID(r.Uint32("to")), Since: r.Uint64("since"), Frozen: r.Bool("frozen"),
		FrozenIndex: r.Uint64("frozen_index"), Clock: r.Uint64("clock"), IndexBase: r.Uint64("index_base"), Settings: r.Uint64("frozen_settings"),
	}
	s.came = readCame(r)
	return s
}

// appendCame writes as much of what has come of a slot as the next page depends on.
//
//	struct {
//	    uint64 move;
//	    uint64 sequence;
//	    uint64 index;
//	    opaque through<V>;
//	    uint8 whole;
//	    opaque part_key<V>;
//	    uint32 part_offset;
//	    uint32 part_total;
//	    opaque part_hash[32];
//	    uint8 complete;
//	} CameSlot;
func appendCame(w *mls.Writer, c fsm.SlotImport) {
	w.Uint64(c.Move)
	w.Uint64(c.Sequence)
	w.Uint64(c.Index)
	w.Opaque(c.Through)
	w.Bool(c.Whole)
	w.Opaque(c.Part.Key)
	w.Uint32(c.Part.Offset)
	w.Uint32(c.Part.Total)
	w.Fixed(c.Part.Hash[:])
	w.Bool(c.Complete)
}

func readCame(r *mls.Reader) fsm.SlotImport {
	c := fsm.SlotImport{
		Move: r.Uint64("move"), Sequence: r.Uint64("sequence"), Index: r.Uint64("index"), Through: r.Opaque("through"), Whole: r.Bool("whole"),
		Part: fsm.SlotPart{Key: r.Opaque("part_key"), Offset: r.Uint32("part_offset"), Total: r.Uint32("part_total")},
	}
	copy(c.Part.Hash[:], r.Fixed("part_hash", len(c.Part.Hash)))
	c.Complete = r.Bool("complete")
	return c
}

// slotPage is what is to be carried next of a slot.
type slotPage struct {
	page  fsm.ImportSlotPage
	marks *fsm.DropSlotMarks // for the source, once the page is in; nil for none
	more  bool
	empty bool // the target has all
}

// slotPageFrom asks a shard's leader for what is to be carried next of a slot, where so much has come.
//
//	struct { uint8 version = 1; uint32 shard; uint16 slot; CameSlot came; } SlotPageRequest;
//
//	struct {
//	    uint8 version = 1;
//	    uint8 more;
//	    uint8 empty;
//	    opaque page<V>;  // as of EncodeCommand, likewise:
//	    opaque marks<V>; // empty for none
//	} SlotPageAnswer;
func (n *Node) slotPageFrom(ctx context.Context, shard meta.Shard, slot fsm.SlotID, came fsm.SlotImport) (p slotPage, err error) {
	if local := n.replica(shard.ID); local != nil && local.serving(ctx) == nil {
		return local.slotPage(slot, came)
	}
	var w mls.Writer
	w.Uint8(slotPageVersion)
	w.Uint32(uint32(shard.ID))
	w.Uint16(uint16(slot))
	appendCame(&w, came)
	raw, err := n.askLeading(ctx, shard, methodSlotPage, w.Bytes())
	if err != nil {
		return p, err
	}
	r := mls.NewReader("SlotPageAnswer", raw)
	checkVersion(r, slotPageVersion)
	p.more, p.empty = r.Bool("more"), r.Bool("empty")
	page, marks := r.Opaque("page"), r.Opaque("marks")
	if err := r.Close(); err != nil {
		return p, err
	}
	if p.page, err = decodeAs[fsm.ImportSlotPage](page); err != nil || len(marks) == 0 {
		return p, err
	}
	dropped, err := decodeAs[fsm.DropSlotMarks](marks)
	p.marks = &dropped
	return p, err
}

func decodeAs[C fsm.Command](encoded []byte) (c C, err error) {
	command, err := fsm.DecodeCommand(encoded)
	if err != nil {
		return c, err
	}
	c, is := command.(C)
	if !is {
		return c, fmt.Errorf("a command of type %T instead of %T", command, c)
	}
	return c, nil
}

func (n *Node) serveSlotPage(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("SlotPageRequest", payload)
	checkVersion(r, slotPageVersion)
	shard, slot := fsm.ShardID(r.Uint32("shard")), fsm.SlotID(r.Uint16("slot"))
	came := readCame(r)
	if err := r.Close(); err != nil {
		return nil, err
	}
	replica, err := n.leading(ctx, shard)
	if err != nil {
		return nil, err
	}
	p, err := replica.slotPage(slot, came)
	if err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Uint8(slotPageVersion)
	w.Bool(p.more)
	w.Bool(p.empty)
	w.Opaque(fsm.EncodeCommand(p.page))
	if p.marks != nil {
		w.Opaque(fsm.EncodeCommand(*p.marks))
	} else {
		w.Opaque(nil)
	}
	return w.Bytes(), nil
}

func (r *replica) slotPage(slot fsm.SlotID, came fsm.SlotImport) (p slotPage, err error) {
	view, err := r.view()
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	next, err := fsm.NextSlotPage(view, view.Applied(), slot, came, fsm.SlotPageBytes)
	if err != nil {
		return p, err
	}
	p = slotPage{page: next.Page, more: next.More, empty: next.Empty()}
	if next.Carried {
		p.marks = &next.Marks
	}
	return p, nil
}
