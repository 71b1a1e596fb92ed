package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	randv2 "math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

const (
	// backlogEnv says how many messages wait for the dead peer.
	backlogEnv         = "PARLEY_BACKLOG"
	backlogMessages    = 40_000
	backlogRooms       = 200 // of each peer
	backlogBytes       = 1024
	backlogEach        = 20 // messages of a room in one entry, hence in one item
	backlogSubmitters  = 32
	backlogTurns       = 5
	backlogFreshPeriod = 4 * time.Second // of a turn
	backlogPause       = 5 * time.Second // for what was written last to be compacted
)

// BenchmarkBacklog lets messages pile up for a peer that is dead, on a node that is a cluster of its own, on real files. Beside it another
// peer gets everything that is submitted for it. Then the dead peer comes back. What it reports: the memory of this process above what it
// was idle, how fast the backlog goes when nothing else does, and what is left on the disk when all is taken. What it costs the other
// peer, and how fast it goes beside that one's messages, is what BenchmarkCatchUp of cmd/parley/server reports.
func BenchmarkBacklog(b *testing.B) {
	for range b.N {
		w := newBacklogWorld(b)
		idle := memoryField(b, "VmRSS")
		resetPeakRSS(b)
		began := time.Now()
		messages := int(numberFrom(b, backlogEnv, backlogMessages))
		w.submit(w.dead, messages)
		b.Logf("%d messages of %d octets wait after %s, %.0f a second", messages, backlogBytes, time.Since(began).Round(time.Second), float64(messages)/time.Since(began).Seconds())
		w.report("MiB-piling-up", idle)
		time.Sleep(backlogPause)
		resetPeakRSS(b)
		for range backlogTurns {
			w.fresh()
		}
		w.report("MiB-beside", idle)
		resetPeakRSS(b)
		waits := w.backlog(w.dead)
		began = time.Now()
		w.drain(w.dead)
		drained := float64(messages) / time.Since(began).Seconds()
		w.report("MiB-draining", idle)
		b.Logf("%d items in %d rooms were drained in %s", waits.Items, waits.Rooms, time.Since(began).Round(time.Second))
		b.ReportMetric(drained, "drained/s")
		b.ReportMetric(float64(folderBytes(w.state()))/(1<<20), "MiB-state-drained")
		time.Sleep(backlogPause)
		b.ReportMetric(float64(folderBytes(w.state()))/(1<<20), "MiB-state-later")
		w.c.stopAll()
	}
	b.ReportMetric(0, "ns/op")
}

// backlogWorld is a node with rooms for two peers.
type backlogWorld struct {
	b          *testing.B
	c          *testCluster
	node       *Node
	live, dead *backlogPeer
	made       atomic.Uint64
}

type backlogPeer struct {
	destination mimi.Provider
	rooms       []*fsmtest.Room
}

func newBacklogWorld(b *testing.B) *backlogWorld {
	w := &backlogWorld{b: b}
	w.c = newTestCluster(b, func(config *Config) { config.Log = slog.New(slog.DiscardHandler) })
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	w.node = w.c.add("n1")
	options := InitOptions{Settings: fsm.DefaultSettings(provider(b, "a.example")), Shards: 6, Replication: 1}
	if err := w.node.Init(ctx, options); err != nil {
		b.Fatal(err)
	}
	w.c.awaitActive(options.Shards)
	w.c.awaitSettings()
	w.live, w.dead = w.peer("b.example"), w.peer("c.example")
	return w
}

func (w *backlogWorld) peer(domain string) *backlogPeer {
	w.b.Helper()
	p := &backlogPeer{destination: provider(w.b, domain)}
	for n := range backlogRooms {
		r := fsmtest.NewRoom(room(w.b, fmt.Sprint(domain[:1], n)), 0, []mimi.UserURI{user(w.b, "alice")}, []mimi.Provider{p.destination})
		if outcome, _ := propose(w.b, w.c, "n1", r.Create()); outcome == nil {
			w.b.Fatal("a room was not created")
		}
		p.rooms = append(p.rooms, r)
	}
	return p
}

// submit makes so many messages for a peer, in runs of a room each.
func (w *backlogWorld) submit(p *backlogPeer, messages int) {
	w.b.Helper()
	var runs atomic.Int64
	var wait sync.WaitGroup
	for worker := range 4 * backlogSubmitters {
		wait.Go(func() {
			content := randv2.NewChaCha8([32]byte{byte(worker)})
			for n := int(runs.Add(1)); n*backlogEach <= messages && !w.b.Failed(); n = int(runs.Add(1)) {
				w.run(p.rooms[n%len(p.rooms)], content)
			}
		})
	}
	wait.Wait()
	if w.b.Failed() {
		w.b.FailNow()
	}
}

