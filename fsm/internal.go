package fsm

import (
	"encoding/binary"
	"slices"

	"parley/mls"
)

// What an entry has to change in another slot stands, from that same entry on, in the internal queue of (source slot, destination
// slot), numbered from 1 without gaps; in a later generation from above all that were before. The source shard's leader carries it over as ReceiveInternal, and when the destination has it,
// drops it with DropInternal. The destination counts what it has taken from each source, so that each effect happens once and in
// order, whatever comes twice, late or out of turn. Queues and counts are of their slots and move with them; they last for ever,
// since a count that were forgotten would let an old effect happen again.

// InternalItem is an effect on its way.
type InternalItem struct {
	From, To SlotID
	Sequence uint64
	Effect   Effect
}

// InternalQueue sums up what is on its way from one slot to another.
type InternalQueue struct {
	From, To SlotID
	Next     uint64 // the sequence of the next effect
	Waiting  uint64 // effects that have not been dropped
}

//	struct {
//	    uint64 next;
//	    uint64 waiting;
//	} InternalQueue;
func (q InternalQueue) appendTo(w *mls.Writer) {
	w.Uint64(q.Next)
	w.Uint64(q.Waiting)
}

func readInternalQueue(r *mls.Reader) InternalQueue {
	return InternalQueue{Next: r.Uint64("next"), Waiting: r.Uint64("waiting")}
}

// InternalQueues visits the queues that a slot has ever had to other slots, empty ones included.
func InternalQueues(r Reader, from SlotID, visit func(InternalQueue) (more bool, err error)) error {
	return scanRecords(r, newKey(from, keyInternalQueue), "internal queue", readInternalQueue, func(rest []byte, q InternalQueue) (bool, error) {
		q.From, q.To = from, SlotID(binary.BigEndian.Uint16(rest))
		return visit(q)
	})
}

// ReadInternal visits what waits in a queue, in order.
func ReadInternal(r Reader, from, to SlotID, visit func(InternalItem) (more bool, err error)) error {
	prefix := newKey(from, keyInternalItem).uint16(uint16(to))
	return scanRecords(r, prefix, "effect", readEffect, func(rest []byte, e Effect) (bool, error) {
		return visit(InternalItem{From: from, To: to, Sequence: numberOf(rest), Effect: e})
	})
}

// ReadReceived returns the sequence of the effect that a slot awaits next from another: all before it have happened.
func ReadReceived(r Reader, at, from SlotID) (next uint64, err error) {
	next, found, err := readRecord(r, receivedKey(at, from), "count of effects", func(r *mls.Reader) uint64 { return r.Uint64("next") })
	if !found {
		next = 1
	}
	return next, err
}

func receivedKey(at, from SlotID) key { return newKey(at, keyReceived).uint16(uint16(from)) }

func internalQueueKey(from, to SlotID) key { return newKey(from, keyInternalQueue).uint16(uint16(to)) }

func internalItemKey(from, to SlotID, sequence uint64) key {
	return newKey(from, keyInternalItem).uint16(uint16(to)).uint64(sequence)
}

func (t *tx) internalQueue(from, to SlotID) InternalQueue {
	q, found := get(t, func(r Reader) (InternalQueue, bool, error) {
		return readRecord(r, internalQueueKey(from, to), "internal queue", readInternalQueue)
	})
	if !found {
		q.Next = 1
	}
	return q
}

// post puts an effect into the queue of a slot that this entry changes. It is a queue also where both slots are one, or of one shard.
func (t *tx) post(from SlotID, e Effect) {
	to := e.Slot()
	q := t.internalQueue(from, to)
	q.Next = max(q.Next, t.slotGeneration(from).generation.sequences()+1)
	t.set(internalItemKey(from, to, q.Next), record(func(w *mls.Writer) { appendEffect(w, e) }))
	q.Next++
	q.Waiting++
	t.set(internalQueueKey(from, to), record(q.appendTo))
	if !slices.Contains(t.posted, from) {
		t.posted = append(t.posted, from)
	}
}

// receiveInternal lets effects happen that have not, as far as they follow on those that have.
func (t *tx) receiveInternal(c ReceiveInternal) Outcome {
	if c.From >= SlotCount {
		return NotAllowed{Reason: "the effects come from no slot"}
	}
	for _, e := range c.Effects {
		if e.Slot() != c.At {
			return NotAllowed{Reason: "an effect is for another slot"}
		}
	}
	next, err := ReadReceived(t.store, c.At, c.From)
	t.check(err)
	before := next
	generation := t.slotGeneration(c.At).generation
	for i, e := range c.Effects {
		if sequence := c.First + uint64(i); follows(sequence, next, generation) {
			t.take(e)
			next = sequence + 1
		}
	}
	if next != before {
		t.set(receivedKey(c.At, c.From), record(func(w *mls.Writer) { w.Uint64(next) }))
	}
	return Received{Next: next}
}

// follows says whether an effect is the one that a slot awaits. Source and destination may have been brought back from different moments, so of
// the effects from before the slot's generation some may be lost, and whatever comes behind them is taken; those that it had taken it knows. The
// first one of the generation comes behind all that is left from before.
func follows(sequence, awaited uint64, generation Generation) bool {
	first := generation.sequences() + 1
	return sequence == awaited || sequence > awaited && (sequence < first || sequence == first)
}

// dropInternal removes what the destination has taken.
func (t *tx) dropInternal(c DropInternal) Outcome {
	q := t.internalQueue(c.At, c.To)
	dropped := uint64(0)
	t.check(t.store.Scan(internalItemKey(c.At, c.To, 0), internalItemKey(c.At, c.To, c.Next), func(_, _ []byte) (bool, error) {
		dropped++
		return true, nil
	}))
	if dropped > 0 {
		t.deleteRange(internalItemKey(c.At, c.To, 0), internalItemKey(c.At, c.To, c.Next))
		q.Waiting -= dropped
		t.set(internalQueueKey(c.At, c.To), record(q.appendTo))
	}
	return Done{}
}
