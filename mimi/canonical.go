package mimi

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"parley/mls"
)

// uriKind tells rooms, users and clients apart by the first letter of the path.
type uriKind byte

const (
	roomKind   uriKind = 'r'
	userKind   uriKind = 'u'
	clientKind uriKind = 'd'
)

const schemePrefix = "mimi://"

func (k uriKind) field() string {
	switch k {
	case roomKind:
		return "room URI"
	case userKind:
		return "user URI"
	default:
		return "client URI"
	}
}

// parseURI checks a URI of the kind and returns its canonical form.
func parseURI(kind uriKind, uri string) (string, error) {
	text, reason := canonicalURI(kind, uri)
	if reason != "" {
		return "", &mls.MalformedError{Field: kind.field(), Reason: reason}
	}
	return text, nil
}

// canonicalURI returns the canonical form, or the reason why there is none.
func canonicalURI(kind uriKind, uri string) (text, reason string) {
	if len(uri) > URIBytesMax {
		return "", tooLong(len(uri))
	}
	domain, path, ok := splitURI(uri)
	if !ok {
		return "", "it does not begin with mimi://"
	}
	domain = lowerASCII(domain)
	if reason := domainFault(domain); reason != "" {
		return "", reason
	}
	prefix := string([]byte{byte(kind), '/'})
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return "", fmt.Sprintf("its path does not begin with /%s", prefix)
	}
	var out strings.Builder
	out.Grow(len(uri))
	out.WriteString(schemePrefix + domain + "/" + prefix)
	if reason := appendSegments(&out, rest); reason != "" {
		return "", reason
	}
	if out.Len() > URIBytesMax {
		return "", tooLong(out.Len())
	}
	return out.String(), ""
}

func tooLong(length int) string {
	return fmt.Sprintf("it has %d bytes, more than %d", length, URIBytesMax)
}

// splitURI cuts scheme://domain/path; the path comes without its first slash.
func splitURI(uri string) (domain, path string, ok bool) {
	if len(uri) < len(schemePrefix) || lowerASCII(uri[:len(schemePrefix)]) != schemePrefix {
		return "", "", false
	}
	domain, path, _ = strings.Cut(uri[len(schemePrefix):], "/")
	return domain, path, true
}

// kindOf looks at the letter of the path only.
func kindOf(uri string) (uriKind, bool) {
	_, path, ok := splitURI(uri)
	if !ok || len(path) < 2 || path[1] != '/' {
		return 0, false
	}
	return uriKind(path[0]), true
}

// appendSegments writes the path behind the kind's letter in canonical form, or says what is wrong with it.
func appendSegments(out *strings.Builder, path string) (reason string) {
	for i, segment := range strings.Split(path, "/") {
		if i > 0 {
			out.WriteByte('/')
		}
		if reason := appendSegment(out, segment); reason != "" {
			return reason
		}
	}
	return ""
}

func appendSegment(out *strings.Builder, segment string) (reason string) {
	start := out.Len()
	decoded := make([]byte, 0, len(segment))
	for i := 0; i < len(segment); i++ {
		octet, encoded := segment[i], false
		if octet == '%' {
			if i+2 >= len(segment) || !isHex(segment[i+1]) || !isHex(segment[i+2]) {
				return "its percent-encoding is broken"
			}
			octet, encoded = unhex(segment[i+1])<<4|unhex(segment[i+2]), true
			i += 2
		}
		switch {
		case octet < 0x20 || octet == 0x7f:
			return "it holds a control character"
		case isUnreserved(octet) || (!encoded && isSubDelimiter(octet)):
			out.WriteByte(octet)
		case encoded || octet >= 0x80:
			appendPercent(out, octet)
		default:
			return fmt.Sprintf("the character %q has no place in its path", octet)
		}
		decoded = append(decoded, octet)
	}
	if !utf8.Valid(decoded) {
		return "its path is not UTF-8"
	}
	switch out.String()[start:] {
	case "":
		return "its path has an empty segment"
	case ".", "..":
		return "its path has a dot segment"
	}
	return ""
}

// providerOf cuts the domain out of a canonical URI.
func providerOf(text string) Provider {
	if text == "" {
		return Provider{}
	}
	rest := text[len(schemePrefix):]
	return Provider{rest[:strings.IndexByte(rest, '/')]}
}

// isUnreserved: RFC 3986 §2.3. Such an octet means the same raw and percent-encoded.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// isSubDelimiter: what else RFC 3986 §3.3 lets stand raw in a path segment.
func isSubDelimiter(c byte) bool { return strings.IndexByte("!$&'()*+,;=:@", c) >= 0 }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}

func appendPercent(out *strings.Builder, c byte) {
	const digits = "0123456789ABCDEF"
	out.WriteByte('%')
	out.WriteByte(digits[c>>4])
	out.WriteByte(digits[c&15])
}

// reasonOf takes the reason out of an error of this package, so that the field can be named anew.
func reasonOf(err error) string {
	var malformed *mls.MalformedError
	if errors.As(err, &malformed) {
		return malformed.Field + ": " + malformed.Reason
	}
	return err.Error()
}
