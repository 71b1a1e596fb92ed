package mimi

import (
	"fmt"
	"strings"

	"parley/mls"
)

// DomainBytesMax is the longest domain name, in its textual form without a final dot (RFC 1035 §2.3.4).
const DomainBytesMax = 253

const labelBytesMax = 63

// Provider is a messaging provider, known by its domain (mimi-protocol-06 §4.1): lower-case letters, digits and hyphens in
// dot-separated labels, internationalised labels in their A-label form, no port, no final dot, no IP address. The zero value
// is no provider. Values are comparable: two spellings of one domain are equal.
type Provider struct{ domain string }

// ParseProvider reads a domain in any letter case. The error is a *mls.MalformedError.
func ParseProvider(domain string) (Provider, error) {
	canonical := lowerASCII(domain)
	if reason := domainFault(canonical); reason != "" {
		return Provider{}, &mls.MalformedError{Field: "provider", Reason: reason}
	}
	return Provider{canonical}, nil
}

// String is the domain in lower case; empty for none.
func (p Provider) String() string { return p.domain }

// IsZero reports whether there is no provider.
func (p Provider) IsZero() bool { return p.domain == "" }

// Compare orders providers by the bytes of their domains, for slices.SortFunc.
func (p Provider) Compare(other Provider) int { return strings.Compare(p.domain, other.domain) }

// MarshalText makes a Provider a JSON string or a map key.
func (p Provider) MarshalText() ([]byte, error) { return []byte(p.domain), nil }

// UnmarshalText reads what MarshalText wrote; an empty text is none.
func (p *Provider) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = Provider{}
		return nil
	}
	parsed, err := ParseProvider(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}

// AppendTo writes the domain as opaque<V>; none is an empty vector.
func (p Provider) AppendTo(w *mls.Writer) { w.Opaque([]byte(p.domain)) }

// ReadProvider reads opaque<V> with a domain; an empty one is malformed.
func ReadProvider(r *mls.Reader, field string) Provider {
	return readName(r, field, ParseProvider, false)
}

// ReadOptionalProvider is ReadProvider where an empty vector stands for none.
func ReadOptionalProvider(r *mls.Reader, field string) Provider {
	return readName(r, field, ParseProvider, true)
}

// domainFault says what is wrong with a lower-case domain, or nothing.
func domainFault(domain string) string {
	switch {
	case domain == "":
		return "the domain is empty"
	case len(domain) > DomainBytesMax:
		return fmt.Sprintf("the domain has %d bytes, more than %d", len(domain), DomainBytesMax)
	}
	labels := strings.Split(domain, ".")
	for _, label := range labels {
		if reason := labelFault(label); reason != "" {
			return reason
		}
	}
	// No top-level domain is numeric, and every IPv4 address ends in a number.
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return "the last label of the domain is a number"
	}
	return ""
}

func labelFault(label string) string {
	switch {
	case label == "":
		return "the domain has an empty label"
	case len(label) > labelBytesMax:
		return fmt.Sprintf("a label of the domain has more than %d bytes", labelBytesMax)
	case label[0] == '-' || label[len(label)-1] == '-':
		return "a label of the domain begins or ends with a hyphen"
	}
	for i := range len(label) {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
		default:
			return "the domain has a character other than letters, digits, hyphens and dots"
		}
	}
	return ""
}

// lowerASCII leaves bytes beyond ASCII alone: Unicode case folding would turn some of them, as the Kelvin sign, into letters.
func lowerASCII(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j, c := range b {
				if 'A' <= c && c <= 'Z' {
					b[j] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
