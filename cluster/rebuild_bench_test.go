package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/storage"
)

const (
	// rebuildBytesEnv says how large the state is that the follower lacks, rebuildCutsEnv what cuts it off: "link", "follower" or
	// "source", separated by commas and spread evenly over the bytes that are to come.
	rebuildBytesEnv   = "PARLEY_REBUILD_BYTES"
	rebuildBytes      = 64 << 20
	rebuildCutsEnv    = "PARLEY_REBUILD_CUTS"
	rebuildCuts       = "link,follower,link"
	rebuildPaceEnv    = "PARLEY_REBUILD_RATE" // Config.StateRate, in bytes a second
	rebuildLarge      = 2 << 30               // from here on with the snapshots that a node takes by default
	rebuildRooms      = 256
	rebuildFillers    = 64
	rebuildClients    = 16
	rebuildThink      = 200 * time.Millisecond // between two requests of a client
	rebuildBefore     = 10 * time.Second
	rebuildPatience   = 30 * time.Minute
	rebuildLinkIsDown = 2 * time.Second
)

// BenchmarkRebuild brings back a follower that was away while its shard grew by a whole state. It is cut off on the way, and clients
// go on asking. What it reports: the bytes that came and that were needed, how long it took, the memory of this process, which is all
// three nodes, and what the clients noticed. In the end all replicas have to have one digest.
func BenchmarkRebuild(b *testing.B) {
	for range b.N {
		r := newRebuild(b)
		r.fill()
		r.serveBefore()
		r.comeBack()
		r.report()
		r.c.stopAll()
	}
	b.ReportMetric(0, "ns/op")
}

// rebuild is one run. Its methods are called in order, by one goroutine.
type rebuild struct {
	b     *testing.B
	c     *testCluster
	size  uint64
	cuts  []string
	made  int // of the cuts
	links map[string]*link
	seen  *warnings

	shard    fsm.ShardID
	follower string // who was away
	source   string // who leads, and is asked for the state
	via      *Node  // whom the clients ask: neither of them
	rooms    []*fsmtest.Room

	before, during latencies
	filled         time.Duration
	took           time.Duration
	fetched        uint64 // by all attempts of all the follower's lives
	needed         uint64
	restores       int
	shown          bool // to an operator
	rssBefore      uint64
	rssPeak        uint64
	logBytesPeak   uint64
}

func newRebuild(b *testing.B) *rebuild {
	r := &rebuild{b: b, size: numberFrom(b, rebuildBytesEnv, rebuildBytes), links: make(map[string]*link), seen: &warnings{count: make(map[string]int)}}
	if text := cmp.Or(os.Getenv(rebuildCutsEnv), rebuildCuts); text != "none" {
		r.cuts = strings.Split(text, ",")
	}
	pace := numberFrom(b, rebuildPaceEnv, 0)
	r.c = benchCluster(b, 1, func(config *Config) {
		id := config.Credentials.NodeID()
		r.links[id] = newLink()
		config.Network, config.Log, config.StateRate = r.links[id], slog.New(r.seen), pace
		config.Raft.Heartbeat, config.Raft.LeaderLease = 5*time.Second, 4*time.Second // so that no election comes between on a busy machine
		if r.size < rebuildLarge {                                                    // as large a part of the whole as it would be of a large one
			config.Raft.SnapshotBytes, config.Raft.TrailingLogs = r.size/32, 16
		}
	})
	r.c.awaitSettings()
	eventually(b, "the meta group can lose one", func() bool {
		status, err := r.c.nodes["n1"].Status(r.c.context())
		return err == nil && !slices.ContainsFunc(status.Nodes, func(n NodeStatus) bool { return !n.View.Meta.Voter })
	})
	r.shard = r.c.nodes["n1"].Map().Shards()[0].ID
	r.source = r.c.leaderNode(r.shard)
	others := slices.DeleteFunc([]string{"n1", "n2", "n3"}, func(id string) bool { return id == r.source })
	r.follower, r.via = others[0], r.c.nodes[others[1]]
	for i := range rebuildRooms {
		r.rooms = append(r.rooms, r.c.openRoom(r.source, fmt.Sprint("rebuild", i)))
	}
	return r
}

// numberFrom reads a number from the environment.
func numberFrom(b *testing.B, name string, otherwise uint64) uint64 {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return number
}

