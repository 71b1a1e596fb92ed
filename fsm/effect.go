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

const EffectKeyPackagesConsumed EffectKind = 1

// KeyPackagesConsumed tells a user's slot that Welcomes have named KeyPackages of the user. They are reserved for nobody any more, and
// a claim that got one of them is not answered with it again.
type KeyPackagesConsumed struct {
	User mimi.UserURI
	Refs []mls.KeyPackageRef
}

// consumedRefsMax bounds the references of one effect, so that any effect fits an entry.
const consumedRefsMax = 1000

func (e KeyPackagesConsumed) Slot() SlotID         { return SlotOfUser(e.User) }
func (KeyPackagesConsumed) effectKind() EffectKind { return EffectKeyPackagesConsumed }

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

// take lets an effect happen, once.
func (t *tx) take(e Effect) {
	switch e := e.(type) {
	case KeyPackagesConsumed:
		t.consumeKeyPackages(e)
	default:
		panic(fmt.Sprintf("fsm: effect %d has a reader and no rule", e.effectKind()))
	}
}
