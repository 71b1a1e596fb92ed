package storage

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// journalWorld is a journal on a disk in memory, and what it gave when it was opened.
type journalWorld struct {
	*Journal
	t     *testing.T
	disk  *vfs.MemFS
	ids   []RecordID
	found map[RecordID]string
}

const journalPath = "/node/held"

func openTestJournal(t *testing.T, disk *vfs.MemFS, change func(*JournalOptions)) *journalWorld {
	t.Helper()
	w := &journalWorld{t: t, disk: disk, found: map[RecordID]string{}}
	opts := JournalOptions{FS: disk, Log: slog.New(slog.DiscardHandler), OnFatal: func(err error) { t.Errorf("fatal: %v", err) }}
	if change != nil {
		change(&opts)
	}
	var err error
	w.Journal, err = OpenJournal(journalPath, opts, func(id RecordID, value []byte) {
		if _, twice := w.found[id]; twice {
			t.Errorf("record %d comes twice", id.Number)
		}
		w.ids = append(w.ids, id)
		w.found[id] = string(value)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *journalWorld) append(values ...string) []RecordID {
	w.t.Helper()
	raw := make([][]byte, len(values))
	for i, v := range values {
		raw[i] = []byte(v)
	}
	ids, err := w.Append(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return ids
}

// only is the one segment that has records, with its content.
func (w *journalWorld) only() (name segmentName, content []byte) {
	w.t.Helper()
	names, err := segmentNames(w.disk, journalPath)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range names {
		read, err := readWhole(w.disk, filepath.Join(journalPath, n.String()))
		if err != nil {
			w.t.Fatal(err)
		}
		if len(scanSegment(read, n.salt).records) > 0 {
			if content != nil {
				w.t.Fatal("several segments have records")
			}
			name, content = n, read
		}
	}
	return name, content
}

// diskWith is a disk on which a segment has another content.
func diskWith(t *testing.T, name segmentName, content []byte) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewCrashableMem()
	if err := disk.MkdirAll(journalPath, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(disk, filepath.Join(journalPath, name.String()), bytes.Clone(content)); err != nil {
		t.Fatal(err)
	}
	return disk
}

func TestJournalGoesOnAfterItWasClosed(t *testing.T) {
	disk := vfs.NewCrashableMem()
	first := openTestJournal(t, disk, nil)
	ids := first.append("one", "two", "three")
	if err := first.Remove(ids[1:2]); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := openTestJournal(t, disk, nil)
	if want := []RecordID{ids[0], ids[2]}; !slices.Equal(second.ids, want) || second.found[ids[2]] != "three" {
		t.Fatalf("found %v, want %v", second.found, want)
	}
	if got, err := second.Read(ids[0]); err != nil || string(got) != "one" {
		t.Errorf("reads %q, %v", got, err)
	}
	if _, err := second.Read(ids[1]); !errors.Is(err, ErrNoRecord) {
		t.Errorf("a removed record: %v", err)
	}
	if more := second.append("four"); more[0].Number <= ids[2].Number {
		t.Errorf("number %d does not come after %d", more[0].Number, ids[2].Number)
	}
	if got := second.Stats(); got.Records != 3 || got.Bytes != int64(len("onethreefour")) || got.Damaged != 0 {
		t.Errorf("stats %+v", got)
	}
}

// TestJournalCrashes appends and removes at random, and crashes at random, losing at random what was not synced. What was promised is
// there, in order, and nothing else than what was appended.
func TestJournalCrashes(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			disk := vfs.NewCrashableMem()
			appended, live := map[RecordID]string{}, map[RecordID]bool{}
			for range 6 {
				w := openTestJournal(t, disk, func(o *JournalOptions) { o.segmentBytes, o.BytesMax = 2000, 20_000 })
				for id := range live {
					if w.found[id] != appended[id] {
						t.Fatalf("record %d was promised and is %q, not %q", id.Number, w.found[id], appended[id])
					}
				}
				for id, value := range w.found {
					if was, known := appended[id]; known && was != value {
						t.Fatalf("record %d is %q and was %q", id.Number, value, was)
					}
					appended[id], live[id] = value, true // the last append before the crash may have got through
				}
				if !slices.IsSortedFunc(w.ids, compareRecords) {
					t.Fatal("records come out of order")
				}
				if got := w.Stats(); got.Damaged != 0 {
					t.Fatalf("a crash looks like damage: %+v", got)
				}
				for range rng.IntN(60) {
					if rng.IntN(3) > 0 || len(live) == 0 {
						values := make([]string, 1+rng.IntN(4))
						for i := range values {
							values[i] = string(bytes.Repeat([]byte{byte('a' + rng.IntN(26))}, rng.IntN(300)))
						}
						raw := [][]byte{}
						for _, v := range values {
							raw = append(raw, []byte(v))
						}
						ids, err := w.Append(raw)
						if errors.Is(err, ErrJournalFull) {
							continue
						} else if err != nil {
							t.Fatal(err)
						}
						for i, id := range ids {
							appended[id], live[id] = values[i], true
						}
						continue
					}
					for id := range live { // one, whichever
						if err := w.Remove([]RecordID{id}); err != nil {
							t.Fatal(err)
						}
						delete(live, id)
						break
					}
				}
				disk = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			}
		})
	}
}