// fill makes the state while the follower is away: messages of 1 to 64 KiB, as good as random, in many rooms.
func (r *rebuild) fill() {
	r.c.stop(r.follower)
	began := time.Now()
	leader := r.c.nodes[r.source]
	alice := user(r.b, "alice")
	var made atomic.Uint64
	var wait sync.WaitGroup
	for worker := range rebuildFillers {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			content := rand.NewChaCha8([32]byte{byte(worker)})
			for made.Load() < r.size {
				body := make([]byte, 1<<(10+random.IntN(7)))
				if _, err := content.Read(body); err != nil {
					r.b.Error(err)
					return
				}
				room := r.rooms[random.IntN(len(r.rooms))]
				if err := settled(leader, room.Message(string(body), 0, alice)); err != nil {
					r.b.Error(err)
					return
				}
				made.Add(uint64(len(body) * len(room.Destinations))) // each gets a copy
			}
		})
	}
	wait.Wait()
	if r.b.Failed() {
		r.b.FailNow()
	}
	r.filled = time.Since(began)
	if r.source = r.c.leaderNode(r.shard); r.source == r.via.ID() {
		r.via = leader
	}
	first, err := r.c.nodes[r.source].replica(r.shard).stores.log.FirstIndex()
	if err != nil || first < 2 {
		r.b.Fatalf("the log begins at %d, %v: the follower would not need a state", first, err)
	}
}

// settled proposes until there is an outcome, which must be that the command was accepted.
func settled(at *Node, command fsm.Command) error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		outcome, _, err := at.Propose(ctx, command)
		cancel()
		switch {
		case errors.Is(err, fsm.ErrOverloaded), errors.Is(err, fsm.ErrNotProposed), errors.Is(err, fsm.ErrUnknownOutcome):
			continue
		case err != nil:
			return err
		}
		if _, accepted := outcome.(fsm.Accepted); !accepted {
			return fmt.Errorf("%T: %#v", command, outcome)
		}
		return nil
	}
}

