package fsm

import (
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// Consent is what a user (the target) lets another (the requester) claim KeyPackages for (mimi-protocol-06 §5.7, §8). It is kept in
// the target's slot, where claims are decided.
//
// An entry is for one requester, and for one room or for any. For a claim the entry of its room decides, else the one for any room,
// else the target's policy. A later revocation for any room clears the requester's entries for rooms. A user needs no consent for
// KeyPackages of its own clients.

// Consent is what an entry says.
type Consent uint8

const (
	ConsentForgotten Consent = 0 // in a command: there is to be no entry
	ConsentGranted   Consent = 1
	ConsentRevoked   Consent = 2 // or denied before it was asked for
)

func readConsent(r *mls.Reader, field string) Consent {
	c := Consent(r.Uint8(field))
	if !r.Failed() && c > ConsentRevoked {
		r.Fail(field, "it is not known to this program")
	}
	return c
}

// ConsentPolicy says who may claim without an entry.
type ConsentPolicy uint8

const (
	ConsentAsCluster ConsentPolicy = 0 // a user's: what the settings say
	ConsentAsk       ConsentPolicy = 1 // whom the user has granted it
	ConsentAllow     ConsentPolicy = 2 // everybody whom the user has not revoked it
	ConsentProvider  ConsentPolicy = 3 // users of the same provider; others as with ConsentAsk
	ConsentNobody    ConsentPolicy = 4 // a user's: nobody, whatever was granted; grants count again when the policy is another
)

var consentPolicyNames = [...]string{"cluster", "ask", "allow", "provider", "nobody"}

func (p ConsentPolicy) String() string {
	if int(p) < len(consentPolicyNames) {
		return consentPolicyNames[p]
	}
	return fmt.Sprintf("ConsentPolicy(%d)", uint8(p))
}

// ParseConsentPolicy reads a policy's name.
func ParseConsentPolicy(name string) (ConsentPolicy, error) {
	for i, known := range consentPolicyNames {
		if name == known {
			return ConsentPolicy(i), nil
		}
	}
	return 0, &mls.MalformedError{Field: "policy", Reason: "it is none of cluster, ask, allow, provider and nobody"}
}

func readConsentPolicy(r *mls.Reader, field string) ConsentPolicy {
	p := ConsentPolicy(r.Uint8(field))
	if !r.Failed() && p > ConsentNobody {
		r.Fail(field, "it is not known to this program")
	}
	return p
}

// ConsentEntry is one of a user's.
type ConsentEntry struct {
	Requester mimi.UserURI
	Room      mimi.RoomURI // none: for any room
	Consent   Consent
	Millis    uint64 // hub time since which it says so; set by apply
}

//	struct {
//	    opaque requester<V>;
//	    opaque room<V>; // empty: any
//	    uint8 consent;
//	    uint64 millis;
//	} ConsentEntry;
func (e ConsentEntry) appendTo(w *mls.Writer) {
	e.Requester.AppendTo(w)
	e.Room.AppendTo(w)
	w.Uint8(uint8(e.Consent))
	w.Uint64(e.Millis)
}

func readConsentEntry(r *mls.Reader) ConsentEntry {
	return ConsentEntry{
		Requester: mimi.ReadUserURI(r, "requester"),
		Room:      mimi.ReadOptionalRoomURI(r, "room"),
		Consent:   readConsent(r, "consent"),
		Millis:    r.Uint64("millis"),
	}
}

// consentHead is the part of a user's consent that is for all requesters. There is none while it would say nothing.
//
//	struct {
//	    uint8 policy;
//	    uint32 entries;
//	} ConsentHead;
type consentHead struct {
	policy  ConsentPolicy
	entries uint32
}

func (h consentHead) appendTo(w *mls.Writer) {
	w.Uint8(uint8(h.policy))
	w.Uint32(h.entries)
}

func readConsentHead(r *mls.Reader) consentHead {
	return consentHead{policy: readConsentPolicy(r, "policy"), entries: r.Uint32("entries")}
}

func consentHeadKey(user mimi.UserURI) key { return userKey(keyConsentHead, user) }

// consentsOf is the key of the entry for any room, and the prefix of those for rooms.
func consentsOf(user, requester mimi.UserURI) key { return userKey(keyConsent, user).user(requester) }

func consentKey(user, requester mimi.UserURI, room mimi.RoomURI) key {
	if room.IsZero() {
		return consentsOf(user, requester)
	}
	return consentsOf(user, requester).hashed(room.String())
}

func readConsentAt(r Reader, k key) (ConsentEntry, bool, error) {
	return readRecord(r, k, "consent", readConsentEntry)
}

func readConsentHeadOf(r Reader, user mimi.UserURI) (consentHead, error) {
	head, _, err := readRecord(r, consentHeadKey(user), "consent of a user", readConsentHead)
	return head, err
}

// policyInForce is a user's own policy, or the cluster's.
func (h consentHead) policyInForce(settings Settings) ConsentPolicy {
	switch {
	case h.policy != ConsentAsCluster:
		return h.policy
	case settings.Claims.ConsentDefault != ConsentAsCluster:
		return settings.Claims.ConsentDefault
	default:
		return ConsentAsk
	}
}

// consent decides whether a claim may take anything: success, or the code that refuses it. Who was revoked hears the same as one who
// was never granted anything.
func (t *tx) consent(c ClaimKeyPackages) mimi.KeyMaterialUserCode {
	if t.format < FormatExclusive || c.Requester == c.User {
		return mimi.KeyMaterialSuccess
	}
	head, err := readConsentHeadOf(t.store, c.User)
	t.check(err)
	policy := head.policyInForce(t.settings)
	if policy == ConsentNobody {
		return mimi.KeyMaterialNoConsent
	}
	if entry, found := t.consentEntry(c); found {
		if entry.Consent == ConsentGranted {
			return mimi.KeyMaterialSuccess
		}
		return mimi.KeyMaterialNoConsent
	}
	switch {
	case policy == ConsentAllow, policy == ConsentProvider && t.isLocal(c.Requester.Provider()):
		return mimi.KeyMaterialSuccess
	case t.grantedForSomeRoom(c.User, c.Requester):
		return mimi.KeyMaterialNoConsentForRoom
	default:
		return mimi.KeyMaterialNoConsent
	}
}

// consentEntry is the one that decides on a claim: of its room, else of any room.
func (t *tx) consentEntry(c ClaimKeyPackages) (ConsentEntry, bool) {
	if !c.Room.IsZero() {
		k := consentKey(c.User, c.Requester, c.Room)
		if entry, found := get(t, func(r Reader) (ConsentEntry, bool, error) { return readConsentAt(r, k) }); found {
			return entry, true
		}
	}
	return get(t, func(r Reader) (ConsentEntry, bool, error) { return readConsentAt(r, consentsOf(c.User, c.Requester)) })
}

// consentsLookedAt bounds the search for a grant that a refusal would tell of; behind it the refusal tells less, which it may.
const consentsLookedAt = 100

func (t *tx) grantedForSomeRoom(user, requester mimi.UserURI) (granted bool) {
	looked := 0
	t.check(scanRecords(t.store, consentsOf(user, requester), "consent", readConsentEntry, func(_ []byte, e ConsentEntry) (bool, error) {
		looked++
		granted = e.Consent == ConsentGranted
		return !granted && looked < consentsLookedAt, nil
	}))
	return granted
}