// TestJournalNamesAreDurable: whatever is lost that was not synced, names of files and directories included, each record is there from the
// moment at which it was promised, in whichever segment, and also where nothing was there before.
func TestJournalNamesAreDurable(t *testing.T) {
	disk := vfs.NewCrashableMem()
	w := openTestJournal(t, disk, func(o *JournalOptions) { o.segmentBytes, o.BytesMax = 300, 1200 })
	var promised []RecordID
	for i := range 30 {
		promised = append(promised, w.append(fmt.Sprintf("record %d, which takes about a third of a segment, so that there are many of them", i))...)
		if len(promised) > 8 {
			if err := w.Remove(promised[:1]); err != nil {
				t.Fatal(err)
			}
			promised = promised[1:]
		}
		again := openTestJournal(t, disk.CrashClone(vfs.CrashCloneCfg{}), func(o *JournalOptions) { o.segmentBytes, o.BytesMax = 300, 1200 })
		for _, id := range promised {
			if _, found := again.found[id]; !found {
				t.Fatalf("after %d records a crash loses number %d", i+1, id.Number)
			}
		}
		if got := again.Stats(); got.Damaged != 0 {
			t.Fatalf("after %d records a crash looks like damage: %+v", i+1, got)
		}
	}
}

// TestJournalCutAtEachByte: whatever is left of the last segment, the records before the cut are there.
func TestJournalCutAtEachByte(t *testing.T) {
	w := openTestJournal(t, vfs.NewCrashableMem(), nil)
	ids := append(w.append("one"), append(w.append("two", ""), w.append("four")...)...)
	name, content := w.only()
	records := scanSegment(content, name.salt).records
	for cut := range len(content) {
		again := openTestJournal(t, diskWith(t, name, content[:cut]), nil)
		var want []RecordID
		for i, r := range records {
			if r.payload.to+4 <= cut {
				want = append(want, ids[i])
			}
		}
		if !slices.Equal(again.ids, want) || again.Stats().Damaged != 0 {
			t.Fatalf("cut at %d: found %d records, want %d; %d damaged", cut, len(again.ids), len(want), again.Stats().Damaged)
		}
	}
}

// TestJournalDamageHidesNothing flips each byte of a segment in turn. At most the one record is lost that has the byte; that is counted,
// and what was lost is kept aside.
func TestJournalDamageHidesNothing(t *testing.T) {
	w := openTestJournal(t, vfs.NewCrashableMem(), nil)
	ids := append(w.append("one"), append(w.append("two", "three"), w.append("four")...)...)
	name, content := w.only()
	for at := range content {
		damaged := bytes.Clone(content)
		damaged[at] ^= 0x40
		again := openTestJournal(t, diskWith(t, name, damaged), nil)
		for id, value := range again.found {
			if i := slices.Index(ids, id); i < 0 || value != []string{"one", "two", "three", "four"}[i] {
				t.Fatalf("byte %d: record %d is %q", at, id.Number, value)
			}
		}
		if len(again.ids) < len(ids)-1 {
			t.Fatalf("byte %d: %d records are left of %d", at, len(again.ids), len(ids))
		}
		if len(again.ids) < len(ids) && again.Stats().Damaged != 1 {
			t.Fatalf("byte %d: a record is lost, and %d parts are kept aside", at, again.Stats().Damaged)
		}
	}
}

// TestJournalInventsNothing: what was submitted may look like a frame; where the one around it is damaged, it is none.
func TestJournalInventsNothing(t *testing.T) {
	w := openTestJournal(t, vfs.NewCrashableMem(), nil)
	var salt [saltBytes]byte
	inner := frame{frameRecord, RecordID{Number: 7}, []byte("invented")}.appendTo(nil, salt)
	w.append(string(inner), "behind")
	name, content := w.only()
	header := scanSegment(content, name.salt).records[0].payload.from - frameHeaderBytes
	content[header+saltBytes+1] ^= 1 // its number
	again := openTestJournal(t, diskWith(t, name, content), nil)
	if len(again.ids) != 1 || again.found[again.ids[0]] != "behind" || again.Stats().Damaged != 1 {
		t.Fatalf("found %v, %d damaged", again.found, again.Stats().Damaged)
	}
}