// latencies are those of requests, from the moment at which each was due.
type latencies struct {
	mu   sync.Mutex
	all  []time.Duration
	span time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

func (l *latencies) at(quantile float64) time.Duration {
	slices.Sort(l.all)
	if len(l.all) == 0 {
		return 0
	}
	return l.all[min(len(l.all)-1, int(quantile*float64(len(l.all))))]
}

func (l *latencies) rate() float64 { return float64(len(l.all)) / l.span.Seconds() }

// serve has clients ask, each at a steady pace, a Commit and a message in turn, until done is closed.
func (r *rebuild) serve(into *latencies, done <-chan struct{}) (wait func()) {
	began := time.Now()
	var clients sync.WaitGroup
	for i := range rebuildClients {
		clients.Go(func() {
			alice := user(r.b, "alice")
			room := r.rooms[i]
			due := time.Now().Add(rebuildThink * time.Duration(i) / rebuildClients)
			for n := 0; ; n++ {
				select {
				case <-time.After(time.Until(due)):
				case <-done:
					return
				}
				label := fmt.Sprint("client ", i, " at ", due.UnixNano())
				var err error
				if n%2 == 0 {
					err = settled(r.via, room.Message(label+strings.Repeat(".", 1<<10), room.Epoch, alice))
				} else {
					commit := room.Commit(fsmtest.Next{Label: label})
					err = settled(r.via, commit)
					room.Advance(commit)
				}
				if err != nil {
					r.b.Error(err)
					return
				}
				into.add(time.Since(due))
				due = due.Add(rebuildThink)
			}
		})
	}
	return func() {
		clients.Wait()
		into.span = time.Since(began)
	}
}

func (r *rebuild) serveBefore() {
	runtime.GC()
	resetPeakRSS(r.b)
	done := make(chan struct{})
	wait := r.serve(&r.before, done)
	<-time.After(rebuildBefore)
	close(done)
	wait()
	r.rssBefore = memoryField(r.b, "VmHWM")
}

// comeBack starts the follower, cuts it off, and waits until it has what the leader has.
func (r *rebuild) comeBack() {
	resetPeakRSS(r.b)
	done := make(chan struct{})
	wait := r.serve(&r.during, done)
	r.b.ResetTimer()
	began := time.Now()
	life := r.c.start(r.follower).replica(r.shard)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var restored, earlier uint64 // fetched by earlier lives
	for n := 0; ; n++ {
		<-tick.C
		if time.Since(began) > rebuildPatience {
			r.b.Fatalf("not rebuilt after %v: %s", rebuildPatience, r.standing())
		}
		if through, err := life.machine.state.RestoredThrough(); err == nil && through != restored {
			restored = through
			r.restores++
		}
		r.fetched = earlier + life.machine.fetching.fetched.Load()
		if n%25 == 0 {
			r.logBytesPeak = max(r.logBytesPeak, folderBytes(filepath.Join(r.c.configs[r.source].DataDir, "log")))
		}
		if n%100 == 0 {
			r.shown = r.shown || r.showsFetch()
			r.b.Logf("%v: %s", time.Since(began).Round(time.Second), r.standing())
		}
		if r.made < len(r.cuts) && r.fetched >= r.size*uint64(r.made+1)/uint64(len(r.cuts)+1) {
			r.b.Logf("%v: cut: %s at %d MiB", time.Since(began).Round(time.Second), r.cuts[r.made], r.fetched>>20)
			if r.cut(r.cuts[r.made]) {
				earlier += life.machine.fetching.fetched.Load()
				life = r.c.nodes[r.follower].replica(r.shard)
			}
			r.made++
		}
		if now := r.c.nodes[r.follower].replica(r.shard); restored > 0 && now != nil && now.machine.applied.current()+16 >= r.leaderApplied() {
			break
		}
	}
	r.took = time.Since(began)
	r.b.StopTimer()
	close(done)
	wait()
	r.rssPeak = memoryField(r.b, "VmHWM")
}

// cut breaks off what is under way, and reports whether the follower was started anew.
func (r *rebuild) cut(what string) bool {
	switch what {
	case "link":
		r.links[r.follower].cut(rebuildLinkIsDown)
	case "follower":
		r.c.stop(r.follower)
		r.c.start(r.follower)
		return true
	case "source":
		r.c.stop(r.source)
		r.c.start(r.source)
	default:
		r.b.Fatalf("%s: %q is not known", rebuildCutsEnv, what)
	}
	return false
}

// showsFetch reports whether the cluster's status, as another node has it, shows the fetch.
func (r *rebuild) showsFetch() bool {
	status, err := r.via.Status(r.c.context())
	return err == nil && slices.ContainsFunc(status.Shards[0].Replicas, func(s ReplicaStatus) bool {
		return s.Node == r.follower && s.Fetching != nil && s.Fetching.Total > 0
	})
}

func (r *rebuild) leaderApplied() uint64 {
	for _, n := range r.c.nodes {
		if replica := n.replica(r.shard); replica != nil && replica.leads() {
			return replica.machine.applied.current()
		}
	}
	return 1 << 62
}

func (r *rebuild) standing() string {
	var text strings.Builder
	for _, id := range []string{"n1", "n2", "n3"} {
		if n := r.c.nodes[id]; n != nil && n.replica(r.shard) != nil {
			replica := n.replica(r.shard)
			first, _ := replica.stores.log.FirstIndex()
			last, _ := replica.stores.log.LastIndex()
			fmt.Fprintf(&text, "%s at %d log %d-%d; ", id, replica.machine.applied.current(), first, last)
		}
	}
	f := &r.c.nodes[r.follower].replica(r.shard).machine.fetching
	fmt.Fprintf(&text, "fetched %d MiB, reused %d of about %d; rss %d MiB", f.fetched.Load()>>20, f.reused.Load()>>20, f.estimate.Load()>>20,
		memoryField(r.b, "VmRSS")>>20)
	return text.String()
}

// compare reads all replicas at one index, which must have one digest, and finds what they have.
func (r *rebuild) compare() {
	var views []*storage.View
	eventually(r.b, "all replicas are at one index", func() bool {
		for _, id := range []string{"n1", "n2", "n3"} {
			view, err := r.c.nodes[id].replica(r.shard).view()
			if err != nil {
				r.b.Fatal(err)
			}
			views = append(views, view)
		}
		if !slices.ContainsFunc(views, func(v *storage.View) bool { return v.Applied() != views[0].Applied() }) {
			return true
		}
		for _, view := range views {
			if err := view.Close(); err != nil {
				r.b.Fatal(err)
			}
		}
		views = nil
		return false
	})
	sums := make([]fsm.Sum, len(views))
	var wait sync.WaitGroup
	for i, view := range views {
		wait.Go(func() {
			sum := fsm.NewSummer()
			err := view.Scan(nil, nil, func(key, value []byte) (bool, error) {
				sum.Add(key, value)
				return true, nil
			})
			sums[i] = sum.Sum()
			if err := errors.Join(err, view.Close()); err != nil {
				r.b.Error(err)
			}
		})
	}
	wait.Wait()
	r.needed = sums[0].Bytes
	r.b.Logf("%d records with digest %x", sums[0].Count, sums[0].Digest)
	if slices.ContainsFunc(sums, func(s fsm.Sum) bool { return s != sums[0] }) {
		r.b.Errorf("the replicas have %+v", sums)
	}
}

func (r *rebuild) report() {
	r.compare()
	const mib = 1 << 20
	r.b.ReportMetric(float64(r.needed)/mib, "MiB-state")
	r.b.ReportMetric(float64(r.fetched)/mib, "MiB-fetched")
	r.b.ReportMetric(float64(r.fetched)/float64(r.needed), "fetched/needed")
	r.b.ReportMetric(float64(r.restores), "restores")
	if !r.shown {
		r.b.Error("the cluster's status never showed the fetch")
	}
	if r.restores == 0 || r.made < len(r.cuts) {
		r.b.Errorf("%d states were fetched, with %d cuts of %d", r.restores, r.made, len(r.cuts))
	}
	r.b.ReportMetric(r.filled.Seconds(), "s-fill")
	r.b.ReportMetric(r.took.Seconds(), "s-rebuild")
	r.b.ReportMetric(float64(r.needed)/mib/r.took.Seconds(), "MiB/s")
	r.b.ReportMetric(float64(r.rssBefore)/mib, "MiB-rss-before")
	r.b.ReportMetric(float64(r.rssPeak)/mib, "MiB-rss-peak")
	r.b.ReportMetric(float64(r.logBytesPeak)/mib, "MiB-log")
	for name, l := range map[string]*latencies{"before": &r.before, "during": &r.during} {
		r.b.ReportMetric(l.rate(), "req/s-"+name)
		r.b.ReportMetric(float64(l.at(0.50).Microseconds())/1e3, "ms-p50-"+name)
		r.b.ReportMetric(float64(l.at(0.99).Microseconds())/1e3, "ms-p99-"+name)
		r.b.ReportMetric(float64(l.at(1).Microseconds())/1e3, "ms-max-"+name)
	}
	r.b.ReportMetric(float64(r.during.at(0.50))/float64(r.before.at(0.50)), "p50-ratio")
	r.b.ReportMetric(float64(r.during.at(0.99))/float64(r.before.at(0.99)), "p99-ratio")
	r.seen.log(r.b)
}

// link is a node's network, which can be taken away.
type link struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	until time.Time // down until then
}

