package fsm

import "parley/mls"

// A slot moves from the shard that has it, its source, to another, its target, in steps that are commands in the logs of both. Somebody
// outside carries what lies between them: he reads where both stand and does what comes next. He may stop anywhere, begin again, be two
// at once, or come late with what was decided otherwise long ago; so each command says of which move it is, and each shard knows for ever
// how far it has come with the last move of a slot that it has heard of (slotstage.go).
//
//	source                               target
//	BeginSlotExport: changes are marked
//	                                     ImportSlotPage: all keys once, then what is marked
//	DropSlotMarks: what was carried
//	FreezeSlot: nothing changes any more
//	                                     ImportSlotPage: the last marks
//	                                     ActivateSlot: the slot is here
//	ReleaseSlot: it is there, and gone here
//
// A move is called off at the target first, by DropSlotImport, which refuses its ActivateSlot for ever, and then at the source, by
// ThawSlot. ReleaseSlot comes only when ActivateSlot was done. So no two shards serve a slot, whoever repeats what.

const (
	KindBeginSlotExport CommandKind = 80
	KindDropSlotMarks   CommandKind = 81
	KindFreezeSlot      CommandKind = 82
	KindThawSlot        CommandKind = 83
	KindReleaseSlot     CommandKind = 84
	KindImportSlotPage  CommandKind = 85
	KindDropSlotImport  CommandKind = 86
	KindActivateSlot    CommandKind = 87

	OutcomeMoveRefused OutcomeKind = 80
	OutcomePageTaken   OutcomeKind = 81
)

// BeginSlotExport makes a shard remember, from this entry on, which keys of a slot change. All commands of a move are of FormatResize.
// Move is a number that the meta group draws, unique and rising; at both ends a lower one than the last that is known of the slot is refused.
type BeginSlotExport struct {
	At   SlotID
	Move uint64
	To   ShardID
}

// DropSlotMarks forgets marks that a page has carried which the target has taken: those of keys up to Last whose last change was at index
// Through or before. Through is the index of the view that the page was read at.
type DropSlotMarks struct {
	At      SlotID
	Move    uint64
	Through uint64
	Last    []byte // a key behind the slot's number, as of SlotRecord; itself included
}

// FreezeSlot stops a slot: from its entry on nothing changes it, and each command of it gets MovedTo{}.
type FreezeSlot struct {
	At   SlotID
	Move uint64
}

// ThawSlot calls a move off at the source, which serves the slot as before. It is to be given only when DropSlotImport was done at the
// target, and ends the move also where the source has not heard of it.
type ThawSlot struct {
	At   SlotID
	Move uint64
}

// ReleaseSlot gives a frozen slot up: all of it goes, and its commands get MovedTo{To, Generation} from there on. It is to be given only
// when ActivateSlot was done.
type ReleaseSlot struct {
	At         SlotID
	Move       uint64
	To         ShardID
	Generation uint64
}

// ImportSlotPage brings records of a slot to the target. Pages are numbered from 1; the first of a higher move drops what came of a lower one.
// The outcome is PageTaken with the last that is in, which may be one before this: then this one did not follow on it.
type ImportSlotPage struct {
	At       SlotID
	Move     uint64
	From     ShardID // the source
	Sequence uint64
	Index    uint64 // the source's, as of which the page was read; it never falls from a page to the next
	Format   Format // the source's at Index; a target of a lower one takes no page
	Through  []byte // how far all keys have been gone through once, with this page: a key as of SlotRecord; empty at the beginning
	Whole    bool   // all keys have been gone through, and what comes now was marked
	Complete bool   // the slot is frozen and Whole, and nothing comes behind this page
	Records  []SlotRecord
}

// DropSlotImport calls a move off at the target: what came of it goes, and it, and every lower one, is refused for ever.
type DropSlotImport struct {
	At   SlotID
	Move uint64
}

