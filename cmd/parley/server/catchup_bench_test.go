package server

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	randv2 "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/cluster"
	"parley/cluster/pki"
	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
	"parley/httpapi"
	"parley/mimi"
)

const (
	// catchUpEnv says how many messages wait for the peer that is away.
	catchUpEnv        = "PARLEY_BACKLOG"
	catchUpMessages   = 400_000
	catchUpRooms      = 200 // of each peer
	catchUpBytes      = 1024
	catchUpEach       = 20 // messages of a room in one entry, hence in one item
	catchUpSubmitters = 32
	catchUpTurns      = 5
	catchUpPeriod     = 4 * time.Second // of a turn
	catchUpPause      = 5 * time.Second // for what was written last to be compacted
	catchUpPatience   = 2 * time.Minute
)

// BenchmarkCatchUp lets messages pile up for a peer that is away, on a node that is a cluster of its own, on real files, with the deliverer
// of a real node. Another peer gets everything that is submitted for it: on a node without a backlog; while the backlog waits; and while
// the peer that was away is back and gets it. What it reports is how much of the rate is left in either case, and how fast the backlog goes.
func BenchmarkCatchUp(b *testing.B) {
	for range b.N {
		empty, w := newCatchUpWorld(b), newCatchUpWorld(b)
		messages := catchUpMessages
		if text := os.Getenv(catchUpEnv); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				b.Fatalf("%s: %v", catchUpEnv, err)
			}
			messages = n
		}
		piling := time.Now()
		w.pile(messages)
		b.Logf("%d messages of %d octets wait after %s", messages, catchUpBytes, time.Since(piling).Round(time.Second))
		time.Sleep(catchUpPause)
		var alone, waiting float64
		for range catchUpTurns {
			alone += empty.fresh() / catchUpTurns
			waiting += w.fresh() / catchUpTurns
		}
		w.post.back.Store(true)
		w.away.await(b, w.away.taken.Load()+1) // it is tried again now and then
		var beside, drained, turns float64
		for turns < catchUpTurns {
			before, begun := w.away.taken.Load(), time.Now()
			rate := w.fresh()
			if w.waits() == 0 {
				break
			}
			drained += float64(w.away.taken.Load()-before) / time.Since(begun).Seconds()
			beside, turns = beside+rate, turns+1
		}
		before, begun := w.away.taken.Load(), time.Now()
		w.away.await(b, uint64(messages))
		b.Logf("the %d messages that were left then took %s", uint64(messages)-min(before, uint64(messages)), time.Since(begun).Round(time.Millisecond))
		b.ReportMetric(alone, "fresh/s")
		b.ReportMetric(waiting/alone, "waiting/alone")
		b.ReportMetric(beside/turns/alone, "drained-beside/alone")
		b.ReportMetric(drained/turns, "drained/s")
		b.ReportMetric(drained/turns/alone, "drained/fresh")
		w.close()
		empty.close()
	}
	b.ReportMetric(0, "ns/op")
}

// catchUpWorld is a node that delivers to two peers.
type catchUpWorld struct {
	b          *testing.B
	node       *cluster.Node
	live, away *catchUpPeer
	post       *catchUpPost
	made       atomic.Uint64
	close      func()
}

type catchUpPeer struct {
	destination mimi.Provider
	rooms       []*fsmtest.Room
	taken       atomic.Uint64 // messages
}

// catchUpPost takes everything, for those who are there.
type catchUpPost struct {
	to   map[mimi.Provider]*catchUpPeer
	away mimi.Provider
	back atomic.Bool
}

func (p *catchUpPost) NotifyMany(_ context.Context, to mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, error) {
	if to == p.away && !p.back.Load() {
		return mimi.BulkNotifyResponse{}, errors.New("nobody is there")
	}
	var taken uint64
	for _, item := range items {
		taken += uint64(len(item.Body) / catchUpBytes)
	}
	p.to[to].taken.Add(taken)
	return mimi.BulkNotifyResponse{Taken: uint32(len(items))}, nil
}

func (p *catchUpPost) Notify(context.Context, mimi.Provider, mimi.RoomURI, []byte) error {
	return errors.New("all take many bodies in a request")
}

// await waits until a peer has so many messages.
func (p *catchUpPeer) await(b *testing.B, messages uint64) {
	b.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for was, since := p.taken.Load(), time.Now(); was < messages; {
		<-tick.C
		switch now := p.taken.Load(); {
		case now > was:
			was, since = now, time.Now()
		case time.Since(since) > catchUpPatience:
			b.Fatalf("%s has %d of %d messages, and gets no more", p.destination, was, messages)
		}
	}
}