func newLink() *link { return &link{conns: make(map[net.Conn]struct{})} }

var errLinkDown = errors.New("the link is down")

// cut breaks every connection and lets none come about for some time.
func (l *link) cut(down time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Now().Add(down)
	for conn := range l.conns {
		_ = conn.Close() // that it is broken is the point
	}
}

func (l *link) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return l.take(conn)
}

// take keeps a connection, or closes it while the link is down.
func (l *link) take(conn net.Conn) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.until) {
		return nil, errors.Join(errLinkDown, conn.Close())
	}
	kept := &linkConn{Conn: conn, link: l}
	l.conns[kept] = struct{}{}
	return kept, nil
}

func (l *link) Listen(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	return linkListener{listener, l}, err
}

type linkListener struct {
	net.Listener
	link *link
}

func (l linkListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		kept, err := l.link.take(conn)
		if err == nil {
			return kept, nil
		}
	}
}

type linkConn struct {
	net.Conn
	link *link
	once sync.Once
}

// Close is called by cut too, which holds the lock.
func (c *linkConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		go func() {
			c.link.mu.Lock()
			defer c.link.mu.Unlock()
			delete(c.link.conns, c)
		}()
	})
	return err
}

// warnings counts what the nodes log, and prints it all where it is asked to.
type warnings struct {
	mu    sync.Mutex
	count map[string]int
}

func (w *warnings) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (w *warnings) Handle(_ context.Context, record slog.Record) error {
	text := record.Message
	record.Attrs(func(a slog.Attr) bool {
		if a.Key == "reason" || a.Key == "error" {
			text += " " + a.String()
		}
		return true
	})
	if os.Getenv("PARLEY_TEST_LOG") != "" {
		fmt.Fprintln(os.Stderr, record.Time.Format(time.TimeOnly), text)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count[record.Message]++
	return nil
}

func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w *warnings) WithGroup(string) slog.Handler      { return w }

func (w *warnings) log(b *testing.B) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for text, count := range w.count {
		b.Logf("%6d × %s", count, text)
	}
}

// resetPeakRSS makes the kernel forget the process's highest memory use.
func resetPeakRSS(b *testing.B) {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600); err != nil {
		b.Logf("the peak of memory includes what was before: %v", err)
	}
}

// memoryField reads one line of /proc/self/status, in bytes; 0 where there is none.
func memoryField(b *testing.B, name string) uint64 {
	b.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name+":" {
			kib, err := strconv.ParseUint(fields[1], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib << 10
		}
	}
	return 0
}

// folderBytes is what a folder's files come to, about: some may go while it is looked at.
func folderBytes(path string) (size uint64) {
	_ = filepath.Walk(path, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			size += uint64(info.Size())
		}
		return nil
	})
	return size
}
