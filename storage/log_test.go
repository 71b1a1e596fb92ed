package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"
)

// failTest makes any failure of an engine the test's.
func failTest(t testing.TB) func(error) {
	return func(err error) { t.Errorf("the engine failed: %v", err) }
}

func openTestLog(t testing.TB, fs vfs.FS, opts LogOptions) *LogEngine {
	t.Helper()
	opts.FS = fs
	if opts.OnFatal == nil {
		opts.OnFatal = failTest(t)
	}
	engine, err := OpenLog("log", opts)
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func closeNow(t testing.TB, closer interface{ Close() error }) {
	t.Helper()
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
}

func logEntries(from, to uint64) (all []*raft.Log) {
	for index := from; index <= to; index++ {
		all = append(all, &raft.Log{Index: index, Term: 1, Data: fmt.Appendf(nil, "entry %d", index)})
	}
	return all
}

func isWALSync(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		return strings.HasSuffix(op.Path, ".log")
	}
	return false
}

// While one sync is under way, the appends of all other groups gather behind it and share the next.
func TestConcurrentGroupsShareSyncs(t *testing.T) {
	const groups = 16
	var syncs atomic.Int64
	var gate atomic.Pointer[chan struct{}]
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if held := gate.Load(); held != nil && isWALSync(op) {
			syncs.Add(1)
			<-*held
		}
		return nil
	}))
	engine := openTestLog(t, fs, LogOptions{})
	defer closeNow(t, engine)
	written := func() uint64 { return engine.db.Metrics().WAL.BytesIn }
	start := written()
	if err := engine.Group(99).StoreLogs(logEntries(1, 1)); err != nil {
		t.Fatal(err)
	}
	perWrite := written() - start
	held := make(chan struct{})
	gate.Store(&held)
	var running sync.WaitGroup
	for id := range uint32(groups) {
		running.Go(func() {
			if err := engine.Group(id).StoreLogs(logEntries(1, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	for written() < start+perWrite*(groups+1) {
		runtime.Gosched()
	}
	close(held)
	running.Wait()
	if n := syncs.Load(); n > 3 {
		t.Errorf("%d appends took %d syncs", groups, n)
	}
}

func TestRecordSurvivesNoFlippedBit(t *testing.T) {
	entry := &raft.Log{Index: 9, Term: 3, Type: raft.LogCommand, Data: []byte("data"), Extensions: []byte("ext"), AppendedAt: time.Unix(5, 6)}
	record := make([]byte, recordSize(entry))
	if err := encodeRecord(record, 4, entry); err != nil {
		t.Fatal(err)
	}
	var got raft.Log
	if err := decodeRecord(record, 4, 9, &got); err != nil {
		t.Fatal(err)
	}
	for bit := range len(record) * 8 {
		flipped := append([]byte(nil), record...)
		flipped[bit/8] ^= 1 << (bit % 8)
		if err := decodeRecord(flipped, 4, 9, &got); !errors.Is(err, ErrCorrupt) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
	for length := range len(record) {
		if err := decodeRecord(record[:length], 4, 9, &got); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", length, err)
		}
	}
	if decodeRecord(record, 5, 9, &got) == nil || decodeRecord(record, 4, 8, &got) == nil {
		t.Error("a record was taken under a foreign key")
	}
}

func TestDamagedLogIsNoticed(t *testing.T) {
	var heard []uint32
	engine := openTestLog(t, vfs.NewMem(), LogOptions{OnCorrupt: func(group uint32, err error) {
		if !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
		heard = append(heard, group)
	}})
	defer closeNow(t, engine)
	for _, id := range []uint32{1, 2} {
		if err := engine.Group(id).StoreLogs(logEntries(1, 5)); err != nil {
			t.Fatal(err)
		}
	}
	flipped, err := get(engine.db, logKey(1, 3))
	if err != nil {
		t.Fatal(err)
	}
	flipped[len(flipped)-1] ^= 1
	foreign, err := get(engine.db, logKey(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		engine.db.Set(logKey(1, 3), flipped, pebble.Sync),
		engine.db.Set(logKey(1, 4), foreign, pebble.Sync),
		engine.db.Delete(logKey(1, 2), pebble.Sync)); err != nil {
		t.Fatal(err)
	}
	var entry raft.Log
	for _, index := range []uint64{2, 3, 4} {
		if err := engine.Group(1).GetLog(index, &entry); !errors.Is(err, ErrCorrupt) {
			t.Errorf("entry %d: %v", index, err)
		}
	}
	if len(heard) != 3 || heard[0] != 1 {
		t.Errorf("OnCorrupt heard of groups %v", heard)
	}
	if err := engine.Group(1).Check(context.Background()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("check of the damaged log: %v", err)
	}
	if err := errors.Join(engine.Group(1).GetLog(5, &entry), engine.Group(2).Check(context.Background())); err != nil {
		t.Errorf("what is sound was refused: %v", err)
	}
}

// Pebble alone dropped the synced entries behind a flipped byte without a word (see walcheck.go).
// A damaged record that is the very last cannot be told from one that a crash tore.
func TestFlippedWALByteIsNoticed(t *testing.T) {
	write := func() (*vfs.MemFS, string) {
		fs := vfs.NewMem()
		engine := openTestLog(t, fs, LogOptions{})
		for index := uint64(1); index <= 20; index++ {
			if err := engine.Group(1).StoreLogs(logEntries(index, index)); err != nil {
				t.Fatal(err)
			}
		}
		closeNow(t, engine)
		names, err := fs.List("log")
		if err != nil {
			t.Fatal(err)
		}
		names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".log") })
		if len(names) == 0 {
			t.Fatal("no write-ahead log")
		}
		return fs, filepath.Join("log", slices.Max(names))
	}
	fs, path := write()
	data, err := fs.UnsafeGetFileDataBuffer(path)
	if err != nil {
		t.Fatal(err)
	}
	lastRecord := strings.LastIndex(string(data), "entry 20") - 80
	if lastRecord < 1000 {
		t.Fatalf("the log of %d bytes is not the one that holds the entries", len(data))
	}
	for at := 0; at < lastRecord; at += 13 {
		fs, path := write()
		data, err := fs.UnsafeGetFileDataBuffer(path)
		if err != nil {
			t.Fatal(err)
		}
		data[at] ^= 0x10
		engine, err := OpenLog("log", LogOptions{FS: fs, OnFatal: failTest(t)})
		if err == nil {
			last, err := engine.Group(1).LastIndex()
			if err != nil || last != 20 {
				t.Errorf("byte %d flipped: opened, and the log ends at %d (%v)", at, last, err)
			}
			closeNow(t, engine)
		} else if !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d flipped: %v", at, err)
		}
	}
}

// What StoreLogs answered survives a crash; what it was still writing may be there or not, but in order.
func TestStoredEntriesSurviveCrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	engine := openTestLog(t, fs, LogOptions{})
	group := engine.Group(3)
	for from := uint64(1); from <= 30; from += 3 {
		if err := group.StoreLogs(logEntries(from, from+2)); err != nil {
			t.Fatal(err)
		}
		if from == 16 {
			if err := group.DeleteRange(1, 10); err != nil {
				t.Fatal(err)
			}
		}
		crashed := openTestLog(t, fs.CrashClone(vfs.CrashCloneCfg{}), LogOptions{})
		first, err := crashed.Group(3).FirstIndex()
		last, err2 := crashed.Group(3).LastIndex()
		if err := errors.Join(err, err2, crashed.Group(3).Check(context.Background())); err != nil {
			t.Fatal(err)
		}
		if wantFirst := map[bool]uint64{false: 1, true: 11}[from >= 16]; first != wantFirst || last != from+2 {
			t.Errorf("after a crash the log is [%d, %d], want [%d, %d]", first, last, wantFirst, from+2)
		}
		closeNow(t, crashed)
	}
	closeNow(t, engine)
}

