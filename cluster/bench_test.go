package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

// benchCallers is how many callers propose at once, whatever the number of groups.
const benchCallers = 256

// BenchmarkGroups proposes entries of 1 KiB at the leaders of some groups, on three nodes in this process. Every append is synced.
// The same groups run once on the shared engine and once on a bolt file each, in one run, so that the ratio means something.
func BenchmarkGroups(b *testing.B) {
	for _, groups := range []int{1, 4, 16, 64} {
		for _, store := range []LogStore{PebbleLogs, BoltLogs} {
			b.Run(fmt.Sprintf("groups=%d/%s", groups, store), func(b *testing.B) { benchGroups(b, groups, store) })
		}
	}
}

func benchGroups(b *testing.B, groups int, store LogStore) {
	c := benchCluster(b, groups, func(config *Config) {
		config.LogStore = store
		config.Raft.Heartbeat, config.Raft.LeaderLease = 5*time.Second, 4*time.Second // 64 bolt files sync for longer than a heartbeat waits
	})
	leaders := c.leaders()
	message := fsmtest.NewRoom(mustRoom("mimi://a.example/r/none"), 0, []mimi.UserURI{mustUser("mimi://a.example/u/a")}, nil).
		Message(string(make([]byte, 1024)), 0, mustUser("mimi://a.example/u/a"))
	var left atomic.Int64
	left.Store(int64(b.N))
	var wait sync.WaitGroup
	b.ResetTimer()
	for caller := range benchCallers {
		wait.Go(func() {
			r := leaders[caller%len(leaders)]
			for left.Add(-1) >= 0 {
				entry := fsm.EncodeEntry(fsm.Entry{StampMillis: 1, Commands: []fsm.Command{message}})
				if _, err := r.group.apply(entry); err != nil {
					b.Errorf("apply: %v", err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "applies/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkIdle measures what 64 shards on three nodes cost while nobody asks for anything: the share of one core, and memory, of
// this process, which is all three nodes.
func BenchmarkIdle(b *testing.B) {
	c := benchCluster(b, 64, func(*Config) {})
	const settle, watch = 10 * time.Second, 30 * time.Second
	<-time.After(settle)
	b.ResetTimer()
	before := cpuTime(b)
	<-time.After(watch)
	used := cpuTime(b) - before
	b.StopTimer()
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b.ReportMetric(100*used.Seconds()/watch.Seconds()/float64(len(c.nodes)), "%core/node")
	b.ReportMetric(float64(memory.HeapInuse+memory.StackInuse)/float64(len(c.nodes))/(1<<20), "MiB/node")
	b.ReportMetric(float64(runtime.NumGoroutine())/float64(len(c.nodes)), "goroutines/node")
	b.ReportMetric(0, "ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// benchCluster is three nodes with so many active shards.
func benchCluster(b *testing.B, shards int, tune func(*Config)) *testCluster {
	b.Helper()
	c := newTestCluster(b, func(config *Config) {
		config.Log = slog.New(slog.DiscardHandler)
		tune(config)
	})
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	b.Cleanup(cancel)
	first := c.add("n1")
	options := InitOptions{Settings: fsm.DefaultSettings(provider(b, "a.example")), Shards: shards, Replication: 3}
	if err := first.Init(ctx, options); err != nil {
		b.Fatal(err)
	}
	for _, id := range []string{"n2", "n3"} {
		c.join(c.add(id), first.ClusterAddr())
	}
	c.awaitActive(shards)
	return c
}

// leaders are the leading replicas of all shards.
func (c *testCluster) leaders() (all []*replica) {
	for _, shard := range c.nodes["n1"].Map().Shards() {
		all = append(all, c.nodes[c.leaderNode(shard.ID)].replica(shard.ID))
	}
	return all
}

func mustRoom(uri string) mimi.RoomURI {
	r, err := mimi.ParseRoomURI(uri)
	if err != nil {
		panic(err)
	}
	return r
}

func mustUser(uri string) mimi.UserURI {
	u, err := mimi.ParseUserURI(uri)
	if err != nil {
		panic(err)
	}
	return u
}
