package archive

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"parley/cluster"
	"parley/cluster/pki"
	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
	"parley/ops/backup"
)

// patience is how long a test waits for anything on a busy machine.
const patience = 2 * time.Minute

// clusterUnderTest is real nodes in one process, each with an archive.
type clusterUnderTest struct {
	t       testing.TB
	id      string
	ca      pki.CA
	configs map[string]cluster.Config

	mu      sync.Mutex
	nodes   map[string]*cluster.Node
	reached func(node, point string) // of an archive's or a node's step; nil: nobody hears of it
}

func newCluster(t testing.TB, id string) *clusterUnderTest {
	t.Helper()
	ca, err := pki.NewCA(id)
	if err != nil {
		t.Fatal(err)
	}
	c := &clusterUnderTest{t: t, id: id, ca: ca, configs: make(map[string]cluster.Config), nodes: make(map[string]*cluster.Node)}
	t.TempDir() // the first one registers the removal of all; it must come after the nodes have stopped
	t.Cleanup(c.stopAll)
	return c
}

// hear sets who is told of steps.
func (c *clusterUnderTest) hear(reached func(node, point string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reached = reached
}

func (c *clusterUnderTest) tell(node, point string) {
	c.mu.Lock()
	reached := c.reached
	c.mu.Unlock()
	if reached != nil {
		reached(node, point)
	}
}

// killing stops the first node that reaches a step, there.
type killing struct {
	c    *clusterUnderTest
	once sync.Once
	dead chan string // the node, when it is down
}

func (c *clusterUnderTest) killAt(point string) *killing {
	k := &killing{c: c, dead: make(chan string, 1)}
	c.hear(func(node, at string) {
		if at != point {
			return
		}
		k.once.Do(func() {
			c.mu.Lock()
			n := c.nodes[node]
			c.mu.Unlock()
			go func() { // its end waits for who has reached the step
				c.stop(node)
				k.dead <- node
			}()
			for closing := false; !closing; {
				_, err := n.Status(context.Background())
				closing = err != nil
			}
		})
	})
	return k
}

// again starts the node again once it is down.
func (k *killing) again() {
	k.c.t.Helper()
	select {
	case node := <-k.dead:
		k.c.hear(nil)
		k.c.start(node)
	case <-time.After(patience):
		k.c.t.Fatal("nobody came to the step")
	}
}

func (c *clusterUnderTest) add(id string) *cluster.Node {
	c.t.Helper()
	credentials, err := pki.IssueNode(c.ca, id, nil, time.Hour)
	if err != nil {
		c.t.Fatal(err)
	}
	level := slog.LevelError
	if os.Getenv("PARLEY_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	raft := cluster.DefaultRaftSettings()
	raft.Heartbeat, raft.LeaderLease = 2*raft.Heartbeat, 2*raft.LeaderLease // a busy machine has elections all the while otherwise
	c.configs[id] = cluster.Config{
		DataDir: filepath.Join(c.t.TempDir(), id), Credentials: credentials,
		ClusterListen: "127.0.0.1:0", GossipListen: "127.0.0.1:0", GossipKey: [32]byte{1}, GossipQuick: true,
		LogStore: cluster.PebbleLogs, SealKey: [32]byte{2}, Log: slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: level})),
		Clock: cluster.SystemClock(), Raft: raft,
		OnFatal: func(err error) { c.t.Errorf("node %s failed: %v", id, err) },
		Reached: func(point string) { c.tell(id, point) },
	}
	return c.start(id)
}

func (c *clusterUnderTest) start(id string) *cluster.Node {
	c.t.Helper()
	config := c.configs[id]
	c.mu.Lock()
	for _, other := range c.nodes {
		config.GossipSeeds = append(config.GossipSeeds, other.GossipAddr())
	}
	c.mu.Unlock()
	n, err := cluster.Open(config)
	if err != nil {
		c.t.Fatal(err)
	}
	n.KeepArchive(New(n, "test", func(point string) { c.tell(id, point) }))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[id] = n
	return n
}

func (c *clusterUnderTest) stop(id string) {
	c.mu.Lock()
	n := c.nodes[id]
	delete(c.nodes, id)
	c.mu.Unlock()
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		c.t.Errorf("close %s: %v", id, err)
	}
}

func (c *clusterUnderTest) stopAll() {
	c.mu.Lock()
	var ids []string
	for id := range c.nodes {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	for _, id := range ids {
		c.stop(id)
	}
}

// node is one that runs.
func (c *clusterUnderTest) node() *cluster.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		return n
	}
	c.t.Fatal("no node runs")
	return nil
}

// begin makes the cluster of so many nodes, each with a replica of each shard.
func (c *clusterUnderTest) begin(nodes, shards int, restore *cluster.RestoreOptions) {
	c.t.Helper()
	ctx := testContext(c.t)
	settings := fsm.DefaultSettings(provider(c.t))
	settings.Claims.ConsentDefault = fsm.ConsentAllow
	first := c.add("n1")
	if err := first.Init(ctx, cluster.InitOptions{Settings: settings, Shards: shards, Replication: nodes, Restore: restore}); err != nil {
		c.t.Fatal(err)
	}
	for i := 2; i <= nodes; i++ {
		if err := c.add(fmt.Sprintf("n%d", i)).Join(ctx, first.ClusterAddr()); err != nil {
			c.t.Fatal(err)
		}
	}
	c.awaitAll("all shards are active", func(n *cluster.Node) bool {
		active := 0
		for _, shard := range n.Map().Shards() {
			if shard.State == meta.ShardActive {
				active++
			}
		}
		return active == shards
	})
	eventually(c.t, "the meta group has its voters, so that it outlives a node", func() bool { return c.metaVoters() == min(nodes, 3) })
}

