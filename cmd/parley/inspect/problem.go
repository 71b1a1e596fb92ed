package inspect

import (
	"errors"

	"parley/mls"
)

// Problem is why something is not valid: which rule it breaks, and of bytes that cannot be read, at which field.
type Problem struct {
	Section string `json:"section,omitempty"`
	Field   string `json:"field,omitempty"`
	Reason  string `json:"reason"`
}

func (p Problem) String() string {
	out := p.Reason
	if p.Field != "" {
		out = p.Field + ": " + out
	}
	if p.Section != "" {
		out += " (" + p.Section + ")"
	}
	return out
}

// problemOf takes an error of package mls apart. Only what is malformed has no section of its own; it gets the one given.
func problemOf(err error, section string) Problem {
	var malformed *mls.MalformedError
	var invalid *mls.InvalidError
	switch {
	case errors.As(err, &invalid):
		return Problem{Section: invalid.Section, Reason: invalid.Reason}
	case errors.As(err, &malformed):
		return Problem{Section: section, Field: malformed.Field, Reason: malformed.Reason}
	default:
		return Problem{Reason: err.Error()} // a wrong epoch and the like: they name their section
	}
}
