// Package fsm is the state machine of a shard: rooms, users and what goes out to destinations, changed by commands from the
// shard's log. Apply is a function of (state, index, entry) and nothing else, so that all replicas come to the same state.
package fsm

import (
	"errors"
	"fmt"
	"slices"

	"parley/mimi"
)

// Result is what one entry came to.
type Result struct {
	Outcomes []Outcome   // one for each command, in order
	Touched  []OutboxRef // to which outboxes items were appended, in the order of appending, each once
	Urgent   []OutboxRef // those of Touched in which handshakes wait
	Dropped  []OutboxDrop
	// FreedLate are the bytes of outbox items that were removed a minute of hub time or more after they had come.
	FreedLate uint64
	Posted    []SlotID // in which slots effects for others were posted, each once
	// Departing are rooms that somebody has to leave, where there may be something new to do about it.
	Departing []mimi.RoomURI
	// Queues are those to other hubs that have changed, as they are after the entry.
	Queues []QueuePosition
	// Arrived are slots that the shard serves from this entry on, for they have come or are thawed; Gone those that it serves no more, for
	// they are frozen or have gone. Each slot is in one of them, once. What a node keeps of them beside the state has to be read anew, or forgotten.
	Arrived []SlotID
	Gone    []SlotID
	Format  Format // the shard's, after the entry
}

// OutboxRef names one outbox.
type OutboxRef struct {
	Slot        SlotID
	Destination mimi.Provider
}

// Apply applies one entry of a shard's log, as EncodeEntry wrote it. index is the entry's; the store shows what the entries
// before it came to, and takes what this one writes. An error is the store's, or says that the entry or the state cannot be read
// (an *UnknownCommandError, an *UnknownFormatError, a *mls.MalformedError): the replica then cannot go on, and the store's batch must be dropped. Apply
// keeps nothing between calls, and calls on different stores may run at the same time.
func Apply(store Store, index uint64, entry []byte) (result Result, err error) {
	e, err := DecodeEntry(entry)
	if err != nil {
		if unknown := (*UnknownCommandError)(nil); errors.As(err, &unknown) {
			unknown.Index = index
		}
		return Result{}, fmt.Errorf("entry %d: %w", index, err)
	}
	defer func() {
		if fault, failed := recoverFault(recover()); failed {
			result, err = Result{}, fmt.Errorf("entry %d: %w", index, fault)
		}
	}()
	t := begin(store, index, e.StampMillis)
	for _, c := range e.Commands {
		result.Outcomes = append(result.Outcomes, t.apply(c))
	}
	t.cutOutbox()
	result.Touched, result.Urgent = t.touched, t.urgent
	result.Dropped, result.FreedLate = t.dropped, t.freedLate
	result.Posted, result.Departing, result.Format = t.posted, t.departing, t.format
	result.Queues = t.queues
	result.Arrived, result.Gone = t.arrived, t.gone
	return result, nil
}

// apply decides on one command.
func (t *tx) apply(c Command) Outcome {
	if needs := FormatOf(c); needs > t.format {
		return FormatNotReached{Needs: needs, Has: t.format}
	}
	if !ofShard(c) {
		if moved, gone := t.moved(c.Slot()); gone {
			return moved
		}
	}
	switch c := c.(type) {
	case Fence:
		return Done{}
	case OwnSlots:
		return t.ownSlots(c)
	case EnterSettings:
		return t.enterSettings(c)
	case Sweep:
		return t.sweep(c)
	case CreateRoom:
		return t.createRoom(c)
	case AcceptCommit:
		return t.acceptCommit(c)
	case SubmitProposals:
		return t.submitProposals(c)
	case SubmitMessage:
		return t.submitMessage(c)
	case TakeLease:
		return t.takeLease(c)
	case UploadKeyPackages:
		return t.uploadKeyPackages(c)
	case ClaimKeyPackages:
		return t.claimKeyPackages(c)
	case RecordKeyPackageRefs:
		return t.recordKeyPackageRefs(c)
	case ReceiveFanout:
		return t.receiveFanout(c)
	case ReceiveBodies:
		return t.receiveBodies(c)
	case FollowGroup:
		return t.followGroup(c)
	case Acknowledge:
		return t.acknowledge(c)
	case PutPiece:
		return t.putPiece(c)
	case ApplyPieces:
		return t.applyPieces(c)
	case ReceiveInternal:
		return t.receiveInternal(c)
	case DropInternal:
		return t.dropInternal(c)
	case Judged:
		return t.judged(c)
	case SetConsents:
		return t.setConsents(c)
	case SetConsentPolicy:
		return t.setConsentPolicy(c)
	case DeleteKeyPackages:
		return t.deleteKeyPackages(c)
	case RecordDeparture:
		return t.recordDeparture(c)
	case SettleDepartures:
		return t.settleDepartures(c)
	case DestroyRoom:
		return t.destroyRoom(c)
	case ContinueRoom:
		return t.continueRoom(c)
	case ReserveGroup:
		return t.reserveGroup(c)
	case ReserveMembers:
		return t.reserveMembers(c)
	case ForgoMembers:
		return t.forgoMembers(c)
	case CreateJoiningCode:
		return t.createJoiningCode(c)
	case RevokeJoiningCode:
		return t.revokeJoiningCode(c)
	case AcknowledgeEvents:
		return t.acknowledgeEvents(c)
	case AcknowledgeThrough:
		return t.acknowledgeThrough(c)
	case SubmitBatch:
		return t.submitBatch(c)
	case RecordVerdicts:
		return t.recordVerdicts(c)
	case QueueSubmissions:
		return t.queueSubmissions(c)
	case SettleSubmissions:
		return t.settleSubmissions(c)
	case BeginGeneration:
		return t.beginGeneration(c)
	case FastForwardRoom:
		return t.fastForwardRoom(c)
	case Salvage:
		return t.salvage(c)
	case BeginSlotExport:
		return t.beginSlotExport(c)
	case DropSlotMarks:
		return t.dropSlotMarks(c)
	case FreezeSlot:
		return t.freezeSlot(c)
	case ThawSlot:
		return t.thawSlot(c)
	case ReleaseSlot:
		return t.releaseSlot(c)
	case ImportSlotPage:
		return t.importSlotPage(c)
	case DropSlotImport:
		return t.dropSlotImport(c)
	case ActivateSlot:
		return t.activateSlot(c)
	default:
		panic(fmt.Sprintf("fsm: command %d has a reader and no rule", c.kind()))
	}
}

