package fsm

import (
	"encoding/binary"
	"fmt"

	"parley/mls"
)

// SlotStage is how far a shard has come with a move of a slot: as its source up to SlotReleased, as its target from SlotImporting on.
type SlotStage uint8

const (
	SlotExporting SlotStage = 1 // the slot is served, and its changes are marked
	SlotFrozen    SlotStage = 2 // nothing changes it
	SlotThawed    SlotStage = 3 // called off; the slot is served
	SlotReleased  SlotStage = 4 // the slot has gone
	SlotImporting SlotStage = 5 // pages come
	SlotDropped   SlotStage = 6 // called off; nothing is here
	SlotActivated SlotStage = 7 // the slot has come, and is served
)

func (s SlotStage) String() string {
	switch s {
	case 0:
		return "unknown"
	case SlotExporting:
		return "exporting"
	case SlotFrozen:
		return "frozen"
	case SlotThawed:
		return "thawed"
	case SlotReleased:
		return "released"
	case SlotImporting:
		return "importing"
	case SlotDropped:
		return "dropped"
	case SlotActivated:
		return "activated"
	default:
		return fmt.Sprintf("stage %d", uint8(s))
	}
}

// SlotMove is the last move of a slot that a shard has heard of. It is known for ever, so that what comes late of an earlier one, or of one
// that has ended, changes nothing.
type SlotMove struct {
	Move  uint64
	Stage SlotStage
}

// SlotExport is a slot that is on its way out of a shard, which still has it.
type SlotExport struct {
	Move   uint64
	To     ShardID
	Since  uint64 // the index of its BeginSlotExport; what changed after it is marked
	Frozen bool

	// Where it is frozen, what ActivateSlot has to say, which is the same whoever reads it:

	FrozenIndex uint64 // of its FreezeSlot
	Clock       uint64 // hub time
	IndexBase   uint64 // no incarnation of a room of the slot is above it
	Settings    uint64 // their version
}

// SlotImport is what has come of a slot that is on its way into a shard.
type SlotImport struct {
	Move     uint64
	From     ShardID
	Sequence uint64   // of the last page
	Index    uint64   // of the source, as of which that page was read
	Format   Format   // the source's at Index
	Through  []byte   // how far all keys have been gone through once
	Whole    bool     // all of them have been
	Complete bool     // the last page was read when the slot was frozen, and nothing comes behind it
	Page     [32]byte // SHA-256 of the last page's command, by which another with its number is told from it
	Part     SlotPart // the value that has come in part: Offset is how much of it, and Bytes is nil. No Key: none

	Records uint64 // that have come
	Bytes   uint64 // of their keys and values
}

// slotMoveRecord is what a shard knows of the moves of a slot: all fields of export or of came are zero but in the stages that have them.
type slotMoveRecord struct {
	SlotMove
	export SlotExport
	came   SlotImport
}

//	struct {
//	    uint64 move;
//	    uint8 stage; // SlotStage
//	    select (stage) {
//	        case exporting:
//	            uint32 to;
//	            uint64 since;
//	        case frozen:
//	            uint32 to;
//	            uint64 since;
//	            uint64 frozen_index;
//	            uint64 clock;
//	            uint64 index_base;
//	            uint64 settings;
//	        case importing: SlotImport came;
//	        default: struct {};
//	    };
//	} SlotMoveRecord;
func (m slotMoveRecord) appendTo(w *mls.Writer) {
	w.Uint64(m.Move)
	w.Uint8(uint8(m.Stage))
	switch m.Stage {
	case SlotExporting, SlotFrozen:
		w.Uint32(uint32(m.export.To))
		w.Uint64(m.export.Since)
		if m.Stage == SlotFrozen {
			w.Uint64(m.export.FrozenIndex)
			w.Uint64(m.export.Clock)
			w.Uint64(m.export.IndexBase)
			w.Uint64(m.export.Settings)
		}
	case SlotImporting:
		m.came.appendTo(w)
	}
}

func readSlotMoveRecord(r *mls.Reader) slotMoveRecord {
	m := slotMoveRecord{SlotMove: SlotMove{Move: r.Uint64("move"), Stage: SlotStage(r.Uint8("stage"))}}
	switch m.Stage {
	case SlotExporting, SlotFrozen:
		m.export = SlotExport{Move: m.Move, To: ShardID(r.Uint32("to")), Since: r.Uint64("since"), Frozen: m.Stage == SlotFrozen}
		if m.Stage == SlotFrozen {
			m.export.FrozenIndex = r.Uint64("frozen_index")
			m.export.Clock = r.Uint64("clock")
			m.export.IndexBase = r.Uint64("index_base")
			m.export.Settings = r.Uint64("settings")
		}
	case SlotImporting:
		m.came = readSlotImport(r)
		m.came.Move = m.Move
	case SlotThawed, SlotReleased, SlotDropped, SlotActivated:
	default:
		r.Fail("stage", "it is not known to this program")
	}
	return m
}

