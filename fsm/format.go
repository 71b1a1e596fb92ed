package fsm

import (
	"fmt"

	"parley/mls"
)

// Format is the version of what a shard's log and state may hold. A program reads its own format and all before it. A shard is
// raised to a format by a command, once every node runs a program that knows it, and never goes back; what is new in a format,
// a command as well as another rule for an old one, counts only from there on. So programs of two versions that apply the same
// log hold the same state.
type Format uint32

const (
	// FormatFirst is that of a shard which nothing has raised.
	FormatFirst Format = 1
	// FormatQueues brings pieces of large commands, the internal queues between slots, and a bound on pending Proposals.
	FormatQueues Format = 2
	// FormatRevocations raises the version of the settings when a peer or a token is taken away, too: what was judged before is judged again.
	FormatRevocations Format = 3
	// FormatExclusive brings the rules of rooms and inventories: policy, consent, quotas, joining codes, departures.
	FormatExclusive Format = 4
	// FormatBulk brings what is taken and delivered in bulk: submissions, outboxes by room, notices to peers, inboxes of clients.
	FormatBulk Format = 5
	// FormatResize brings what moves slots between shards, and what a restored cluster has to mistrust.
	FormatResize Format = 6

	// FormatNewest is the last one that this program knows. New clusters begin with it.
	FormatNewest = FormatResize
)

// UnknownFormatError stops a replica: a newer program has raised its shard to a format that this one cannot read.
type UnknownFormatError struct{ Format Format }

func (e *UnknownFormatError) Error() string {
	return fmt.Sprintf("the shard is of format %d, and this program knows formats up to %d: a newer program is needed", e.Format, FormatNewest)
}

// FormatOf is the format from which on a command may be in a shard's log. Whoever proposes it has to know that the shard is
// there: a program of an older format stops at a command that it does not know, and apply can only protect the others.
func FormatOf(c Command) Format {
	switch c := c.(type) {
	case Judged:
		return max(FormatQueues, FormatOf(c.Command))
	case ReceiveInternal:
		format := FormatQueues
		for _, e := range c.Effects {
			format = max(format, formatOfEffect(e))
		}
		return format
	case PutPiece, ApplyPieces, DropInternal:
		return FormatQueues
	case SetConsents, SetConsentPolicy, DeleteKeyPackages,
		RecordDeparture, SettleDepartures, DestroyRoom, ReserveGroup:
		return FormatExclusive
	case CreateJoiningCode, RevokeJoiningCode:
		return FormatExclusive
	case SubmitBatch, RecordVerdicts:
		return FormatBulk
	case AcknowledgeThrough, AcknowledgeEvents:
		return FormatBulk
	case QueueSubmissions, SettleSubmissions:
		return FormatBulk
	case AcceptCommit:
		return []Format{FormatFirst, FormatExclusive, FormatBulk}[versionOf(c)-1]
	case ReserveMembers, ForgoMembers:
		return FormatBulk
	case ContinueRoom:
		return max(FormatExclusive, FormatOf(c.Create))
	case CreateRoom:
		return []Format{FormatFirst, FormatExclusive, FormatBulk, FormatBulk, FormatResize}[versionOf(c)-1]
	case SubmitProposals, TakeLease:
		if versionOf(c) > 1 {
			return FormatExclusive
		}
		return FormatFirst
	case ReceiveBodies, FollowGroup:
		return FormatBulk
	case BeginSlotExport, DropSlotMarks, FreezeSlot, ThawSlot, ReleaseSlot, ImportSlotPage, DropSlotImport, ActivateSlot:
		return FormatResize
	case FastForwardRoom, Salvage:
		return FormatResize
	default:
		return FormatFirst
	}
}

// ReadFormat returns the format of a shard. The error is an *UnknownFormatError where this program is too old for it.
func ReadFormat(r Reader) (Format, error) {
	format, raised, err := readRecord(r, shardKey(keyFormat), "format", readFormat)
	switch {
	case err != nil:
		return 0, err
	case !raised:
		return FormatFirst, nil
	case format > FormatNewest:
		return 0, &UnknownFormatError{format}
	default:
		return format, nil
	}
}

func readFormat(r *mls.Reader) Format { return Format(r.Uint32("format")) }

// checkFormat refuses the format in a record, or nil where there is none. What cannot be read is not refused for its format.
func checkFormat(value []byte) error {
	format, err := decode("format", value, readFormat)
	if err == nil && format > FormatNewest {
		return &UnknownFormatError{format}
	}
	return nil
}

// raiseFormat takes a format that is above the shard's. An older program stops here, before it meets what it cannot read.
func (t *tx) raiseFormat(format Format) {
	if format <= t.format {
		return
	}
	if format > FormatNewest {
		t.check(&UnknownFormatError{format})
	}
	if t.format < FormatBulk && format >= FormatBulk {
		t.noteOldOutboxes()
	}
	t.format = format
	t.set(shardKey(keyFormat), record(func(w *mls.Writer) { w.Uint32(uint32(format)) }))
}
