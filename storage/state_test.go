package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

func openTestState(t testing.TB, fs vfs.FS) *StateEngine {
	t.Helper()
	engine, err := OpenState("state", StateOptions{FS: fs, OnFatal: failTest(t)})
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// reader is what Batch and View have in common.
type reader interface {
	Get(key []byte) ([]byte, error)
	Scan(lower, upper []byte, visit func(key, value []byte) (bool, error)) error
}

// contents reads all keys of [lower, upper) as "key=value".
func contents(t testing.TB, from reader, lower, upper []byte) (all []string) {
	t.Helper()
	err := from.Scan(lower, upper, func(key, value []byte) (bool, error) {
		all = append(all, fmt.Sprintf("%s=%s", key, value))
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// contentsNow reads the whole group and its applied index.
func contentsNow(t testing.TB, group *GroupState) (all []string, applied uint64) {
	t.Helper()
	view, err := group.View()
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, view)
	return contents(t, view, nil, nil), view.Applied()
}

// apply commits pairs given as key, value, key, value, ... and the applied index.
func apply(t testing.TB, group *GroupState, applied uint64, pairs ...string) {
	t.Helper()
	batch := group.NewBatch()
	defer closeNow(t, batch)
	err := batch.SetApplied(applied)
	for i := 0; i < len(pairs); i += 2 {
		err = errors.Join(err, batch.Set([]byte(pairs[i]), []byte(pairs[i+1])))
	}
	if err := errors.Join(err, batch.Commit()); err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, what string, got []string, expected ...string) {
	t.Helper()
	if !slices.Equal(got, expected) {
		t.Errorf("%s: %q, want %q", what, got, expected)
	}
}

func TestBatchReadsItsOwnWrites(t *testing.T) {
	engine := openTestState(t, vfs.NewMem())
	defer closeNow(t, engine)
	next := uint32(0)
	rapid.Check(t, func(rt *rapid.T) {
		next++
		group, model := engine.Group(next), map[string]string{}
		key := rapid.SampledFrom([]string{"", "a", "a\x00", "ab", "b", "c", "\xff", "\xff\xff"})
		for range rapid.IntRange(1, 4).Draw(rt, "batches") {
			batch := group.NewBatch()
			for range rapid.IntRange(0, 8).Draw(rt, "writes") {
				k, upper := key.Draw(rt, "key"), key.Draw(rt, "upper")
				var err error
				switch rapid.IntRange(0, 3).Draw(rt, "operation") {
				case 0, 1:
					value := rapid.StringN(0, 3, 9).Draw(rt, "value")
					model[k], err = value, batch.Set([]byte(k), []byte(value))
				case 2:
					err = batch.Delete([]byte(k))
					delete(model, k)
				case 3:
					err = batch.DeleteRange([]byte(k), []byte(upper))
					for held := range model {
						if held >= k && held < upper {
							delete(model, held)
						}
					}
				}
				if err != nil {
					rt.Fatal(err)
				}
				compare(rt, batch, model)
			}
			if err := errors.Join(batch.Commit(), batch.Close()); err != nil {
				rt.Fatal(err)
			}
			view, err := group.View()
			if err != nil {
				rt.Fatal(err)
			}
			compare(rt, view, model)
			if err := view.Close(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

func compare(t rapid.TB, from reader, model map[string]string) {
	t.Helper()
	read := map[string]string{}
	last := ""
	err := from.Scan(nil, nil, func(key, value []byte) (bool, error) {
		if len(read) > 0 && last >= string(key) {
			return false, fmt.Errorf("%q after %q", key, last)
		}
		last = string(key)
		read[last] = string(value)
		return true, nil
	})
	if err != nil || fmt.Sprint(read) != fmt.Sprint(model) {
		t.Fatalf("read %q (%v), want %q", read, err, model)
	}
	for _, key := range []string{"", "a", "a\x00", "ab", "b", "c", "\xff"} {
		value, err := from.Get([]byte(key))
		expected, present := model[key]
		if err != nil || present != (value != nil) || string(value) != expected {
			t.Fatalf("get %q: %q (nil: %v, error %v), want %q", key, value, value == nil, err, expected)
		}
	}
}

func TestScanBounds(t *testing.T) {
	engine := openTestState(t, vfs.NewMem())
	defer closeNow(t, engine)
	group := engine.Group(5)
	apply(t, group, 1, "a", "1", "b", "2", "c", "3")
	apply(t, engine.Group(4), 1, "z", "below")
	apply(t, engine.Group(6), 1, "", "above")
	view, err := group.View()
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, view)
	for bounds, expected := range map[[2]string]string{
		{"", "-"}: "a=1 b=2 c=3", {"a", "c"}: "a=1 b=2", {"a\x00", "-"}: "b=2 c=3", {"b", "b"}: "", {"c", "a"}: "",
		{"", ""}: "", {"c", "\xff\xff"}: "c=3", {"d", "-"}: "", {"", "a"}: "",
	} {
		upper := []byte(bounds[1])
		if bounds[1] == "-" {
			upper = nil
		}
		if got := strings.Join(contents(t, view, []byte(bounds[0]), upper), " "); got != expected {
			t.Errorf("[%q, %q): %q, want %q", bounds[0], bounds[1], got, expected)
		}
	}
	visited := 0
	stop := errors.New("stop")
	err = view.Scan(nil, nil, func(_, _ []byte) (bool, error) { visited++; return visited < 2, nil })
	if err != nil || visited != 2 {
		t.Errorf("a visit that answers false: %d visited, %v", visited, err)
	}
	if err := view.Scan(nil, nil, func(_, _ []byte) (bool, error) { return true, stop }); !errors.Is(err, stop) {
		t.Errorf("a visit that fails: %v", err)
	}
}

func TestGroupsAreApart(t *testing.T) {
	engine := openTestState(t, vfs.NewMem())
	defer closeNow(t, engine)
	ids := []uint32{0, 1, 255, 256, GroupMax}
	for _, id := range ids {
		apply(t, engine.Group(id), uint64(id)+1, "", "empty", "key", fmt.Sprint(id), "\xff\xff\xff\xff\xff", "last")
	}
	batch := engine.Group(1).NewBatch()
	if err := errors.Join(batch.DeleteRange(nil, nil), batch.Commit(), batch.Close()); err != nil {
		t.Fatal(err)
	}
	if err := engine.Group(256).Destroy(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		all, applied := contentsNow(t, engine.Group(id))
		switch id {
		case 1:
			want(t, "the emptied group", all)
			if applied != 2 {
				t.Errorf("deleting all keys took the applied index with it: %d", applied)
			}
		case 256:
			want(t, "the destroyed group", all)
			if applied != 0 {
				t.Errorf("the destroyed group has applied %d", applied)
			}
		default:
			want(t, fmt.Sprint("group ", id), all, "=empty", fmt.Sprint("key=", id), "\xff\xff\xff\xff\xff=last")
			if applied != uint64(id)+1 {
				t.Errorf("group %d has applied %d", id, applied)
			}
		}
	}
	if groups, err := engine.Groups(); err != nil || !slices.Equal(groups, []uint32{0, 1, 255, GroupMax}) {
		t.Errorf("groups: %v, %v", groups, err)
	}
}

func TestViewIsIsolated(t *testing.T) {
	engine := openTestState(t, vfs.NewMem())
	defer closeNow(t, engine)
	group := engine.Group(1)
	apply(t, group, 7, "a", "1", "b", "2")
	view, err := group.View()
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, view)
	apply(t, group, 8, "a", "changed", "c", "new")
	want(t, "the view", contents(t, view, nil, nil), "a=1", "b=2")
	if view.Applied() != 7 {
		t.Errorf("the view has applied %d", view.Applied())
	}
	batch := group.NewBatch()
	if err := batch.Set([]byte("d"), []byte("uncommitted")); err != nil {
		t.Fatal(err)
	}
	all, _ := contentsNow(t, group)
	want(t, "beside an open batch", all, "a=changed", "b=2", "c=new")
	closeNow(t, batch)
	closeNow(t, batch)
	if err := batch.Set(nil, nil); !errors.Is(err, errBatchOver) {
		t.Errorf("use of a closed batch: %v", err)
	}
}

func TestGetGivesTheCallersOwnSlice(t *testing.T) {
	engine := openTestState(t, vfs.NewMem())
	defer closeNow(t, engine)
	group := engine.Group(1)
	apply(t, group, 1, "a", "value")
	batch := group.NewBatch()
	got, err := batch.Get([]byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	again, err := batch.Get([]byte("a"))
	closeNow(t, batch)
	if err != nil || !bytes.Equal(again, []byte("value")) {
		t.Errorf("a reader changed the state to %q (%v)", again, err)
	}
}

// Each entry sets the counter and a key of its own. After any crash the counter, the keys and the applied index agree, and
// nothing is lost that was synced.
func TestAppliedAgreesWithDataAfterCrash(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewCrashableMem()
		engine := openTestState(t, fs)
		floor := map[uint32]uint64{}
		written := map[uint32]uint64{}
		for range 40 {
			id := 1 + random.Uint32N(3)
			written[id]++
			apply(t, engine.Group(id), written[id], "counter", fmt.Sprint(written[id]), fmt.Sprintf("key %03d", written[id]), strings.Repeat("x", random.IntN(3000)))
			if random.IntN(10) == 0 {
				if err := engine.Sync(); err != nil {
					t.Fatal(err)
				}
				for id, applied := range written {
					floor[id] = applied
				}
			}
		}
		percent := []int{0, 30, 100}[seed%3]
		crashed := openTestState(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: random}))
		for id := range written {
			all, applied := contentsNow(t, crashed.Group(id))
			if applied < floor[id] || applied > written[id] || percent == 0 && applied != floor[id] {
				t.Errorf("seed %d: group %d has applied %d of %d, synced were %d", seed, id, applied, written[id], floor[id])
			}
			if applied == 0 && len(all) == 0 {
				continue
			}
			if uint64(len(all)) != applied+1 || all[0] != fmt.Sprint("counter=", applied) || !strings.HasPrefix(all[applied], fmt.Sprintf("key %03d=", applied)) {
				t.Errorf("seed %d: group %d has applied %d and %d keys, the first %q", seed, id, applied, len(all), all[0])
			}
		}
		closeNow(t, crashed)
		closeNow(t, engine)
	}
}

func TestDamagedTableIsNoticed(t *testing.T) {
	fs := vfs.NewMem()
	engine := openTestState(t, fs)
	for i := range 200 {
		apply(t, engine.Group(1), 1, fmt.Sprintf("key %d", i), strings.Repeat(fmt.Sprint(i), 500))
	}
	if err := engine.db.Flush(); err != nil {
		t.Fatal(err)
	}
	closeNow(t, engine)
	names, err := fs.List("state/db")
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, name := range names {
		if data, err := fs.UnsafeGetFileDataBuffer("state/db/" + name); err == nil && strings.HasSuffix(name, ".sst") && len(data) > 2000 {
			data[1000] ^= 1
			damaged++
		}
	}
	if damaged == 0 {
		t.Fatal("no table to damage")
	}
	engine, err = OpenState("state", StateOptions{FS: fs, OnFatal: failTest(t)})
	if err == nil {
		defer closeNow(t, engine)
		view, viewErr := engine.Group(1).View()
		if viewErr != nil {
			t.Fatal(viewErr)
		}
		defer closeNow(t, view)
		err = view.Scan(nil, nil, func(_, _ []byte) (bool, error) { return true, nil })
	}
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("reading a damaged table: %v", err)
	}
}

// A key that is not there costs no look into the tables that would have it, but for those of the lowest level, whose filters Pebble
// does not ask.
func TestAbsentKeysAreFiltered(t *testing.T) {
	engine := openTestState(t, vfs.NewMem())
	defer closeNow(t, engine)
	group := engine.Group(1)
	var pairs []string
	for i := range 1000 {
		pairs = append(pairs, fmt.Sprintf("%04d", 2*i), "there")
	}
	apply(t, group, 1, pairs...)
	if err := engine.db.Flush(); err != nil {
		t.Fatal(err)
	}
	view, err := group.View()
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, view)
	before := engine.db.Metrics().Filter.Hits
	const looks = 500
	for i := range looks {
		if value, err := view.Get(fmt.Appendf(nil, "%04d", 2*i+1)); err != nil || value != nil {
			t.Fatalf("an absent key: %q, %v", value, err)
		}
	}
	if spared := engine.db.Metrics().Filter.Hits - before; spared < looks*9/10 {
		t.Errorf("only %d of %d looks were spared", spared, looks)
	}
}

// A range is removed whole where it has many keys, and otherwise key by key, without a trace where it has none.
func TestDeleteRangeOfFewKeys(t *testing.T) {
	engine := openTestState(t, vfs.NewMem())
	defer closeNow(t, engine)
	group := engine.Group(1)
	var pairs []string
	for i := range 2 * rangePointsMax {
		pairs = append(pairs, fmt.Sprintf("%04d", i), "there")
	}
	apply(t, group, 1, pairs...)
	for _, test := range []struct {
		lower, upper string
		removals     uint32 // that Pebble gets
		left         int
	}{
		{"x", "y", 0, 2 * rangePointsMax},
		{"0000", fmt.Sprintf("%04d", rangePointsMax), rangePointsMax, rangePointsMax},
		{"0000", fmt.Sprintf("%04d", rangePointsMax+1), 1, rangePointsMax - 1},
	} {
		batch := group.NewBatch()
		if err := batch.DeleteRange([]byte(test.lower), []byte(test.upper)); err != nil {
			t.Fatal(err)
		}
		if count := batch.batch.Count(); count != test.removals {
			t.Errorf("%s to %s: %d removals, not %d", test.lower, test.upper, count, test.removals)
		}
		if left := contents(t, batch, nil, nil); len(left) != test.left {
			t.Errorf("%s to %s: %d keys are left, not %d", test.lower, test.upper, len(left), test.left)
		}
		closeNow(t, batch)
	}
}
