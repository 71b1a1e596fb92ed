package mimi

import (
	"parley/mls"
)

// URIBytesMax bounds a MIMI URI, as received and in its canonical form.
const URIBytesMax = 1024

// A MIMI URI is mimi://domain/r/…, /u/… or /d/…. Its canonical form, which the three types hold, is:
//
//   - scheme and domain in lower case; no user information, no port, no query, no fragment;
//   - a path of the kind's letter and one or more segments, none of them empty, "." or "..";
//   - unreserved characters (RFC 3986 §2.3) stand raw; what else was percent-encoded stays so, with upper-case digits, and
//     what else stood raw stays raw, but octets beyond ASCII become percent-encoded;
//   - the percent-decoded text is UTF-8 without control characters.
//
// The case of the path is significant. Values are comparable and can be map keys: two spellings of one URI are equal. The
// zero value is none. Parsing is the only way to any other value, and its error is a *mls.MalformedError.

// RoomURI names a room, mimi://domain/r/…; the domain is the hub's.
type RoomURI struct{ text string }

// UserURI names a user, mimi://domain/u/….
type UserURI struct{ text string }

// ClientURI names one client (device) of a user, mimi://domain/d/…. Which user it belongs to cannot be told from it.
type ClientURI struct{ text string }

// ParseRoomURI reads a room's URI in any spelling.
func ParseRoomURI(uri string) (RoomURI, error) {
	text, err := parseURI(roomKind, uri)
	return RoomURI{text}, err
}

// ParseUserURI reads a user's URI in any spelling.
func ParseUserURI(uri string) (UserURI, error) {
	text, err := parseURI(userKind, uri)
	return UserURI{text}, err
}

// ParseClientURI reads a client's URI in any spelling.
func ParseClientURI(uri string) (ClientURI, error) {
	text, err := parseURI(clientKind, uri)
	return ClientURI{text}, err
}

func (u RoomURI) String() string   { return u.text }
func (u UserURI) String() string   { return u.text }
func (u ClientURI) String() string { return u.text }

func (u RoomURI) IsZero() bool   { return u.text == "" }
func (u UserURI) IsZero() bool   { return u.text == "" }
func (u ClientURI) IsZero() bool { return u.text == "" }

// Provider is the room's hub; none for none.
func (u RoomURI) Provider() Provider { return providerOf(u.text) }

// Provider is the user's own; none for none.
func (u UserURI) Provider() Provider { return providerOf(u.text) }

// Provider is the client's own; none for none.
func (u ClientURI) Provider() Provider { return providerOf(u.text) }

func (u RoomURI) MarshalText() ([]byte, error)   { return []byte(u.text), nil }
func (u UserURI) MarshalText() ([]byte, error)   { return []byte(u.text), nil }
func (u ClientURI) MarshalText() ([]byte, error) { return []byte(u.text), nil }

// UnmarshalText reads a URI; an empty text is none.
func (u *RoomURI) UnmarshalText(text []byte) error { return unmarshalName(u, text, ParseRoomURI) }

// UnmarshalText reads a URI; an empty text is none.
func (u *UserURI) UnmarshalText(text []byte) error { return unmarshalName(u, text, ParseUserURI) }

// UnmarshalText reads a URI; an empty text is none.
func (u *ClientURI) UnmarshalText(text []byte) error { return unmarshalName(u, text, ParseClientURI) }

// AppendTo writes the canonical form as opaque<V> (the drafts' IdentifierUri); none is an empty vector.
func (u RoomURI) AppendTo(w *mls.Writer)   { w.Opaque([]byte(u.text)) }
func (u UserURI) AppendTo(w *mls.Writer)   { w.Opaque([]byte(u.text)) }
func (u ClientURI) AppendTo(w *mls.Writer) { w.Opaque([]byte(u.text)) }

// ReadRoomURI reads an IdentifierUri that must name a room.
func ReadRoomURI(r *mls.Reader, field string) RoomURI { return readName(r, field, ParseRoomURI, false) }

// ReadUserURI reads an IdentifierUri that must name a user.
func ReadUserURI(r *mls.Reader, field string) UserURI { return readName(r, field, ParseUserURI, false) }

// ReadClientURI reads an IdentifierUri that must name a client.
func ReadClientURI(r *mls.Reader, field string) ClientURI {
	return readName(r, field, ParseClientURI, false)
}

// ReadOptionalRoomURI is ReadRoomURI where an empty vector stands for none.
func ReadOptionalRoomURI(r *mls.Reader, field string) RoomURI {
	return readName(r, field, ParseRoomURI, true)
}

// ReadOptionalUserURI is ReadUserURI where an empty vector stands for none.
func ReadOptionalUserURI(r *mls.Reader, field string) UserURI {
	return readName(r, field, ParseUserURI, true)
}

// ReadOptionalClientURI is ReadClientURI where an empty vector stands for none.
func ReadOptionalClientURI(r *mls.Reader, field string) ClientURI {
	return readName(r, field, ParseClientURI, true)
}

// IdentityURI is whom a basic credential names: a UserURI or a ClientURI, never none.
type IdentityURI interface {
	String() string
	Provider() Provider
	identityURI()
}

func (UserURI) identityURI()   {}
func (ClientURI) identityURI() {}

// ParseIdentityURI reads the identity of a basic credential (RFC 9420 §5.3).
func ParseIdentityURI(identity []byte) (IdentityURI, error) {
	if user, err := ParseUserURI(string(identity)); err == nil {
		return user, nil
	}
	client, err := ParseClientURI(string(identity))
	if err == nil {
		return client, nil
	}
	if kind, ok := kindOf(string(identity)); ok && (kind == userKind || kind == clientKind) {
		_, err := parseURI(kind, string(identity))
		return nil, err
	}
	return nil, &mls.MalformedError{Field: "identity", Reason: "it is neither a user's nor a client's MIMI URI"}
}

func unmarshalName[T any](target *T, text []byte, parse func(string) (T, error)) error {
	if len(text) == 0 {
		var none T
		*target = none
		return nil
	}
	parsed, err := parse(string(text))
	if err == nil {
		*target = parsed
	}
	return err
}

// readName reads opaque<V> holding a name that parse knows.
func readName[T any](r *mls.Reader, field string, parse func(string) (T, error), emptyIsNone bool) T {
	var none T
	text := r.Opaque(field)
	if r.Failed() || (emptyIsNone && len(text) == 0) {
		return none
	}
	name, err := parse(string(text))
	if err != nil {
		r.Fail(field, reasonOf(err))
		return none
	}
	return name
}
