package fsm

import (
	"slices"

	"parley/mimi"
	"parley/mls"
)

// RejectionsMax bounds the recorded verdicts of one room on what one provider submitted. What is rejected beyond it is neither recorded
// nor told: the answer alone says so, and what comes again is decided again.
const RejectionsMax = 10_000

// RecordVerdicts records what was decided on submissions otherwise than by SubmitBatch, and tells it: that a Proposal was refused when it was judged, or that something
// was given up. It may be repeated. From FormatBulk on.
type RecordVerdicts struct {
	Room     mimi.RoomURI
	Provider mimi.Provider // who submitted
	Verdicts []mimi.Verdict
	Tell     bool // acceptances are told as well, and rejections also where they cannot be recorded
}

func (c RecordVerdicts) Slot() SlotID    { return SlotOfRoom(c.Room) }
func (RecordVerdicts) Lane() Lane        { return Bulk }
func (RecordVerdicts) kind() CommandKind { return KindRecordVerdicts }

// SubmissionsRead are the verdicts that are known of submissions that were asked for, in that order. Of the others there is no record.
type SubmissionsRead struct{ Verdicts []mimi.Verdict }

func (SubmissionsRead) outcomeKind() OutcomeKind { return OutcomeSubmissionsRead }

// rejection is the recorded verdict on a submission; it may be an acceptance too, of Proposals.
//
//	struct {
//	    uint64 until_millis;
//	    opaque provider<V>;
//	    opaque sender<V>; // of a message; empty for Proposals
//	    Verdict verdict;
//	} Rejection;
type rejection struct {
	until    uint64
	provider mimi.Provider
	sender   mimi.UserURI
	verdict  mimi.Verdict
}

func (v rejection) appendTo(w *mls.Writer) {
	w.Uint64(v.until)
	v.provider.AppendTo(w)
	v.sender.AppendTo(w)
	v.verdict.AppendTo(w)
}

func readRejection(r *mls.Reader) rejection {
	return rejection{
		until: r.Uint64("until_millis"), provider: mimi.ReadProvider(r, "provider"), sender: mimi.ReadOptionalUserURI(r, "sender"),
		verdict: mls.ReadIn(r, "verdict", mimi.ReadVerdict),
	}
}

// rejectionsOf begins the keys of the verdicts on one submission of one provider.
func rejectionsOf(room mimi.RoomURI, receipt mimi.Receipt, provider mimi.Provider) key {
	return roomKey(keyRejection, room).raw(receipt[:]).provider(provider)
}

// rejectionKey tells senders apart: what is refused to one says nothing of another.
func rejectionKey(room mimi.RoomURI, receipt mimi.Receipt, provider mimi.Provider, sender mimi.UserURI) key {
	k := rejectionsOf(room, receipt, provider)
	if sender.IsZero() {
		return k
	}
	return k.user(sender)
}

func (t *tx) rejectionAt(k key) (rejection, bool) {
	return get(t, func(r Reader) (rejection, bool, error) { return readRecord(r, k, "rejection", readRejection) })
}

// reject records a verdict and tells it. The same verdict again changes nothing.
func (t *tx) reject(room mimi.RoomURI, v rejection, always bool) {
	k := rejectionKey(room, v.verdict.Receipt, v.provider, v.sender)
	before, known := t.rejectionAt(k)
	if known && before.verdict.Code == v.verdict.Code {
		return
	}
	recorded := known || t.countRejections(roomKey(keyRejections, room), v.provider, 1)
	if recorded {
		v.until = addUpTo(t.now, t.settings.Bulk.receipts())
		t.set(k, record(v.appendTo))
		t.expireAt(k, v.until)
	}
	if always || recorded && (known || v.verdict.Code != mimi.VerdictAccepted) {
		t.tell(room, v.provider, v.verdict)
	}
}

// recordVerdicts records and tells what was decided elsewhere.
func (t *tx) recordVerdicts(c RecordVerdicts) Outcome {
	if _, found := t.head(c.Room); !found {
		if c.Tell {
			for _, verdict := range c.Verdicts {
				t.tell(c.Room, c.Provider, verdict)
			}
		}
		return NoSuchRoom{}
	}
	for _, verdict := range c.Verdicts {
		t.reject(c.Room, rejection{provider: c.Provider, verdict: verdict}, c.Tell)
	}
	return Done{}
}

// expireRejection forgets a verdict whose time has come.
func (t *tx) expireRejection(target key) {
	v, found := t.rejectionAt(target)
	if !found || v.until > t.now {
		return
	}
	t.delete(target)
	t.countRejections(append(key{target[0], target[1], byte(keyRejections)}, target[keyPrefixBytes:keyPrefixBytes+hashBytes]...), v.provider, -1)
}

// rejectionCounts is how many verdicts are recorded at a room, by provider. Providers stand in the order in which they came in.
//
//	struct { RejectionCount counts<V>; } RejectionCounts;
//
//	struct {
//	    opaque provider<V>;
//	    uint32 count;
//	} RejectionCount;
type rejectionCounts []rejectionCount

