package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// fillOf puts pairs given as key, value, key, value, ...
func fillOf(pairs ...string) func(put func(key, value []byte) error) error {
	return func(put func(key, value []byte) error) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	}
}

func checkRestored(t *testing.T, group *GroupState, applied uint64, expected ...string) {
	t.Helper()
	all, got := contentsNow(t, group)
	want(t, "the restored state", all, expected...)
	through, err := group.RestoredThrough()
	if err != nil || got != applied || through != applied || group.Restoring() {
		t.Errorf("applied %d, restored through %d (%v), restoring %v; want %d", got, through, err, group.Restoring(), applied)
	}
}

func TestRestoreReplacesEverything(t *testing.T) {
	fs := vfs.NewMem()
	engine := openTestState(t, fs)
	group := engine.Group(2)
	apply(t, group, 5, "a", "old", "m", "old", "z", "old")
	apply(t, engine.Group(1), 3, "k", "below")
	apply(t, engine.Group(3), 4, "k", "above")
	view, err := group.View()
	if err != nil {
		t.Fatal(err)
	}
	batch := group.NewBatch()
	if err := batch.Set([]byte("late"), []byte("write of the old state")); err != nil {
		t.Fatal(err)
	}
	if err := group.Restore(t.Context(), 90, fillOf("", "empty key", "b", "new", "m", "new")); err != nil {
		t.Fatal(err)
	}
	if _, err := view.Get([]byte("a")); !errors.Is(err, ErrReplaced) {
		t.Errorf("a view of the old state: %v", err)
	}
	if err := view.Scan(nil, nil, nil); !errors.Is(err, ErrReplaced) {
		t.Errorf("a scan of the old state: %v", err)
	}
	if err := batch.Commit(); !errors.Is(err, ErrReplaced) {
		t.Errorf("a batch on the old state: %v", err)
	}
	closeNow(t, view)
	closeNow(t, batch)
	check := func() {
		checkRestored(t, engine.Group(2), 90, "=empty key", "b=new", "m=new")
		for id, expected := range map[uint32]string{1: "k=below", 3: "k=above"} {
			all, _ := contentsNow(t, engine.Group(id))
			want(t, "a neighbour", all, expected)
		}
	}
	check()
	closeNow(t, engine)
	engine = openTestState(t, fs)
	defer closeNow(t, engine)
	check()
	apply(t, engine.Group(2), 91, "c", "after")
	if all, applied := contentsNow(t, engine.Group(2)); applied != 91 || len(all) != 4 {
		t.Errorf("after the restore the state does not go on: %q, applied %d", all, applied)
	}
	if err := engine.Group(2).Restore(t.Context(), 100, fillOf()); err != nil {
		t.Fatal(err)
	}
	checkRestored(t, engine.Group(2), 100)
}

