package fsm_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// A vector that is empty and one that is not there are the same on the wire, but for a tree's node.
var equalValues = cmp.Options{
	cmpopts.EquateComparable(mimi.Provider{}, mimi.RoomURI{}, mimi.UserURI{}, mimi.ClientURI{}),
	cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() != ".Node" }, cmpopts.EquateEmpty()),
}

func TestCommandsRoundTrip(t *testing.T) {
	kinds := map[reflect.Type]bool{}
	var entry fsm.Entry
	for _, sample := range sampleCommands() {
		kinds[reflect.TypeOf(sample.value)] = true
		entry.Commands = append(entry.Commands, sample.value)
		encoded := fsm.EncodeCommand(sample.value)
		back, err := fsm.DecodeCommand(encoded)
		if diff := cmp.Diff(sample.value, back, equalValues); err != nil || diff != "" {
			t.Errorf("%s came back otherwise: %v\n%s", sample.name, err, diff)
		}
		refusesDamage(t, sample.name, encoded, func(b []byte) error { _, err := fsm.DecodeCommand(b); return err })
	}
	known := countKnown(func(b []byte) bool {
		unknown := (*fsm.UnknownCommandError)(nil)
		_, err := fsm.DecodeCommand(b)
		return !errors.As(err, &unknown)
	})
	if len(kinds) != known {
		t.Errorf("%d of %d commands are sampled", len(kinds), known)
	}
	back, err := fsm.DecodeEntry(fsm.EncodeEntry(entry))
	if diff := cmp.Diff(entry, back, equalValues); err != nil || diff != "" {
		t.Errorf("the entry came back otherwise: %v\n%s", err, diff)
	}
}

func TestOutcomesRoundTrip(t *testing.T) {
	kinds := map[reflect.Type]bool{}
	for _, sample := range sampleOutcomes() {
		kinds[reflect.TypeOf(sample.value)] = true
		encoded := fsm.EncodeOutcome(sample.value)
		back, err := fsm.DecodeOutcome(encoded)
		if diff := cmp.Diff(sample.value, back, equalValues); err != nil || diff != "" {
			t.Errorf("%s came back otherwise: %v\n%s", sample.name, err, diff)
		}
		refusesDamage(t, sample.name, encoded, func(b []byte) error { _, err := fsm.DecodeOutcome(b); return err })
	}
	known := countKnown(func(b []byte) bool {
		_, err := fsm.DecodeOutcome(b)
		return err == nil || !strings.Contains(err.Error(), "is not known to this program")
	})
	if len(kinds) != known {
		t.Errorf("%d of %d outcomes are sampled", len(kinds), known)
	}
}

// countKnown counts the numbers that have a reader.
func countKnown(decodes func(encoded []byte) bool) int {
	known := 0
	for kind := range 1000 {
		if decodes([]byte{1, byte(kind >> 8), byte(kind)}) {
			known++
		}
	}
	return known
}

// refusesDamage cuts an encoding at each place and adds to it, and gives it versions that are not known.
func refusesDamage(t *testing.T, name string, encoded []byte, decode func([]byte) error) {
	t.Helper()
	for n := range encoded {
		if decode(encoded[:n]) == nil {
			t.Errorf("%s: %d of %d bytes were taken", name, n, len(encoded))
		}
	}
	if decode(append(bytes.Clone(encoded), 0)) == nil {
		t.Errorf("%s: a trailing byte was taken", name)
	}
	for _, version := range []byte{0, 1, 2, 3, 255} {
		if version == encoded[0] {
			continue
		}
		other := bytes.Clone(encoded)
		other[0] = version
		if decode(other) == nil {
			t.Errorf("%s: version %d was taken", name, version)
		}
	}
}

const pinnedPath = "testdata/encodings.pinned"

// What is in a log once has to be read for ever: the bytes of version 1 are pinned. A change here needs a new version, and the
// pinned line stays.
func TestEncodingsArePinned(t *testing.T) {
	var now strings.Builder
	for _, s := range sampleCommands() {
		fmt.Fprintf(&now, "command %s: %s\n", s.name, hex.EncodeToString(fsm.EncodeCommand(s.value)))
	}
	for _, s := range sampleOutcomes() {
		fmt.Fprintf(&now, "outcome %s: %s\n", s.name, hex.EncodeToString(fsm.EncodeOutcome(s.value)))
	}
	fmt.Fprintf(&now, "entry: %s\n", hex.EncodeToString(fsm.EncodeEntry(fsm.Entry{StampMillis: 7, Commands: []fsm.Command{fsm.Fence{}, fsm.Sweep{Max: 1}}})))
	fmt.Fprintf(&now, "settings: %s\n", hex.EncodeToString(fsm.EncodeSettings(firstSettings(hub))))
	fmt.Fprintf(&now, "settings, with a format: %s\n", hex.EncodeToString(fsm.EncodeSettings(secondSettings(hub))))
	fmt.Fprintf(&now, "settings, of exclusive resources: %s\n", hex.EncodeToString(fsm.EncodeSettings(thirdSettings(hub))))
	fmt.Fprintf(&now, "settings, of bulk: %s\n", hex.EncodeToString(fsm.EncodeSettings(fourthSettings(hub))))
	if *rewrite {
		check(t, os.WriteFile(pinnedPath, []byte(now.String()), 0o644))
		return
	}
	pinned, err := os.ReadFile(pinnedPath)
	check(t, err)
	if diff := cmp.Diff(string(pinned), now.String()); diff != "" {
		t.Errorf("encodings changed:\n%s", diff)
	}
}

