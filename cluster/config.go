package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"parley/cluster/gossip"
	"parley/cluster/pki"
	"parley/cluster/transport"
	"parley/fsm/meta"
)

// Config is what a node is opened with. What the whole cluster agrees on is not here but in the meta group.
type Config struct {
	DataDir string // made with mode 0700
	// Credentials name the cluster and this node. A node ID is used once: a node that lost its disk comes back under a new one.
	Credentials pki.Credentials
	// CredentialsDir is the folder that they came from, where renewed ones are kept. Empty: they are not renewed.
	CredentialsDir string

	ClusterListen    string // host:port for Raft and RPC; port 0 takes a free one
	ClusterAdvertise string // host:port under which other nodes reach it; the bound address where empty

	GossipListen string   // host:port, UDP and TCP; port 0 takes a free one
	GossipKey    [32]byte // the same on every node
	GossipSeeds  []string // gossip addresses of other nodes; may be empty
	GossipQuick  bool     // short intervals, for nodes on one machine

	// Zone is the failure domain that the node is in, by its own word; what may fail together has one name. Empty: nobody has said.
	Zone string

	DiskReserve uint64 // bytes to keep free on DataDir's disk; below it the node leads nothing. 0: 1 GiB

	// StateRate bounds the bytes a second that this node reads and sends for replicas elsewhere that lack a state; 0: 64 MiB, half of
	// what a link of 1 Gbit/s carries.
	StateRate uint64

	Version string // of the program, for people

	Delivery Delivery // who delivers the outboxes of the shards that this node leads; empty: FollowersDeliver
	// What this node holds of bulk submissions while their shards have no leader: bytes and items; 0: 64 MiB and 100,000.
	HeldBytes int64
	HeldItems int

	LogStore LogStore          // what keeps the shards' logs
	Disk     Disk              // the machine's own outside tests
	Network  transport.Network // nil: the machine's own

	// Gossip finds other nodes; nil: memberlist, by the fields above.
	Gossip func(gossip.Config) (Gossip, error)

	SealKey [32]byte // seals the hub's keys in the replicated state; the same on every node
	// OldSealKeys open what was sealed before SealKey was the key, until Reseal has sealed all of it anew.
	OldSealKeys [][32]byte

	Log   *slog.Logger
	Clock Clock // SystemClock outside tests

	// Applied sees each entry that a group of this node applies, in order, before anybody is told of its outcome; again after a
	// restart where the state was behind. nil outside tests.
	Applied func(group uint32, index uint64, entry []byte)

	// Reached is told of each step of a long action before it is taken, by a name such as "move.freeze"; tests stop a node there. It may be
	// called by many goroutines. nil outside tests.
	Reached func(point string)
	jobs    map[string]jobKind // more kinds of jobs, in tests

	frozenMost time.Duration // how long a slot may be frozen; 0 outside tests: the constant of that name

	MetaVoterPatience time.Duration // after which a silent voter of the meta group is replaced; 0 means a minute

	// OnFatal is called once, from any goroutine, when the node must not go on: a state that could not be written, an entry that
	// could not be applied. It is expected to end the process; if it returns, the node serves nothing more.
	OnFatal func(error)

	Raft RaftSettings // DefaultRaftSettings outside tests
}

// Gossip is what a node needs of the way in which nodes find each other. It is a hint and never an authority. Every method may
// be called concurrently.
type Gossip interface {
	Addr() string             // a seed for others
	Members() []gossip.Member // that are believed to be up, this node too
	Lookup(node string) (clusterAddr string, found bool)
	Join(seeds []string) (met int, err error)
	SetKeys(keys [][]byte) error // the first encrypts, all decrypt
	Keys() [][]byte
	Close() error
}

const defaultStateRate = 64 << 20

// LogStore selects the store behind the shards' Raft logs. The meta group always uses bolt.
type LogStore string

const (
	PebbleLogs LogStore = "pebble" // one shared engine for all shards, with group commit across them
	BoltLogs   LogStore = "bolt"   // a file for each shard
)

