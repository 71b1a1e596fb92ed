package judge

import (
	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

const kindAcknowledgeEvents requestKind = 51

// AcknowledgeEvents says that a client has had events of one room.
type AcknowledgeEvents struct {
	asDecided
	command fsm.AcknowledgeEvents
}

// NewAcknowledgeEvents makes the request, which may be repeated: all events up to a position, where that is not 0, and those at single
// positions. It answers fsm.Acknowledged; fsm.NotAllowed, when part of it may have been done; or fsm.FormatNotReached.
func NewAcknowledgeEvents(room fsm.RoomHash, name fsm.MemberName, through uint64, positions []uint64) (*AcknowledgeEvents, error) {
	if _, err := mimi.ParseIdentityURI([]byte(name)); err != nil {
		return nil, err
	}
	return &AcknowledgeEvents{command: fsm.AcknowledgeEvents{Room: room, Name: name, Through: through, Positions: positions}}, nil
}

func (a *AcknowledgeEvents) Slot() fsm.SlotID                  { return a.command.Slot() }
func (a *AcknowledgeEvents) Judge(fsm.Reader) (Verdict, error) { return Propose{a.command}, nil }
func (*AcknowledgeEvents) kind() requestKind                   { return kindAcknowledgeEvents }

func (a *AcknowledgeEvents) appendArguments(w *mls.Writer) {
	w.Fixed(a.command.Room[:])
	w.Opaque([]byte(a.command.Name))
	w.Uint64(a.command.Through)
	w.Vector(func(w *mls.Writer) {
		for _, position := range a.command.Positions {
			w.Uint64(position)
		}
	})
}

func readAcknowledgeEvents(r *mls.Reader) (Request, error) {
	var room fsm.RoomHash
	copy(room[:], r.Fixed("room", len(room)))
	return constructed(NewAcknowledgeEvents(room, fsm.MemberName(r.Opaque("name")), r.Uint64("through"),
		mls.ReadList(r, "positions", func(r *mls.Reader) uint64 { return r.Uint64("") })))
}