// awaitAll waits until something is so at every node that runs: each hears of a change of the map in its own time.
func (c *clusterUnderTest) awaitAll(what string, holds func(n *cluster.Node) bool) {
	c.t.Helper()
	eventually(c.t, what, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, n := range c.nodes {
			if !holds(n) {
				return false
			}
		}
		return len(c.nodes) > 0
	})
}

// metaVoters is how many nodes vote in the meta group, by its leader's word.
func (c *clusterUnderTest) metaVoters() (voters int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		for _, m := range n.View().Meta.Members {
			if m.Voter {
				voters++
			}
		}
	}
	return voters
}

// fill makes rooms with messages that wait for a peer, and users with KeyPackages.
func (c *clusterUnderTest) fill(rooms, users int) {
	c.t.Helper()
	ctx := testContext(c.t)
	n := c.node()
	for i := range rooms {
		uri, err := mimi.ParseRoomURI(fmt.Sprintf("mimi://a.example/r/room%d", i))
		if err != nil {
			c.t.Fatal(err)
		}
		made := fsmtest.NewRoom(uri, 0, []mimi.UserURI{user(c.t, "anna")}, []mimi.Provider{provider(c.t)})
		mustPropose(c.t, ctx, n, made.Create())
	}
	for i := range users {
		mustPropose(c.t, ctx, n, upload(c.t, i, 5))
	}
}

// upload is a user's KeyPackages, the same each time.
func upload(t testing.TB, number, each int) fsm.UploadKeyPackages {
	t.Helper()
	owner := user(t, fmt.Sprintf("owner%d", number))
	client, err := mimi.ParseClientURI(fmt.Sprintf("mimi://a.example/d/owner%d/1", number))
	if err != nil {
		t.Fatal(err)
	}
	now := uint64(time.Now().Unix())
	c := fsm.UploadKeyPackages{User: owner, Client: client}
	for k := range each {
		ref := make([]byte, 32)
		copy(ref, fmt.Sprintf("ref %d of %d", k, number))
		message := []byte(fmt.Sprintf("KeyPackage %d of user %d, of some length and no more", k, number))
		c.Packages = append(c.Packages, fsm.KeyPackageFacts{
			Ref: mls.KeyPackageRef(ref), Suite: 1, NotBefore: now - 3600, NotAfter: now + 60*86400, Message: message,
			Extensions: []mls.ExtensionType{mls.ExtensionAppDataDictionary}, Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate},
			Credentials: []mls.CredentialType{mls.CredentialBasic},
		})
	}
	return c
}

func mustPropose(t testing.TB, ctx context.Context, n *cluster.Node, command fsm.Command) fsm.Outcome {
	t.Helper()
	for {
		outcome, _, err := n.Propose(ctx, command)
		if err == nil {
			return outcome
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// awaitJob waits for the end of a job.
func (c *clusterUnderTest) awaitJob(id uint64) (job meta.Job) {
	c.t.Helper()
	c.awaitAll(fmt.Sprintf("job %d ends", id), func(n *cluster.Node) bool {
		found := false
		var err error
		job, found, err = n.Job(id)
		return err == nil && found && job.State.Ended()
	})
	return job
}

// startJob begins a job, whoever leads.
func (c *clusterUnderTest) startBackup(spec cluster.BackupSpec) uint64 {
	c.t.Helper()
	ctx := testContext(c.t)
	for {
		job, err := c.node().StartJob(ctx, cluster.JobRequest{Kind: cluster.JobBackup, Spec: spec.Encode(), Key: spec.ID, By: "a test"})
		if err == nil {
			return job.ID
		}
		if ctx.Err() != nil {
			c.t.Fatal(err)
		}
	}
}

// backUp makes a whole backup into a directory of a node.
func (c *clusterUnderTest) backUp(spec cluster.BackupSpec) backup.Report {
	c.t.Helper()
	if job := c.awaitJob(c.startBackup(spec)); job.State != meta.JobDone {
		c.t.Fatalf("the backup is %s: %s", job.State, job.Error)
	}
	return mustBeWhole(c.t, spec)
}

func mustBeWhole(t testing.TB, spec cluster.BackupSpec) backup.Report {
	t.Helper()
	store, err := backup.Open(spec.Location)
	if err != nil {
		t.Fatal(err)
	}
	report, err := backup.Verify(testContext(t), store, spec.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Whole() {
		t.Fatalf("the backup is not whole: %v", report.Problems)
	}
	return report
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}

func provider(t testing.TB) mimi.Provider {
	t.Helper()
	p, err := mimi.ParseProvider("a.example")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func user(t testing.TB, name string) mimi.UserURI {
	t.Helper()
	uri, err := mimi.ParseUserURI("mimi://a.example/u/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return uri
}
