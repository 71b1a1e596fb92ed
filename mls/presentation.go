package mls

import (
	"encoding/binary"
	"fmt"
)

// MalformedError says which field of an encoding is wrong and why. Nothing of the input is kept in it, so it can be shown to
// the sender. It is never the answer to a well-formed message that a rule refuses.
type MalformedError struct {
	Field  string // dotted path from the outermost structure, "KeyPackage.leaf_node.lifetime"
	Reason string
}

func (e *MalformedError) Error() string { return e.Field + ": " + e.Reason }

// VectorBytesMax is the longest variable-size vector that MLS can express (RFC 9420 §2.1.2: a 30-bit length).
const VectorBytesMax = 1<<30 - 1

// Reader takes TLS presentation language apart with the variable-size vectors of RFC 9420 §2.1.2. The first error sticks:
// later reads return zero values, and Close reports it. Returned slices alias the input. It never allocates for a length
// that the input does not hold. Not safe for concurrent use.
type Reader struct {
	rest []byte
	all  []byte
	at   *place
	fail **MalformedError // shared with the readers of nested vectors
}

// place is where a Reader stands, as a chain of field names: the dotted path is put together only when something is wrong.
type place struct {
	outer   *place
	field   string
	element int    // from 1, of a vector whose elements are being counted; else 0
	inner   *place // that In has made here before, to be used again
}

func (p *place) String() string {
	name := p.field
	if p.element > 0 {
		name = fmt.Sprintf("%s[%d]", name, p.element-1)
	}
	if p.outer == nil {
		return name
	}
	return p.outer.String() + "." + name
}

// NewReader reads input, naming the structure in errors. The input must not change while anything read from it is in use.
func NewReader(structure string, input []byte) *Reader {
	return &Reader{rest: input, all: input, at: &place{field: structure}, fail: new(*MalformedError)}
}

// Fail records that a field is wrong. Only the first failure is kept.
func (r *Reader) Fail(field, reason string) {
	if *r.fail == nil {
		*r.fail = &MalformedError{Field: r.name(field), Reason: reason}
	}
	r.rest = nil
}

// Failed reports whether anything has gone wrong so far, here or in a nested vector.
func (r *Reader) Failed() bool { return *r.fail != nil }

// Err is the first failure, or nil. Unlike Close it does not object to unread bytes.
func (r *Reader) Err() error {
	if *r.fail == nil {
		return nil
	}
	return *r.fail
}

// Close ends reading: it returns the first failure, and refuses bytes that nothing has read.
func (r *Reader) Close() error {
	if *r.fail == nil && len(r.rest) > 0 {
		r.Fail("", fmt.Sprintf("%d trailing bytes", len(r.rest)))
	}
	return r.Err()
}

// More reports whether unread bytes remain and nothing has failed; it is the condition of a loop over a vector's elements.
func (r *Reader) More() bool { return *r.fail == nil && len(r.rest) > 0 }

// Offset counts the bytes read so far, for Since.
func (r *Reader) Offset() int { return len(r.all) - len(r.rest) }

// Since returns the bytes read from an earlier Offset up to now; nil after a failure.
func (r *Reader) Since(offset int) []byte {
	if r.Failed() {
		return nil
	}
	return r.all[offset:r.Offset():r.Offset()]
}

// In runs read with the field's name added to the path of errors: for a structure that stands in another.
func (r *Reader) In(field string, read func(*Reader)) {
	outer := r.at
	if outer.inner == nil {
		outer.inner = &place{outer: outer}
	}
	r.at = outer.inner
	r.at.field, r.at.element = field, 0
	read(r)
	r.at = outer
}

