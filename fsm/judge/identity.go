package judge

import (
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// sameProvider reports whether two domains are one provider's: the same, or both of the local provider, whose users and rooms
// may be at any of its domains. Of another provider only one domain is known here, the one in whose name it sent the request.
func sameProvider(settings fsm.Settings, a, b mimi.Provider) bool {
	if a.IsZero() || b.IsZero() {
		return false
	}
	return a == b || slices.Contains(settings.Domains, a) && slices.Contains(settings.Domains, b)
}

// namedBy is whom a basic credential names, or nil.
func namedBy(credential mls.Credential) mimi.IdentityURI {
	basic, ok := credential.(mls.BasicCredential)
	if !ok {
		return nil
	}
	identity, err := mimi.ParseIdentityURI(basic.Identity)
	if err != nil {
		return nil
	}
	return identity
}

// userOf tells which user a credential speaks for in a room: a basic credential with a user's URI speaks for that user; one
// with a client's URI for the user to whom a claim, or the room's creation, has mapped the client. Anything else is nobody
// (docs/deviations.md, P §5.2). It does not tell whether the credential is to be believed: see vouched and participant.
func userOf(replica fsm.Reader, room mimi.RoomURI, credential mls.Credential) (mimi.UserURI, bool, error) {
	switch identity := namedBy(credential).(type) {
	case mimi.UserURI:
		return identity, true, nil
	case mimi.ClientURI:
		return fsm.ReadClientUser(replica, room, identity)
	default:
		return mimi.UserURI{}, false, nil
	}
}

// clientOf is the client that a basic credential names, or none.
func clientOf(credential mls.Credential) mimi.ClientURI {
	client, _ := namedBy(credential).(mimi.ClientURI)
	return client
}

// domainOf is the provider whose name a basic credential bears, for either kind of URI; none otherwise.
func domainOf(credential mls.Credential) mimi.Provider {
	if identity := namedBy(credential); identity != nil {
		return identity.Provider()
	}
	return mimi.Provider{}
}

// nameOf is what a credential calls its holder, in canonical form where it is a URI; for reasons, and to tell clients apart.
func nameOf(credential mls.Credential) string {
	if identity := namedBy(credential); identity != nil {
		return identity.String()
	}
	if basic, ok := credential.(mls.BasicCredential); ok {
		return string(basic.Identity)
	}
	return ""
}