type rejectionCount struct {
	provider mimi.Provider
	count    uint32
}

func (c rejectionCounts) appendTo(w *mls.Writer) {
	appendList(w, c, func(w *mls.Writer, c rejectionCount) {
		c.provider.AppendTo(w)
		w.Uint32(c.count)
	})
}

func readRejectionCounts(r *mls.Reader) rejectionCounts {
	return readList(r, "counts", func(r *mls.Reader) rejectionCount {
		return rejectionCount{provider: mimi.ReadProvider(r, "provider"), count: r.Uint32("count")}
	})
}

// countRejections counts a verdict more or less at a room, by the key of its counts; false where the provider has no room for one more.
func (t *tx) countRejections(k key, provider mimi.Provider, change int) bool {
	counts, _ := get(t, func(r Reader) (rejectionCounts, bool, error) {
		return readRecord(r, k, "rejections", readRejectionCounts)
	})
	i := slices.IndexFunc(counts, func(c rejectionCount) bool { return c.provider == provider })
	if i < 0 && change < 0 {
		panic("fsm: a verdict was recorded and not counted")
	}
	if i < 0 {
		i, counts = len(counts), append(counts, rejectionCount{provider: provider})
	}
	if change > 0 && counts[i].count >= RejectionsMax {
		return false
	}
	counts[i].count = uint32(int(counts[i].count) + change)
	if counts[i].count == 0 {
		counts = slices.Delete(counts, i, i+1)
	}
	if len(counts) == 0 {
		t.delete(k)
	} else {
		t.set(k, record(counts.appendTo))
	}
	return true
}

// rejectsAny reports whether a verdict is recorded at the room at all. From FormatBulk on; before there is none.
func (t *tx) rejectsAny(room mimi.RoomURI) bool {
	return t.format >= FormatBulk && t.has(roomKey(keyRejections, room))
}

// ReadSubmission returns the verdict that is known of what one of some providers submitted; false where there is no record: it was never
// decided, or that was too long ago. Accepted messages are known as long as their epoch is in the room's window, all else for the
// settings' ReceiptMillis.
func ReadSubmission(r Reader, room mimi.RoomURI, receipt mimi.Receipt, of []mimi.Provider) (mimi.Verdict, bool, error) {
	head, oldest, found, err := readWindow(r, room)
	if err != nil || !found {
		return mimi.Verdict{}, false, err
	}
	for epoch := head.epoch + 1; epoch > oldest; epoch-- {
		known, found, err := readMessageAt(r, messageKey(room, head.groupID, epoch-1, receipt))
		if err != nil || found && slices.Contains(of, known.sender.Provider()) {
			return known.verdict(receipt), found, err
		}
	}
	for _, provider := range of {
		var rejected rejection
		prefix, found := rejectionsOf(room, receipt, provider), false
		err := scanRecords(r, prefix, "rejection", readRejection, func(_ []byte, v rejection) (more bool, _ error) {
			rejected, found = v, true
			return false, nil
		})
		if err != nil || found {
			return rejected.verdict, found, err
		}
	}
	return mimi.Verdict{}, false, nil
}

// readWindow returns a room's head and the oldest epoch of which messages are taken, and known.
func readWindow(r Reader, room mimi.RoomURI) (head roomHead, oldest mls.Epoch, found bool, err error) {
	if head, found, err = readHead(r, room); err != nil || !found {
		return head, 0, false, err
	}
	settings, _, err := ReadSettings(r)
	if err != nil {
		return head, 0, false, err
	}
	rules, err := ReadRoomRules(r, room)
	return head, max(head.floor, since(head.epoch, epochWindow(settings, rules))), true, err
}

//	struct {
//	    opaque room<V>;
//	    opaque provider<V>;
//	    Verdict verdicts<V>;
//	    uint8 tell; // 0 or 1
//	} RecordVerdicts;
func (c RecordVerdicts) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	c.Provider.AppendTo(w)
	appendVerdicts(w, c.Verdicts)
	w.Bool(c.Tell)
}

func readRecordVerdicts(r *mls.Reader) RecordVerdicts {
	return RecordVerdicts{
		Room: mimi.ReadRoomURI(r, "room"), Provider: mimi.ReadProvider(r, "provider"), Verdicts: readList(r, "verdicts", mimi.ReadVerdict),
		Tell: r.Bool("tell"),
	}
}

// struct { Verdict verdicts<V>; } SubmissionsRead;
func (o SubmissionsRead) appendTo(w *mls.Writer) { appendVerdicts(w, o.Verdicts) }

func readSubmissionsRead(r *mls.Reader) SubmissionsRead {
	return SubmissionsRead{readList(r, "verdicts", mimi.ReadVerdict)}
}

func appendVerdicts(w *mls.Writer, verdicts []mimi.Verdict) {
	appendList(w, verdicts, func(w *mls.Writer, v mimi.Verdict) { v.AppendTo(w) })
}
