package storage_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"parley/storage"
)

// BenchmarkLogGroups appends 1 KiB entries, each append synced, from one appender per group: one operation is one append in
// each group. The figure to compare is appends/s.
func BenchmarkLogGroups(b *testing.B) {
	for _, groups := range []int{1, 16} {
		b.Run(fmt.Sprintf("pebble/%d", groups), func(b *testing.B) {
			engine, err := storage.OpenLog(filepath.Join(b.TempDir(), "log"), storage.LogOptions{OnFatal: fatal(b)})
			if err != nil {
				b.Fatal(err)
			}
			stores := make([]raft.LogStore, groups)
			for i := range stores {
				stores[i] = engine.Group(uint32(i))
			}
			appendToAll(b, stores)
			if err := engine.Close(); err != nil {
				b.Fatal(err)
			}
		})
		b.Run(fmt.Sprintf("bolt/%d", groups), func(b *testing.B) {
			stores := make([]raft.LogStore, groups)
			dir := b.TempDir()
			for i := range stores {
				log, err := storage.OpenBoltLog(filepath.Join(dir, fmt.Sprint(i)), storage.BoltLogOptions{OnFatal: fatal(b)})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() {
					if err := log.Close(); err != nil {
						b.Error(err)
					}
				})
				stores[i] = log
			}
			appendToAll(b, stores)
		})
	}
}

func appendToAll(b *testing.B, stores []raft.LogStore) {
	data := make([]byte, 1024)
	b.SetBytes(int64(len(data) * len(stores)))
	b.ResetTimer()
	var running sync.WaitGroup
	for _, store := range stores {
		running.Go(func() {
			for index := range uint64(b.N) {
				if err := store.StoreLog(&raft.Log{Index: index + 1, Term: 1, Data: data}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	b.ReportMetric(float64(b.N*len(stores))/b.Elapsed().Seconds(), "appends/s")
}
