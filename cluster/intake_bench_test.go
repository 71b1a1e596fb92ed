package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// BenchmarkIntake submits messages of 1 KiB at one follower of three nodes in this process, every append synced: one by one from many callers,
// and in batches of 100 from a few.
func BenchmarkIntake(b *testing.B) {
	for _, mode := range []struct {
		name    string
		callers int
		size    int
	}{{"single/256", 256, 1}, {"batch100/16", 16, 100}} {
		b.Run(mode.name, func(b *testing.B) { benchIntake(b, mode.callers, mode.size) })
	}
}

func benchIntake(b *testing.B, callers, size int) {
	c := newTestCluster(b, func(config *Config) {
		config.Log = slog.New(slog.DiscardHandler)
		config.Raft.Heartbeat, config.Raft.LeaderLease = 5*time.Second, 4*time.Second // a machine that is busy with this changes no leader
	})
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	first := c.add("n1")
	if err := first.Init(ctx, InitOptions{Settings: fsm.DefaultSettings(provider(b, "a.example")), Shards: 1, Replication: 3}); err != nil {
		b.Fatal(err)
	}
	for _, id := range []string{"n2", "n3"} {
		c.join(c.add(id), first.ClusterAddr())
	}
	c.awaitActive(1)
	c.awaitSettings()
	var rooms []*fsmtest.Room
	for i := range 20 {
		rooms = append(rooms, c.openRoom("n1", fmt.Sprint("bench", i)))
	}
	n, _, _ := c.follower(rooms[0])
	var made, left atomic.Int64
	left.Store(int64(b.N))
	var wait sync.WaitGroup
	b.ResetTimer()
	used := cpuTime(b)
	for caller := range callers {
		wait.Go(func() {
			for left.Add(-int64(size)) > -int64(size) {
				r := rooms[(caller+int(made.Load()))%len(rooms)]
				request := benchRequest(b, r, int(made.Add(1)), size)
				if _, err := n.Do(context.Background(), request); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64((cpuTime(b)-used).Microseconds())/float64(b.N), "cpu-µs/message") // of all three nodes
	b.ReportMetric(0, "ns/op")
}

func benchRequest(tb testing.TB, r *fsmtest.Room, n, size int) judge.Request {
	alice := user(tb, "alice")
	var messages []mimi.SubmittedMessage
	for i := range size {
		private := &mls.PrivateMessage{
			GroupID: r.GroupID, Epoch: r.Epoch, ContentType: mls.ContentApplication, EncryptedSenderData: make([]byte, 28),
			Ciphertext: append([]byte(fmt.Sprintf("%12d %6d ", n, i)), make([]byte, 900)...),
		}
		body := mimi.SubmitMessageRequest{Sender: alice, Message: private}.Marshal()
		if size == 1 {
			request, err := judge.NewSubmit(alice.Provider(), r.URI, body)
			if err != nil {
				tb.Fatal(err)
			}
			return request
		}
		m, err := mimi.ParseSubmittedMessage(r.URI, body)
		if err != nil {
			tb.Fatal(err)
		}
		messages = append(messages, m)
	}
	request, err := judge.NewSubmitBatch(alice.Provider(), r.URI, messages, false)
	if err != nil {
		tb.Fatal(err)
	}
	return request
}
