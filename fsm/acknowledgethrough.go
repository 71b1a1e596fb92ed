package fsm

import (
	"parley/mimi"
	"parley/mls"
)

const (
	KindAcknowledgeThrough CommandKind = 60

	OutcomeAcknowledged OutcomeKind = 60
)

// AcknowledgedAtOnce bounds the items that one command acknowledges without naming them.
const AcknowledgedAtOnce = 1000

// AcknowledgeThrough records that a destination has taken all items of one slot up to a sequence. The first AcknowledgedAtOnce of them
// go; where more are left the outcome says so, and the command is to be given again. From FormatBulk on.
type AcknowledgeThrough struct {
	At          SlotID
	Destination mimi.Provider
	Through     uint64
}

// Acknowledged says how many items do not wait any more, and whether some of those that were named still do.
type Acknowledged struct {
	Items uint32
	More  bool
}

func (c AcknowledgeThrough) Slot() SlotID     { return c.At }
func (AcknowledgeThrough) Lane() Lane         { return Bulk }
func (AcknowledgeThrough) kind() CommandKind  { return KindAcknowledgeThrough }
func (Acknowledged) outcomeKind() OutcomeKind { return OutcomeAcknowledged }

// acknowledgeThrough looks for what waits at this place in the log, so that no reader has to know it.
func (t *tx) acknowledgeThrough(c AcknowledgeThrough) Outcome {
	destination := t.destination(c.Destination)
	found := Acknowledge{At: c.At, Destination: destination}
	more := false
	t.check(ReadOutbox(t.store, c.At, destination, 0, func(item OutboxItem) (bool, error) {
		if item.Sequence > c.Through {
			return false, nil
		}
		more = len(found.Sequences) == AcknowledgedAtOnce
		if !more {
			found.Sequences = append(found.Sequences, item.Sequence)
		}
		return !more, nil
	}))
	if len(found.Sequences) > 0 {
		t.acknowledge(found)
	}
	return Acknowledged{Items: uint32(len(found.Sequences)), More: more}
}

//	struct {
//	    uint16 at;
//	    opaque destination<V>;
//	    uint64 through;
//	} AcknowledgeThrough;
func (c AcknowledgeThrough) appendTo(w *mls.Writer) {
	w.Uint16(uint16(c.At))
	c.Destination.AppendTo(w)
	w.Uint64(c.Through)
}

func readAcknowledgeThrough(r *mls.Reader) AcknowledgeThrough {
	return AcknowledgeThrough{At: SlotID(r.Uint16("at")), Destination: mimi.ReadProvider(r, "destination"), Through: r.Uint64("through")}
}

//	struct {
//	    uint32 items;
//	    uint8 more; // 0 or 1
//	} Acknowledged;
func (o Acknowledged) appendTo(w *mls.Writer) {
	w.Uint32(o.Items)
	w.Bool(o.More)
}

func readAcknowledged(r *mls.Reader) Acknowledged {
	return Acknowledged{Items: r.Uint32("items"), More: r.Bool("more")}
}
