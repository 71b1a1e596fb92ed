package clustertest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"parley/cluster"
	"parley/cluster/gossip"
	"parley/cluster/pki"
	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
)

const (
	shards      = 2
	replication = 3
	closeWithin = 2 * time.Minute
)

// World is the cluster under test with all that surrounds it. It must be made, used and ended inside one synctest bubble.
type World struct {
	seed    uint64
	log     *slog.Logger
	raft    cluster.RaftSettings
	network *Network
	ca      pki.CA
	entries *ledger
	unlucky string // the node that has the bad disk

	mu       sync.Mutex
	lives    map[string]*life // the newest life of each node
	clocks   map[string]time.Duration
	faults   map[string]int
	said     map[string]bool
	failures []string
	spoiled  bool                        // the bad disk has damage, or had
	ambush   func(l *life, point string) // is told of each step that a life is about to take; nil: nobody is
	over     bool                        // no node is started any more
	ending   endings                     // lives that are being closed
}

// life is a node between a start and its end.
type life struct {
	id     string
	host   *host
	disk   *disk
	dead   atomic.Bool   // from then on nothing that it says counts
	opened chan struct{} // closed when node is set, or is not going to be; nil for what a life has left
	node   *cluster.Node
	taken  bool // of remains: the next life has begun; guarded by World.mu
}

// remains are what a life leaves to the next.
func remains(id string, d *disk) *life {
	l := &life{id: id, disk: d}
	l.dead.Store(true)
	return l
}

// up reports whether the node is open and alive.
func (l *life) up() bool {
	if l.opened == nil || l.dead.Load() {
		return false
	}
	select {
	case <-l.opened:
		return l.node != nil
	default:
		return false
	}
}

// newWorld starts a cluster of n nodes and waits until its shards are active.
func newWorld(seed uint64, n int, raft cluster.RaftSettings, log *slog.Logger) (*World, error) {
	return newWorldOf(seed, n, shards, raft, log)
}

// newWorldOf is newWorld with another number of shards.
func newWorldOf(seed uint64, n, shards int, raft cluster.RaftSettings, log *slog.Logger) (*World, error) {
	return newWorldBefore(seed, n, shards, raft, log, nil)
}

