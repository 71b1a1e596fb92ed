package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"parley/cluster/pki"
	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
)

// patience is how long a test waits for anything on a busy machine.
const patience = 2 * time.Minute

// slowed gives a node more time than it has outside tests, the most where the race detector makes all that it does many times slower. With the usual
// times a machine that is busy with several clusters has elections all the while, decides nothing between them, and calls each move of a slot off.
func slowed(config *Config) {
	times := time.Duration(2)
	if raced {
		times = 4
	}
	config.Raft.Heartbeat, config.Raft.LeaderLease = times*config.Raft.Heartbeat, times*config.Raft.LeaderLease
	config.frozenMost = times * frozenMost
}

// testCluster is real nodes in one process: real Raft, TLS and files, on loopback ports that the system chooses.
type testCluster struct {
	t       testing.TB
	ca      pki.CA
	tune    func(*Config)
	configs map[string]Config
	nodes   map[string]*Node
	fatal   sync.Map // node ID → error
	folders map[string]string
}

func newTestCluster(t testing.TB, tune func(*Config)) *testCluster {
	t.Helper()
	ca, err := pki.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	c := &testCluster{t: t, ca: ca, tune: tune, configs: make(map[string]Config), nodes: make(map[string]*Node)}
	t.TempDir() // the first one registers the removal of all; it must come after the nodes have stopped
	t.Cleanup(c.stopAll)
	return c
}

// add opens a new node on an empty directory.
func (c *testCluster) add(id string) *Node {
	c.t.Helper()
	credentials, err := pki.IssueNode(c.ca, id, nil, time.Hour)
	if err != nil {
		c.t.Fatal(err)
	}
	c.configs[id] = c.config(id, credentials)
	return c.start(id)
}

// config is what a node is opened with.
func (c *testCluster) config(id string, credentials pki.Credentials) Config {
	level := slog.LevelError
	if os.Getenv("PARLEY_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	config := Config{
		DataDir: c.folder(id), Credentials: credentials,
		ClusterListen: "127.0.0.1:0", GossipListen: "127.0.0.1:0", GossipKey: [32]byte{1}, GossipQuick: true,
		LogStore: PebbleLogs, SealKey: [32]byte{2},
		Log:   slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: level})),
		Clock: SystemClock(), Raft: DefaultRaftSettings(),
		OnFatal: func(err error) { c.fatal.Store(id, err) },
	}
	slowed(&config)
	if c.tune != nil {
		c.tune(&config)
	}
	return config
}

// start opens a node on what it has, at new addresses, which gossip has to tell the others.
func (c *testCluster) start(id string) *Node {
	c.t.Helper()
	config := c.configs[id]
	config.GossipSeeds = nil
	for _, other := range c.nodes {
		config.GossipSeeds = append(config.GossipSeeds, other.GossipAddr())
	}
	n, err := Open(config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[id] = n
	return n
}

// join has a node taken in by a member; again where that does not answer in time.
func (c *testCluster) join(n *Node, member string) {
	c.t.Helper()
	eventuallyWithin(c.t, 2*patience, n.id+" is taken in", func() bool {
		err := n.Join(c.context(), member)
		if err != nil && !errors.As(err, new(*UnreachableError)) {
			c.t.Fatal(err)
		}
		return err == nil
	})
}

func (c *testCluster) stop(id string) {
	c.t.Helper()
	n := c.nodes[id]
	delete(c.nodes, id)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		c.t.Errorf("close %s: %v", id, err)
	}
}

func (c *testCluster) stopAll() {
	for id := range c.nodes {
		c.stop(id)
	}
	c.fatal.Range(func(id, err any) bool {
		c.t.Errorf("node %s failed: %v", id, err)
		return true
	})
}

// threeNodes is a cluster that is ready for work.
func threeNodes(t *testing.T, tune func(*Config)) *testCluster {
	t.Helper()
	return threeNodesWith(t, tune, fsm.DefaultSettings(provider(t, "a.example")))
}

// threeNodesOf is threeNodes under settings that are changed before the cluster begins.
func threeNodesOf(t *testing.T, change func(*fsm.Settings)) *testCluster {
	t.Helper()
	settings := fsm.DefaultSettings(provider(t, "a.example"))
	change(&settings)
	return threeNodesWith(t, nil, settings)
}

func threeNodesWith(t *testing.T, tune func(*Config), settings fsm.Settings) *testCluster {
	t.Helper()
	c := newTestCluster(t, tune)
	ctx := c.context()
	first := c.add("n1")
	options := InitOptions{Settings: settings, Shards: 2, Replication: 3}
	if err := first.Init(ctx, options); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"n2", "n3"} {
		c.join(c.add(id), first.ClusterAddr())
	}
	c.awaitActive(2)
	return c
}

func (c *testCluster) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	c.t.Cleanup(cancel)
	return ctx
}

// awaitActive waits until every node's map has so many active shards.
func (c *testCluster) awaitActive(shards int) {
	c.t.Helper()
	for id, n := range c.nodes {
		eventually(c.t, fmt.Sprintf("%s sees %d active shards", id, shards), func() bool {
			active := 0
			for _, shard := range n.Map().Shards() {
				if shard.State == meta.ShardActive {
					active++
				}
			}
			return active == shards
		})
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	eventuallyWithin(t, patience, what, holds)
}

// eventuallyWithin is eventually for what takes thousands of entries, each of which is synced on three nodes.
func eventuallyWithin(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}

// deliverer waits until a node is appointed to deliver to a destination from a slot.
func (c *testCluster) deliverer(slot fsm.SlotID, destination mimi.Provider) (found *Node) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("somebody delivers to %s", destination), func() bool {
		for _, n := range c.nodes {
			if n.Delivers(slot, destination) {
				found = n
			}
		}
		return found != nil
	})
	return found
}

func provider(t testing.TB, domain string) mimi.Provider {
	t.Helper()
	p, err := mimi.ParseProvider(domain)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func room(t testing.TB, name string) mimi.RoomURI {
	t.Helper()
	uri, err := mimi.ParseRoomURI("mimi://a.example/r/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return uri
}

func user(t testing.TB, name string) mimi.UserURI {
	t.Helper()
	uri, err := mimi.ParseUserURI("mimi://a.example/u/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return uri
}

// shortly is a context for what is expected to be in vain.
func shortly(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
