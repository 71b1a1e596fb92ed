package fsm

import (
	"crypto/sha256"
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// Kinds of what waits to be brought to other hubs.
const (
	KindQueueSubmissions  CommandKind = 58
	KindSettleSubmissions CommandKind = 59

	OutcomeSubmissionsQueued OutcomeKind = 58
)

// QueueSubmissions puts messages and Proposals of the provider's own clients, for one room of another provider, into the queue to that hub, in
// order. Each stays there until a verdict on it is known: the hub's, or after the settings' QueueMillis that it was given up. One that waits
// already is not put in twice, nor is one that the hub has accepted lately. From FormatBulk on.
type QueueSubmissions struct {
	Room        mimi.RoomURI // its provider is the hub
	Submissions []OutboundSubmission
}

// OutboundSubmission is one of them, with what it is known by.
type OutboundSubmission struct {
	Receipt mimi.Receipt
	Kind    mimi.SubmissionKind
	Body    []byte // as in a mimi.Submission
}

// SettleSubmissions brings verdicts on submissions that wait. Each goes to the local inbox in the entry that takes its submission out of the queue, so
// that there is one for each that was put in; on what does not wait nothing is said. It may be repeated. From FormatBulk on.
type SettleSubmissions struct {
	At      SlotID
	Hub     mimi.Provider
	Settled []SettledSubmission
}

// SettledSubmission is a verdict with the place of the submission in its queue.
type SettledSubmission struct {
	Number  uint64
	Verdict mimi.Verdict
}

// SubmissionsQueued says of each submission, in order, that it is queued, what became of it, that the queue is full (notTaken), or, where
// receipts were asked for, that there is no record of it.
type SubmissionsQueued struct{ Answers []mimi.SubmissionAnswer }

func (c QueueSubmissions) Slot() SlotID              { return SlotOfRoom(c.Room) }
func (QueueSubmissions) Lane() Lane                  { return Bulk }
func (QueueSubmissions) kind() CommandKind           { return KindQueueSubmissions }
func (c SettleSubmissions) Slot() SlotID             { return c.At }
func (SettleSubmissions) Lane() Lane                 { return Bulk }
func (SettleSubmissions) kind() CommandKind          { return KindSettleSubmissions }
func (SubmissionsQueued) outcomeKind() OutcomeKind   { return OutcomeSubmissionsQueued }
func (c QueueSubmissions) hub() mimi.Provider        { return c.Room.Provider() }
func (s OutboundSubmission) submissionBytes() uint64 { return uint64(len(s.Body)) }

// QueueRetrySeconds is after what time a submission for which a queue had no room may be tried again.
const QueueRetrySeconds = 5

// queueSubmissions appends to the queue what is new.
func (t *tx) queueSubmissions(c QueueSubmissions) Outcome {
	if t.isLocal(c.hub()) {
		return NotAllowed{Reason: "the room is hosted here"}
	}
	p := t.queuePosition(c.Slot(), c.hub())
	answers := make([]mimi.SubmissionAnswer, len(c.Submissions))
	for i, s := range c.Submissions {
		answers[i] = t.queueOne(c.Room, s, &p)
	}
	t.setQueuePosition(p)
	return SubmissionsQueued{answers}
}

func (t *tx) queueOne(room mimi.RoomURI, s OutboundSubmission, p *QueuePosition) mimi.SubmissionAnswer {
	answer := mimi.SubmissionAnswer{State: mimi.SubmissionQueued, Verdict: mimi.Verdict{Receipt: s.Receipt}}
	known, found := t.queuedAs(room, s.Receipt)
	switch {
	case found && known.number > 0:
		return answer
	case found && known.verdict.Code == mimi.VerdictAccepted:
		return mimi.DecidedAnswer(known.verdict)
	case p.Items >= uint64(t.settings.Bulk.queueItems()), p.Bytes+s.submissionBytes() > uint64(t.settings.Bulk.queueBytes()):
		answer.State, answer.RetryAfterSeconds = mimi.SubmissionNotTaken, QueueRetrySeconds
		answer.Verdict.Reason = fmt.Sprintf("too much waits to be brought to %s", p.Hub)
		return answer
	}
	item := queuedRecord{until: addUpTo(t.now, t.settings.Bulk.queueMillis()), millis: t.now, room: room, OutboundSubmission: s}
	k := queueItemKey(p.Slot, p.Hub, p.Next)
	t.set(k, record(item.appendTo))
	t.expireAt(k, item.until)
	if !found {
		known.verdict = mimi.Verdict{Receipt: s.Receipt, Code: mimi.VerdictExpired}
	}
	t.set(queuedAsKey(room, s.Receipt), record(queuedAs{number: p.Next, verdict: known.verdict}.appendTo))
	p.Next++
	p.Items++
	p.Bytes += s.submissionBytes()
	return answer
}

// settleSubmissions takes out what has its verdict. A number is never given out again, so a verdict that is late meets nothing.
func (t *tx) settleSubmissions(c SettleSubmissions) Outcome {
	for _, s := range c.Settled {
		k := queueItemKey(c.At, c.Hub, s.Number)
		if item, found := t.queued(k); found && item.Receipt == s.Verdict.Receipt {
			t.settle(k, item, s.Verdict)
			t.note(item.room, c.Hub, Noticed{s.Verdict})
		}
	}
	return Done{}
}

// settle takes a submission out of its queue and remembers its verdict, for who asks for it and for who submits it again.
func (t *tx) settle(k key, item queuedRecord, verdict mimi.Verdict) {
	hub := item.room.Provider()
	p := t.queuePosition(SlotOfRoom(item.room), hub)
	p.Items--
	p.Bytes -= item.submissionBytes()
	t.delete(k)
	t.setQueuePosition(p)
	t.rememberVerdict(item.room, verdict)
}

func (t *tx) rememberVerdict(room mimi.RoomURI, verdict mimi.Verdict) {
	as := queuedAs{until: addUpTo(t.now, t.settings.Bulk.receipts()), verdict: verdict}
	t.set(queuedAsKey(room, verdict.Receipt), record(as.appendTo))
	t.expireAt(queuedAsKey(room, verdict.Receipt), as.until)
}

// verdictOfHub takes a verdict that a hub tells by itself, on its stream. It reports whether the local inbox is to be told: not of what has had
// its verdict before. Of what was handed in again after it was rejected, the same verdict again is the late notice of the first attempt; the
// hub answers to the other.
func (t *tx) verdictOfHub(room mimi.RoomURI, verdict mimi.Verdict) (tell bool) {
	as, found := t.queuedAs(room, verdict.Receipt)
	switch {
	case !found:
		return true // it came to the hub by another way
	case as.number == 0 && as.verdict.Code == mimi.VerdictExpired: // what was given up here has been told so; who asks is told what the hub says
		t.rememberVerdict(room, verdict)
		return false
	case as.number == 0, verdict.Code != mimi.VerdictAccepted && verdict.Code == as.verdict.Code:
		return false
	}
	k := queueItemKey(SlotOfRoom(room), room.Provider(), as.number)
	item, found := t.queued(k)
	if !found {
		panic("fsm: a submission is known to wait and does not")
	}
	t.settle(k, item, verdict)
	return true
}

// seenFromHub takes an event of a hub's room for the acceptance of what waits: a hub distributes only what it has accepted. So a submission
// whose answer was lost is settled also where its hub does not recognise it when it comes again.
func (t *tx) seenFromHub(room mimi.RoomURI, message []byte) {
	if t.queuePosition(SlotOfRoom(room), room.Provider()).Items == 0 {
		return
	}
	m, err := mimi.ParseFanoutMessage(message)
	if err != nil {
		return // it was read before the log
	}
	for _, part := range m.Event.MLSMessages() {
		verdict := mimi.Verdict{Receipt: sha256.Sum256(part.Marshal()), Code: mimi.VerdictAccepted, AcceptedMillis: m.Millis}
		if as, found := t.queuedAs(room, verdict.Receipt); found && as.number > 0 && t.verdictOfHub(room, verdict) {
			t.note(room, room.Provider(), Noticed{verdict})
		}
	}
}

// expireQueued gives a submission up whose time is over. Whether the hub has taken it meanwhile, and its answer was lost, is not known here.
func (t *tx) expireQueued(k key) {
	item, found := t.queued(k)
	if !found || item.until > t.now {
		return
	}
	verdict := mimi.Verdict{Receipt: item.Receipt, Code: mimi.VerdictExpired,
		Reason: "its hub gave no verdict for so long that it is not tried any more; if an answer was lost, the hub may have taken it"}
	t.settle(k, item, verdict)
	t.note(item.room, item.room.Provider(), Noticed{verdict})
}

// expireQueuedAs forgets a verdict. A submission that waits again has no time of its own here.
func (t *tx) expireQueuedAs(k key) {
	as, found := get(t, func(r Reader) (queuedAs, bool, error) {
		return readRecord(r, k, "receipt of a submission", readQueuedAs)
	})
	if found && as.number == 0 && as.until <= t.now {
		t.delete(k)
	}
}

//	struct {
//	    opaque room<V>;
//	    OutboundSubmission submissions<V>;
//	} QueueSubmissions;
//
//	struct {
//	    opaque receipt[32];
//	    uint8 kind;
//	    opaque body<V>;
//	} OutboundSubmission;
func (c QueueSubmissions) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	appendList(w, c.Submissions, appendOutbound)
}

