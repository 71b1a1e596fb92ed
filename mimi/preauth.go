package mimi

import (
	"parley/mls"
)

// ClaimID names a statement that a credential may make about its holder (room-policy-03 §4). What an ID means depends on the
// credential's type; which ones are understood is the reader's affair.
//
//	struct {
//	    CredentialType credential_type;
//	    opaque id<V>;
//	} ClaimId;
type ClaimID struct {
	Type mls.CredentialType
	ID   []byte
}

// Claim is a statement with the value that it has to have, octet for octet.
//
//	struct {
//	    ClaimId claim_id;
//	    opaque claim_value<V>;
//	} Claim;
type Claim struct {
	ID    ClaimID
	Value []byte
}

// PreAuthRoleEntry gives a role to whoever's credential makes all of the claims (room-policy-03 §4).
//
//	struct {
//	    Claim claimset<V>;
//	    Role target_role;
//	} PreAuthRoleEntry;
type PreAuthRoleEntry struct {
	Claims []Claim // never empty
	Role   Role
}

// PreAuthData is the data of the preauth_list component, and its update, which replaces it (room-policy-03 §4). The entries are
// consulted in order, and the first that matches counts. One without claims is malformed: it would match everybody, which the
// capability canOpenJoin says better. So is one for the role 0, which nobody can be given.
//
//	struct {
//	    PreAuthRoleEntry preauthorized_entries<V>;
//	} PreAuthData;
type PreAuthData struct {
	Entries []PreAuthRoleEntry
}

func ReadClaimID(r *mls.Reader) ClaimID {
	return ClaimID{Type: mls.CredentialType(r.Uint16("credential_type")), ID: r.Opaque("id")}
}

func (c ClaimID) AppendTo(w *mls.Writer) {
	w.Uint16(uint16(c.Type))
	w.Opaque(c.ID)
}

func ReadClaim(r *mls.Reader) Claim {
	return Claim{ID: mls.ReadIn(r, "claim_id", ReadClaimID), Value: r.Opaque("claim_value")}
}

func (c Claim) AppendTo(w *mls.Writer) {
	c.ID.AppendTo(w)
	w.Opaque(c.Value)
}

func ReadPreAuthRoleEntry(r *mls.Reader) PreAuthRoleEntry {
	e := PreAuthRoleEntry{
		Claims: mls.ReadList(r, "claimset", ReadClaim),
		Role:   mls.ReadIn(r, "target_role", ReadRole),
	}
	switch {
	case r.Failed():
	case len(e.Claims) == 0:
		r.Fail("claimset", "it is empty, and would match everybody")
	case e.Role.Index == RoleNone:
		r.Fail("target_role", "role 0 cannot be assigned")
	}
	return e
}

func (e PreAuthRoleEntry) AppendTo(w *mls.Writer) {
	mls.AppendList(w, e.Claims)
	e.Role.AppendTo(w)
}

func ReadPreAuthData(r *mls.Reader) PreAuthData {
	return PreAuthData{mls.ReadList(r, "preauthorized_entries", ReadPreAuthRoleEntry)}
}

func ParsePreAuthData(b []byte) (PreAuthData, error) {
	return mls.Parse("PreAuthData", b, ReadPreAuthData)
}

func (d PreAuthData) AppendTo(w *mls.Writer) { mls.AppendList(w, d.Entries) }

func (d PreAuthData) Marshal() []byte { return marshal(d) }
