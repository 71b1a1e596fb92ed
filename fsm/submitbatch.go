package fsm

import (
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// Kinds of what is submitted in bulk.
const (
	KindSubmitBatch    CommandKind = 53
	KindRecordVerdicts CommandKind = 54

	OutcomeBatchDecided    OutcomeKind = 53
	OutcomeSubmissionsRead OutcomeKind = 54
)

// SubmitBatch decides on application messages for one room, in order, each by itself: as SubmitMessage does, and by their size. A rejection is
// recorded and told to the provider of the message's sender, in the same entry. It may be repeated. From FormatBulk on.
type SubmitBatch struct {
	Room     mimi.RoomURI
	Messages []BatchMessage
	// Tell: acceptances are told as well, since nobody waits for the outcome.
	Tell bool
	// Again: an earlier attempt may have been accepted. What has left the window since then is not called rejected.
	Again bool
}

// BatchMessage is one of them.
type BatchMessage struct {
	GroupID mls.GroupID
	Epoch   mls.Epoch
	Sender  mimi.UserURI
	Hash    [32]byte // SHA-256 of Message
	Message []byte   // MLSMessage with a PrivateMessage
	// Fault is what was found wrong with the message by the GroupContext of its epoch, which never changes; empty for nothing.
	Fault string
}

// BatchDecided says what became of the messages of a SubmitBatch, in order.
type BatchDecided struct{ Verdicts []BatchVerdict }

// BatchVerdict is a verdict. Undecided is never apply's: a node says so of a message of which an earlier attempt may have been accepted,
// where the record of it is gone.
type BatchVerdict struct {
	mimi.Verdict
	Undecided bool
}

func (c SubmitBatch) Slot() SlotID             { return SlotOfRoom(c.Room) }
func (SubmitBatch) Lane() Lane                 { return Bulk }
func (SubmitBatch) kind() CommandKind          { return KindSubmitBatch }
func (BatchDecided) outcomeKind() OutcomeKind  { return OutcomeBatchDecided }
func (m BatchMessage) receipt() mimi.Receipt   { return mimi.Receipt(m.Hash) }
func (m BatchMessage) provider() mimi.Provider { return m.Sender.Provider() }

// submitBatch decides on each message by itself.
func (t *tx) submitBatch(c SubmitBatch) Outcome {
	in := t.intake(c.Room)
	in.limit = mimi.MessageBytesMax
	verdicts := make([]BatchVerdict, len(c.Messages))
	for i, m := range c.Messages {
		verdicts[i].Verdict = in.ruleOn(m, c.Tell, c.Again)
	}
	in.deliver()
	return BatchDecided{verdicts}
}

// ruleOn decides on a message and tells what has to be told.
func (in *intake) ruleOn(m BatchMessage, tell, again bool) mimi.Verdict {
	known, refused := in.decide(m)
	if refused.outcome == nil {
		verdict := known.verdict(m.receipt())
		if tell && !known.told {
			known.told = true
			in.t.set(in.messageKey(m), known.record())
			in.t.tell(in.room, m.provider(), verdict)
			// Who did not wait may ask again when the epoch has left the window, and must not be told otherwise then.
			in.t.reject(in.room, rejection{provider: m.provider(), sender: m.Sender, verdict: verdict}, false)
			in.before = true
		}
		return verdict
	}
	verdict := refused.verdict(m.receipt(), in.head.epoch)
	switch {
	case refused.recorded, again && refused.code == mimi.VerdictEpochTooOld && !tell:
	case refused.passing, !in.exists: // it can be said again at any time; and a record of it would have no room to be counted at
		if tell {
			in.t.tell(in.room, m.provider(), verdict)
		}
	default:
		in.t.reject(in.room, rejection{provider: m.provider(), sender: m.Sender, verdict: verdict}, tell)
	}
	return verdict
}

//	struct {
//	    opaque room<V>;
//	    BatchMessage messages<V>;
//	    uint8 tell;  // 0 or 1
//	    uint8 again; // 0 or 1
//	} SubmitBatch;
//
//	struct {
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    opaque sender<V>;
//	    opaque hash[32];
//	    opaque message<V>;
//	    opaque fault<V>;
//	} BatchMessage;
func (c SubmitBatch) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	appendList(w, c.Messages, func(w *mls.Writer, m BatchMessage) {
		appendText(w, m.GroupID)
		w.Uint64(uint64(m.Epoch))
		m.Sender.AppendTo(w)
		w.Fixed(m.Hash[:])
		w.Opaque(m.Message)
		appendText(w, m.Fault)
	})
	w.Bool(c.Tell)
	w.Bool(c.Again)
}

func readSubmitBatch(r *mls.Reader) SubmitBatch {
	return SubmitBatch{
		Room: mimi.ReadRoomURI(r, "room"),
		Messages: readList(r, "messages", func(r *mls.Reader) BatchMessage {
			return BatchMessage{
				GroupID: readText[mls.GroupID](r, "group_id"),
				Epoch:   mls.Epoch(r.Uint64("epoch")),
				Sender:  mimi.ReadUserURI(r, "sender"),
				Hash:    readHash(r, "hash"),
				Message: r.Opaque("message"),
				Fault:   readText[string](r, "fault"),
			}
		}),
		Tell:  r.Bool("tell"),
		Again: r.Bool("again"),
	}
}

//	struct {
//	    uint8 undecided; // 0 or 1
//	    Verdict verdict;
//	} BatchVerdict;
//
// struct { BatchVerdict verdicts<V>; } BatchDecided;
func (o BatchDecided) appendTo(w *mls.Writer) {
	appendList(w, o.Verdicts, func(w *mls.Writer, v BatchVerdict) {
		w.Bool(v.Undecided)
		v.Verdict.AppendTo(w)
	})
}

func readBatchDecided(r *mls.Reader) BatchDecided {
	return BatchDecided{readList(r, "verdicts", func(r *mls.Reader) BatchVerdict {
		return BatchVerdict{Undecided: r.Bool("undecided"), Verdict: mimi.ReadVerdict(r)}
	})}
}

// reasonOf is what a refusal tells people.
func reasonOf(o Outcome) string {
	switch o := o.(type) {
	case NotAllowed:
		return o.Reason
	case RoomEnded:
		return o.Reason()
	case StaleRoom:
		return o.Reason()
	case EpochTooOld:
		return "the message's epoch has left the room's window"
	case NoSuchRoom:
		return "there is no such room"
	default:
		panic(fmt.Sprintf("fsm: a message was refused with outcome %d", o.outcomeKind()))
	}
}

// Repeated is a command as it is to be proposed after an attempt of which nothing is known. Those whose retries are recognised without
// that are returned as they are.
func Repeated(c Command) Command {
	if batch, yes := c.(SubmitBatch); yes {
		batch.Again = true
		return batch
	}
	return c
}
