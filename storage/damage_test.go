package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// damageGroups have data in every engine under damage, so much that each lies in several blocks of a table.
var damageGroups = []uint32{1, 2, 3}

// filledState leaves a state engine with tables and a write-ahead log that is synced.
func filledState(t *testing.T, fs vfs.FS) {
	t.Helper()
	engine, err := OpenState("engine", StateOptions{FS: fs, OnFatal: failTest(t)})
	if err != nil {
		t.Fatal(err)
	}
	for round := range uint64(2) {
		for _, id := range damageGroups {
			for i := range uint64(20) {
				apply(t, engine.Group(id), round*20+i+1, fmt.Sprintf("key %d", round*20+i), strings.Repeat(fmt.Sprint(i), 400))
			}
		}
		if round == 0 {
			if err := engine.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := engine.Sync(); err != nil {
		t.Fatal(err)
	}
	closeNow(t, engine)
}

// readState reads all and says how many keys there are.
func readState(fs vfs.FS) (keys int, err error) {
	engine, err := OpenState("engine", StateOptions{FS: fs, OnFatal: func(error) {}})
	if err != nil {
		return 0, err
	}
	for _, id := range damageGroups {
		err = errors.Join(err, engine.Group(id).Check(context.Background(), func() { keys++ }))
	}
	return keys, errors.Join(err, engine.Close())
}

func filledLog(t *testing.T, fs vfs.FS) {
	t.Helper()
	engine, err := OpenLog("engine", LogOptions{FS: fs, OnFatal: failTest(t)})
	if err != nil {
		t.Fatal(err)
	}
	for round := range uint64(2) {
		for _, id := range damageGroups {
			for i := range uint64(20) {
				if err := engine.Group(id).StoreLogs(logEntries(round*20+i+1, round*20+i+1)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if round == 0 {
			if err := engine.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeNow(t, engine)
}

func readLog(fs vfs.FS) (entries int, err error) {
	engine, err := OpenLog("engine", LogOptions{FS: fs, OnFatal: func(error) {}})
	if err != nil {
		return 0, err
	}
	for _, id := range damageGroups {
		err = errors.Join(err, engine.Group(id).Check(context.Background()))
		last, lastErr := engine.Group(id).LastIndex()
		entries += int(last)
		err = errors.Join(err, lastErr)
	}
	return entries, errors.Join(err, engine.Close())
}

// TestEngineUnderDamage does to each file of an engine what a bad disk does. Either all is still there, or ErrCorrupt says at the opening
// or at the reading that it is not; never is less read than was written. The exceptions look as after a crash: what was never synced of the
// state engine's write-ahead log, which the Raft logs bring again, and a log engine's cut off at its end, or damaged in its last records
// (CheckRestart notices that where it was applied).
func TestEngineUnderDamage(t *testing.T) {
	for _, engine := range []struct {
		name string
		fill func(*testing.T, vfs.FS)
		read func(vfs.FS) (int, error)
	}{{"state", filledState, readState}, {"log", filledLog, readLog}} {
		pristine := vfs.NewMem()
		engine.fill(t, pristine)
		const all = 3 * 40
		if n, err := engine.read(clone(t, pristine)); n != all || err != nil {
			t.Fatalf("%s: %d of %d read, %v", engine.name, n, all, err)
		}
		for _, path := range filesBelow(t, pristine, "") {
			data := contentOf(t, pristine, path)
			damages := map[string]func(fs vfs.FS){"missing": func(fs vfs.FS) { must(t, fs.Remove(path)) }}
			for _, part := range []int{2, 3, 8} {
				damages[fmt.Sprintf("cut to 1/%d", part)] = func(fs vfs.FS) { put(t, fs, path, data[:len(data)/part]) }
			}
			for i := range 40 {
				if at := len(data) * i / 40; at < len(data) {
					damages[fmt.Sprintf("byte %d flipped", at)] = func(fs vfs.FS) {
						flipped := append([]byte(nil), data...)
						flipped[at] ^= 0x10
						put(t, fs, path, flipped)
					}
				}
			}
			for what, damage := range damages {
				fs := clone(t, pristine)
				damage(fs)
				n, err := engine.read(fs)
				switch {
				case err != nil && !errors.Is(err, ErrCorrupt):
					t.Errorf("%s: %s %s: not known as damage: %v", engine.name, path, what, err)
				case err == nil && n != all && !asAfterCrash(engine.name, path, what, all-n):
					t.Errorf("%s: %s %s: %d of %d are left, and nobody noticed", engine.name, path, what, n, all)
				}
			}
		}
	}
}

func asAfterCrash(engine, path, what string, lost int) bool {
	return strings.HasSuffix(path, ".log") && what != "missing" && (engine == "state" || strings.HasPrefix(what, "cut") || lost <= unpromised)
}

// unpromised is how many records at the end of a write-ahead log no other chunk may speak for: the last, and the one before where Pebble
// took note that it was durable only after the last had been made.
const unpromised = 2

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, fs vfs.FS, path string, content []byte) {
	t.Helper()
	file, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = file.Write(content)
	must(t, errors.Join(err, file.Close()))
}

func contentOf(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	content, err := readWhole(fs, path)
	must(t, err)
	return content
}

// clone is a copy of a whole file system in memory.
func clone(t *testing.T, from *vfs.MemFS) *vfs.MemFS {
	t.Helper()
	to := vfs.NewMem()
	for _, path := range filesBelow(t, from, "") {
		must(t, to.MkdirAll(filepath.Dir(path), 0o700))
		put(t, to, path, contentOf(t, from, path))
	}
	return to
}

func filesBelow(t *testing.T, fs vfs.FS, dir string) (files []string) {
	t.Helper()
	names, err := fs.List(dir)
	must(t, err)
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fs.Stat(path)
		must(t, err)
		if info.IsDir() {
			files = append(files, filesBelow(t, fs, path)...)
		} else if info.Mode()&os.ModeType == 0 && name != "LOCK" {
			files = append(files, path)
		}
	}
	return files
}

// TestDamagedTableConcernsItsGroups flips a byte in one group's part of a table that holds three: OnDamage names that group alone, a read
// of it tells OnCorrupt, and once it is destroyed the engine compacts and the others are whole.
func TestDamagedTableConcernsItsGroups(t *testing.T) {
	fs := vfs.NewMem()
	engine := openTestState(t, fs)
	for _, id := range damageGroups {
		for i := range uint64(40) {
			value := make([]byte, 1000)
			rand.NewChaCha8([32]byte{byte(id), byte(i)}).Read(value) // so that it is found in the table as it is
			apply(t, engine.Group(id), i+1, fmt.Sprintf("key %02d", i), string(value))
		}
	}
	must(t, engine.db.Flush())
	closeNow(t, engine)
	needle := make([]byte, 1000)
	rand.NewChaCha8([32]byte{2, 20}).Read(needle)
	damaged := false
	for _, path := range filesBelow(t, fs, "") {
		content := contentOf(t, fs, path)
		if at := bytes.Index(content, needle[500:520]); at >= 0 && strings.HasSuffix(path, ".sst") {
			content[at] ^= 1
			put(t, fs, path, content)
			damaged = true
		}
	}
	if !damaged {
		t.Fatal("no table to damage")
	}
	heard, named := make(map[uint32]bool), make(chan []uint32, 1)
	engine, err := OpenState("state", StateOptions{
		FS: fs, OnFatal: failTest(t),
		OnCorrupt: func(group uint32, err error) { heard[group] = true },
		OnDamage:  func(groups []uint32, err error) { named <- groups },
	})
	must(t, err)
	defer closeNow(t, engine)
	for _, id := range damageGroups {
		if err := engine.Group(id).Check(t.Context(), nil); (id == 2) != errors.Is(err, ErrCorrupt) {
			t.Errorf("group %d: %v", id, err)
		}
	}
	if groups := <-named; len(groups) != 1 || groups[0] != 2 || len(heard) != 1 || !heard[2] {
		t.Errorf("OnDamage heard of %v, OnCorrupt of %v", groups, heard)
	}
	must(t, engine.Group(2).Destroy())
	must(t, engine.db.Compact(t.Context(), groupPrefix(0), groupEnd(GroupMax-1), false))
	for _, id := range damageGroups {
		keys := 0
		if err := engine.Group(id).Check(t.Context(), func() { keys++ }); err != nil || keys != map[uint32]int{1: 40, 3: 40}[id] {
			t.Errorf("group %d after it was mended: %d keys, %v", id, keys, err)
		}
	}
}

// TestDamagedBeginningOfALogIsNoticed when its bounds are read: an end that reads back does not make up for a beginning that does not.
func TestDamagedBeginningOfALogIsNoticed(t *testing.T) {
	fs := vfs.NewMem()
	engine, err := OpenLog("log", LogOptions{FS: fs, OnFatal: failTest(t)})
	must(t, err)
	needle := make([]byte, 64)
	rand.NewChaCha8([32]byte{1}).Read(needle)
	entries := logEntries(1, 200)
	for _, entry := range entries {
		entry.Data = make([]byte, 1000)
	}
	copy(entries[0].Data, needle)
	must(t, engine.Group(1).StoreLogs(entries))
	must(t, engine.db.Flush())
	closeNow(t, engine)
	for _, path := range filesBelow(t, fs, "") {
		content := contentOf(t, fs, path)
		if at := bytes.Index(content, needle); at >= 0 && strings.HasSuffix(path, ".sst") {
			content[at] ^= 1
			put(t, fs, path, content)
		}
	}
	heard := false
	engine, err = OpenLog("log", LogOptions{FS: fs, OnFatal: failTest(t), OnCorrupt: func(group uint32, _ error) { heard = group == 1 }})
	must(t, err)
	defer closeNow(t, engine)
	if last, err := engine.Group(1).LastIndex(); !errors.Is(err, ErrCorrupt) || !heard {
		t.Errorf("the log ends at %d: %v", last, err)
	}
}

// TestCompactionOfADamagedTableLeavesTheProcessorAlone until the groups are cleared: Pebble tries it again and again, and in virtual time
// nothing else would happen any more.
func TestCompactionOfADamagedTableLeavesTheProcessorAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := damagedInTheMiddle(t)
		failures := &failureCounter{over: make(chan struct{})}
		engine, err := OpenState("state", StateOptions{
			FS: fs, OnFatal: failTest(t), OnDamage: func([]uint32, error) {}, Logger: slog.New(failures),
		})
		must(t, err)
		for i := range uint64(6) { // enough tables for a compaction, too few to stall writes
			apply(t, engine.Group(2), i+41, "key 20", fmt.Sprint(i))
			must(t, engine.db.Flush())
		}
		time.Sleep(time.Minute)
		if failed := failures.count.Load(); failed == 0 || failed >= failuresMax {
			t.Errorf("%d compactions failed in a minute", failed)
		}
		close(failures.over)
		closeNow(t, engine)
	})
}

// TestNobodyIsSlowedDownUnderTheLockOfTheDatabase: an exchange that meets damage at the edge of its range holds everybody up.
func TestNobodyIsSlowedDownUnderTheLockOfTheDatabase(t *testing.T) {
	var reports damageReports
	for i := range reportsAtOnce {
		if first, slow := reports.count("table"); first != (i == 0) || slow {
			t.Errorf("report %d: first %v, slow %v", i, first, slow)
		}
	}
	must(t, reports.exchange(func() error {
		if _, slow := reports.count("table"); slow {
			t.Error("slowed down in an exchange")
		}
		return nil
	}))
	if _, slow := reports.count("table"); !slow {
		t.Error("a compaction that goes round is not slowed down")
	}
	if first, slow := reports.count("another"); !first || slow {
		t.Error("another table has reports of its own")
	}
}

// TestWritesThatCanNeverBeTakenEndTheNode: a compaction that fails for damage leaves tables over tables, until Pebble takes no more writes.
func TestWritesThatCanNeverBeTakenEndTheNode(t *testing.T) {
	fatal := make(chan error, 1)
	engine, err := OpenState("state", StateOptions{
		FS: damagedInTheMiddle(t), MemTableBytes: 64 << 10, WriteLimit: time.Second / 2, OnFatal: func(err error) { fatal <- err },
	})
	must(t, err)
	go func() {
		for i := 0; engine.stop.check() == nil; i++ { // ends with the engine
			batch := engine.Group(2).NewBatch()
			_ = batch.Set(fmt.Appendf(nil, "key %02d", i%40), make([]byte, 8<<10))
			_ = batch.Commit()
			_ = batch.Close()
		}
	}()
	if err := <-fatal; !errors.Is(err, ErrSlowWrite) { // a failed engine is not closed: Pebble may hold its locks for ever
		t.Errorf("the node ends for %v", err)
	}
}

// damagedInTheMiddle is a state engine with one table, of group 2, in which one of many blocks is damaged: what is read at the opening is
// whole.
func damagedInTheMiddle(t *testing.T) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	engine := openTestState(t, fs)
	needle := make([]byte, 64)
	rand.NewChaCha8([32]byte{3}).Read(needle)
	for i := range uint64(40) {
		apply(t, engine.Group(2), i+1, fmt.Sprintf("key %02d", i), string(needle)+strings.Repeat(fmt.Sprint(i), 500))
	}
	must(t, engine.db.Flush())
	closeNow(t, engine)
	for _, path := range filesBelow(t, fs, "") {
		content := contentOf(t, fs, path)
		if at := bytes.LastIndex(content[:len(content)*3/4], needle); at >= 0 && strings.HasSuffix(path, ".sst") {
			content[at] ^= 1
			put(t, fs, path, content)
		}
	}
	return fs
}

const failuresMax = 1000

// failureCounter counts what Pebble tells of its background work, and holds it up when it is too much.
type failureCounter struct {
	count atomic.Int64
	over  chan struct{}
}

func (c *failureCounter) Enabled(context.Context, slog.Level) bool { return true }
func (c *failureCounter) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *failureCounter) WithGroup(string) slog.Handler            { return c }
func (c *failureCounter) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "background work failed") && c.count.Add(1) >= failuresMax {
		<-c.over
	}
	return nil
}