// ofShard reports whether a command concerns the whole shard, or where its slots are, and not a slot, which has to be here for it.
func ofShard(c Command) bool {
	switch c.(type) {
	case Fence, OwnSlots, EnterSettings, Sweep, BeginGeneration, Salvage:
		return true
	case BeginSlotExport, DropSlotMarks, FreezeSlot, ThawSlot, ReleaseSlot, ImportSlotPage, DropSlotImport, ActivateSlot:
		return true
	default:
		return false
	}
}

// tx is the application of one entry. A fault of the store unwinds it by a panic that Apply turns into its error.
type tx struct {
	store           Store
	index           uint64
	now             uint64 // hub time of the entry, milliseconds since 1970
	settings        Settings
	settingsVersion uint64 // 0: none yet
	format          Format
	bodies          []*outboxBody // that have not been cut
	touched         []OutboxRef
	urgent          []OutboxRef
	arrived, gone   []SlotID
	posted          []SlotID
	dropped         []OutboxDrop
	freedLate       uint64
	departing       []mimi.RoomURI
	queues          []QueuePosition // that were written, in the order in which they first were

	// Looked up by key, never ranged over.
	bodyOf  map[outboxBodyName]*outboxBody // those of bodies
	slotDue map[SlotID]uint64              // what this entry has read or written of keySlotDue

	generations map[SlotID]slotGeneration // likewise of keySlotGeneration
	salvaging   bool                      // what is decided was in the log of before the generation

	marking *markedSlots // nil before the entry has asked for them
}

func begin(store Store, index, stamp uint64) *tx {
	t := &tx{
		store: store, index: index,
		bodyOf: make(map[outboxBodyName]*outboxBody), slotDue: make(map[SlotID]uint64), generations: make(map[SlotID]slotGeneration),
	}
	last, err := ReadClock(store)
	t.check(err)
	t.now = max(last, stamp)
	if t.now != last {
		t.setClock(t.now)
	}
	t.settings, t.settingsVersion, err = ReadSettings(store)
	t.check(err)
	t.format, err = ReadFormat(store)
	t.check(err)
	return t
}

func (t *tx) nowSeconds() uint64 { return t.now / 1000 }

// isLocal reports whether a provider is this one, under any of its domains.
func (t *tx) isLocal(p mimi.Provider) bool { return slices.Contains(t.settings.Domains, p) }

// destination maps the local provider's domains to the first, the name of the local inbox.
func (t *tx) destination(p mimi.Provider) mimi.Provider {
	if t.isLocal(p) {
		return t.settings.Domains[0]
	}
	return p
}

// storeFault carries a storage error up to Apply.
type storeFault struct{ err error }

// recoverFault tells a fault of the store from a broken invariant, which goes on panicking.
func recoverFault(recovered any) (err error, failed bool) {
	switch fault := recovered.(type) {
	case nil:
		return nil, false
	case storeFault:
		return fault.err, true
	default:
		panic(recovered)
	}
}

func (t *tx) check(err error) {
	if err != nil {
		panic(storeFault{err})
	}
}

// All that changes the state goes through these, so that no change of a slot that is on its way out is missed.

func (t *tx) set(k key, value []byte) {
	t.mark(k)
	t.check(t.store.Set(k, value))
}

func (t *tx) delete(k key) {
	t.mark(k)
	t.check(t.store.Delete(k))
}

// deleteRange deletes keys of one slot, or of the shard's own.
func (t *tx) deleteRange(lower, end key) {
	t.markRange(lower, end)
	t.check(t.store.DeleteRange(lower, end))
}

func (t *tx) deletePrefix(prefix key) { t.deleteRange(prefix, prefix.end()) }

// has reports whether a key is present.
func (t *tx) has(k key) bool {
	value, err := t.store.Get(k)
	t.check(err)
	return value != nil
}

// get runs one of the package's reads on the entry's own view.
func get[T any](t *tx, read func(Reader) (T, bool, error)) (T, bool) {
	v, found, err := read(t.store)
	t.check(err)
	return v, found
}
