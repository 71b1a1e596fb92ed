package inspect

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"parley/mls"
)

// object is something decoded: a *mls.PublicMessage, *PrivateMessage, *Welcome, *GroupInfo, *KeyPackage, *GroupContext or
// *RatchetTree, and in which of the forms it stood.
type object struct {
	form  form
	value any
}

// form is a structure that a file can hold. There are five, and a file is taken for the first that reads all of its bytes.
type form struct {
	name    string // as it is in errors
	section string // that defines it
	parse   func([]byte) (any, error)
}

var forms = []form{
	{"MLSMessage", "RFC 9420 §6", func(b []byte) (any, error) {
		m, err := mls.ParseMLSMessage(b)
		return m.Body, err
	}},
	{"GroupInfo", "RFC 9420 §12.4.3", parsed(mls.ParseGroupInfo)},
	{"KeyPackage", "RFC 9420 §10", parsed(mls.ParseKeyPackage)},
	{"GroupContext", "RFC 9420 §8.1", parsed(mls.ParseGroupContext)},
	{"ratchet_tree", "RFC 9420 §12.4.3.3", func(b []byte) (any, error) { return mls.ParseRatchetTree(b) }},
}

func parsed[T any](parse func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) {
		v, err := parse(b)
		return &v, err
	}
}

// encoding is how a file writes its bytes.
type encoding struct {
	name   string
	decode func([]byte) ([]byte, bool)
}

// encodings are tried in this order. Hexadecimal digits are base64 as well, so they come before it.
var encodings = []encoding{
	{"raw bytes", func(b []byte) ([]byte, bool) { return b, true }},
	{"hexadecimal", decodeHex},
	{"base64", decodeBase64},
}

func decodeHex(b []byte) ([]byte, bool) {
	digits := strings.TrimPrefix(withoutSpace(b), "0x")
	out, err := hex.DecodeString(digits)
	return out, err == nil && len(out) > 0
}

// decodeBase64 takes the usual alphabet and that of URLs, with padding and without.
func decodeBase64(b []byte) ([]byte, bool) {
	digits := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(withoutSpace(b), "="))
	out, err := base64.RawStdEncoding.Strict().DecodeString(digits)
	return out, err == nil && len(out) > 0
}

func withoutSpace(b []byte) string {
	return string(bytes.Join(bytes.Fields(b), nil))
}

// decoded is a file's content: objects is not empty, and the first of it counts; or nothing can be read and problems says why
// for each form.
type decoded struct {
	encoding string
	bytes    int
	objects  []object
	problems []Problem
}

// decode finds out what a file holds. If no form reads it in any encoding, the problems are those of the bytes that it most
// likely stands for: what its text decodes to, or the raw bytes.
func decode(content []byte) decoded {
	var likely decoded
	for _, e := range encodings {
		b, ok := e.decode(content)
		if !ok {
			continue
		}
		d := decoded{encoding: e.name, bytes: len(b)}
		for _, f := range forms {
			v, err := f.parse(b)
			if err != nil {
				d.problems = append(d.problems, problemOf(err, f.section))
				continue
			}
			d.objects = append(d.objects, object{f, v})
		}
		if len(d.objects) > 0 {
			d.problems = nil
			return d
		}
		if likely.encoding == "" || likely.encoding == encodings[0].name {
			likely = d
			likely.problems = sortProblems(b, d.problems)
		}
	}
	return likely
}

// sortProblems puts the form first that the bytes begin like: protocol version and wire format are of an MLSMessage, a version
// and anything else of a bare structure, and no version of a ratchet tree, which begins with its length.
func sortProblems(b []byte, problems []Problem) []Problem {
	first := "ratchet_tree"
	if len(b) >= 2 && b[0] == 0 && b[1] == 1 {
		first = "KeyPackage"
		if len(b) < 4 || b[2] == 0 && mls.WireFormat(b[3]) >= mls.WirePublicMessage && mls.WireFormat(b[3]) <= mls.WireKeyPackage {
			first = "MLSMessage"
		}
	}
	out := slices.Clone(problems)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return rank(a, first) - rank(b, first)
	})
	return out
}

func rank(p Problem, first string) int {
	if strings.HasPrefix(p.Field, first) {
		return 0
	}
	return 1
}

// kind names what an object is.
func (o object) kind() string {
	switch o.value.(type) {
	case *mls.PublicMessage:
		return "PublicMessage"
	case *mls.PrivateMessage:
		return "PrivateMessage"
	case *mls.Welcome:
		return "Welcome"
	case *mls.GroupInfo:
		return "GroupInfo"
	case *mls.KeyPackage:
		return "KeyPackage"
	case *mls.GroupContext:
		return "GroupContext"
	case *mls.RatchetTree:
		return "ratchet_tree"
	default:
		panic(fmt.Sprintf("inspect: a %T was decoded", o.value))
	}
}
