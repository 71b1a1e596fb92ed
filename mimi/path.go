package mimi

import (
	"net/url"
	"strings"

	"parley/mls"
)

// PathSegment writes a URI, or any other value of a template's variable, as one segment of an HTTP path: every octet but the
// unreserved ones percent-encoded, slashes and colons too. A value's own percent signs are encoded once more.
func PathSegment(value interface{ String() string }) string { return escapeSegment(value.String()) }

func escapeSegment(value string) string {
	var out strings.Builder
	for i := range len(value) {
		if c := value[i]; isUnreserved(c) {
			out.WriteByte(c)
		} else {
			appendPercent(&out, c)
		}
	}
	return out.String()
}

// RoomURIFromPath reads the room of an endpoint's path: what stands behind the endpoint's name, escaped or unescaped. It
// takes what PathSegment writes, the URI as it is, and either without the scheme, as the figures of mimi-protocol-06 §3 do.
func RoomURIFromPath(path string) (RoomURI, error) { return fromPath(path, ParseRoomURI) }

// UserURIFromPath reads the user of an endpoint's path in the same spellings.
func UserURIFromPath(path string) (UserURI, error) { return fromPath(path, ParseUserURI) }

// ClientURIFromPath reads the client of an endpoint's path in the same spellings.
func ClientURIFromPath(path string) (ClientURI, error) { return fromPath(path, ParseClientURI) }

func fromPath[T any](path string, parse func(string) (T, error)) (T, error) {
	var none T
	if len(path) > 3*URIBytesMax {
		return none, &mls.MalformedError{Field: "path", Reason: "the URI in it is too long"}
	}
	// Every MIMI URI has slashes, so a text without one is still escaped, and one with slashes is the URI itself, whose
	// percent-encoding is its own.
	if !strings.Contains(path, "/") {
		unescaped, err := url.PathUnescape(path)
		if err != nil {
			return none, &mls.MalformedError{Field: "path", Reason: "its percent-encoding is broken"}
		}
		path = unescaped
	}
	name, err := parse(withScheme(path))
	if err != nil {
		return none, &mls.MalformedError{Field: "path", Reason: reasonOf(err)}
	}
	return name, nil
}

// withScheme completes a scheme-less URI, and gives back the slash that path cleaning takes from mimi://.
func withScheme(uri string) string {
	const scheme = "mimi:"
	if len(uri) < len(scheme) || lowerASCII(uri[:len(scheme)]) != scheme {
		return schemePrefix + strings.TrimLeft(uri, "/")
	}
	return schemePrefix + strings.TrimLeft(uri[len(scheme):], "/")
}
