package mimi

import (
	"parley/mls"
)

// spelling keeps how a received URI was written where that is not its canonical form. Signatures, transcript hashes and the
// group's own state cover the bytes as sent, so a structure that is marshalled again must give them back. A structure's
// spelling follows its URI: once the URI is replaced by another, the spelling no longer counts.
type spelling string

// readSpelled reads opaque<V> as readName does, and how it was written.
func readSpelled[T interface{ String() string }](r *mls.Reader, field string, parse func(string) (T, error), emptyIsNone bool) (T, spelling) {
	var written string
	name := readName(r, field, func(text string) (T, error) {
		written = text
		return parse(text)
	}, emptyIsNone)
	if r.Failed() || written == name.String() {
		return name, ""
	}
	return name, spelling(written)
}

// appendTo writes the URI as of returns it.
func (s spelling) appendTo(w *mls.Writer, canonical string) { w.Opaque([]byte(s.of(canonical))) }

// of is the spelling if it means the same as the canonical form, which it is otherwise.
func (s spelling) of(canonical string) string {
	if s == "" {
		return canonical
	}
	kind, known := kindOf(string(s))
	if !known {
		return canonical
	}
	if text, fault := canonicalURI(kind, string(s)); fault != "" || text != canonical {
		return canonical
	}
	return string(s)
}
