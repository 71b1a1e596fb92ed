package judge

import (
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

const (
	consentsPerRequestMax = 500  // of SetConsents
	consentsPerPageMax    = 1000 // of ReadConsents
	consentCursorBytesMax = 64
)

// SetConsents changes entries of a local user's consent.
type SetConsents struct {
	asDecided
	command fsm.SetConsents
}

// NewSetConsents makes the request; it may be repeated. Between 1 and 500 entries are taken.
func NewSetConsents(user mimi.UserURI, entries []fsm.ConsentEntry) (*SetConsents, error) {
	if len(entries) == 0 || len(entries) > consentsPerRequestMax {
		return nil, &mls.MalformedError{Field: "entries", Reason: fmt.Sprintf("between 1 and %d are taken, not %d", consentsPerRequestMax, len(entries))}
	}
	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].Millis = 0
		switch e := entries[i]; {
		case e.Requester.IsZero():
			return nil, &mls.MalformedError{Field: fmt.Sprintf("entries[%d].requester", i), Reason: "it is missing"}
		case e.Requester == user:
			return nil, &mls.MalformedError{Field: fmt.Sprintf("entries[%d].requester", i), Reason: "a user needs no consent for its own clients"}
		case e.Consent > fsm.ConsentRevoked:
			return nil, &mls.MalformedError{Field: fmt.Sprintf("entries[%d].consent", i), Reason: "it is not known"}
		}
	}
	return &SetConsents{command: fsm.SetConsents{User: user, Entries: entries}}, nil
}

func (s *SetConsents) Slot() fsm.SlotID { return s.command.Slot() }
func (*SetConsents) kind() requestKind  { return kindSetConsents }

// Judge refuses another provider's user, whose consent its own provider keeps.
func (s *SetConsents) Judge(replica fsm.Reader) (Verdict, error) {
	return ofLocalUser(replica, s.command.User, Propose{s.command})
}

func (s *SetConsents) appendArguments(w *mls.Writer) {
	appendURIs(w, s.command.User)
	w.Vector(func(w *mls.Writer) {
		for _, e := range s.command.Entries {
			appendURIs(w, e.Requester, e.Room)
			w.Uint8(uint8(e.Consent))
		}
	})
}

func readConsentEntry(r *mls.Reader) fsm.ConsentEntry {
	return fsm.ConsentEntry{
		Requester: readURI(r, "requester", mimi.ParseUserURI), Room: mimi.ReadOptionalRoomURI(r, "room"),
		Consent: fsm.Consent(r.Uint8("consent")),
	}
}

// SetConsentPolicy says who may claim from a local user without an entry.
type SetConsentPolicy struct {
	asDecided
	command fsm.SetConsentPolicy
}

// NewSetConsentPolicy makes the request; it may be repeated.
func NewSetConsentPolicy(user mimi.UserURI, policy fsm.ConsentPolicy) (*SetConsentPolicy, error) {
	if policy > fsm.ConsentNobody {
		return nil, &mls.MalformedError{Field: "policy", Reason: "it is not known"}
	}
	return &SetConsentPolicy{command: fsm.SetConsentPolicy{User: user, Policy: policy}}, nil
}

func (s *SetConsentPolicy) Slot() fsm.SlotID { return s.command.Slot() }
func (*SetConsentPolicy) kind() requestKind  { return kindSetConsentPolicy }

// Judge refuses another provider's user.
func (s *SetConsentPolicy) Judge(replica fsm.Reader) (Verdict, error) {
	return ofLocalUser(replica, s.command.User, Propose{s.command})
}

func (s *SetConsentPolicy) appendArguments(w *mls.Writer) {
	appendURIs(w, s.command.User)
	w.Uint8(uint8(s.command.Policy))
}

// ReadConsents asks for a page of a local user's consent.
type ReadConsents struct {
	asRead
	user, requester mimi.UserURI
	from            []byte
	max             uint16
}

// NewReadConsents makes the request, for the entries of one requester or, with none, of all. from is where an earlier answer continues,
// empty for the beginning. It answers fsm.ConsentsRead.
func NewReadConsents(user, requester mimi.UserURI, from []byte, max uint16) (*ReadConsents, error) {
	switch {
	case len(from) > consentCursorBytesMax:
		return nil, &mls.MalformedError{Field: "from", Reason: "it is not one that an earlier answer gave"}
	case max == 0 || max > consentsPerPageMax:
		return nil, &mls.MalformedError{Field: "max", Reason: fmt.Sprintf("it is no number from 1 to %d", consentsPerPageMax)}
	}
	return &ReadConsents{user: user, requester: requester, from: slices.Clone(from), max: max}, nil
}

func (q *ReadConsents) Slot() fsm.SlotID { return fsm.SlotOfUser(q.user) }
func (*ReadConsents) kind() requestKind  { return kindReadConsents }

// Judge refuses rather than answers, since what a replica that is behind knows could have been revoked.
func (q *ReadConsents) Judge(replica fsm.Reader) (Verdict, error) {
	page, err := fsm.ReadConsents(replica, q.user, q.requester, q.from, int(q.max))
	if err != nil {
		return nil, err
	}
	return ofLocalUser(replica, q.user, Refuse{page})
}

func (q *ReadConsents) appendArguments(w *mls.Writer) {
	appendURIs(w, q.user, q.requester)
	w.Opaque(q.from)
	w.Uint16(q.max)
}

// ofLocalUser is the verdict, or a refusal where the user is of another provider.
func ofLocalUser(replica fsm.Reader, user mimi.UserURI, verdict Verdict) (Verdict, error) {
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(settings.Domains, user.Provider()) {
		return Refuse{fsm.NotAllowed{Reason: "the user is not of this provider"}}, nil
	}
	return verdict, nil
}