// ActivateSlot makes a slot the target's, which serves it from here on. All that it says of the source is as of its FreezeSlot.
type ActivateSlot struct {
	At         SlotID
	Move       uint64
	Sequence   uint64 // of the last page; exactly that has to be the last that is in
	Generation uint64
	Clock      uint64 // the source's hub time; the target's does not stay behind it
	IndexBase  uint64 // as SlotExport has it; no room that is made or continued here has an incarnation that is not above it
	Settings   uint64 // the version of the source's settings; a target of an older one is not ready
}

// SlotRecord is what a page has of one key. The key is what stands behind the slot's number, beginning with the kind. The set is closed.
type SlotRecord interface {
	key() []byte
	recordKind() uint8
	appendTo(w *mls.Writer)
}

// SlotValue is a key with its value.
type SlotValue struct{ Key, Value []byte }

// SlotGone is a key that is not there any more.
type SlotGone struct{ Key []byte }

// SlotPart is a part of a value that is too large for a page. Its parts come in order, each from where the one before it ended, with
// pages and records of other keys between them where it happens; one value at a time. With the last part the value is there.
type SlotPart struct {
	Key    []byte
	Offset uint32
	Total  uint32   // bytes of the whole value
	Hash   [32]byte // SHA-256 of the whole value
	Bytes  []byte   // not empty
}

// MoveRefused: the command does not fit how far the shard has come with the slot. Nothing was written, and the same again is refused
// again, unless Stage says that it was early.
type MoveRefused struct {
	Move   uint64    // the last move of the slot that the shard knows; 0: none
	Stage  SlotStage // how far it has come with that
	Reason string
}

// PageTaken tells the last page of the move that is in.
type PageTaken struct{ Sequence uint64 }

func (c BeginSlotExport) Slot() SlotID { return c.At }
func (c DropSlotMarks) Slot() SlotID   { return c.At }
func (c FreezeSlot) Slot() SlotID      { return c.At }
func (c ThawSlot) Slot() SlotID        { return c.At }
func (c ReleaseSlot) Slot() SlotID     { return c.At }
func (c ImportSlotPage) Slot() SlotID  { return c.At }
func (c DropSlotImport) Slot() SlotID  { return c.At }
func (c ActivateSlot) Slot() SlotID    { return c.At }

func (BeginSlotExport) Lane() Lane { return Exclusive }
func (DropSlotMarks) Lane() Lane   { return Bulk }
func (FreezeSlot) Lane() Lane      { return Exclusive }
func (ThawSlot) Lane() Lane        { return Exclusive }
func (ReleaseSlot) Lane() Lane     { return Exclusive }
func (ImportSlotPage) Lane() Lane  { return Bulk }
func (DropSlotImport) Lane() Lane  { return Exclusive }
func (ActivateSlot) Lane() Lane    { return Exclusive }

func (BeginSlotExport) kind() CommandKind { return KindBeginSlotExport }
func (DropSlotMarks) kind() CommandKind   { return KindDropSlotMarks }
func (FreezeSlot) kind() CommandKind      { return KindFreezeSlot }
func (ThawSlot) kind() CommandKind        { return KindThawSlot }
func (ReleaseSlot) kind() CommandKind     { return KindReleaseSlot }
func (ImportSlotPage) kind() CommandKind  { return KindImportSlotPage }
func (DropSlotImport) kind() CommandKind  { return KindDropSlotImport }
func (ActivateSlot) kind() CommandKind    { return KindActivateSlot }

func (MoveRefused) outcomeKind() OutcomeKind { return OutcomeMoveRefused }
func (PageTaken) outcomeKind() OutcomeKind   { return OutcomePageTaken }

func (r SlotValue) key() []byte { return r.Key }
func (r SlotGone) key() []byte  { return r.Key }
func (r SlotPart) key() []byte  { return r.Key }

func (SlotValue) recordKind() uint8 { return slotValueRecord }
func (SlotGone) recordKind() uint8  { return slotGoneRecord }
func (SlotPart) recordKind() uint8  { return slotPartRecord }
