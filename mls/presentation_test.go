package mls

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// TestVectorLengths is RFC 9420 §2.1.2: the shortest form alone, and no prefix of 11.
func TestVectorLengths(t *testing.T) {
	for _, c := range []struct {
		header []byte
		length int
		reason string
	}{
		{[]byte{0x00}, 0, ""},
		{[]byte{0x3f}, 63, ""},
		{[]byte{0x40, 0x40}, 64, ""},
		{[]byte{0x7f, 0xff}, 1<<14 - 1, ""},
		{[]byte{0x80, 0x00, 0x40, 0x00}, 1 << 14, ""},
		{[]byte{0xbf, 0xff, 0xff, 0xff}, VectorBytesMax, ""},
		{[]byte{0x40, 0x3f}, 0, "vector length is not in its shortest form"},
		{[]byte{0x80, 0x00, 0x3f, 0xff}, 0, "vector length is not in its shortest form"},
		{[]byte{0xc0, 0, 0, 0, 0, 0, 0x40, 0}, 0, "vector length prefix 11 is invalid"},
		{[]byte{0x40}, 0, "needs 1 bytes, 0 left"},
		{[]byte{0x80, 0x00}, 0, "needs 3 bytes, 1 left"},
		{nil, 0, "needs 1 bytes, 0 left"},
	} {
		r := NewReader("x", c.header)
		n := r.length("")
		var malformed *MalformedError
		switch err := r.Err(); {
		case c.reason == "" && (err != nil || n != c.length):
			t.Errorf("%x reads as %d (%v), want %d", c.header, n, err, c.length)
		case c.reason != "" && (!errors.As(err, &malformed) || malformed.Reason != c.reason):
			t.Errorf("%x gives %v, want %q", c.header, err, c.reason)
		}
	}
}

func TestWriterRefusesWhatCannotBeEncoded(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a vector of 2^30 bytes is written")
		}
	}()
	var w Writer
	w.length(VectorBytesMax + 1)
}

// TestReaderSticks sees the first failure kept, later reads return nothing, and a nested failure reach the outer reader.
func TestReaderSticks(t *testing.T) {
	r := NewReader("Outer", []byte{3, 0, 1, 9, 7, 7})
	v := r.Vector("list")
	v.Uint16("first")
	v.Bool("second")
	if !r.Failed() || r.More() || r.Uint8("later") != 0 || r.Opaque("later") != nil || r.Since(0) != nil {
		t.Error("the outer reader goes on after a failure in a vector")
	}
	r.Fail("again", "another reason")
	if err := r.Close(); err == nil || err.Error() != "Outer.list.second: presence octet is 9, not 0 or 1" {
		t.Errorf("the error is %v", err)
	}
}

func TestReaderPaths(t *testing.T) {
	r := NewReader("Outer", []byte{4, 0, 1, 0, 2})
	ReadIn(r, "inner", func(r *Reader) []uint8 {
		return ReadList(r, "list", func(r *Reader) uint8 {
			v := r.Uint16("n")
			if v == 2 {
				r.Fail("n", "is two")
			}
			return uint8(v)
		})
	})
	if err := r.Err(); err == nil || err.Error() != "Outer.inner.list[1].n: is two" {
		t.Errorf("the error is %v", err)
	}
	r = NewReader("Outer", []byte{1, 2})
	r.Uint8("n")
	if err := r.Close(); err == nil || err.Error() != "Outer: 1 trailing bytes" {
		t.Errorf("the error is %v", err)
	}
}

func TestOffsetAndSince(t *testing.T) {
	r := NewReader("x", []byte{1, 2, 3, 4})
	r.Uint8("")
	start := r.Offset()
	r.Uint16("")
	if got := r.Since(start); !bytes.Equal(got, []byte{2, 3}) || cap(got) != 2 {
		t.Errorf("since %d is %v with capacity %d", start, got, cap(got))
	}
}

// TestPrimitivesRoundTrip writes a random sequence of fields and reads it back.
func TestPrimitivesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w Writer
		var checks []func(*Reader) bool
		for range rapid.IntRange(0, 20).Draw(t, "fields") {
			v := rapid.Uint64().Draw(t, "value")
			b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")
			switch rapid.IntRange(0, 6).Draw(t, "kind") {
			case 0:
				w.Uint8(uint8(v))
				checks = append(checks, func(r *Reader) bool { return r.Uint8("f") == uint8(v) })
			case 1:
				w.Uint16(uint16(v))
				checks = append(checks, func(r *Reader) bool { return r.Uint16("f") == uint16(v) })
			case 2:
				w.Uint32(uint32(v))
				checks = append(checks, func(r *Reader) bool { return r.Uint32("f") == uint32(v) })
			case 3:
				w.Uint64(v)
				checks = append(checks, func(r *Reader) bool { return r.Uint64("f") == v })
			case 4:
				w.Bool(v&1 == 1)
				checks = append(checks, func(r *Reader) bool { return r.Optional("f") == (v&1 == 1) })
			case 5:
				w.Opaque(b)
				checks = append(checks, func(r *Reader) bool { got := r.Opaque("f"); return got != nil && bytes.Equal(got, b) })
			case 6:
				w.Vector(func(w *Writer) { w.Fixed(b) })
				checks = append(checks, func(r *Reader) bool { return bytes.Equal(r.Vector("f").Fixed("g", len(b)), b) })
			}
		}
		r := NewReader("x", w.Bytes())
		for i, check := range checks {
			if !check(r) {
				t.Fatalf("field %d differs (%v)", i, r.Err())
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzReader drives a Reader by the input's own bytes: it must neither panic nor read past the end.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, []byte{5, 0x40, 0x41, 3})
	f.Fuzz(func(t *testing.T, program, input []byte) {
		r := NewReader("x", input)
		for _, op := range program {
			switch op % 8 {
			case 0:
				r.Uint8("a")
			case 1:
				r.Uint16("a")
			case 2:
				r.Uint32("a")
			case 3:
				r.Uint64("a")
			case 4:
				r.Bool("a")
			case 5:
				r.Opaque("a")
			case 6:
				ReadList(r, "list", func(r *Reader) uint8 { return r.Uint8("a") })
			case 7:
				r.Fixed("a", int(op))
			}
			if r.Offset() < 0 || r.Offset() > len(input) {
				t.Fatalf("offset %d of %d", r.Offset(), len(input))
			}
		}
		if err := r.Close(); (err == nil) != (!r.Failed() && r.Offset() == len(input)) {
			t.Errorf("closes with %v at %d of %d", err, r.Offset(), len(input))
		}
	})
}