// run submits messages of one room together.
func (w *backlogWorld) run(r *fsmtest.Room, content *randv2.ChaCha8) {
	batch := fsm.SubmitBatch{Room: r.URI}
	for range backlogEach {
		text := make([]byte, backlogBytes)
		content.Read(text) // never fails
		binary.BigEndian.PutUint64(text, w.made.Add(1))
		m := r.Message(string(text), 0, user(w.b, "alice"))
		batch.Messages = append(batch.Messages, fsm.BatchMessage{
			GroupID: m.GroupID, Epoch: m.Epoch, Sender: m.Sender, Hash: sha256.Sum256(m.Message), Message: m.Message,
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	outcome, _, err := w.node.Propose(ctx, batch)
	decided, ok := outcome.(fsm.BatchDecided)
	if err != nil || !ok || decided.Verdicts[0].Code != mimi.VerdictAccepted {
		w.b.Errorf("messages got %#v, %v", outcome, err)
	}
}

// fresh submits messages for the live peer, for a while, and gives it all of them. The dead one is asked for meanwhile, as a deliverer that
// has failed tries again.
func (w *backlogWorld) fresh() {
	w.b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), backlogFreshPeriod)
	defer cancel()
	var wait sync.WaitGroup
	for worker := range backlogSubmitters {
		wait.Go(func() {
			content := randv2.NewChaCha8([32]byte{byte(worker), 1})
			for n := worker; ctx.Err() == nil && !w.b.Failed(); n += backlogSubmitters {
				w.run(w.live.rooms[n%len(w.live.rooms)], content)
			}
		})
	}
	wait.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			w.heads(w.dead, fsm.OutboxPage{Rooms: 1, PerRoom: 1})
			<-tick.C
		}
	})
	for ctx.Err() == nil {
		if w.deliver(w.live) == 0 {
			runtime.Gosched()
		}
	}
	wait.Wait()
	w.drain(w.live)
}

func (w *backlogWorld) heads(p *backlogPeer, page fsm.OutboxPage) []fsm.OutboxItem {
	items, err := w.node.Heads(context.Background(), p.destination, func(mimi.RoomURI) bool { return false }, page)
	if err != nil {
		w.b.Error(err)
	}
	return items
}

// deliver takes what one look gives and acknowledges it, each slot by itself.
func (w *backlogWorld) deliver(p *backlogPeer) (items int) {
	heads := w.heads(p, fsm.OutboxPage{Rooms: 64, PerRoom: 8, Bytes: 4 << 20})
	taken := make(map[fsm.SlotID]map[mimi.RoomURI]uint64)
	for _, item := range heads {
		if taken[item.Slot] == nil {
			taken[item.Slot] = make(map[mimi.RoomURI]uint64)
		}
		taken[item.Slot][item.Room] = item.Sequence
	}
	var wait sync.WaitGroup
	for slot, rooms := range taken {
		c := fsm.Acknowledge{At: slot, Destination: p.destination}
		for room, through := range rooms {
			c.Rooms = append(c.Rooms, fsm.RoomTaken{Room: room, Through: through})
		}
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
			defer cancel()
			if outcome, _, err := w.node.Propose(ctx, c); err != nil || outcome != (fsm.Done{}) {
				w.b.Errorf("an acknowledgement got %#v, %v", outcome, err)
			}
		})
	}
	wait.Wait()
	return len(heads)
}

func (w *backlogWorld) drain(p *backlogPeer) {
	w.b.Helper()
	for w.deliver(p) > 0 && !w.b.Failed() {
	}
	if left := w.backlog(p); left.Items > 0 {
		w.b.Fatalf("%+v is left", left)
	}
}

func (w *backlogWorld) backlog(p *backlogPeer) fsm.OutboxBacklog {
	w.b.Helper()
	all, err := w.node.Backlog(context.Background())
	if err != nil {
		w.b.Fatal(err)
	}
	return all[p.destination]
}

// report tells the peak of memory since it was reset, above what the idle process had.
func (w *backlogWorld) report(name string, idle uint64) {
	peak := memoryField(w.b, "VmHWM")
	above := float64(peak) - float64(idle)
	w.b.ReportMetric(above/(1<<20), name)
	w.b.Logf("%s: %.0f above %d idle", name, above/(1<<20), idle>>20)
}

func (w *backlogWorld) state() string { return filepath.Join(w.c.folder("n1"), "state") }
