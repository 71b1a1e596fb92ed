package fsm

import (
	"slices"

	"parley/mimi"
	"parley/mls"
)

// QueuedSubmission is what waits to be brought to another hub.
type QueuedSubmission struct {
	Slot   SlotID
	Hub    mimi.Provider
	Number uint64 // per (Slot, Hub), rising, never given out twice
	Room   mimi.RoomURI
	Millis uint64 // hub time of its queueing
	OutboundSubmission
}

// QueuePosition sums a queue up. What it has given out as numbers is kept for ever.
type QueuePosition struct {
	Slot  SlotID // not encoded, it is in the key
	Hub   mimi.Provider
	Next  uint64 // the next number
	Items uint64 // that wait
	Bytes uint64 // of their bodies
}

//	struct {
//	    opaque hub<V>;
//	    uint64 next;
//	    uint64 items;
//	    uint64 bytes;
//	} QueuePosition;
func (p QueuePosition) appendTo(w *mls.Writer) {
	p.Hub.AppendTo(w)
	w.Uint64(p.Next)
	w.Uint64(p.Items)
	w.Uint64(p.Bytes)
}

func readQueuePosition(r *mls.Reader) QueuePosition {
	return QueuePosition{Hub: mimi.ReadProvider(r, "hub"), Next: r.Uint64("next"), Items: r.Uint64("items"), Bytes: r.Uint64("bytes")}
}

// queuedRecord is a submission that waits.
//
//	struct {
//	    uint64 until_millis;
//	    uint64 millis;
//	    opaque room<V>;
//	    OutboundSubmission submission;
//	} QueuedRecord;
type queuedRecord struct {
	until  uint64
	millis uint64
	room   mimi.RoomURI
	OutboundSubmission
}

func (q queuedRecord) appendTo(w *mls.Writer) {
	w.Uint64(q.until)
	w.Uint64(q.millis)
	q.room.AppendTo(w)
	appendOutbound(w, q.OutboundSubmission)
}

func readQueuedRecord(r *mls.Reader) queuedRecord {
	return queuedRecord{
		until: r.Uint64("until_millis"), millis: r.Uint64("millis"), room: mimi.ReadRoomURI(r, "room"), OutboundSubmission: readOutbound(r),
	}
}

// queuedAs says where a submission waits, or what became of it.
//
//	struct {
//	    uint64 until_millis; // 0 while it waits
//	    uint64 number;       // 0 once there is a verdict
//	    Verdict verdict;     // while it waits: what an earlier attempt came to, or expired
//	} QueuedAs;
type queuedAs struct {
	until   uint64
	number  uint64
	verdict mimi.Verdict
}

func (q queuedAs) appendTo(w *mls.Writer) {
	w.Uint64(q.until)
	w.Uint64(q.number)
	q.verdict.AppendTo(w)
}

func readQueuedAs(r *mls.Reader) queuedAs {
	return queuedAs{until: r.Uint64("until_millis"), number: r.Uint64("number"), verdict: mls.ReadIn(r, "verdict", mimi.ReadVerdict)}
}

func queuedAsKey(room mimi.RoomURI, receipt mimi.Receipt) key {
	return roomKey(keyQueuedAs, room).raw(receipt[:])
}

func queueItemKey(slot SlotID, hub mimi.Provider, number uint64) key {
	return newKey(slot, keyQueueItem).provider(hub).uint64(number)
}

func queueHeadKey(slot SlotID, hub mimi.Provider) key {
	return newKey(slot, keyQueueHead).provider(hub)
}

func (t *tx) queued(k key) (queuedRecord, bool) {
	return get(t, func(r Reader) (queuedRecord, bool, error) {
		return readRecord(r, k, "queued submission", readQueuedRecord)
	})
}

func (t *tx) queuedAs(room mimi.RoomURI, receipt mimi.Receipt) (queuedAs, bool) {
	return get(t, func(r Reader) (queuedAs, bool, error) { return readQueuedAsOf(r, room, receipt) })
}

func readQueuedAsOf(r Reader, room mimi.RoomURI, receipt mimi.Receipt) (queuedAs, bool, error) {
	return readRecord(r, queuedAsKey(room, receipt), "receipt of a submission", readQueuedAs)
}

func (t *tx) queuePosition(slot SlotID, hub mimi.Provider) QueuePosition {
	p, found := get(t, func(r Reader) (QueuePosition, bool, error) {
		return readRecord(r, queueHeadKey(slot, hub), "queue", readQueuePosition)
	})
	if !found {
		p = QueuePosition{Hub: hub, Next: 1}
	}
	p.Slot = slot
	return p
}

// setQueuePosition writes a position, and has it told with the entry's result.
func (t *tx) setQueuePosition(p QueuePosition) {
	t.set(queueHeadKey(p.Slot, p.Hub), record(p.appendTo))
	i := slices.IndexFunc(t.queues, func(q QueuePosition) bool { return q.Slot == p.Slot && q.Hub == p.Hub })
	if i < 0 {
		t.queues = append(t.queues, p)
		return
	}
	t.queues[i] = p
}

// ReadQueue visits what waits in a slot for a hub, in order. The submissions are the visitor's to keep.
func ReadQueue(r Reader, slot SlotID, hub mimi.Provider, visit func(QueuedSubmission) (more bool, err error)) error {
	prefix := newKey(slot, keyQueueItem).provider(hub)
	return scanRecords(r, prefix, "queued submission", readQueuedRecord, func(rest []byte, q queuedRecord) (bool, error) {
		return visit(QueuedSubmission{
			Slot: slot, Hub: hub, Number: numberOf(rest), Room: q.room, Millis: q.millis, OutboundSubmission: q.OutboundSubmission,
		})
	})
}

// QueuePositions visits the queues that a slot has ever had, empty ones included.
func QueuePositions(r Reader, slot SlotID, visit func(QueuePosition) (more bool, err error)) error {
	return scanRecords(r, newKey(slot, keyQueueHead), "queue", readQueuePosition, func(_ []byte, p QueuePosition) (bool, error) {
		p.Slot = slot
		return visit(p)
	})
}

// ReadQueued says what is known of a submission for a room of another provider: that it is queued, what became of it, or nothing.
func ReadQueued(r Reader, room mimi.RoomURI, receipt mimi.Receipt) (mimi.SubmissionAnswer, error) {
	as, found, err := readQueuedAsOf(r, room, receipt)
	switch {
	case err != nil:
		return mimi.SubmissionAnswer{}, err
	case !found:
		return mimi.SubmissionAnswer{State: mimi.SubmissionUnknown, Verdict: mimi.Verdict{Receipt: receipt}}, nil
	case as.number > 0:
		return mimi.SubmissionAnswer{State: mimi.SubmissionQueued, Verdict: mimi.Verdict{Receipt: receipt}}, nil
	default:
		return mimi.DecidedAnswer(as.verdict), nil
	}
}
