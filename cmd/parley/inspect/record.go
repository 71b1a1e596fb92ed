package inspect

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"parley/mls"
)

// Record is what a structure holds, field by field, in the order in which a person reads it. It is a JSON object of that order.
// Its values are strings, numbers, booleans, the types below, Records, and lists of those.
type Record []Field

// Field is a name, which is the wire's own where it has one, and a value.
type Field struct {
	Name  string
	Value any
}

// with appends a field.
func (r *Record) with(name string, value any) { *r = append(*r, Field{name, value}) }

func (r Record) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, f := range r {
		if i > 0 {
			out.WriteByte(',')
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		out.Write(name)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// octets are printed as hexadecimal digits.
type octets []byte

// keyShown is how much of a public key a person sees; keys of P-521 would fill lines. JSON has all of it.
const keyShown = 66

func (o octets) MarshalJSON() ([]byte, error) { return json.Marshal(hex.EncodeToString(o)) }

func (o octets) String() string {
	switch {
	case len(o) == 0:
		return "(empty)"
	case len(o) > keyShown:
		return fmt.Sprintf("%x… (%d bytes)", []byte(o[:keyShown/2]), len(o))
	default:
		return hex.EncodeToString(o)
	}
}

// name is octets that applications mostly fill with text.
type name []byte

func (n name) MarshalJSON() ([]byte, error) {
	value := struct {
		Hex  octets `json:"hex"`
		Text string `json:"text,omitempty"`
	}{Hex: octets(n)}
	if printable(n) {
		value.Text = string(n)
	}
	return json.Marshal(value)
}

func (n name) String() string {
	if len(n) > 0 && printable(n) {
		return fmt.Sprintf("%x %q", []byte(n), []byte(n))
	}
	return octets(n).String()
}

// text shows octets as text where they are, so that no file can play with the terminal.
func text(b []byte) string {
	if printable(b) {
		return strconv.Quote(string(b))
	}
	return octets(b).String()
}

func printable(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexFunc(b, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// size is of something whose content says nothing to anybody here.
type size int

func (s size) String() string { return strconv.Itoa(int(s)) + " bytes" }

// opaque is data that only its application can read: a person sees how long it is.
type opaque []byte

func (o opaque) String() string               { return size(len(o)).String() }
func (o opaque) MarshalJSON() ([]byte, error) { return octets(o).MarshalJSON() }

// absent is an optional part that is not there.
type absent struct{}

func (absent) String() string               { return "none" }
func (absent) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// sender is who sent a framed message.
type sender struct{ mls.Sender }

func (s sender) String() string { return SenderName(s.Sender) }

func (s sender) MarshalJSON() ([]byte, error) {
	kind, number, numbered := senderParts(s.Sender)
	r := Record{{"type", kind}}
	if numbered {
		r.with("index", number)
	}
	return r.MarshalJSON()
}

// moment is a time in seconds since 1970, as MLS has it: any 64-bit number.
type moment uint64

// momentMax is the last second of the year 9999, where RFC 3339 ends.
const momentMax = 253402300799

func (m moment) String() string {
	if m > momentMax {
		return fmt.Sprintf("%d seconds (after the year 9999)", uint64(m))
	}
	return time.Unix(int64(m), 0).UTC().Format(time.RFC3339)
}

func (m moment) MarshalJSON() ([]byte, error) {
	value := struct {
		Seconds uint64 `json:"seconds"`
		Time    string `json:"time,omitempty"`
	}{Seconds: uint64(m)}
	if m <= momentMax {
		value.Time = m.String()
	}
	return json.Marshal(value)
}

// leafIndex is a leaf's number, from 0.
type leafIndex uint32

func (i leafIndex) String() string { return fmt.Sprintf("leaf %d", uint32(i)) }

// entries are extensions, or the components of a dictionary: each with what it holds.
type entries []entry

type entry struct {
	code
	Value any `json:"value"`
}

// nameWidth is the column at which values begin.
const nameWidth = 30

// writeText prints a record as lines of names and values, nested ones below their name.
func (r Record) writeText(w io.Writer, indent string) {
	for _, f := range r {
		writeField(w, indent, f)
	}
}

func writeField(w io.Writer, indent string, f Field) {
	switch v := f.Value.(type) {
	case Record:
		fmt.Fprintf(w, "%s%s\n", indent, f.Name)
		v.writeText(w, indent+"  ")
	case memberList:
		v.writeText(w, indent)
	case entries:
		if len(v) == 0 {
			writeField(w, indent, Field{f.Name, "none"})
			return
		}
		fmt.Fprintf(w, "%s%s\n", indent, f.Name)
		for _, e := range v {
			writeField(w, indent+"  ", Field{e.code.String(), e.Value})
		}
	case []Record:
		if len(v) == 0 {
			writeField(w, indent, Field{f.Name, "none"})
		}
		for i, each := range v {
			fmt.Fprintf(w, "%s%s[%d]\n", indent, f.Name, i)
			each.writeText(w, indent+"  ")
		}
	case []octets:
		for i, each := range v {
			writeField(w, indent, Field{fmt.Sprintf("%s[%d]", f.Name, i), each})
		}
	default:
		fmt.Fprintf(w, "%s%-*s %s\n", indent, max(0, nameWidth-len(indent)), f.Name, inline(v))
	}
}

// inline is a value on one line.
func inline(v any) string {
	switch v := v.(type) {
	case []code:
		return list(v)
	case []string:
		return list(v)
	default:
		return fmt.Sprint(v)
	}
}

func list[T any](values []T) string {
	if len(values) == 0 {
		return "none"
	}
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, ", ")
}

// memberList is the members of a tree, one a line.
type memberList []Record

func (l memberList) writeText(w io.Writer, indent string) {
	for i, member := range l {
		if i == leavesShown {
			fmt.Fprintf(w, "%s… and %d more\n", indent, len(l)-i)
			return
		}
		fmt.Fprintf(w, "%s%-*s %s, source %s\n", indent, max(0, nameWidth-len(indent)), member[0].Value, member[1].Value, member[2].Value)
	}
}
