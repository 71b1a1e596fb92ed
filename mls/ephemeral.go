package mls

import "fmt"

// EphemeralCheck looks at what an AppEphemeral of a component carries. Its error makes the Commit invalid; its text goes to the
// committer.
type EphemeralCheck func(data []byte) error

// CheckEphemeral refuses an AppEphemeral of a component that is not known, and one that its component's logic refuses
// (mls-extensions, Attaching Application Data to a Commit). A known component that has no entry in Ephemerals may carry anything.
// The error is an *InvalidError.
func (in CommitInput) CheckEphemeral(p AppEphemeral) error {
	check, known := in.Ephemerals[p.Component]
	if p.Component == ComponentAppAck && !known {
		check, known = checkAppAck, true
	}
	switch {
	case !known && in.Components[p.Component] == nil:
		return invalidExtension("AppEphemeral", "component 0x%04x is not known", uint16(p.Component))
	case !known:
		return nil
	}
	if err := check(p.Data); err != nil {
		return invalidExtension("AppEphemeral", "component 0x%04x: %v", uint16(p.Component), err)
	}
	return nil
}

// AppAck acknowledges application messages of the present epoch (mls-extensions, AppAck). It travels in an AppEphemeral.
//
//	struct {
//	    MessageRange received_ranges<V>;
//	} AppAck;
type AppAck []MessageRange

// MessageRange are the messages of one sender whose generations are from First to Last, both included.
//
//	struct {
//	    uint32 sender;
//	    uint32 first_generation;
//	    uint32 last_generation;
//	} MessageRange;
type MessageRange struct {
	Sender      LeafIndex
	First, Last uint32
}

func ReadAppAck(r *Reader) AppAck { return ReadList(r, "received_ranges", ReadMessageRange) }

func ParseAppAck(b []byte) (AppAck, error) { return Parse("AppAck", b, ReadAppAck) }

func ReadMessageRange(r *Reader) MessageRange {
	m := MessageRange{Sender: LeafIndex(r.Uint32("sender")), First: r.Uint32("first_generation"), Last: r.Uint32("last_generation")}
	if !r.Failed() && m.Last < m.First {
		r.Fail("last_generation", fmt.Sprintf("generation %d is before the first, %d", m.Last, m.First))
	}
	return m
}

func (a AppAck) AppendTo(w *Writer) { AppendList(w, a) }

func (m MessageRange) AppendTo(w *Writer) {
	w.Uint32(uint32(m.Sender))
	w.Uint32(m.First)
	w.Uint32(m.Last)
}

func (a AppAck) Marshal() []byte { return marshal(a) }

func checkAppAck(data []byte) error {
	_, err := ParseAppAck(data)
	return err
}
