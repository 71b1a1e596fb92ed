package fsm

import (
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// Note is what goes with an item of an outbox beside its FanoutMessages. The local provider is told all of them; another provider only a
// Noticed, and only where it takes bodies in bulk. The set is closed; numbers are append-only.
type Note interface {
	noteKind() NoteKind
	appendTo(w *mls.Writer)
}

// NoteKind is a note's number where it is encoded.
type NoteKind uint16

const (
	NoteWelcomeFor     NoteKind = 1
	NoteRoomDestroyed  NoteKind = 2
	NoteKeyPackagesLow NoteKind = 3
	NoteNoticed        NoteKind = 4
)

// WelcomeFor says whose KeyPackage a Welcome of the item names, so that it can be handed to the right device.
type WelcomeFor struct {
	Ref    mls.KeyPackageRef
	User   mimi.UserURI
	Client mimi.ClientURI // none where it is not known
}

// RoomWasDestroyed says that nothing comes of the item's room any more.
type RoomWasDestroyed struct{}

// Noticed is a notice to a provider, the local one or another. From FormatBulk on.
type Noticed struct{ Notice mimi.Notice }

func (WelcomeFor) noteKind() NoteKind       { return NoteWelcomeFor }
func (RoomWasDestroyed) noteKind() NoteKind { return NoteRoomDestroyed }
func (Noticed) noteKind() NoteKind          { return NoteNoticed }

//	struct {
//	    uint16 kind; // NoteKind
//	    select (kind) { ... };
//	} Note;
func appendNote(w *mls.Writer, n Note) {
	w.Uint16(uint16(n.noteKind()))
	n.appendTo(w)
}

func readNote(r *mls.Reader) Note {
	switch kind := NoteKind(r.Uint16("kind")); kind {
	case NoteWelcomeFor:
		return WelcomeFor{
			Ref: readText[mls.KeyPackageRef](r, "ref"), User: mimi.ReadUserURI(r, "user"), Client: mimi.ReadOptionalClientURI(r, "client"),
		}
	case NoteRoomDestroyed:
		return RoomWasDestroyed{}
	case NoteKeyPackagesLow:
		return readKeyPackagesLow(r)
	case NoteRoomIsStale:
		return RoomIsStale{Generation: Generation(r.Uint64("generation")), Epoch: mls.Epoch(r.Uint64("epoch"))}
	case NoteRoomForwarded:
		return RoomForwarded{Epoch: mls.Epoch(r.Uint64("epoch"))}
	case NoteNoticed:
		return Noticed{mls.ReadIn(r, "notice", mimi.ReadNotice)}
	default:
		r.Fail("kind", fmt.Sprintf("note %d is not known to this program", kind))
		return nil
	}
}

//	struct {
//	    opaque ref<V>;
//	    opaque user<V>;
//	    opaque client<V>; // empty: not known
//	} WelcomeFor;
func (n WelcomeFor) appendTo(w *mls.Writer) {
	appendText(w, n.Ref)
	n.User.AppendTo(w)
	n.Client.AppendTo(w)
}

func (RoomWasDestroyed) appendTo(*mls.Writer) {}

// struct { Notice notice; } Noticed;
func (n Noticed) appendTo(w *mls.Writer) { mimi.AppendNotice(w, n.Notice) }

// note adds to what the local provider is told of a room. From FormatExclusive on.
func (t *tx) note(room mimi.RoomURI, hub mimi.Provider, notes ...Note) {
	if t.format < FormatExclusive || len(notes) == 0 {
		return
	}
	body := t.body(outboxBodyName{SlotOfRoom(room), room, hub, t.settings.Domains[0]})
	body.notes = append(body.notes, notes...)
	t.notesToClients(room, hub, notes)
}

// tell adds notices to what a destination gets of a room that is owned here, in the order in which they come up among its messages.
// From FormatBulk on; in a shard of an older format nobody is told.
func (t *tx) tell(room mimi.RoomURI, destination mimi.Provider, notices ...mimi.Notice) {
	if t.format < FormatBulk || len(notices) == 0 {
		return
	}
	body := t.body(outboxBodyName{SlotOfRoom(room), room, t.settings.Domains[0], t.destination(destination)})
	notes := make([]Note, len(notices))
	for i, n := range notices {
		notes[i] = Noticed{n}
	}
	body.notes = append(body.notes, notes...)
	if t.isLocal(destination) {
		t.notesToClients(room, t.settings.Domains[0], notes)
	}
}
