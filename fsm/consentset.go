package fsm

import (
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// consentEntriesMax bounds a user's entries: whoever is to be allowed in more rooms is granted any, and whoever allows more people
// has another policy.
const consentEntriesMax = 10_000

// SetConsents changes entries of a user's consent, in order; all or, where they would be too many, none.
type SetConsents struct {
	User    mimi.UserURI
	Entries []ConsentEntry // Millis is ignored
}

// SetConsentPolicy says who may claim from a user without an entry.
type SetConsentPolicy struct {
	User   mimi.UserURI
	Policy ConsentPolicy
}

func (c SetConsents) Slot() SlotID      { return SlotOfUser(c.User) }
func (c SetConsentPolicy) Slot() SlotID { return SlotOfUser(c.User) }

func (SetConsents) Lane() Lane      { return Exclusive }
func (SetConsentPolicy) Lane() Lane { return Exclusive }

func (SetConsents) kind() CommandKind      { return KindSetConsents }
func (SetConsentPolicy) kind() CommandKind { return KindSetConsentPolicy }

//	struct {
//	    opaque user<V>;
//	    ConsentEntry entries<V>;
//	} SetConsents;
func (c SetConsents) appendTo(w *mls.Writer) {
	c.User.AppendTo(w)
	appendList(w, c.Entries, func(w *mls.Writer, e ConsentEntry) { e.appendTo(w) })
}

func readSetConsents(r *mls.Reader) SetConsents {
	return SetConsents{User: mimi.ReadUserURI(r, "user"), Entries: readList(r, "entries", readConsentEntry)}
}

//	struct {
//	    opaque user<V>;
//	    uint8 policy;
//	} SetConsentPolicy;
func (c SetConsentPolicy) appendTo(w *mls.Writer) {
	c.User.AppendTo(w)
	w.Uint8(uint8(c.Policy))
}

func readSetConsentPolicy(r *mls.Reader) SetConsentPolicy {
	return SetConsentPolicy{User: mimi.ReadUserURI(r, "user"), Policy: readConsentPolicy(r, "policy")}
}

// setConsents writes the entries. The user need not be known yet: consent may be settled before the first KeyPackage is there.
func (t *tx) setConsents(c SetConsents) Outcome {
	head, err := readConsentHeadOf(t.store, c.User)
	t.check(err)
	if uint64(head.entries)+uint64(t.newConsents(c)) > consentEntriesMax {
		return NotAllowed{Reason: fmt.Sprintf("a user has at most %d consent entries; forget some, or use one for any room", consentEntriesMax)}
	}
	for _, e := range c.Entries {
		k := consentKey(c.User, e.Requester, e.Room)
		if e.Room.IsZero() && e.Consent == ConsentRevoked {
			head.entries -= t.clearRoomConsents(c.User, e.Requester)
		}
		was, found := get(t, func(r Reader) (ConsentEntry, bool, error) { return readConsentAt(r, k) })
		switch {
		case e.Consent == ConsentForgotten && found:
			t.delete(k)
			head.entries--
		case e.Consent == ConsentForgotten, found && was.Consent == e.Consent:
		default:
			if !found {
				head.entries++
			}
			e.Millis = t.now
			t.set(k, record(e.appendTo))
		}
	}
	t.setConsentHead(c.User, head)
	return Done{}
}

// newConsents counts the entries of a command that are not there yet, as if it removed none.
func (t *tx) newConsents(c SetConsents) (n int) {
	counted := make(map[string]bool)
	for _, e := range c.Entries {
		k := consentKey(c.User, e.Requester, e.Room)
		if e.Consent != ConsentForgotten && !counted[string(k)] && !t.has(k) {
			counted[string(k)] = true
			n++
		}
	}
	return n
}

// clearRoomConsents removes a requester's entries for rooms, and says how many there were.
func (t *tx) clearRoomConsents(user, requester mimi.UserURI) (cleared uint32) {
	anyRoom := consentsOf(user, requester)
	rooms := key(successor(anyRoom))
	t.check(t.store.Scan(rooms, anyRoom.end(), func(_, _ []byte) (bool, error) {
		cleared++
		return true, nil
	}))
	if cleared > 0 {
		t.deleteRange(rooms, anyRoom.end())
	}
	return cleared
}

func (t *tx) setConsentPolicy(c SetConsentPolicy) Outcome {
	head, err := readConsentHeadOf(t.store, c.User)
	t.check(err)
	head.policy = c.Policy
	t.setConsentHead(c.User, head)
	return Done{}
}

func (t *tx) setConsentHead(user mimi.UserURI, head consentHead) {
	if head == (consentHead{}) {
		t.delete(consentHeadKey(user))
		return
	}
	t.set(consentHeadKey(user), record(head.appendTo))
}