func TestJournalMissesSegments(t *testing.T) {
	disk := vfs.NewCrashableMem()
	w := openTestJournal(t, disk, func(o *JournalOptions) { o.segmentBytes = 200 })
	for i := range 12 {
		w.append(fmt.Sprintf("record %d, with something that fills it up to a hundred bytes and more, so that segments become many", i))
	}
	names, err := segmentNames(disk, journalPath)
	if err != nil || len(names) < 5 {
		t.Fatal(names, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cut, err := readWhole(disk, filepath.Join(journalPath, names[1].String()))
	if err != nil {
		t.Fatal(err)
	}
	records := scanSegment(cut, names[1].salt).records
	if err := writeFile(disk, filepath.Join(journalPath, names[1].String()), cut[:records[len(records)-1].payload.to]); err != nil {
		t.Fatal(err)
	}
	if err := disk.Remove(filepath.Join(journalPath, names[3].String())); err != nil {
		t.Fatal(err)
	}
	again := openTestJournal(t, disk, nil)
	if got := again.Stats(); got.Damaged != 2 || got.Records < 6 || got.Records >= 12 {
		t.Fatalf("a segment is cut and one is gone: %+v", got)
	}
}

func TestJournalIsBounded(t *testing.T) {
	w := openTestJournal(t, vfs.NewCrashableMem(), func(o *JournalOptions) { o.BytesMax, o.RecordsMax = 100, 3 })
	ids := w.append(string(make([]byte, 100)))
	if _, err := w.Append([][]byte{{1}}); !errors.Is(err, ErrJournalFull) {
		t.Fatalf("by bytes: %v", err)
	}
	if err := w.Remove(ids); err != nil {
		t.Fatal(err)
	}
	w.append("a", "b", "c")
	if _, err := w.Append([][]byte{{1}}); !errors.Is(err, ErrJournalFull) {
		t.Fatalf("by number: %v", err)
	}
}

// TestJournalGivesItsDiskBack: a record that stays does not keep all the segments behind it.
func TestJournalGivesItsDiskBack(t *testing.T) {
	disk := vfs.NewCrashableMem()
	w := openTestJournal(t, disk, func(o *JournalOptions) { o.segmentBytes, o.BytesMax = 500, 2000 })
	stays := w.append("stays")[0]
	for range 300 {
		if err := w.Remove(w.append(string(make([]byte, 200)))); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.Stats(); got.Segments > 14 || got.Records != 1 {
		t.Fatalf("%+v", got)
	}
	if got, err := w.Read(stays); err != nil || string(got) != "stays" {
		t.Fatalf("%q, %v", got, err)
	}
	again := openTestJournal(t, disk.CrashClone(vfs.CrashCloneCfg{}), nil)
	if again.found[stays] != "stays" || again.Stats().Damaged != 0 {
		t.Fatalf("%v, %+v", again.found, again.Stats())
	}
}

// syncCounter is a disk that counts syncs of files, and holds them back while gate is shut.
type syncCounter struct {
	vfs.FS
	syncs  atomic.Int64
	gate   sync.RWMutex
	broken atomic.Bool
}

type countedFile struct {
	vfs.File
	disk *syncCounter
}

func (d *syncCounter) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := d.FS.Create(name, category)
	return countedFile{file, d}, err
}

func (f countedFile) Sync() error {
	f.disk.gate.RLock()
	defer f.disk.gate.RUnlock()
	f.disk.syncs.Add(1)
	if f.disk.broken.Load() {
		return errors.New("the disk is broken")
	}
	return f.File.Sync()
}

func TestJournalSyncsForMany(t *testing.T) {
	disk := &syncCounter{FS: vfs.NewCrashableMem()}
	w := openTestJournal(t, nil, func(o *JournalOptions) { o.FS = disk })
	before := disk.syncs.Load()
	disk.gate.Lock()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if _, err := w.Append([][]byte{fmt.Appendf(nil, "record %d", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	for w.Stats().Records < 100 { // all are in the queue, or in the write that waits for the disk
		runtime.Gosched()
	}
	disk.gate.Unlock()
	all.Wait()
	if got := disk.syncs.Load() - before; got > 2 {
		t.Errorf("%d syncs for 100 records that came together", got)
	}
}

func TestJournalStopsWithItsDisk(t *testing.T) {
	disk := &syncCounter{FS: vfs.NewCrashableMem()}
	var fatal atomic.Int64
	w := openTestJournal(t, nil, func(o *JournalOptions) { o.FS, o.OnFatal = disk, func(error) { fatal.Add(1) } })
	disk.broken.Store(true)
	if _, err := w.Append([][]byte{{1}}); !errors.Is(err, ErrFailed) {
		t.Fatalf("a failed sync: %v", err)
	}
	disk.broken.Store(false)
	if _, err := w.Append([][]byte{{2}}); !errors.Is(err, ErrFailed) || fatal.Load() != 1 {
		t.Fatalf("after a failed sync: %v, told %d times", err, fatal.Load())
	}
}