// A failed sync is final, even if the disk answers well again.
func TestFailedSyncIsFinal(t *testing.T) {
	var broken atomic.Bool
	errDisk := errors.New("the disk is gone")
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && isWALSync(op) {
			return errDisk
		}
		return nil
	}))
	var fatals []error
	engine := openTestLog(t, fs, LogOptions{OnFatal: func(err error) { fatals = append(fatals, err) }})
	group := engine.Group(1)
	if err := group.StoreLogs(logEntries(1, 3)); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	if err := group.StoreLogs(logEntries(4, 4)); !errors.Is(err, ErrFailed) {
		t.Errorf("the failing write: %v", err)
	}
	broken.Store(false)
	checkRefusesAll(t, engine)
	if len(fatals) != 1 {
		t.Errorf("OnFatal was called %d times: %v", len(fatals), fatals)
	}
	closeNow(t, engine)
}

// A write past the limit is a failure while it hangs, and stays one when it ends well after all.
func TestSlowWriteIsFinal(t *testing.T) {
	var gate atomic.Pointer[chan struct{}]
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if held := gate.Load(); held != nil && isWALSync(op) {
			<-*held
		}
		return nil
	}))
	fatal := make(chan error, 2)
	engine := openTestLog(t, fs, LogOptions{WriteLimit: 20 * time.Millisecond, OnFatal: func(err error) { fatal <- err }})
	held := make(chan struct{})
	gate.Store(&held)
	answer := make(chan error)
	go func() { answer <- engine.Group(1).StoreLogs(logEntries(1, 1)) }()
	if err := <-fatal; !errors.Is(err, ErrSlowWrite) {
		t.Errorf("OnFatal got %v", err)
	}
	checkRefusesAll(t, engine)
	gate.Store(nil)
	close(held)
	if err := <-answer; !errors.Is(err, ErrFailed) || !errors.Is(err, ErrSlowWrite) {
		t.Errorf("the slow write: %v", err)
	}
	checkRefusesAll(t, engine)
	if len(fatal) != 0 {
		t.Errorf("OnFatal was called again: %v", <-fatal)
	}
}