func TestRestoreOfManyTables(t *testing.T) {
	engine := openTestState(t, vfs.NewMem())
	defer closeNow(t, engine)
	value := make([]byte, 1<<20)
	err := engine.Group(1).Restore(t.Context(), 5, func(put func(key, value []byte) error) error {
		for i := range 70 {
			value[0] = byte(i)
			if err := put(fmt.Appendf(nil, "key %02d", i), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	view, err := engine.Group(1).View()
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, view)
	read := 0
	err = view.Scan(nil, nil, func(key, value []byte) (bool, error) {
		if string(key) != fmt.Sprintf("key %02d", read) || value[0] != byte(read) || len(value) != 1<<20 {
			return false, fmt.Errorf("key %q begins with %d at place %d", key, value[0], read)
		}
		read++
		return true, nil
	})
	if err != nil || read != 70 {
		t.Errorf("%d keys read: %v", read, err)
	}
}

// What cannot be prepared leaves the state as it was and in use.
func TestFailedRestoreLeavesTheOldState(t *testing.T) {
	errFill := errors.New("the source went away")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		fill func(put func(key, value []byte) error) error
		want error
	}{
		"fill fails":   {t.Context(), func(func(key, value []byte) error) error { return errFill }, errFill},
		"disorder":     {t.Context(), fillOf("b", "", "a", ""), ErrOrder},
		"twice":        {t.Context(), fillOf("a", "", "a", ""), ErrOrder},
		"context over": {cancelled, fillOf("a", ""), context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			engine := openTestState(t, fs)
			apply(t, engine.Group(1), 5, "a", "old")
			if err := engine.Group(1).Restore(test.ctx, 9, test.fill); !errors.Is(err, test.want) {
				t.Errorf("restore: %v, want %v", err, test.want)
			}
			apply(t, engine.Group(1), 6, "b", "later")
			if all, applied := contentsNow(t, engine.Group(1)); applied != 6 || !slices.Equal(all, []string{"a=old", "b=later"}) {
				t.Errorf("left: %q at %d", all, applied)
			}
			if err := engine.Sync(); err != nil {
				t.Fatal(err)
			}
			crashed := fs.CrashClone(vfs.CrashCloneCfg{})
			closeNow(t, engine)
			engine = openTestState(t, crashed)
			defer closeNow(t, engine)
			if engine.Group(1).Restoring() {
				t.Error("a mark was set")
			}
			if err := engine.Group(1).Restore(t.Context(), 9, fillOf("a", "new")); err != nil {
				t.Fatal(err)
			}
			checkRestored(t, engine.Group(1), 9, "a=new")
		})
	}
}

// While a restore stands, nothing of the group can be read or written.
func checkRefused(t *testing.T, group *GroupState) {
	t.Helper()
	if !group.Restoring() {
		t.Error("the mark is gone")
	}
	_, errApplied := group.Applied()
	_, errThrough := group.RestoredThrough()
	_, errView := group.View()
	batch := group.NewBatch()
	defer closeNow(t, batch)
	_, errGet := batch.Get([]byte("a"))
	for what, err := range map[string]error{"Applied": errApplied, "RestoredThrough": errThrough, "View": errView, "Get": errGet,
		"Set": batch.Set(nil, nil), "Scan": batch.Scan(nil, nil, nil), "Commit": batch.Commit()} {
		if !errors.Is(err, ErrRestoring) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// While a new state is prepared the old one goes on, and there is one at a time.
func TestPrepareBesideTheOldState(t *testing.T) {
	engine := openTestState(t, vfs.NewMem())
	defer closeNow(t, engine)
	group := engine.Group(1)
	apply(t, group, 5, "a", "old")
	err := group.Restore(t.Context(), 9, func(put func(key, value []byte) error) error {
		apply(t, group, 6, "b", "meanwhile")
		if err := group.Restore(t.Context(), 10, fillOf()); !errors.Is(err, ErrRestoring) {
			t.Errorf("a second restore: %v", err)
		}
		return put([]byte("a"), []byte("new"))
	})
	if err != nil {
		t.Fatal(err)
	}
	checkRestored(t, group, 9, "a=new")

	dropped, err := group.Prepare(t.Context(), 20, fillOf("a", "dropped"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := group.Prepare(t.Context(), 21, fillOf()); !errors.Is(err, ErrRestoring) {
		t.Errorf("a second replacement: %v", err)
	}
	if err := errors.Join(dropped.Discard(), dropped.Discard()); err != nil {
		t.Fatal(err)
	}
	checkRestored(t, group, 9, "a=new")
	if err := group.Restore(t.Context(), 22, fillOf("a", "next")); err != nil {
		t.Fatal(err)
	}
	checkRestored(t, group, 22, "a=next")
}

// The machine stops before each single operation on the disk, once losing all that is not synced and once nothing. What is
// found is the old state (before the mark is durable), the mark, or the whole new state; in this order and never a mixture.
func TestRestoreCrashAtEachStage(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var mu sync.Mutex // owns crashes: Pebble works in the background too
	var crashes [2][]*vfs.MemFS
	random := rand.New(rand.NewPCG(1, 1)) // asked for, though all is kept
	recording := false
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if recording && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			crashes[0] = append(crashes[0], mem.CrashClone(vfs.CrashCloneCfg{}))
			crashes[1] = append(crashes[1], mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: random}))
		}
		return nil
	}))
	engine := openTestState(t, fs)
	apply(t, engine.Group(1), 5, "a", "old", "z", "old")
	apply(t, engine.Group(2), 6, "k", "neighbour")
	if err := engine.Sync(); err != nil {
		t.Fatal(err)
	}
	record := func(on bool) { mu.Lock(); defer mu.Unlock(); recording = on }
	record(true)
	if err := engine.Group(1).Restore(t.Context(), 9, fillOf("a", "new", "b", "new")); err != nil {
		t.Fatal(err)
	}
	record(false)
	crashes[0] = append(crashes[0], mem.CrashClone(vfs.CrashCloneCfg{}))
	closeNow(t, engine)
	for kind, clones := range crashes {
		stages := []string{}
		for at, clone := range clones {
			stages = append(stages, stageAfterCrash(t, fmt.Sprintf("kind %d, operation %d of %d", kind, at, len(clones)), clone))
		}
		seen := slices.Compact(slices.Clone(stages))
		if kind == 0 && !slices.Equal(seen, []string{"old", "marked", "new"}) || !slices.IsSortedFunc(seen, func(a, b string) int {
			return strings.Index("old marked new", a) - strings.Index("old marked new", b)
		}) {
			t.Errorf("kind %d: the stages were %q", kind, stages)
		}
	}
}

func stageAfterCrash(t *testing.T, where string, fs vfs.FS) string {
	t.Helper()
	engine := openTestState(t, fs)
	defer closeNow(t, engine)
	neighbour, applied := contentsNow(t, engine.Group(2))
	if len(neighbour) != 1 || applied != 6 {
		t.Errorf("%s: the neighbour is %q at %d", where, neighbour, applied)
	}
	group := engine.Group(1)
	if group.Restoring() {
		checkRefused(t, group)
		if err := group.Restore(t.Context(), 12, fillOf("again", "1")); err != nil {
			t.Errorf("%s: %v", where, err)
		}
		checkRestored(t, group, 12, "again=1")
		return "marked"
	}
	all, applied := contentsNow(t, group)
	switch got := fmt.Sprint(applied, all); got {
	case "5 [a=old z=old]":
		return "old"
	case "9 [a=new b=new]":
		checkRestored(t, group, 9, "a=new", "b=new")
		return "new"
	default:
		t.Errorf("%s: a mixture: %s", where, got)
		return "mixture"
	}
}
