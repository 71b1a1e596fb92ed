package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

func recordStore(t *testing.T, count int) *fsmtest.Store {
	t.Helper()
	store := fsmtest.NewStore()
	for i := range count {
		if err := store.Set(fmt.Appendf(nil, "key %03d", i), bytes.Repeat([]byte{byte(i)}, i)); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

// Wherever a state is cut, the parts hold each record once, and their sum is the whole's.
func TestRangesPartition(t *testing.T) {
	store := recordStore(t, 20)
	want, err := fsm.Digest(store)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []string{"key", "key 000", "key 0005", "key 010", "key 019", "z"} {
		total := fsm.NewSummer()
		add := func(key, value []byte) error { total.Add(key, value); return nil }
		if err := errors.Join(fsm.ScanRange(store, nil, []byte(cut), add), fsm.ScanRange(store, []byte(cut), nil, add)); err != nil {
			t.Fatal(err)
		}
		if sum := total.Sum(); sum.Digest != want || sum.Count != 20 {
			t.Errorf("cut at %q: %d records with digest %x, not %x", cut, sum.Count, sum.Digest, want)
		}
	}
}

func TestRecordsReadBack(t *testing.T) {
	store := recordStore(t, 20)
	var raw bytes.Buffer
	err := fsm.ScanRange(store, nil, nil, func(key, value []byte) error { return fsm.WriteRecord(&raw, key, value) })
	if err := errors.Join(err, fsm.WriteRecordsEnd(&raw)); err != nil {
		t.Fatal(err)
	}
	in, total := fsm.NewRecordReader(bytes.NewReader(raw.Bytes()), 16), fsm.NewSummer()
	for {
		key, value, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		if key == nil {
			break
		}
		total.Add(key, value)
	}
	if want, err := fsm.Digest(store); err != nil || total.Sum().Digest != want {
		t.Errorf("read back as %x, not %x, %v", total.Sum().Digest, want, err)
	}
	for cut := range raw.Len() {
		in := fsm.NewRecordReader(bytes.NewReader(raw.Bytes()[:cut]), 16)
		for {
			key, _, err := in.Next()
			if err != nil {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				break
			}
			if key == nil {
				t.Fatalf("cut at %d: no error", cut)
			}
		}
	}
}

// A length that is not followed by as much must not be taken from memory.
func TestRecordLengthsAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"a key of 4 GiB":    {[]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, fsm.ErrSnapshot},
		"a value of 4 GiB":  {[]byte{0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}, fsm.ErrSnapshot},
		"a value cut short": {[]byte{0, 0, 0, 1, 0x3f, 0xff, 0xff, 0xff, 'k', 'v'}, io.ErrUnexpectedEOF},
	} {
		allocated := testing.AllocsPerRun(1, func() {
			if _, _, err := fsm.NewRecordReader(bytes.NewReader(c.raw), 16).Next(); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if allocated > 20 {
			t.Errorf("%s: %v allocations", name, allocated)
		}
	}
}
