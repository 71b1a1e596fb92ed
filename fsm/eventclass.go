package fsm

import (
	"fmt"
	"strings"

	"parley/mimi"
	"parley/mls"
)

// EventClass is what a reader of an inbox can tell events apart by, before it asks for them. Several together are a set. Numbers are
// append-only: they stand in cursors.
type EventClass uint8

const (
	ClassCommit EventClass = 1 << iota
	ClassProposal
	ClassWelcome
	ClassApplication
	ClassNotice  // what is told beside the FanoutMessages: of policy, voice, verdicts, the end of a room, a gap
	ClassConsent // of consent between users; nothing makes such events yet

	// AllClasses is every class there is.
	AllClasses = ClassCommit | ClassProposal | ClassWelcome | ClassApplication | ClassNotice | ClassConsent
)

var eventClassNames = []struct {
	class EventClass
	name  string
}{
	{ClassCommit, "commit"}, {ClassProposal, "proposal"}, {ClassWelcome, "welcome"}, {ClassApplication, "application"},
	{ClassNotice, "notice"}, {ClassConsent, "consent"},
}

// String lists the set's names.
func (c EventClass) String() string {
	var names []string
	for _, known := range eventClassNames {
		if c&known.class != 0 {
			names = append(names, known.name)
		}
	}
	return strings.Join(names, ",")
}

// ParseEventClasses reads what String wrote; the empty text is every class.
func ParseEventClasses(text string) (EventClass, error) {
	if text == "" {
		return AllClasses, nil
	}
	var set EventClass
	for name := range strings.SplitSeq(text, ",") {
		class := EventClass(0)
		for _, known := range eventClassNames {
			if known.name == name {
				class = known.class
			}
		}
		if class == 0 {
			return 0, &mls.MalformedError{Field: "classes", Reason: fmt.Sprintf("%q is none of %s", name, AllClasses)}
		}
		set |= class
	}
	return set, nil
}

// ClassOf is the class of a FanoutMessage.
func ClassOf(e mimi.FanoutEvent) EventClass {
	switch e.(type) {
	case mimi.FanoutCommit:
		return ClassCommit
	case mimi.FanoutProposals:
		return ClassProposal
	case mimi.FanoutWelcome:
		return ClassWelcome
	default:
		return ClassApplication
	}
}

// Classes are those of all that an item brings. The error is a fault of the state: what stands there was read before it was let in.
func (o OutboxItem) Classes() (set EventClass, err error) {
	for _, note := range o.Notes {
		if _, beside := note.(WelcomeFor); !beside {
			set |= ClassNotice
		}
	}
	if len(o.Body) == 0 {
		return set, nil
	}
	messages, err := mimi.ParseFanout(o.Body)
	if err != nil {
		return 0, fmt.Errorf("the state is damaged: outbox item %d of slot %d: %v", o.Sequence, o.Slot, err)
	}
	for _, m := range messages {
		set |= ClassOf(m.Event)
	}
	return set, nil
}