//	struct {
//	    uint32 from;
//	    uint64 sequence;
//	    uint64 index;
//	    uint32 format;
//	    opaque through<V>;
//	    uint8 course; // 1: whole, 2: whole and complete
//	    opaque page[32];
//	    opaque part_key<V>; // empty: no value has come in part
//	    uint32 part_offset;
//	    uint32 part_total;
//	    opaque part_hash[32];
//	    uint64 records;
//	    uint64 bytes;
//	} SlotImport;
func (i SlotImport) appendTo(w *mls.Writer) {
	w.Uint32(uint32(i.From))
	w.Uint64(i.Sequence)
	w.Uint64(i.Index)
	w.Uint32(uint32(i.Format))
	w.Opaque(i.Through)
	appendCourse(w, i.Whole, i.Complete)
	w.Fixed(i.Page[:])
	w.Opaque(i.Part.Key)
	w.Uint32(i.Part.Offset)
	w.Uint32(i.Part.Total)
	w.Fixed(i.Part.Hash[:])
	w.Uint64(i.Records)
	w.Uint64(i.Bytes)
}

func readSlotImport(r *mls.Reader) SlotImport {
	i := SlotImport{
		From: ShardID(r.Uint32("from")), Sequence: r.Uint64("sequence"), Index: r.Uint64("index"), Format: Format(r.Uint32("format")),
		Through: r.Opaque("through"),
	}
	i.Whole, i.Complete = readCourse(r)
	i.Page = readHash(r, "page")
	i.Part = SlotPart{Key: r.Opaque("part_key"), Offset: r.Uint32("part_offset"), Total: r.Uint32("part_total"), Hash: readHash(r, "part_hash")}
	i.Records, i.Bytes = r.Uint64("records"), r.Uint64("bytes")
	return i
}

func slotMoveKey(slot SlotID) key { return shardKey(keySlotMove).uint16(uint16(slot)) }

func readSlotMove(r Reader, slot SlotID) (slotMoveRecord, bool, error) {
	return readRecord(r, slotMoveKey(slot), "move of a slot", readSlotMoveRecord)
}

// ReadSlotMove returns the last move of a slot that the shard has heard of; false where it has heard of none.
func ReadSlotMove(r Reader, slot SlotID) (SlotMove, bool, error) {
	m, found, err := readSlotMove(r, slot)
	return m.SlotMove, found, err
}

// VisitSlotMoves visits the last move of each slot that the shard has heard of any of, in order of the slots.
func VisitSlotMoves(r Reader, visit func(SlotID, SlotMove) (more bool, err error)) error {
	return scanRecords(r, shardKey(keySlotMove), "move of a slot", readSlotMoveRecord, func(rest []byte, m slotMoveRecord) (bool, error) {
		return visit(SlotID(binary.BigEndian.Uint16(rest)), m.SlotMove)
	})
}

// ReadSlotExport returns how a slot is on its way out of the shard; false where it is not.
func ReadSlotExport(r Reader, slot SlotID) (SlotExport, bool, error) {
	m, found, err := readSlotMove(r, slot)
	return m.export, found && (m.Stage == SlotExporting || m.Stage == SlotFrozen), err
}

// ReadSlotImport returns what has come of a slot that is on its way into the shard; false where none is.
func ReadSlotImport(r Reader, slot SlotID) (SlotImport, bool, error) {
	m, found, err := readSlotMove(r, slot)
	return m.came, found && m.Stage == SlotImporting, err
}

// Elsewhere tells whether a shard does not serve a slot as of the applied index, and what it answers then to a command of the slot: of a slot
// that is frozen, that it brings in, or that it never had it knows no better shard (MovedTo{}). What a view of it holds of such a slot
// answers nothing.
func Elsewhere(r Reader, slot SlotID) (to MovedTo, elsewhere bool, err error) {
	owned, found, err := ReadOwnership(r, slot)
	if err != nil || !found {
		return MovedTo{}, true, err
	}
	m, _, err := readSlotMove(r, slot)
	if err != nil {
		return MovedTo{}, true, err
	}
	switch {
	case m.Stage == SlotFrozen || m.Stage == SlotImporting:
		return MovedTo{}, true, nil
	case !owned.Here:
		return MovedTo{Shard: owned.Shard, Generation: owned.Generation}, true, nil
	default:
		return MovedTo{}, false, nil
	}
}