func checkRefusesAll(t *testing.T, engine *LogEngine) {
	t.Helper()
	var entry raft.Log
	group := engine.Group(2) // another group than the one that failed
	_, errFirst := group.FirstIndex()
	_, errLast := group.LastIndex()
	_, errTombstoned := engine.Tombstoned(2)
	for what, err := range map[string]error{
		"FirstIndex": errFirst, "LastIndex": errLast, "Tombstoned": errTombstoned, "GetLog": group.GetLog(1, &entry),
		"StoreLogs": group.StoreLogs(logEntries(1, 1)), "DeleteRange": group.DeleteRange(1, 2), "Probe": engine.Probe(),
		"Destroy": engine.Destroy(2), "Tombstone": engine.Tombstone(2),
	} {
		if !errors.Is(err, ErrFailed) {
			t.Errorf("%s on a failed engine: %v", what, err)
		}
	}
}

func TestDestroyAndTombstone(t *testing.T) {
	fs := vfs.NewMem()
	engine := openTestLog(t, fs, LogOptions{})
	for _, id := range []uint32{1, 2, 3} {
		if err := engine.Group(id).StoreLogs(logEntries(1, 5)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(engine.Destroy(1), engine.Tombstone(2), engine.Probe()); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		groups, err := engine.Groups()
		if err != nil || len(groups) != 1 || groups[0] != 3 {
			t.Errorf("groups with entries: %v, %v", groups, err)
		}
		for id, want := range map[uint32]bool{1: false, 2: true, 3: false} {
			if got, err := engine.Tombstoned(id); err != nil || got != want {
				t.Errorf("group %d tombstoned: %v, %v", id, got, err)
			}
		}
		if err := engine.Group(2).StoreLogs(logEntries(1, 1)); !errors.Is(err, ErrTombstoned) {
			t.Errorf("a removed group took an entry: %v", err)
		}
	}
	check()
	closeNow(t, engine)
	if _, err := engine.Group(3).LastIndex(); !errors.Is(err, ErrClosed) {
		t.Errorf("use after close: %v", err)
	}
	engine = openTestLog(t, fs, LogOptions{})
	defer closeNow(t, engine)
	check()
	if err := engine.Group(1).StoreLogs(logEntries(40, 41)); err != nil {
		t.Errorf("a destroyed log cannot begin again: %v", err)
	}
}

func TestForeignFormatIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	engine := openTestLog(t, fs, LogOptions{})
	if err := engine.db.Set(formatKey, []byte{formatVersion + 1}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	closeNow(t, engine)
	if engine, err := OpenLog("log", LogOptions{FS: fs, OnFatal: failTest(t)}); err == nil {
		closeNow(t, engine)
		t.Error("a directory of a newer format was opened")
	}
}

func TestOpenNeedsOnFatal(t *testing.T) {
	_, errLog := OpenLog("log", LogOptions{FS: vfs.NewMem()})
	_, errState := OpenState("state", StateOptions{FS: vfs.NewMem()})
	_, errBolt := OpenBoltLog(filepath.Join(t.TempDir(), "log.bolt"), BoltLogOptions{})
	if errLog == nil || errState == nil || errBolt == nil {
		t.Errorf("opened without OnFatal: log %v, state %v, bolt %v", errLog, errState, errBolt)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	entry := &raft.Log{Index: 9, Term: 3, Data: []byte("data"), Extensions: []byte("ext"), AppendedAt: time.Unix(5, 6)}
	record := make([]byte, recordSize(entry))
	if err := encodeRecord(record, 4, entry); err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Fuzz(func(t *testing.T, record []byte) {
		// Make the checksum right, so that the parser behind it is reached.
		if len(record) >= recordBodyOffset {
			binary.BigEndian.PutUint32(record[1:], recordSum(4, 9, record[recordBodyOffset:]))
		}
		var entry raft.Log
		if err := decodeRecord(record, 4, 9, &entry); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again := make([]byte, recordSize(&entry))
		if err := encodeRecord(again, 4, &entry); err != nil {
			t.Fatal(err)
		}
		var second raft.Log
		if err := decodeRecord(again, 4, 9, &second); err != nil || second.Term != entry.Term || string(second.Data) != string(entry.Data) {
			t.Fatalf("%+v became %+v (%v)", entry, second, err)
		}
	})
}

// The cluster's tests run whole nodes in a bubble of fake time: no goroutine of an engine may be left when it is closed.
func TestEnginesLiveInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewCrashableMem()
		logs, state := openTestLog(t, fs, LogOptions{}), openTestState(t, fs)
		if err := logs.Group(1).StoreLogs(logEntries(1, 9)); err != nil {
			t.Fatal(err)
		}
		apply(t, state.Group(1), 9, "key", "value")
		time.Sleep(time.Minute)
		if err := state.Group(1).Restore(t.Context(), 20, fillOf("a", "b")); err != nil {
			t.Fatal(err)
		}
		closeNow(t, state)
		closeNow(t, logs)
	})
}