// Fixed reads n bytes.
func (r *Reader) Fixed(field string, n int) []byte {
	if r.Failed() {
		return nil
	}
	if len(r.rest) < n {
		r.Fail(field, fmt.Sprintf("needs %d bytes, %d left", n, len(r.rest)))
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *Reader) Uint8(field string) uint8 {
	if b := r.Fixed(field, 1); b != nil {
		return b[0]
	}
	return 0
}

func (r *Reader) Uint16(field string) uint16 {
	if b := r.Fixed(field, 2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *Reader) Uint32(field string) uint32 {
	if b := r.Fixed(field, 4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *Reader) Uint64(field string) uint64 {
	if b := r.Fixed(field, 8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Optional reads the presence octet of optional<T> (RFC 9420 §2.1.1).
func (r *Reader) Optional(field string) bool { return r.Bool(field) }

// Bool reads an octet that must be 0 or 1.
func (r *Reader) Bool(field string) bool {
	switch v := r.Uint8(field); v {
	case 0:
		return false
	case 1:
		return true
	default:
		r.Fail(field, fmt.Sprintf("presence octet is %d, not 0 or 1", v))
		return false
	}
}

// Opaque reads opaque<V>. An empty vector is an empty, non-nil slice.
func (r *Reader) Opaque(field string) []byte {
	n := r.length(field)
	if r.Failed() {
		return nil
	}
	return r.Fixed(field, n)
}

// Vector reads the length of T<V> and returns a reader of its elements, which shares this reader's failure. Read it while
// More, and do not Close it.
func (r *Reader) Vector(field string) *Reader { return r.inside(field, r.Opaque(field)) }

// inside is a reader of the elements of a vector that has been read.
func (r *Reader) inside(field string, b []byte) *Reader {
	at := r.at
	if field != "" {
		at = &place{outer: at, field: field}
	}
	return &Reader{rest: b, all: b, at: at, fail: r.fail}
}

// length reads a variable-size vector length: one, two or four bytes, in the shortest form (RFC 9420 §2.1.2).
func (r *Reader) length(field string) int {
	first := r.Uint8(field)
	size := 1 << (first >> 6)
	if size == 8 {
		r.Fail(field, "vector length prefix 11 is invalid")
		return 0
	}
	n := int(first & 0x3f)
	for _, b := range r.Fixed(field, size-1) {
		n = n<<8 | int(b)
	}
	if (size == 2 && n < 1<<6) || (size == 4 && n < 1<<14) {
		r.Fail(field, "vector length is not in its shortest form")
		return 0
	}
	return n
}

func (r *Reader) name(field string) string {
	if field == "" {
		return r.at.String()
	}
	return r.at.String() + "." + field
}

// Writer builds TLS presentation language; the zero value is ready. Not safe for concurrent use.
type Writer struct{ buf []byte }

// newWriter makes a Writer for about so many bytes.
func newWriter(size int) *Writer { return &Writer{buf: make([]byte, 0, size)} }

// Bytes returns what has been written; it aliases the Writer.
func (w *Writer) Bytes() []byte { return w.buf }

func (w *Writer) Uint8(v uint8)   { w.buf = append(w.buf, v) }
func (w *Writer) Uint16(v uint16) { w.buf = binary.BigEndian.AppendUint16(w.buf, v) }
func (w *Writer) Uint32(v uint32) { w.buf = binary.BigEndian.AppendUint32(w.buf, v) }
func (w *Writer) Uint64(v uint64) { w.buf = binary.BigEndian.AppendUint64(w.buf, v) }

// Fixed appends bytes that carry no length.
func (w *Writer) Fixed(b []byte) { w.buf = append(w.buf, b...) }

// Bool appends 1 or 0; it also writes the presence octet of optional<T>.
func (w *Writer) Bool(v bool) {
	if v {
		w.Uint8(1)
	} else {
		w.Uint8(0)
	}
}

// Opaque appends opaque<V>. It panics past VectorBytesMax, which no caller that bounds its input can reach.
func (w *Writer) Opaque(b []byte) {
	w.length(len(b))
	w.Fixed(b)
}

// Vector appends T<V> with the elements that write appends. They are written in place and moved behind their length.
func (w *Writer) Vector(write func(*Writer)) {
	start := len(w.buf)
	write(w)
	end := len(w.buf)
	w.length(end - start)
	var header [4]byte
	n := copy(header[:], w.buf[end:])
	copy(w.buf[start+n:], w.buf[start:end])
	copy(w.buf[start:], header[:n])
}

func (w *Writer) length(n int) {
	switch {
	case n < 1<<6:
		w.Uint8(uint8(n))
	case n < 1<<14:
		w.Uint16(1<<14 | uint16(n))
	case n <= VectorBytesMax:
		w.Uint32(2<<30 | uint32(n))
	default:
		panic(fmt.Sprintf("mls: a vector of %d bytes cannot be encoded", n))
	}
}
