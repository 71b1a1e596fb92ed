package storage_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"parley/storage"
)

// What was deleted goes from the disk, and what was not stays.
func TestReclaim(t *testing.T) {
	engine, err := storage.OpenState("state", storage.StateOptions{FS: vfs.NewMem(), OnFatal: fatal(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	}()
	group, noise := engine.Group(1), rand.NewChaCha8([32]byte{})
	const keys = 1 << 14
	change := func(change func(batch *storage.Batch, n uint64) error) {
		t.Helper()
		for n := uint64(0); n < keys; n += 256 {
			batch := group.NewBatch()
			for i := n; i < n+256; i++ {
				if err := change(batch, i); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := batch.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	key := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	value := make([]byte, 1024)
	change(func(batch *storage.Batch, n uint64) error {
		noise.Read(value) // never fails
		return batch.Set(key(n), value)
	})
	change(func(batch *storage.Batch, n uint64) error {
		if n%100 == 0 {
			return nil
		}
		return batch.Delete(key(n))
	})
	if err := group.Reclaim(context.Background()); err != nil {
		t.Fatal(err)
	}
	if bytes, err := group.DiskBytes(); err != nil || bytes == 0 || bytes > keys*1024/20 {
		t.Errorf("%d bytes are left of %d, %v", bytes, keys*1024, err)
	}
	left := 0
	if err := group.Check(context.Background(), func() { left++ }); err != nil || left < keys/100 {
		t.Errorf("%d keys are left: %v", left, err)
	}
}
