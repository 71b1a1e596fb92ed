package fsm

import "parley/mls"

// The encodings of the commands that move a slot, and of their outcomes.

//	struct {
//	    uint16 at;
//	    uint64 move;
//	    uint32 to;
//	} BeginSlotExport;
func (c BeginSlotExport) appendTo(w *mls.Writer) {
	FreezeSlot{c.At, c.Move}.appendTo(w)
	w.Uint32(uint32(c.To))
}

func readBeginSlotExport(r *mls.Reader) BeginSlotExport {
	return BeginSlotExport{At: SlotID(r.Uint16("at")), Move: r.Uint64("move"), To: ShardID(r.Uint32("to"))}
}

//	struct {
//	    uint16 at;
//	    uint64 move;
//	    uint64 through;
//	    opaque last<V>;
//	} DropSlotMarks;
func (c DropSlotMarks) appendTo(w *mls.Writer) {
	FreezeSlot{c.At, c.Move}.appendTo(w)
	w.Uint64(c.Through)
	w.Opaque(c.Last)
}

func readDropSlotMarks(r *mls.Reader) DropSlotMarks {
	return DropSlotMarks{At: SlotID(r.Uint16("at")), Move: r.Uint64("move"), Through: r.Uint64("through"), Last: r.Opaque("last")}
}

//	struct {
//	    uint16 at;
//	    uint64 move;
//	} FreezeSlot, ThawSlot, DropSlotImport;
func (c FreezeSlot) appendTo(w *mls.Writer) {
	w.Uint16(uint16(c.At))
	w.Uint64(c.Move)
}

func (c ThawSlot) appendTo(w *mls.Writer)       { FreezeSlot(c).appendTo(w) }
func (c DropSlotImport) appendTo(w *mls.Writer) { FreezeSlot(c).appendTo(w) }

func readFreezeSlot(r *mls.Reader) FreezeSlot {
	return FreezeSlot{At: SlotID(r.Uint16("at")), Move: r.Uint64("move")}
}

func readThawSlot(r *mls.Reader) ThawSlot             { return ThawSlot(readFreezeSlot(r)) }
func readDropSlotImport(r *mls.Reader) DropSlotImport { return DropSlotImport(readFreezeSlot(r)) }

//	struct {
//	    uint16 at;
//	    uint64 move;
//	    uint32 to;
//	    uint64 generation;
//	} ReleaseSlot;
func (c ReleaseSlot) appendTo(w *mls.Writer) {
	BeginSlotExport{c.At, c.Move, c.To}.appendTo(w)
	w.Uint64(c.Generation)
}

func readReleaseSlot(r *mls.Reader) ReleaseSlot {
	return ReleaseSlot{At: SlotID(r.Uint16("at")), Move: r.Uint64("move"), To: ShardID(r.Uint32("to")), Generation: r.Uint64("generation")}
}

//	struct {
//	    uint16 at;
//	    uint64 move;
//	    uint32 from;
//	    uint64 sequence;
//	    uint64 index;
//	    uint32 format;
//	    opaque through<V>;
//	    uint8 course; // 1: whole, 2: whole and complete
//	    SlotRecord records<V>;
//	} ImportSlotPage;
func (c ImportSlotPage) appendTo(w *mls.Writer) {
	BeginSlotExport{c.At, c.Move, c.From}.appendTo(w)
	w.Uint64(c.Sequence)
	w.Uint64(c.Index)
	w.Uint32(uint32(c.Format))
	w.Opaque(c.Through)
	appendCourse(w, c.Whole, c.Complete)
	appendList(w, c.Records, appendSlotRecord)
}

func readImportSlotPage(r *mls.Reader) ImportSlotPage {
	c := ImportSlotPage{
		At: SlotID(r.Uint16("at")), Move: r.Uint64("move"), From: ShardID(r.Uint32("from")), Sequence: r.Uint64("sequence"),
		Index: r.Uint64("index"), Format: Format(r.Uint32("format")), Through: r.Opaque("through"),
	}
	c.Whole, c.Complete = readCourse(r)
	c.Records = readList(r, "records", readSlotRecord)
	return c
}

// appendCourse writes how far a slot has been carried, what is complete being whole.
func appendCourse(w *mls.Writer, whole, complete bool) {
	switch {
	case whole && complete:
		w.Uint8(2)
	case whole:
		w.Uint8(1)
	default:
		w.Uint8(0)
	}
}

