package backup

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
)

// stores are those of this package that can be tested without others.
func stores(t *testing.T) map[string]Store {
	dir, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Store{"memory": newMemoryStore(), "directory": dir}
}

func TestBackupHoldsWhatTheClusterHad(t *testing.T) {
	for name, store := range stores(t) {
		t.Run(name, func(t *testing.T) {
			c := smallCluster(t)
			made := mustCreate(t, c, store, "b1")
			if made.Cluster != "test" || made.Counts["keyPackages"] != 15*150 || made.NewChunks != made.Chunks || made.Chunks < 4 {
				t.Errorf("made %+v", made)
			}
			report := mustBeWhole(t, store, "b1")
			if report.Chunks != made.Chunks || report.Stored != made.StoredBytes {
				t.Errorf("checked %d chunks of %d bytes, made %d of %d", report.Chunks, report.Stored, made.Chunks, made.StoredBytes)
			}
			sameRecords(t, c.records, recordsOf(t, store, "b1"))
			entries, err := List(testContext(t), store)
			if err != nil || len(entries) != 1 || entries[0].ID != "b1" || entries[0].Fault != "" {
				t.Errorf("listed %+v, %v", entries, err)
			}
		})
	}
}

// lastProgress is what was told last.
type lastProgress struct{ units, unitsTotal, bytes, bytesTotal uint64 }

func (p *lastProgress) Step(string)              {}
func (p *lastProgress) Units(done, total uint64) { p.units, p.unitsTotal = done, total }
func (p *lastProgress) Bytes(done, total uint64) { p.bytes, p.bytesTotal = done, total }

// What is done is shown as all of it, also to who asks for it again.
func TestBackupEndsWithAllOfItDone(t *testing.T) {
	store, c := newMemoryStore(), smallCluster(t)
	for range 2 {
		var p lastProgress
		made, err := Create(testContext(t), c, store, Creation{ID: "b1", Program: "test"}, &p)
		if err != nil {
			t.Fatal(err)
		}
		parts := uint64(len(made.Parts))
		if parts < 2 || p != (lastProgress{parts, parts, made.Bytes, made.Bytes}) {
			t.Errorf("a backup of %d parts and %d bytes ends with %+v", parts, made.Bytes, p)
		}
	}
}

// A second backup writes only what has changed, wherever in a slot that is.
func TestBackupIsIncremental(t *testing.T) {
	store, c := newMemoryStore(), newMemoryCluster(2)
	r := rand.New(rand.NewPCG(3, 4))
	for slot := range uint16(8) {
		c.fill(slot, 500, 100, r)
	}
	first := mustCreate(t, c, store, "b1")
	again := mustCreate(t, c, store, "b2")
	if again.NewChunks != 0 {
		t.Errorf("nothing had changed, and %d of %d chunks were written", again.NewChunks, again.Chunks)
	}
	records := c.records[3]
	records[len(records)/2].value = []byte("another value")
	c.records[3] = append(records[:10:10], records[11:]...) // one is gone
	third := mustCreate(t, c, store, "b3")
	if third.NewChunks == 0 || third.NewChunks > 4 || first.Chunks < 8 {
		t.Errorf("one value changed and one went: %d of %d chunks were written", third.NewChunks, third.Chunks)
	}
	mustBeWhole(t, store, "b1")
	mustBeWhole(t, store, "b3")
	sameRecords(t, c.records, recordsOf(t, store, "b3"))
}

// Wherever a backup is cut off, whether or not the store has kept what it did not confirm, the same again ends well. What is there is
// neither read nor written a second time.
func TestBackupGoesOnWhereItWasCutOff(t *testing.T) {
	whole := newMemoryStore()
	mustCreate(t, smallCluster(t), whole, "b1")
	total := len(whole.puts)
	broken := errors.New("the disk is gone")
	for at := range total {
		for _, kept := range []bool{false, true} {
			store, c, calls := newMemoryStore(), smallCluster(t), 0
			store.fail = func(string) (bool, error) {
				if calls++; calls > at {
					return kept && calls == at+1, broken
				}
				return false, nil
			}
			c.index = uint64(at) // the same content has the same parts but for the index
			if _, err := Create(testContext(t), c, store, Creation{ID: "b1", cuts: fine}, nil); !errors.Is(err, broken) {
				t.Fatalf("cut off at put %d: %v", at, err)
			}
			if entries, err := List(testContext(t), store); err != nil || len(entries) > 0 && entries[0].Fault == "" && !kept {
				t.Fatalf("cut off at put %d, and there is a backup: %+v, %v", at, entries, err)
			}
			there, opened := store.names(), c.opened
			parts := 0
			for _, name := range there {
				if strings.Contains(name, "/part-") {
					parts++
				}
			}
			store.fail, store.puts, c.opened = nil, make(map[string]int), make(map[uint32]int)
			mustCreate(t, c, store, "b1")
			for _, name := range there {
				if store.puts[name] > 0 {
					t.Errorf("cut off at put %d: %s was there and was written again", at, name)
				}
			}
			if len(c.opened) > 4-parts {
				t.Errorf("cut off at put %d with %d parts there (opened %v): opened %v", at, parts, opened, c.opened)
			}
			mustBeWhole(t, store, "b1")
			sameRecords(t, c.records, recordsOf(t, store, "b1"))
		}
	}
}

