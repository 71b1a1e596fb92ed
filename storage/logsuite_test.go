package storage_test

import (
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"parley/storage"
	"parley/storage/storagetest"
)

// fatal makes any failure of an engine the test's.
func fatal(t testing.TB) func(error) {
	return func(err error) { t.Errorf("the engine failed: %v", err) }
}

func TestPebbleLog(t *testing.T) {
	storagetest.RunLogSuite(t, func(t *testing.T) storagetest.LogUnderTest {
		fs := vfs.NewMem()
		var engine *storage.LogEngine
		open := func() *storage.GroupLog {
			var err error
			if engine, err = storage.OpenLog("log", storage.LogOptions{FS: fs, OnFatal: fatal(t)}); err != nil {
				t.Fatal(err)
			}
			return engine.Group(7)
		}
		closeNow := func() {
			if err := engine.Close(); err != nil {
				t.Fatal(err)
			}
		}
		store := open()
		// Neighbours that must stay as they are.
		for _, id := range []uint32{6, 8, storage.GroupMax} {
			if err := engine.Group(id).StoreLog(&raft.Log{Index: 1, Term: 9, Data: []byte("neighbour")}); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() {
			for _, id := range []uint32{6, 8, storage.GroupMax} {
				var got raft.Log
				if err := engine.Group(id).GetLog(1, &got); err != nil || string(got.Data) != "neighbour" {
					t.Errorf("group %d: %q, %v", id, got.Data, err)
				}
			}
			closeNow()
		})
		return storagetest.LogUnderTest{Store: store, Reopen: func() raft.LogStore {
			closeNow()
			return open()
		}}
	})
}

func TestBoltLog(t *testing.T) {
	storagetest.RunLogSuite(t, func(t *testing.T) storagetest.LogUnderTest {
		path := filepath.Join(t.TempDir(), "log.bolt")
		var log *storage.BoltLog
		open := func() *storage.BoltLog {
			var err error
			if log, err = storage.OpenBoltLog(path, storage.BoltLogOptions{OnFatal: fatal(t), Group: 7}); err != nil {
				t.Fatal(err)
			}
			return log
		}
		closeNow := func() {
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { closeNow() })
		return storagetest.LogUnderTest{Store: open(), Reopen: func() raft.LogStore {
			closeNow()
			return open()
		}}
	})
}

// The suite's own control: it must not ask for more than raft's reference store gives.
func TestInmemStore(t *testing.T) {
	storagetest.RunLogSuite(t, func(t *testing.T) storagetest.LogUnderTest {
		return storagetest.LogUnderTest{Store: raft.NewInmemStore()}
	})
}

// The wrapper must be invisible while nothing goes wrong.
func TestFaultyLogAtRest(t *testing.T) {
	storagetest.RunLogSuite(t, func(t *testing.T) storagetest.LogUnderTest {
		return storagetest.LogUnderTest{Store: storagetest.NewFaultyLog(raft.NewInmemStore())}
	})
}
