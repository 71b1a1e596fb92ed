package fsm

import (
	"fmt"

	"parley/mls"
)

const entryVersion = 1

// layered is a command with more than one layout: version is the first that can say all of it. A layout after the first belongs to a format, see FormatOf.
type layered interface{ version() uint8 }

// lastVersion is the last layout of a kind.
func lastVersion(kind CommandKind) uint8 {
	switch kind {
	case KindEnterSettings:
		return settingsVersion
	case KindAcceptCommit:
		return acceptCommitVersion
	case KindCreateRoom, KindContinueRoom:
		return createRoomVersion
	case KindSubmitProposals, KindTakeLease, KindAcknowledge:
		return 2
	default:
		return 1
	}
}

// Entry is one record of a shard's log: the commands that the proposer gathered, and the hub time that it stamped them with.
// They are applied in order, and each sees what those before it wrote.
type Entry struct {
	StampMillis uint64 // milliseconds since 1970; apply never lets the hub's clock go back behind it
	Commands    []Command
}

// UnknownCommandError stops a node: the log holds a command of a newer program, and to skip it would make replicas differ.
// It says which number, never what the command holds.
type UnknownCommandError struct {
	Kind  CommandKind
	Index uint64 // in the log; 0 where the command was not read from one
}

func (e *UnknownCommandError) Error() string {
	return fmt.Sprintf("command %d at index %d is not known to this program", e.Kind, e.Index)
}

// EncodeEntry writes an entry for the log.
//
//	struct {
//	    uint8 version = 1;
//	    uint64 stamp_millis;
//	    opaque commands<V><V>; // each as of EncodeCommand
//	} Entry;
func EncodeEntry(e Entry) []byte {
	commands := make([][]byte, len(e.Commands))
	for i, c := range e.Commands {
		commands[i] = EncodeCommand(c)
	}
	return JoinEntry(e.StampMillis, commands)
}

// JoinEntry is EncodeEntry for commands that are encoded already, as of EncodeCommand.
func JoinEntry(stampMillis uint64, commands [][]byte) []byte {
	return encode(entryVersion, func(w *mls.Writer) {
		w.Uint64(stampMillis)
		appendList(w, commands, func(w *mls.Writer, c []byte) { w.Opaque(c) })
	})
}

// DecodeEntry reads what EncodeEntry wrote; the commands alias b. The error is a *mls.MalformedError or an
// *UnknownCommandError.
func DecodeEntry(b []byte) (Entry, error) {
	r := mls.NewReader("Entry", b)
	readVersion(r, entryVersion)
	e := Entry{StampMillis: r.Uint64("stamp_millis")}
	encoded := readList(r, "commands", func(r *mls.Reader) []byte { return r.Opaque("") })
	if err := r.Close(); err != nil {
		return Entry{}, err
	}
	for _, b := range encoded {
		c, err := DecodeCommand(b)
		if err != nil {
			return Entry{}, err
		}
		e.Commands = append(e.Commands, c)
	}
	return e, nil
}

// EncodeCommand writes a command as it travels to a leader and stands in an entry.
//
//	struct {
//	    uint8 version; // the command's layout; each kind counts its own from 1
//	    uint16 kind;   // CommandKind
//	    select (kind) { ... };
//	} Command;
func EncodeCommand(c Command) []byte {
	return encode(versionOf(c), func(w *mls.Writer) {
		w.Uint16(uint16(c.kind()))
		c.appendTo(w)
	})
}

// DecodeCommand reads what EncodeCommand wrote; the command aliases b. The error is a *mls.MalformedError or, for a number
// that a newer program gave out, an *UnknownCommandError.
func DecodeCommand(b []byte) (Command, error) {
	r := mls.NewReader("Command", b)
	version := r.Uint8("version")
	kind := CommandKind(r.Uint16("kind"))
	if r.Failed() {
		return nil, r.Err()
	}
	read := commandReader(kind, version)
	if read == nil {
		return nil, &UnknownCommandError{Kind: kind}
	}
	if version == 0 || version > lastVersion(kind) {
		r.Fail("version", "it is not known to this program")
		return nil, r.Err()
	}
	c := read(r)
	if err := r.Close(); err != nil {
		return nil, err
	}
	return c, nil
}