// RaftSettings are the timings and sizes of every Raft group of the node. Those of one cluster should not differ much.
type RaftSettings struct {
	Heartbeat        time.Duration // silence after which a follower asks for votes; also the election timeout
	LeaderLease      time.Duration // a leader without a quorum steps down after it; at most Heartbeat
	Commit           time.Duration // an idle leader tells its followers the commit index this often
	MaxAppendEntries int           // entries an append message, each up to 512 KiB

	SnapshotBytes   uint64        // log bytes after which a replica snapshots
	SnapshotEntries uint64        // or entries
	SnapshotCheck   time.Duration // how often the entries are counted
	TrailingLogs    uint64        // entries kept behind a snapshot, for followers that are a little late
	HoldBytes       uint64        // log kept for a replica that fetches a state, or as much as the state has where that is more
}

// DefaultRaftSettings elect a new leader within about 1.5 s of the old one's death.
func DefaultRaftSettings() RaftSettings {
	return RaftSettings{
		Heartbeat: 500 * time.Millisecond, LeaderLease: 350 * time.Millisecond, Commit: 300 * time.Millisecond,
		MaxAppendEntries: 16,
		SnapshotBytes:    64 << 20, SnapshotEntries: 16384, SnapshotCheck: 30 * time.Second, TrailingLogs: 1024, HoldBytes: 256 << 20,
	}
}

// Validate names everything that is missing or wrong, all at once.
func (c Config) Validate() error {
	var wrong []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	check(c.DataDir != "", "DataDir is missing")
	check(c.Credentials.NodeID() != "", "Credentials are missing")
	check(hostPort(c.ClusterListen), "ClusterListen must be host:port, is %q", c.ClusterListen)
	check(c.ClusterAdvertise == "" || hostPort(c.ClusterAdvertise), "ClusterAdvertise must be host:port, is %q", c.ClusterAdvertise)
	check(hostPort(c.GossipListen), "GossipListen must be host:port, is %q", c.GossipListen)
	check(c.GossipKey != [32]byte{}, "GossipKey is missing")
	check(c.SealKey != [32]byte{}, "SealKey is missing")
	check(c.LogStore == PebbleLogs || c.LogStore == BoltLogs, "LogStore must be %q or %q, is %q", PebbleLogs, BoltLogs, c.LogStore)
	check(meta.ZoneFault(c.Zone) == "", "Zone %s", meta.ZoneFault(c.Zone))
	check(c.Delivery == "" || c.Delivery == FollowersDeliver || c.Delivery == LeadersDeliver,
		"Delivery must be %q or %q, is %q", FollowersDeliver, LeadersDeliver, c.Delivery)
	check(c.Disk.Stable == nil || c.LogStore == PebbleLogs, "Disk.Stable needs LogStore %q", PebbleLogs)
	check(c.Log != nil, "Log is missing")
	check(c.Clock.Wall != nil && c.Clock.Monotonic != nil, "Clock is missing")
	check(c.OnFatal != nil, "OnFatal is missing")
	r := c.Raft
	check(r.Heartbeat > 0 && r.LeaderLease > 0 && r.LeaderLease <= r.Heartbeat && r.Commit > 0,
		"Raft: want 0 < LeaderLease ≤ Heartbeat and 0 < Commit, have %v, %v, %v", r.LeaderLease, r.Heartbeat, r.Commit)
	check(r.MaxAppendEntries > 0 && r.MaxAppendEntries <= 64, "Raft.MaxAppendEntries must be 1 to 64, is %d", r.MaxAppendEntries)
	// Without trailing entries every follower that misses one heartbeat would need a whole snapshot.
	check(r.SnapshotBytes > 0 && r.SnapshotEntries > 0 && r.SnapshotCheck > 0 && r.TrailingLogs > 0 && r.HoldBytes > 0,
		"Raft: SnapshotBytes, SnapshotEntries, SnapshotCheck, TrailingLogs and HoldBytes must be more than 0")
	return errors.Join(wrong...)
}

func hostPort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	return err == nil && port != ""
}
