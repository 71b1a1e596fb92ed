package mls

import (
	"encoding/binary"
	"fmt"
)

// Every structure of this package has one encoding: lengths must be in their shortest form, presence octets 0 or 1, and
// nothing may trail. So Marshal of what was parsed gives back the parsed bytes, and hashes and signatures are computed over
// the re-encoding. Parsed structures alias their input.

// appender is what every wire structure can do.
type appender interface{ AppendTo(w *Writer) }

// Parse reads the whole of input as one structure; structure names it in errors. The error is a *MalformedError.
func Parse[T any](structure string, input []byte, read func(*Reader) T) (T, error) {
	r := NewReader(structure, input)
	v := read(r)
	if err := r.Close(); err != nil {
		var none T
		return none, err
	}
	return v, nil
}

// ReadIn reads a structure that stands in another, under its field's name.
func ReadIn[T any](r *Reader, field string, read func(*Reader) T) (v T) {
	r.In(field, func(r *Reader) { v = read(r) })
	return v
}

// ReadOptional reads optional<T>: nil where it is absent.
func ReadOptional[T any](r *Reader, field string, read func(*Reader) T) *T {
	if !r.Optional(field) {
		return nil
	}
	v := ReadIn(r, field, read)
	return &v
}

// ReadList reads T<V>, naming its elements field[0], field[1] and so on in errors. The list grows with the elements that
// the input really holds.
func ReadList[T any](r *Reader, field string, read func(*Reader) T) []T {
	b := r.Opaque(field)
	if len(b) == 0 {
		return nil
	}
	var list []T
	v := r.inside(field, b)
	v.at = &place{outer: v.at.outer, field: v.at.field}
	for v.More() {
		v.at.element++
		list = append(list, read(v))
	}
	return list
}

// AppendList appends T<V>.
func AppendList[T appender](w *Writer, list []T) {
	w.Vector(func(w *Writer) {
		for _, v := range list {
			v.AppendTo(w)
		}
	})
}

// marshal is the body of every Marshal method.
func marshal(v appender) []byte {
	var w Writer
	v.AppendTo(&w)
	return w.Bytes()
}

// readCodes reads a vector of 16-bit code points. It is ReadList for what leaves have most of, and allocates the list alone.
func readCodes[T ~uint16](r *Reader, field string) []T {
	b := r.Opaque(field)
	switch {
	case len(b)%2 != 0:
		r.Fail(field, fmt.Sprintf("%d bytes are no list of 16-bit numbers", len(b)))
		return nil
	case len(b) == 0:
		return nil
	}
	list := make([]T, len(b)/2)
	for i := range list {
		list[i] = T(binary.BigEndian.Uint16(b[2*i:]))
	}
	return list
}

// appendCodes appends a vector of 16-bit code points.
func appendCodes[T ~uint16](w *Writer, codes []T) {
	w.length(2 * len(codes))
	for _, c := range codes {
		w.Uint16(uint16(c))
	}
}

// readVersion reads a ProtocolVersion that must be mls10.
func readVersion(r *Reader, field string) {
	if v := Version(r.Uint16(field)); !r.Failed() && v != MLS10 {
		r.Fail(field, fmt.Sprintf("protocol version %d is not mls10", v))
	}
}