// versionOf is the layout that a command is written in.
func versionOf(c Command) uint8 {
	if c, yes := c.(layered); yes {
		return c.version()
	}
	return 1
}

// commandReader is the one place that lists how each number is read; nil for a number that is not given out.
func commandReader(kind CommandKind, version uint8) func(*mls.Reader) Command {
	switch kind {
	case KindFence:
		return func(*mls.Reader) Command { return Fence{} }
	case KindOwnSlots:
		return as(readOwnSlots)
	case KindEnterSettings:
		return as(func(r *mls.Reader) EnterSettings { return readEnterSettings(r, version) })
	case KindSweep:
		return as(readSweep)
	case KindCreateRoom:
		return as(func(r *mls.Reader) CreateRoom { return readCreateRoom(r, version) })
	case KindAcceptCommit:
		return as(func(r *mls.Reader) AcceptCommit { return readAcceptCommit(r, version) })
	case KindSubmitProposals:
		return as(func(r *mls.Reader) SubmitProposals { return readSubmitProposals(r, version) })
	case KindSubmitMessage:
		return as(readSubmitMessage)
	case KindTakeLease:
		return as(func(r *mls.Reader) TakeLease { return readTakeLease(r, version) })
	case KindUploadKeyPackages:
		return as(readUploadKeyPackages)
	case KindClaimKeyPackages:
		return as(readClaimKeyPackages)
	case KindRecordKeyPackageRefs:
		return as(readRecordKeyPackageRefs)
	case KindReceiveFanout:
		return as(readReceiveFanout)
	case KindReceiveBodies:
		return as(readReceiveBodies)
	case KindFollowGroup:
		return as(readFollowGroup)
	case KindAcknowledge:
		return as(func(r *mls.Reader) Acknowledge { return readAcknowledge(r, version) })
	case KindPutPiece:
		return as(readPutPiece)
	case KindApplyPieces:
		return as(readApplyPieces)
	case KindReceiveInternal:
		return as(readReceiveInternal)
	case KindDropInternal:
		return as(readDropInternal)
	case KindJudged:
		return as(readJudged)
	case KindSetConsents:
		return as(readSetConsents)
	case KindSetConsentPolicy:
		return as(readSetConsentPolicy)
	case KindDeleteKeyPackages:
		return as(readDeleteKeyPackages)
	case KindRecordDeparture:
		return as(readRecordDeparture)
	case KindSettleDepartures:
		return as(readSettleDepartures)
	case KindDestroyRoom:
		return as(readDestroyRoom)
	case KindContinueRoom:
		return as(func(r *mls.Reader) ContinueRoom { return readContinueRoom(r, version) })
	case KindReserveGroup:
		return as(readReserveGroup)
	case KindReserveMembers:
		return as(readReserveMembers)
	case KindForgoMembers:
		return as(readForgoMembers)
	case KindCreateJoiningCode:
		return as(readCreateJoiningCode)
	case KindRevokeJoiningCode:
		return as(readRevokeJoiningCode)
	case KindAcknowledgeEvents:
		return as(readAcknowledgeEvents)
	case KindAcknowledgeThrough:
		return as(readAcknowledgeThrough)
	case KindSubmitBatch:
		return as(readSubmitBatch)
	case KindRecordVerdicts:
		return as(readRecordVerdicts)
	case KindQueueSubmissions:
		return as(readQueueSubmissions)
	case KindSettleSubmissions:
		return as(readSettleSubmissions)
	case KindBeginSlotExport:
		return as(readBeginSlotExport)
	case KindDropSlotMarks:
		return as(readDropSlotMarks)
	case KindFreezeSlot:
		return as(readFreezeSlot)
	case KindThawSlot:
		return as(readThawSlot)
	case KindReleaseSlot:
		return as(readReleaseSlot)
	case KindImportSlotPage:
		return as(readImportSlotPage)
	case KindDropSlotImport:
		return as(readDropSlotImport)
	case KindActivateSlot:
		return as(readActivateSlot)
	case KindBeginGeneration:
		return as(readBeginGeneration)
	case KindFastForwardRoom:
		return as(readFastForwardRoom)
	case KindSalvage:
		return as(readSalvage)
	default:
		return nil
	}
}

func as[C Command](read func(*mls.Reader) C) func(*mls.Reader) Command {
	return func(r *mls.Reader) Command { return read(r) }
}
