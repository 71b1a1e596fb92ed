package mimi

import (
	"fmt"
	"unicode/utf8"

	"parley/mls"
)

// Protocol is the end-to-end protocol of a room (mimi-protocol-06 §5). Only MLS 1.0 exists.
//
//	enum { reserved(0), mls10(1), (255) } Protocol;
type Protocol uint8

const ProtocolMLS10 Protocol = 1

func (p Protocol) String() string { return enumName(uint8(p), "Protocol", "reserved", "mls10") }

// readProtocol reads a Protocol that must be mls10: what follows it is unknown for any other.
func readProtocol(r *mls.Reader, field string) {
	if p := Protocol(r.Uint8(field)); !r.Failed() && p != ProtocolMLS10 {
		r.Fail(field, fmt.Sprintf("protocol %d is not mls10", uint8(p)))
	}
}

func appendProtocol(w *mls.Writer) { w.Uint8(uint8(ProtocolMLS10)) }

// readText reads the drafts' `string`: opaque<V> in UTF-8 without null characters.
func readText(r *mls.Reader, field string) string {
	text := r.Opaque(field)
	if !utf8.Valid(text) {
		r.Fail(field, "it is not UTF-8")
		return ""
	}
	for _, c := range text {
		if c == 0 {
			r.Fail(field, "it holds a null character")
			return ""
		}
	}
	return string(text)
}

// appendText writes text as valid UTF-8 without nulls, replacing what is not.
func appendText(w *mls.Writer, text string) {
	var out []byte
	for _, c := range text {
		if c == 0 {
			c = utf8.RuneError
		}
		out = utf8.AppendRune(out, c)
	}
	w.Opaque(out)
}

// marshal is the body of every Marshal method.
func marshal(v interface{ AppendTo(w *mls.Writer) }) []byte {
	var w mls.Writer
	v.AppendTo(&w)
	return w.Bytes()
}

// failEnum refuses a value that the drafts do not define: what it selects cannot be read.
func failEnum(r *mls.Reader, field string, value uint8) {
	if !r.Failed() {
		r.Fail(field, fmt.Sprintf("value %d is not defined", value))
	}
}

// enumName names a value of an enum whose values count from 0.
func enumName(value uint8, enum string, names ...string) string {
	if int(value) < len(names) {
		return names[value]
	}
	return fmt.Sprintf("%s(%d)", enum, value)
}

func readSuites(r *mls.Reader, field string) []mls.CipherSuite {
	return mls.ReadList(r, field, func(r *mls.Reader) mls.CipherSuite { return mls.CipherSuite(r.Uint16("")) })
}

func appendSuites(w *mls.Writer, suites []mls.CipherSuite) {
	w.Vector(func(w *mls.Writer) {
		for _, s := range suites {
			w.Uint16(uint16(s))
		}
	})
}

func readUint32s(r *mls.Reader, field string) []uint32 {
	return mls.ReadList(r, field, func(r *mls.Reader) uint32 { return r.Uint32("") })
}

func appendUint32s(w *mls.Writer, values []uint32) {
	w.Vector(func(w *mls.Writer) {
		for _, v := range values {
			w.Uint32(v)
		}
	})
}