// A source that goes away in the middle is asked again, and its half of a state counts for nothing.
func TestBackupAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, c := newMemoryStore(), smallCluster(t)
		c.cut = map[uint32]int{1: 300, 2: 0, 0: 1}
		mustCreate(t, c, store, "b1")
		mustBeWhole(t, store, "b1")
		sameRecords(t, c.records, recordsOf(t, store, "b1"))
	})
}

// A slot that moves while shards are read one after the other is in the backup once, wherever it was at which moment.
func TestBackupWhileSlotsMove(t *testing.T) {
	for name, move := range map[string]struct{ before, from, to uint32 }{
		"to one that was read":              {before: 3, from: 3, to: 1},
		"from one that was read":            {before: 3, from: 1, to: 3},
		"from one that was, and is not now": {before: 0, from: 1, to: 2},
	} {
		t.Run(name, func(t *testing.T) {
			store, c := newMemoryStore(), smallCluster(t)
			moved := false
			c.opening = func(group uint32) {
				if moved || group != move.before {
					return
				}
				moved = true
				slot := c.shards[move.from][0]
				c.shards[move.from] = c.shards[move.from][1:]
				slot.Generation++
				c.shards[move.to] = append(c.shards[move.to], slot)
			}
			made := mustCreate(t, c, store, "b1")
			if !moved || made.Counts["keyPackages"] != 15*150 {
				t.Errorf("moved: %v; counted %v", moved, made.Counts)
			}
			mustBeWhole(t, store, "b1")
			sameRecords(t, c.records, recordsOf(t, store, "b1"))
		})
	}
}

func TestBackupRefusesWhatIsOutOfOrder(t *testing.T) {
	for name, spoil := range map[string]func(*memoryCluster){
		"twice":   func(c *memoryCluster) { c.records[2] = append(c.records[2], c.records[2][0]) },
		"foreign": func(c *memoryCluster) { c.records[2] = append(c.records[2], record{[]byte{0, 14, 1}, nil}) },
	} {
		t.Run(name, func(t *testing.T) {
			c := smallCluster(t)
			spoil(c)
			if _, err := Create(testContext(t), c, newMemoryStore(), Creation{ID: "b1", cuts: fine}, nil); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

func TestPrune(t *testing.T) {
	store, c := newMemoryStore(), smallCluster(t)
	r := rand.New(rand.NewPCG(5, 6))
	for _, id := range []string{"b1", "b2", "b3"} {
		c.fill(4, 300, 60, r)
		mustCreate(t, c, store, id)
	}
	// One that is under way, and one that was given up.
	store.objects["backups/b4/part-000001-00"] = []byte("begun")
	store.objects["backups/b0/part-000001-00"] = []byte("given up")
	before := len(store.names())
	pruned, err := Prune(testContext(t), store, 2)
	if err != nil || len(pruned.Backups) != 2 || pruned.Chunks == 0 || len(store.names()) >= before {
		t.Fatalf("pruned %+v, %v", pruned, err)
	}
	mustBeWhole(t, store, "b2")
	mustBeWhole(t, store, "b3")
	if _, err := Verify(testContext(t), store, "b1", nil); !errors.Is(err, ErrMissing) {
		t.Errorf("b1: %v", err)
	}
	if _, there := store.objects["backups/b4/part-000001-00"]; !there {
		t.Error("a backup that is under way was removed")
	}
	again, err := Prune(testContext(t), store, 2)
	if err != nil || again.Chunks != 0 || len(again.Backups) != 0 {
		t.Errorf("pruned again %+v, %v", again, err)
	}
}
