package judge

import (
	"fmt"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

const kindAcknowledgeThrough requestKind = 50

// AcknowledgeThrough says that a destination has taken all outbox items of a slot up to one.
type AcknowledgeThrough struct {
	asDecided
	command fsm.AcknowledgeThrough
}

// NewAcknowledgeThrough makes the request, which may be repeated. It answers fsm.Acknowledged, or fsm.FormatNotReached.
func NewAcknowledgeThrough(slot fsm.SlotID, destination mimi.Provider, through uint64) (*AcknowledgeThrough, error) {
	if slot >= fsm.SlotCount {
		return nil, &mls.MalformedError{Field: "slot", Reason: fmt.Sprintf("slot %d is not below %d", slot, fsm.SlotCount)}
	}
	return &AcknowledgeThrough{command: fsm.AcknowledgeThrough{At: slot, Destination: destination, Through: through}}, nil
}

func (a *AcknowledgeThrough) Slot() fsm.SlotID                  { return a.command.At }
func (a *AcknowledgeThrough) Judge(fsm.Reader) (Verdict, error) { return Propose{a.command}, nil }
func (*AcknowledgeThrough) kind() requestKind                   { return kindAcknowledgeThrough }

func (a *AcknowledgeThrough) appendArguments(w *mls.Writer) {
	w.Uint16(uint16(a.command.At))
	appendURIs(w, a.command.Destination)
	w.Uint64(a.command.Through)
}

func readAcknowledgeThrough(r *mls.Reader) (Request, error) {
	return constructed(NewAcknowledgeThrough(fsm.SlotID(r.Uint16("slot")), readURI(r, "destination", mimi.ParseProvider), r.Uint64("through")))
}
