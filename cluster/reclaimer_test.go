package cluster

import (
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"parley/storage"
)

// The disk is reclaimed when enough has gone, and not before.
func TestReclaimerWaitsForEnough(t *testing.T) {
	t.Parallel()
	engine, err := storage.OpenState(filepath.Join(t.TempDir(), "state"), storage.StateOptions{OnFatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	}()
	state, noise, value := engine.Group(1), rand.NewChaCha8([32]byte{}), make([]byte, 1<<20)
	write := func(remove bool) {
		t.Helper()
		for n := range uint32(24) {
			batch := state.NewBatch()
			key := binary.BigEndian.AppendUint32(nil, n)
			noise.Read(value) // never fails
			err := batch.Set(key, value)
			if remove {
				err = batch.Delete(key)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := batch.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := batch.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(false)
	write(true)
	disk := func() uint64 {
		t.Helper()
		bytes, err := state.DiskBytes()
		if err != nil {
			t.Fatal(err)
		}
		return bytes
	}
	c := newReclaimer(&replica{group: &group{machine: &machine{state: state}}, node: &Node{log: slog.New(slog.DiscardHandler)}})
	c.gone(reclaimBytesMin - 1)
	if before := disk(); len(c.woken) != 0 || c.reclaim(t.Context()) != nil || disk() < before || before < 8<<20 {
		t.Errorf("little has gone, and of %d bytes %d are left", before, disk())
	}
	c.gone(1)
	if err := c.reclaim(t.Context()); err != nil || len(c.woken) != 1 || c.freed.Load() != 0 || disk() > 1<<20 {
		t.Errorf("enough has gone, and %d bytes are left, %v", disk(), err)
	}
}