func appendOutbound(w *mls.Writer, s OutboundSubmission) {
	w.Fixed(s.Receipt[:])
	w.Uint8(uint8(s.Kind))
	w.Opaque(s.Body)
}

func readOutbound(r *mls.Reader) OutboundSubmission {
	return OutboundSubmission{
		Receipt: readHash(r, "receipt"), Kind: mimi.SubmissionKind(r.Uint8("kind")), Body: r.Opaque("body"),
	}
}

func readQueueSubmissions(r *mls.Reader) QueueSubmissions {
	return QueueSubmissions{Room: mimi.ReadRoomURI(r, "room"), Submissions: readList(r, "submissions", readOutbound)}
}

//	struct {
//	    uint16 slot;
//	    opaque hub<V>;
//	    SettledSubmission settled<V>;
//	} SettleSubmissions;
//
//	struct {
//	    uint64 number;
//	    Verdict verdict;
//	} SettledSubmission;
func (c SettleSubmissions) appendTo(w *mls.Writer) {
	w.Uint16(uint16(c.At))
	c.Hub.AppendTo(w)
	appendList(w, c.Settled, func(w *mls.Writer, s SettledSubmission) {
		w.Uint64(s.Number)
		s.Verdict.AppendTo(w)
	})
}

func readSettleSubmissions(r *mls.Reader) SettleSubmissions {
	return SettleSubmissions{
		At: SlotID(r.Uint16("slot")), Hub: mimi.ReadProvider(r, "hub"),
		Settled: readList(r, "settled", func(r *mls.Reader) SettledSubmission {
			return SettledSubmission{Number: r.Uint64("number"), Verdict: mimi.ReadVerdict(r)}
		}),
	}
}

// struct { SubmissionAnswer answers<V>; } SubmissionsQueued;
func (o SubmissionsQueued) appendTo(w *mls.Writer) {
	appendList(w, o.Answers, func(w *mls.Writer, a mimi.SubmissionAnswer) { a.AppendTo(w) })
}

func readSubmissionsQueued(r *mls.Reader) SubmissionsQueued {
	return SubmissionsQueued{readList(r, "answers", mimi.ReadSubmissionAnswer)}
}