// newWorldBefore is newWorldOf before a witness, or none.
func newWorldBefore(seed uint64, n, shards int, raft cluster.RaftSettings, log *slog.Logger, all *witness) (*World, error) {
	ca, err := pki.NewCA("test")
	if err != nil {
		return nil, err
	}
	w := &World{
		seed: seed, log: log, raft: raft, network: NewNetwork(), ca: ca, entries: newLedger(), unlucky: fmt.Sprintf("n%d", 1+seed%uint64(n)),
		lives: make(map[string]*life), clocks: make(map[string]time.Duration), faults: make(map[string]int), said: make(map[string]bool),
	}
	w.entries.witness = all
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for i := range n {
		id := fmt.Sprintf("n%d", i+1)
		l, err := w.start(id, newDisk())
		if err != nil {
			return nil, err
		}
		if i == 0 {
			err = l.node.Init(ctx, cluster.InitOptions{Settings: settings(), Shards: shards, Replication: replication})
		} else {
			err = l.node.Join(ctx, "n1:7400")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
	}
	return w, w.awaitActive(ctx, shards)
}

func (w *World) awaitActive(ctx context.Context, shards int) error {
	for ctx.Err() == nil {
		ready := true
		for _, l := range w.alive() {
			active := 0
			for _, shard := range l.node.Map().Shards() {
				if shard.State == meta.ShardActive {
					active++
				}
			}
			ready = ready && active == shards
		}
		if ready {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return ctx.Err()
}

// settings let everybody claim as much as there is: the promise that no KeyPackage is given twice is tried hardest so.
func settings() fsm.Settings {
	s := fsm.DefaultSettings(local)
	s.Claims = fsm.ClaimRules{ConsentDefault: fsm.ConsentAllow}
	return s
}

var local, peer = provider("a.example"), provider("b.example")

func provider(domain string) mimi.Provider { return must(mimi.ParseProvider(domain)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// start begins a life of a node on a disk.
func (w *World) start(id string, d *disk) (*life, error) {
	credentials := must(pki.IssueNode(w.ca, id, nil, 10000*time.Hour))
	l := &life{id: id, host: w.network.Join(id), disk: d, opened: make(chan struct{})}
	begun := time.Now()
	config := cluster.Config{
		DataDir: "data", Credentials: credentials, Disk: d.give(), Network: l.host,
		ClusterListen: id + ":7400", GossipListen: id + ":7401", GossipKey: [32]byte{1}, SealKey: [32]byte{2},
		Gossip:   func(c gossip.Config) (cluster.Gossip, error) { return &rumours{world: w, self: c, keys: c.Keys}, nil },
		LogStore: cluster.PebbleLogs, Log: w.log, Raft: w.raft,
		Clock: cluster.Clock{
			Wall:      func() time.Time { return time.Now().Add(w.clockOf(id)) },
			Monotonic: func() time.Duration { return time.Since(begun) },
		},
		Applied: func(group uint32, index uint64, entry []byte) { w.applied(l, group, index, entry) },
		Reached: func(point string) { w.reached(l, point) },
		OnFatal: func(err error) {
			w.log.Warn("a node has stopped itself", "node", id, "error", err)
			w.ending.Go(func() {
				w.crash(l, rand.New(rand.NewPCG(w.seed, uint64(time.Now().UnixNano()))))
				if w.damaged(id) { // whoever runs the node starts it again
					time.Sleep(time.Second)
					w.revive(id)
				}
			})
		},
	}
	w.mu.Lock()
	w.lives[id] = l
	w.mu.Unlock()
	node, err := cluster.Open(config)
	l.node = node
	close(l.opened)
	if l.dead.Load() {
		return l, nil // it was crashed while it opened; whoever did that closes it
	}
	if err != nil {
		l.dead.Store(true)
		return l, fmt.Errorf("open %s: %w", id, err)
	}
	for _, r := range l.node.View().Replicas {
		if r.Quarantined != "" && !r.Departing && !w.damaged(id) && w.first(fmt.Sprintf("quarantine of %s %d", id, r.Shard)) {
			w.violated("%s: replica of shard %d quarantined without damage: %s", id, r.Shard, r.Quarantined)
		}
	}
	return l, nil
}

// RaftSettings snapshot often, so that followers fall behind the log.
func RaftSettings() cluster.RaftSettings {
	r := cluster.DefaultRaftSettings()
	r.SnapshotBytes, r.SnapshotEntries, r.SnapshotCheck, r.TrailingLogs, r.HoldBytes = 48<<10, 512, time.Minute, 8, 128<<10
	return r
}

// crash ends a life at once: first nothing of it reaches anybody, then its disk is as the crash leaves it.
func (w *World) crash(l *life, random *rand.Rand) {
	if !w.cutOff(l, random) {
		return
	}
	w.close(l)
}

// cutOff is the moment of a crash. The node's goroutines go on, and nobody hears of it.
func (w *World) cutOff(l *life, random *rand.Rand) (first bool) {
	if !l.dead.CompareAndSwap(false, true) {
		return false
	}
	l.host.Kill()
	after := l.disk.crashed(random)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lives[l.id] = remains(l.id, after)
	return true
}

func (w *World) close(l *life) {
	<-l.opened
	if l.node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	if err := l.node.Close(ctx); err != nil {
		w.log.Debug("close", "node", l.id, "error", err)
		if ctx.Err() != nil {
			w.violated("%s did not close within %v", l.id, closeWithin)
		}
	}
}

// stop ends a life in good order.
func (w *World) stop(l *life) {
	if !l.dead.CompareAndSwap(false, true) {
		return
	}
	w.close(l)
	l.host.Kill()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lives[l.id] = remains(l.id, &disk{mem: l.disk.mem})
}

// revive starts a node that is down on the disk that it left.
func (w *World) revive(id string) {
	l := w.takeRemains(id)
	if l == nil {
		return
	}
	if started, err := w.start(id, l.disk); err != nil {
		w.violated("a node does not come back: %v", err)
		started.host.Kill()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lives[id] = remains(id, started.disk)
	}
}

// takeRemains gives what a node has left to one caller; nil where it lives, or its end is not through yet.
func (w *World) takeRemains(id string) *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lives[id]
	if l.opened != nil || l.taken || w.over {
		return nil
	}
	l.taken = true
	return l
}

// spoil damages what a node that is down has left on its disk.
func (w *World) spoil(id string, random *rand.Rand) {
	l := w.takeRemains(id)
	if l == nil {
		return // it is up again
	}
	what, err := l.disk.spoil(random)
	if err != nil {
		w.violated("the harness could not damage the disk of %s: %v", id, err)
	}
	w.log.Warn("a disk is damaged", "node", id, "what", what)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spoiled = true
	w.lives[id] = remains(id, l.disk)
}

// damaged reports whether a node may find damage.
func (w *World) damaged(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.spoiled && id == w.unlucky
}

// reached tells whoever lies in wait of a step that a life is about to take.
func (w *World) reached(l *life, point string) {
	w.mu.Lock()
	ambush := w.ambush
	w.mu.Unlock()
	if ambush != nil && !l.dead.Load() {
		ambush(l, point)
	}
}

// lieInWait has something told of each step; nil ends it.
func (w *World) lieInWait(ambush func(l *life, point string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ambush = ambush
}

// alive are the lives that go on, by node.
func (w *World) alive() (all []*life) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lives {
		if l.up() {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *life) int { return int(a.id[1]) - int(b.id[1]) })
	return all
}

// living is the life that a node has now; nil where it is down.
func (w *World) living(id string) *life {
	for _, l := range w.alive() {
		if l.id == id {
			return l
		}
	}
	return nil
}

// ids are all nodes.
func (w *World) ids() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []string
	for id := range w.lives {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (w *World) clockOf(id string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clocks[id]
}

func (w *World) setClock(id string, offset time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clocks[id] = offset
}

// first reports whether something is said for the first time.
func (w *World) first(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.said[what]
	w.said[what] = true
	return !before
}

// count notes that a fault was done.
func (w *World) count(fault string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[fault]++
}

// violated notes that a promise was broken.
func (w *World) violated(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, fmt.Sprintf("%v: ", time.Now().UTC().Format("02 15:04:05.000"))+fmt.Sprintf(format, args...))
}

func (w *World) broken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.failures)
}

// end closes everything. No goroutine of the world is left.
func (w *World) end() {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	for _, l := range w.alive() {
		w.ending.Go(func() { w.stop(l) })
	}
	w.ending.Wait()
}

// rumours is gossip that knows every node that lives.
type rumours struct {
	world *World
	self  gossip.Config

	mu   sync.Mutex
	keys [][]byte
}

// SetKeys keeps the keys; nothing is encrypted here.
func (r *rumours) SetKeys(keys [][]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = keys
	return nil
}

// Keys are those that were set last.
func (r *rumours) Keys() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys
}

func (r *rumours) Addr() string                     { return r.self.Bind }
func (r *rumours) Join(seeds []string) (int, error) { return len(seeds), nil }
func (r *rumours) Close() error                     { return nil }

func (r *rumours) Members() []gossip.Member {
	all := []gossip.Member{{NodeID: r.self.NodeID, ClusterAddr: r.self.ClusterAddr}}
	for _, l := range r.world.alive() {
		if l.id != r.self.NodeID {
			all = append(all, gossip.Member{NodeID: l.id, ClusterAddr: l.id + ":7400", GossipAddr: l.id + ":7401"})
		}
	}
	return all
}

func (r *rumours) Lookup(node string) (string, bool) { return node + ":7400", true }
