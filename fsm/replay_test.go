package fsm_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eachLog runs a test on the log of each transcript.
func eachLog(t *testing.T, run func(t *testing.T, entries [][]byte)) {
	for _, path := range transcripts(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			_, entries := play(t, readTranscript(t, path))
			run(t, entries)
		})
	}
}

func apply(t *testing.T, store fsm.Store, index int, entry []byte) (outcomes [][]byte) {
	t.Helper()
	result, err := fsm.Apply(store, uint64(index), slices.Clone(entry))
	check(t, err)
	for _, o := range result.Outcomes {
		outcomes = append(outcomes, fsm.EncodeOutcome(o))
	}
	return outcomes
}

func digest(t *testing.T, r fsm.Reader) [32]byte {
	t.Helper()
	sum, err := fsm.Digest(r)
	check(t, err)
	return sum
}

// digests are those after each entry, and the outcomes.
func run(t *testing.T, entries [][]byte) (digests [][32]byte, outcomes [][][]byte) {
	t.Helper()
	store := fsmtest.NewStore()
	for i, e := range entries {
		outcomes = append(outcomes, apply(t, store, i+1, e))
		digests = append(digests, digest(t, store))
	}
	return digests, outcomes
}

// Two replicas that apply the same log agree after every entry.
func TestReplicasAgree(t *testing.T) {
	eachLog(t, func(t *testing.T, entries [][]byte) {
		digests, outcomes := run(t, entries)
		again, outcomesAgain := run(t, entries)
		if !slices.Equal(digests, again) {
			t.Error("two replicas differ")
		}
		for i := range outcomes {
			if !slices.EqualFunc(outcomes[i], outcomesAgain[i], bytes.Equal) {
				t.Errorf("entry %d came to different outcomes", i+1)
			}
		}
		if len(digests) > 1 && digests[0] == digests[len(digests)-1] {
			t.Error("the digest does not show that anything changed")
		}
	})
}

// Wherever a batch of entries ends, and the store with it becomes another object, the results are the same.
func TestBatchesDoNotMatter(t *testing.T) {
	eachLog(t, func(t *testing.T, entries [][]byte) {
		digests, outcomes := run(t, entries)
		for _, size := range []int{1, 2, 3, len(entries)} {
			store := fsmtest.NewStore()
			for first := 0; first < len(entries); first += size {
				batch := store.Clone()
				for i := first; i < min(first+size, len(entries)); i++ {
					if got := apply(t, batch, i+1, entries[i]); !slices.EqualFunc(got, outcomes[i], bytes.Equal) {
						t.Fatalf("entry %d came to another outcome in batches of %d", i+1, size)
					}
				}
				store = batch
			}
			if digest(t, store) != digests[len(digests)-1] {
				t.Errorf("batches of %d come to another state", size)
			}
		}
	})
}

// A replica that begins with a snapshot of any index goes on like the others.
func TestSnapshotAtEveryIndex(t *testing.T) {
	eachLog(t, func(t *testing.T, entries [][]byte) {
		digests, outcomes := run(t, entries)
		store := fsmtest.NewStore()
		for at := range entries {
			apply(t, store, at+1, entries[at])
			restored := restore(t, snapshot(t, store))
			if digest(t, restored) != digests[at] {
				t.Fatalf("the snapshot of index %d is not its state", at+1)
			}
			for i := at + 1; i < len(entries); i++ {
				if got := apply(t, restored, i+1, entries[i]); !slices.EqualFunc(got, outcomes[i], bytes.Equal) {
					t.Fatalf("from the snapshot of index %d on, entry %d comes to another outcome", at+1, i+1)
				}
			}
			if digest(t, restored) != digests[len(digests)-1] {
				t.Fatalf("the replica from the snapshot of index %d ends in another state", at+1)
			}
		}
	})
}

func snapshot(t *testing.T, r fsm.Reader) []byte {
	t.Helper()
	var out bytes.Buffer
	check(t, fsm.WriteSnapshot(&out, r))
	return out.Bytes()
}

func restore(t *testing.T, stream []byte) *fsmtest.Store {
	t.Helper()
	store := fsmtest.NewStore()
	check(t, fsm.ReadSnapshot(bytes.NewReader(stream), store.Set))
	check(t, fsm.VerifyState(store))
	return store
}

// A snapshot that was cut anywhere, or in which any bit flipped, is refused.
func TestDamagedSnapshot(t *testing.T) {
	store := fsmtest.NewStore()
	for i, c := range []fsm.Command{fsm.OwnSlots{Shard: 1, Generation: 1, First: 0, Last: 3}, fsm.EnterSettings{Version: 1}} {
		apply(t, store, i+1, fsm.EncodeEntry(fsm.Entry{StampMillis: 1000, Commands: []fsm.Command{c}}))
	}
	stream := snapshot(t, store)
	ignore := func(_, _ []byte) error { return nil }
	for n := range stream {
		if err := fsm.ReadSnapshot(bytes.NewReader(stream[:n]), ignore); !errors.Is(err, fsm.ErrSnapshot) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(stream), err)
		}
		for bit := range 8 {
			flipped := slices.Clone(stream)
			flipped[n] ^= 1 << bit
			if err := fsm.ReadSnapshot(bytes.NewReader(flipped), ignore); !errors.Is(err, fsm.ErrSnapshot) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, n, err)
			}
		}
	}
	if err := fsm.ReadSnapshot(bytes.NewReader(append(stream, 0)), ignore); !errors.Is(err, fsm.ErrSnapshot) {
		t.Errorf("a byte behind the end: %v", err)
	}
	broken := errors.New("disk full")
	if err := fsm.ReadSnapshot(bytes.NewReader(stream), func(_, _ []byte) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("the error of put came back as %v", err)
	}
}
