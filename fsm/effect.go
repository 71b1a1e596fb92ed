package fsm

import (
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// Effect is what a decision in one slot has to change in another, which may be in another shard. The set is closed; numbers are
// append-only, and each belongs to a format, as commands do. An effect is a fact: the slot that it is for cannot refuse it.
type Effect interface {
	// Slot is the one that the effect is for.
	Slot() SlotID

	effectKind() EffectKind
	appendTo(w *mls.Writer)
}

// EffectKind is an effect's number where it is encoded.
type EffectKind uint16

const (
	EffectKeyPackagesConsumed EffectKind = 1
	EffectRoomJoined          EffectKind = 5
	EffectRoomLeft            EffectKind = 6
	EffectDeparted            EffectKind = 7
)

// KeyPackagesConsumed tells a user's slot that Welcomes have named KeyPackages of the user. They are reserved for nobody any more, and
// a claim that got one of them is not answered with it again.
type KeyPackagesConsumed struct {
	User mimi.UserURI
	Refs []mls.KeyPackageRef
}

// RoomJoined tells a user's slot of a room in whose list the user is from now on.
type RoomJoined struct {
	User mimi.UserURI
	Room mimi.RoomURI
}

// RoomLeft tells it of a room in whose list the user is no more.
type RoomLeft struct {
	User mimi.UserURI
	Room mimi.RoomURI
}

// Departed tells a room of a user that was deleted, or of a client that is lost.
type Departed struct {
	Room   mimi.RoomURI
	Who    Departing
	Millis uint64 // hub time at which it was told so
}

// consumedRefsMax bounds the references of one effect, so that any effect fits an entry.
const consumedRefsMax = 1000

func (e KeyPackagesConsumed) Slot() SlotID         { return SlotOfUser(e.User) }
func (KeyPackagesConsumed) effectKind() EffectKind { return EffectKeyPackagesConsumed }

func (e RoomJoined) Slot() SlotID         { return SlotOfUser(e.User) }
func (RoomJoined) effectKind() EffectKind { return EffectRoomJoined }

func (e RoomLeft) Slot() SlotID         { return SlotOfUser(e.User) }
func (RoomLeft) effectKind() EffectKind { return EffectRoomLeft }

func (e Departed) Slot() SlotID         { return SlotOfRoom(e.Room) }
func (Departed) effectKind() EffectKind { return EffectDeparted }

// formatOfEffect is the format from which on an effect may be brought to a slot.
func formatOfEffect(e Effect) Format {
	switch e.(type) {
	case KeyPackagesConsumed:
		return FormatQueues
	case WindowOpened, WindowsClosed, MemberLost, EndWindows, DependsOn, DependsNoMore, ParentParticipants:
		return FormatBulk
	default:
		return FormatExclusive
	}
}

const effectVersion = 1

// EncodeEffect writes an effect as it stands in a queue and travels to its slot.
//
//	struct {
//	    uint8 version = 1;
//	    uint16 kind; // EffectKind
//	    select (kind) { ... };
//	} Effect;
func EncodeEffect(e Effect) []byte {
	return encode(effectVersion, func(w *mls.Writer) { appendEffect(w, e) })
}

// DecodeEffect reads what EncodeEffect wrote; the effect aliases b. The error is a *mls.MalformedError.
func DecodeEffect(b []byte) (Effect, error) { return decode("Effect", b, readEffect) }

func appendEffect(w *mls.Writer, e Effect) {
	w.Uint16(uint16(e.effectKind()))
	e.appendTo(w)
}

func readEffect(r *mls.Reader) Effect {
	switch kind := EffectKind(r.Uint16("kind")); kind {
	case EffectKeyPackagesConsumed:
		return KeyPackagesConsumed{User: mimi.ReadUserURI(r, "user"), Refs: readTexts[mls.KeyPackageRef](r, "refs")}
	case EffectRoomJoined:
		return RoomJoined{User: mimi.ReadUserURI(r, "user"), Room: mimi.ReadRoomURI(r, "room")}
	case EffectRoomLeft:
		return RoomLeft{User: mimi.ReadUserURI(r, "user"), Room: mimi.ReadRoomURI(r, "room")}
	case EffectDeparted:
		return Departed{Room: mimi.ReadRoomURI(r, "room"), Who: readDeparting(r), Millis: r.Uint64("millis")}
	case EffectWindowOpened:
		return readWindowOpened(r)
	case EffectWindowsClosed:
		return WindowsClosed(readWindowOpened(r))
	case EffectMemberLost:
		return MemberLost{Name: readText[MemberName](r, "name")}
	case EffectEndWindows:
		return readEndWindows(r)
	case EffectDependsOn:
		return readDependsOn(r)
	case EffectDependsNoMore:
		return DependsNoMore(readDependsOn(r))
	case EffectParentParticipants:
		return readParentParticipants(r)
	default:
		r.Fail("kind", fmt.Sprintf("effect %d is not known to this program", kind))
		return nil
	}
}

//	struct {
//	    opaque user<V>;
//	    opaque refs<V><V>;
//	} KeyPackagesConsumed;
func (e KeyPackagesConsumed) appendTo(w *mls.Writer) {
	e.User.AppendTo(w)
	appendTexts(w, e.Refs)
}

//	struct {
//	    opaque user<V>;
//	    opaque room<V>;
//	} RoomJoined, RoomLeft;
func (e RoomJoined) appendTo(w *mls.Writer) {
	e.User.AppendTo(w)
	e.Room.AppendTo(w)
}

func (e RoomLeft) appendTo(w *mls.Writer) { RoomJoined(e).appendTo(w) }

//	struct {
//	    opaque room<V>;
//	    Departing who;
//	    uint64 millis;
//	} Departed;
func (e Departed) appendTo(w *mls.Writer) {
	e.Room.AppendTo(w)
	e.Who.appendTo(w)
	w.Uint64(e.Millis)
}

// take lets an effect happen, once.
func (t *tx) take(e Effect) {
	switch e := e.(type) {
	case KeyPackagesConsumed:
		t.consumeKeyPackages(e)
	case RoomJoined:
		t.takeJoined(e)
	case RoomLeft:
		t.takeLeft(e)
	case Departed:
		t.takeDeparted(e)
	case WindowOpened:
		t.takeOpened(e)
	case WindowsClosed:
		t.takeClosed(e)
	case MemberLost:
		t.takeLost(e)
	case EndWindows:
		t.endWindowsOf(e)
	case DependsOn:
		t.takeDependsOn(e)
	case DependsNoMore:
		t.takeDependsNoMore(e)
	case ParentParticipants:
		t.takeParentParticipants(e)
	default:
		panic(fmt.Sprintf("fsm: effect %d has a reader and no rule", e.effectKind()))
	}
}