func readCourse(r *mls.Reader) (whole, complete bool) {
	course := r.Uint8("course")
	if course > 2 {
		r.Fail("course", "it is not known to this program")
	}
	return course >= 1, course == 2
}

//	struct {
//	    uint16 at;
//	    uint64 move;
//	    uint64 sequence;
//	    uint64 generation;
//	    uint64 clock;
//	    uint64 index_base;
//	    uint64 settings;
//	} ActivateSlot;
func (c ActivateSlot) appendTo(w *mls.Writer) {
	FreezeSlot{c.At, c.Move}.appendTo(w)
	w.Uint64(c.Sequence)
	w.Uint64(c.Generation)
	w.Uint64(c.Clock)
	w.Uint64(c.IndexBase)
	w.Uint64(c.Settings)
}

func readActivateSlot(r *mls.Reader) ActivateSlot {
	return ActivateSlot{
		At: SlotID(r.Uint16("at")), Move: r.Uint64("move"), Sequence: r.Uint64("sequence"), Generation: r.Uint64("generation"),
		Clock: r.Uint64("clock"), IndexBase: r.Uint64("index_base"), Settings: r.Uint64("settings"),
	}
}

const (
	slotValueRecord uint8 = 1
	slotGoneRecord  uint8 = 2
	slotPartRecord  uint8 = 3
)

//	struct {
//	    uint8 kind;
//	    opaque key<V>; // begins with a kind of keys
//	    select (kind) {
//	        case 1: opaque value<V>; // not empty
//	        case 2: struct {};
//	        case 3:
//	            uint32 offset;
//	            uint32 total;
//	            opaque hash[32];
//	            opaque bytes<V>; // not empty, and not past total
//	    };
//	} SlotRecord;
func appendSlotRecord(w *mls.Writer, record SlotRecord) {
	w.Uint8(record.recordKind())
	w.Opaque(record.key())
	record.appendTo(w)
}

func (r SlotValue) appendTo(w *mls.Writer) { w.Opaque(r.Value) }

func (SlotGone) appendTo(*mls.Writer) {}

func (r SlotPart) appendTo(w *mls.Writer) {
	w.Uint32(r.Offset)
	w.Uint32(r.Total)
	w.Fixed(r.Hash[:])
	w.Opaque(r.Bytes)
}

func readSlotRecord(r *mls.Reader) SlotRecord {
	kind, key := r.Uint8("kind"), r.Opaque("key")
	if !r.Failed() && (len(key) == 0 || key[0] == 0 || keyKind(key[0]) == keyKindEnd) {
		r.Fail("key", "it is of no kind")
	}
	switch kind {
	case slotValueRecord:
		value := SlotValue{Key: key, Value: r.Opaque("value")}
		if len(value.Value) == 0 {
			r.Fail("value", "it is empty")
		}
		return value
	case slotGoneRecord:
		return SlotGone{Key: key}
	case slotPartRecord:
		part := SlotPart{Key: key, Offset: r.Uint32("offset"), Total: r.Uint32("total"), Hash: readHash(r, "hash"), Bytes: r.Opaque("bytes")}
		if len(part.Bytes) == 0 || uint64(part.Offset)+uint64(len(part.Bytes)) > uint64(part.Total) {
			r.Fail("bytes", "they are none, or reach past the whole value")
		}
		return part
	default:
		r.Fail("kind", "it is not known to this program")
		return nil
	}
}

//	struct {
//	    uint64 move;
//	    uint8 stage;
//	    opaque reason<V>;
//	} MoveRefused;
func (o MoveRefused) appendTo(w *mls.Writer) {
	w.Uint64(o.Move)
	w.Uint8(uint8(o.Stage))
	appendText(w, o.Reason)
}

func readMoveRefused(r *mls.Reader) MoveRefused {
	return MoveRefused{Move: r.Uint64("move"), Stage: SlotStage(r.Uint8("stage")), Reason: readText[string](r, "reason")}
}

// struct { uint64 sequence; } PageTaken;
func (o PageTaken) appendTo(w *mls.Writer) { w.Uint64(o.Sequence) }

func readPageTaken(r *mls.Reader) PageTaken { return PageTaken{Sequence: r.Uint64("sequence")} }