// An unknown command stops the replica and says which, and an entry that cannot be read is not applied in part.
func TestUnreadableEntry(t *testing.T) {
	var w mls.Writer
	w.Uint8(1)
	w.Uint64(1000)
	w.Vector(func(w *mls.Writer) {
		w.Opaque(fsm.EncodeCommand(fsm.OwnSlots{Shard: 1, Last: 1}))
		w.Opaque([]byte{1, 0x7f, 0xff, 's', 'e', 'c', 'r', 'e', 't'})
	})
	store := fsmtest.NewStore()
	_, err := fsm.Apply(store, 42, w.Bytes())
	unknown := (*fsm.UnknownCommandError)(nil)
	if !errors.As(err, &unknown) || unknown.Kind != 0x7fff || unknown.Index != 42 || !strings.Contains(err.Error(), "42") {
		t.Errorf("an unknown command gave %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells what the command holds: %v", err)
	}
	malformed := (*mls.MalformedError)(nil)
	if _, err := fsm.Apply(store, 43, []byte{1, 2, 3}); !errors.As(err, &malformed) {
		t.Errorf("a short entry gave %v", err)
	}
	if store.Len() != 0 {
		t.Errorf("%d keys were written by entries that cannot be read", store.Len())
	}
}

// A store that fails makes Apply fail with its error, wherever it fails.
func TestStoreFaults(t *testing.T) {
	entry := fsm.EncodeEntry(realEntry())
	broken := errors.New("disk on fire")
	for calls := 0; ; calls++ {
		store := &faultyStore{Store: fsmtest.NewStore(), left: calls, err: broken}
		result, err := fsm.Apply(store, 1, entry)
		if err == nil {
			if _, accepted := result.Outcomes[len(result.Outcomes)-1].(fsm.Accepted); !accepted || calls < 40 {
				t.Errorf("the entry ended in %v after %d calls to the store: the test does not reach far", result.Outcomes, calls)
			}
			return
		}
		if !errors.Is(err, broken) {
			t.Fatalf("call %d failed and Apply said %v", calls, err)
		}
	}
}

type faultyStore struct {
	*fsmtest.Store
	left int
	err  error
}

func (s *faultyStore) fault() error {
	if s.left--; s.left < 0 {
		return s.err
	}
	return nil
}

func (s *faultyStore) Get(key []byte) ([]byte, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Store.Get(key)
}

func (s *faultyStore) Scan(lower, upper []byte, visit func(key, value []byte) (bool, error)) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Store.Scan(lower, upper, visit)
}

func (s *faultyStore) Set(key, value []byte) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Store.Set(key, value)
}

func (s *faultyStore) Delete(key []byte) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Store.Delete(key)
}

func (s *faultyStore) DeleteRange(lower, upper []byte) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Store.DeleteRange(lower, upper)
}

func FuzzDecodeCommand(f *testing.F) {
	for _, s := range sampleCommands() {
		f.Add(fsm.EncodeCommand(s.value))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := fsm.DecodeCommand(in)
		if err != nil {
			return
		}
		// A URI has several spellings and one canonical form, so what was read twice is what has to be the same.
		canonical := fsm.EncodeCommand(c)
		again, err := fsm.DecodeCommand(canonical)
		if err != nil || !bytes.Equal(fsm.EncodeCommand(again), canonical) {
			t.Fatalf("%x is not stable: %v", canonical, err)
		}
	})
}

func FuzzDecodeOutcome(f *testing.F) {
	for _, s := range sampleOutcomes() {
		f.Add(fsm.EncodeOutcome(s.value))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		o, err := fsm.DecodeOutcome(in)
		if err != nil {
			return
		}
		canonical := fsm.EncodeOutcome(o)
		again, err := fsm.DecodeOutcome(canonical)
		if err != nil || !bytes.Equal(fsm.EncodeOutcome(again), canonical) {
			t.Fatalf("%x is not stable: %v", canonical, err)
		}
	})
}

// Whatever an entry holds, apply neither panics nor leaves a state that contradicts itself, and two replicas agree on it.
func FuzzApply(f *testing.F) {
	birth := fsm.Entry{StampMillis: 1, Commands: realEntry().Commands[:2]}
	f.Add(fsm.EncodeEntry(realEntry()))
	for _, s := range sampleCommands() {
		f.Add(fsm.EncodeEntry(fsm.Entry{StampMillis: 1, Commands: append(birth.Commands, s.value)}))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		a, b := fsmtest.NewStore(), fsmtest.NewStore()
		for _, store := range []*fsmtest.Store{a, b} {
			_, err := fsm.Apply(store, 1, bytes.Clone(in))
			if err != nil {
				return
			}
		}
		if digest(t, a) != digest(t, b) {
			t.Fatal("two replicas differ")
		}
		// Everything again meets the state that it left.
		second := fsm.Entry{StampMillis: 2}
		if entry, err := fsm.DecodeEntry(in); err == nil {
			second.Commands = entry.Commands
		}
		apply(t, a, 2, fsm.EncodeEntry(second))
	})
}
