package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// ConsentsRead is a page of a user's consent. It is read from a replica, never stored.
type ConsentsRead struct {
	User     mimi.UserURI
	Policy   ConsentPolicy  // the user's own
	InForce  ConsentPolicy  // what it comes to with the cluster's
	Count    uint32         // of all the user's entries
	Entries  []ConsentEntry // a requester's one behind the other, the one for any room first
	Continue []byte         // where the next page begins; empty behind the last
}

func (ConsentsRead) outcomeKind() OutcomeKind { return OutcomeConsentsRead }

//	struct {
//	    opaque user<V>;
//	    uint8 policy;
//	    uint8 in_force;
//	    uint32 count;
//	    ConsentEntry entries<V>;
//	    opaque continue<V>;
//	} ConsentsRead;
func (o ConsentsRead) appendTo(w *mls.Writer) {
	o.User.AppendTo(w)
	w.Uint8(uint8(o.Policy))
	w.Uint8(uint8(o.InForce))
	w.Uint32(o.Count)
	appendList(w, o.Entries, func(w *mls.Writer, e ConsentEntry) { e.appendTo(w) })
	w.Opaque(o.Continue)
}

func readConsentsRead(r *mls.Reader) ConsentsRead {
	return ConsentsRead{
		User:     mimi.ReadUserURI(r, "user"),
		Policy:   readConsentPolicy(r, "policy"),
		InForce:  readConsentPolicy(r, "in_force"),
		Count:    r.Uint32("count"),
		Entries:  readList(r, "entries", readConsentEntry),
		Continue: r.Opaque("continue"),
	}
}

// ReadConsents returns at most max of a user's entries, of one requester or of all, from where an earlier page continues.
func ReadConsents(r Reader, user, requester mimi.UserURI, from []byte, max int) (ConsentsRead, error) {
	head, err := readConsentHeadOf(r, user)
	if err != nil {
		return ConsentsRead{}, err
	}
	settings, _, err := ReadSettings(r)
	if err != nil {
		return ConsentsRead{}, err
	}
	page := ConsentsRead{User: user, Policy: head.policy, InForce: head.policyInForce(settings), Count: head.entries}
	prefix := userKey(keyConsent, user)
	lower, upper := prefix, prefix.end()
	if !requester.IsZero() {
		lower = consentsOf(user, requester)
		upper = lower.end()
	}
	if begin := prefix.raw(from); len(from) > 0 && string(begin) > string(lower) {
		lower = begin
	}
	if string(lower) >= string(upper) {
		return page, nil // from is of another requester, behind this one
	}
	err = scanRange(r, prefix, lower, upper, "consent", readConsentEntry, func(rest []byte, e ConsentEntry) (bool, error) {
		if len(page.Entries) == max {
			page.Continue = append([]byte(nil), rest...)
			return false, nil
		}
		page.Entries = append(page.Entries, e)
		return true, nil
	})
	return page, err
}
