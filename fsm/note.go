package fsm

import (
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// Note is what the local provider alone is told with an item of its inbox, beside the item's FanoutMessages. The set is closed; numbers
// are append-only.
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
)

// WelcomeFor says whose KeyPackage a Welcome of the item names, so that it can be handed to the right device.
type WelcomeFor struct {
	Ref    mls.KeyPackageRef
	User   mimi.UserURI
	Client mimi.ClientURI // none where it is not known
}

// RoomWasDestroyed says that nothing comes of the item's room any more.
type RoomWasDestroyed struct{}

func (WelcomeFor) noteKind() NoteKind       { return NoteWelcomeFor }
func (RoomWasDestroyed) noteKind() NoteKind { return NoteRoomDestroyed }

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

// note adds to what the local provider is told of a room. From FormatExclusive on.
func (t *tx) note(room mimi.RoomURI, hub mimi.Provider, notes ...Note) {
	if t.format < FormatExclusive || len(notes) == 0 {
		return
	}
	body := t.body(outboxBodyName{SlotOfRoom(room), room, hub, t.settings.Domains[0]})
	body.notes = append(body.notes, notes...)
}
