package mimi

import (
	"strings"

	"parley/mls"
)

// FromHeader is the value of the From header for requests that p sends: mimi@domain (mimi-protocol-06 §4.1).
func FromHeader(p Provider) string { return FromLocalPart + "@" + p.String() }

// ParseFromHeader returns the provider that a From header names. Only the addr-spec form with the fixed local part is taken.
func ParseFromHeader(value string) (Provider, error) {
	local, domain, found := strings.Cut(value, "@")
	if !found || lowerASCII(local) != FromLocalPart {
		return Provider{}, &mls.MalformedError{Field: "From", Reason: "it is not of the form mimi@domain"}
	}
	provider, err := ParseProvider(domain)
	if err != nil {
		return Provider{}, &mls.MalformedError{Field: "From", Reason: reasonOf(err)}
	}
	return provider, nil
}
