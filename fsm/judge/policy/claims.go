package policy

import (
	"bytes"

	"parley/mimi"
	"parley/mls"
)

// The claims of a basic credential (room-policy-03 §4), under the names that a JWT has for them. The draft gives basic credentials
// none; a claim under another name, or of another credential type, is made by nobody here.
const (
	claimSubject  = "sub" // whose the credential is: a user's URI in canonical form, or for an external sender the provider's
	claimIssuer   = "iss" // the provider's domain, in lower case
	claimIdentity = ""    // the identity of the credential, as it stands there
)

// Holder is somebody outside the group as preauthorization sees it: its credential, and whom it speaks for.
type Holder struct {
	Credential mls.Credential
	Subject    string // a user's URI, or mimi:// and a provider's domain
	Issuer     mimi.Provider
}

// User is a holder that is a user. Which user a credential speaks for has been found out before.
func User(user mimi.UserURI, credential mls.Credential) Holder {
	return Holder{Credential: credential, Subject: user.String(), Issuer: user.Provider()}
}

// Provider is a holder that is a provider: an external sender.
func Provider(provider mimi.Provider, credential mls.Credential) Holder {
	return Holder{Credential: credential, Subject: "mimi://" + provider.String(), Issuer: provider}
}

// preauthorized is the role that the first matching entry gives; false where none matches.
func (p *Policy) preauthorized(h Holder) (uint32, bool) {
	for _, entry := range p.preauth {
		if h.makesAll(entry.Claims) {
			return entry.Role.Index, true
		}
	}
	return mimi.RoleNone, false
}

// Preauthorizes reports whether the room has a preauth_list with entries.
func (p *Policy) Preauthorizes() bool { return len(p.preauth) > 0 }

// HoldsRole reports whether the preauth_list gives a holder a role.
func (p *Policy) HoldsRole(h Holder) bool {
	_, matches := p.preauthorized(h)
	return matches
}

func (h Holder) makesAll(claims []mimi.Claim) bool {
	for _, claim := range claims {
		if !h.makes(claim) {
			return false
		}
	}
	return true
}

// makes compares octets: a claim_value that is spelt otherwise than the canonical form is not met.
func (h Holder) makes(claim mimi.Claim) bool {
	basic, ok := h.Credential.(mls.BasicCredential)
	if !ok || claim.ID.Type != mls.CredentialBasic {
		return false
	}
	switch string(claim.ID.ID) {
	case claimSubject:
		return h.Subject == string(claim.Value)
	case claimIssuer:
		return h.Issuer.String() == string(claim.Value)
	case claimIdentity:
		return bytes.Equal(basic.Identity, claim.Value)
	default:
		return false
	}
}