func newCatchUpWorld(b *testing.B) *catchUpWorld {
	b.Helper()
	w := &catchUpWorld{b: b}
	ca, err := pki.NewCA("catch-up")
	if err != nil {
		b.Fatal(err)
	}
	credentials, err := pki.IssueNode(ca, "n1", nil, 24*time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	w.node, err = cluster.Open(cluster.Config{
		DataDir: filepath.Join(b.TempDir(), "n1"), Credentials: credentials,
		ClusterListen: "127.0.0.1:0", GossipListen: "127.0.0.1:0", GossipKey: [32]byte{1}, GossipQuick: true,
		LogStore: cluster.PebbleLogs, SealKey: [32]byte{2}, Log: slog.New(slog.DiscardHandler),
		Clock: cluster.SystemClock(), Raft: cluster.DefaultRaftSettings(), OnFatal: func(err error) { b.Errorf("the node failed: %v", err) },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), catchUpPatience)
	defer cancel()
	if err := w.node.Init(ctx, cluster.InitOptions{Settings: fsm.DefaultSettings(domain(b, "a.example")), Shards: 6, Replication: 1}); err != nil {
		b.Fatal(err)
	}
	for w.active() < 6 {
		time.Sleep(10 * time.Millisecond)
	}
	w.live, w.away = w.peer(ctx, "b.example"), w.peer(ctx, "c.example")
	w.post = &catchUpPost{to: map[mimi.Provider]*catchUpPeer{w.live.destination: w.live, w.away.destination: w.away}, away: w.away.destination}
	w.deliver()
	return w
}

func (w *catchUpWorld) active() (n int) {
	for _, shard := range w.node.Map().Shards() {
		if shard.State == meta.ShardActive {
			n++
		}
	}
	return n
}

// deliver runs what a node runs to deliver, until close.
func (w *catchUpWorld) deliver() {
	metrics, err := httpapi.NewDeliveryMetrics(prometheus.NewRegistry())
	if err != nil {
		w.b.Fatal(err)
	}
	pulse := httpapi.NewPulse(w.node.OutboxChanged())
	deliverer := httpapi.NewDeliverer(httpapi.DeliveryConfig{Config: w.node}, w.node, w.node, w.post, pulse, metrics, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { pulse.Run(ctx) })
	running.Go(func() { deliverer.Run(ctx) })
	w.close = func() {
		cancel()
		running.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), catchUpPatience)
		defer cancel()
		if err := w.node.Close(ctx); err != nil {
			w.b.Error(err)
		}
	}
}

func (w *catchUpWorld) peer(ctx context.Context, name string) *catchUpPeer {
	w.b.Helper()
	p := &catchUpPeer{destination: domain(w.b, name)}
	for n := range catchUpRooms {
		uri, err := mimi.ParseRoomURI(fmt.Sprintf("mimi://a.example/r/%s%d", name[:1], n))
		if err != nil {
			w.b.Fatal(err)
		}
		r := fsmtest.NewRoom(uri, 0, []mimi.UserURI{alice(w.b)}, []mimi.Provider{p.destination})
		if _, _, err := w.node.Propose(ctx, r.Create()); err != nil {
			w.b.Fatal(err)
		}
		p.rooms = append(p.rooms, r)
	}
	return p
}

// pile submits messages for the peer that is away, in runs of a room each.
func (w *catchUpWorld) pile(messages int) {
	w.b.Helper()
	var runs atomic.Int64
	var wait sync.WaitGroup
	for worker := range 4 * catchUpSubmitters {
		wait.Go(func() {
			content := randv2.NewChaCha8([32]byte{byte(worker)})
			for n := int(runs.Add(1)); n*catchUpEach <= messages && !w.b.Failed(); n = int(runs.Add(1)) {
				w.run(w.away.rooms[n%len(w.away.rooms)], content)
			}
		})
	}
	wait.Wait()
	if w.b.Failed() {
		w.b.FailNow()
	}
}

// run submits messages of one room together.
func (w *catchUpWorld) run(r *fsmtest.Room, content *randv2.ChaCha8) {
	batch := fsm.SubmitBatch{Room: r.URI}
	for range catchUpEach {
		text := make([]byte, catchUpBytes)
		content.Read(text) // never fails
		binary.BigEndian.PutUint64(text, w.made.Add(1))
		m := r.Message(string(text), 0, alice(w.b))
		batch.Messages = append(batch.Messages, fsm.BatchMessage{
			GroupID: m.GroupID, Epoch: m.Epoch, Sender: m.Sender, Hash: sha256.Sum256(m.Message), Message: m.Message,
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), catchUpPatience)
	defer cancel()
	outcome, _, err := w.node.Propose(ctx, batch)
	decided, ok := outcome.(fsm.BatchDecided)
	if err != nil || !ok || decided.Verdicts[0].Code != mimi.VerdictAccepted {
		w.b.Errorf("messages got %#v, %v", outcome, err)
	}
}

// fresh is how many messages a second the live peer gets while they are submitted, for a while.
func (w *catchUpWorld) fresh() float64 {
	w.b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), catchUpPeriod)
	defer cancel()
	before, made, begun := w.live.taken.Load(), w.made.Load(), time.Now()
	var wait sync.WaitGroup
	for worker := range catchUpSubmitters {
		wait.Go(func() {
			content := randv2.NewChaCha8([32]byte{byte(worker), 1})
			for n := worker; ctx.Err() == nil && !w.b.Failed(); n += catchUpSubmitters {
				w.run(w.live.rooms[n%len(w.live.rooms)], content)
			}
		})
	}
	wait.Wait()
	rate := float64(w.live.taken.Load()-before) / time.Since(begun).Seconds()
	w.live.await(w.b, before+w.made.Load()-made)
	return rate
}

// waits is how many items wait for the peer that was away.
func (w *catchUpWorld) waits() uint64 {
	w.b.Helper()
	all, err := w.node.Backlog(context.Background())
	if err != nil {
		w.b.Fatal(err)
	}
	return uint64(all[w.away.destination].Items)
}

func domain(b *testing.B, name string) mimi.Provider {
	b.Helper()
	p, err := mimi.ParseProvider(name)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func alice(b *testing.B) mimi.UserURI {
	b.Helper()
	u, err := mimi.ParseUserURI("mimi://a.example/u/alice")
	if err != nil {
		b.Fatal(err)
	}
	return u
}
