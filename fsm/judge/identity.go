package judge

import (
	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// userOf tells which user a credential speaks for in a room: a basic credential with a user's URI speaks for that user; one
// with a client's URI for the user to whom a claim, or the room's creation, has mapped the client. Anything else is nobody: with
// basic credentials a provider could otherwise invent another provider's users (docs/deviations.md, P §5.2).
func userOf(replica fsm.Reader, room mimi.RoomURI, credential mls.Credential) (mimi.UserURI, bool, error) {
	basic, ok := credential.(mls.BasicCredential)
	if !ok {
		return mimi.UserURI{}, false, nil
	}
	if user, err := mimi.ParseUserURI(string(basic.Identity)); err == nil {
		return user, true, nil
	}
	client, err := mimi.ParseClientURI(string(basic.Identity))
	if err != nil {
		return mimi.UserURI{}, false, nil
	}
	return fsm.ReadClientUser(replica, room, client)
}

// clientOf is the client that a basic credential names, or none.
func clientOf(credential mls.Credential) mimi.ClientURI {
	basic, ok := credential.(mls.BasicCredential)
	if !ok {
		return mimi.ClientURI{}
	}
	client, err := mimi.ParseClientURI(string(basic.Identity))
	if err != nil {
		return mimi.ClientURI{}
	}
	return client
}

// domainOf is the provider whose name a basic credential bears, for either kind of URI; none otherwise.
func domainOf(credential mls.Credential) mimi.Provider {
	if client := clientOf(credential); !client.IsZero() {
		return client.Provider()
	}
	if basic, ok := credential.(mls.BasicCredential); ok {
		if user, err := mimi.ParseUserURI(string(basic.Identity)); err == nil {
			return user.Provider()
		}
	}
	return mimi.Provider{}
}
