// Package gossip lets nodes find each other. What it says is a hint and never an authority: who belongs to the cluster, and who
// replicates what, the meta group says; who a node is, its certificate says. Without gossip a cluster goes on; it only finds
// nodes at new addresses more slowly.
package gossip

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"parley/storage"
)

// KeyBytes is the length of a gossip key (AES-256).
const KeyBytes = 32

// Config says who this node is and where it gossips. All of it is required but Advertise, Quick and Logger.
type Config struct {
	NodeID      string
	ClusterID   string
	ClusterAddr string   // host:port of this node's cluster port, as others reach it
	Bind        string   // IP:port for UDP and TCP; port 0 picks a free one
	Advertise   string   // IP:port that others are told; empty: where it is bound
	Keys        [][]byte // of KeyBytes each; the first encrypts, all decrypt
	Quick       bool     // short intervals, for nodes on one machine and for tests
	Logger      *slog.Logger
}

// Member is a node that gossip believes to be up.
type Member struct {
	NodeID      string
	ClusterAddr string
	GossipAddr  string // IP:port
}

// Gossip is this node's part in it. Every method may be called concurrently.
type Gossip struct {
	list    *memberlist.Memberlist
	self    identity
	addr    string
	changed chan struct{}

	ring sync.Mutex // held while the keys are replaced or read
	keys *memberlist.Keyring

	// members are what the events have told. memberlist's own list is of nodes that it goes on writing to.
	mu      sync.Mutex
	members map[string]Member // by node ID
}

// Start begins to listen. The node is alone until Join.
func Start(c Config) (*Gossip, error) {
	config, g, err := c.prepare()
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	list, err := memberlist.Create(config)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	g.list, g.addr = list, list.LocalNode().Address()
	return g, nil
}

func (c Config) prepare() (*memberlist.Config, *Gossip, error) {
	if c.NodeID == "" || c.ClusterID == "" || c.ClusterAddr == "" {
		return nil, nil, errors.New("the node's ID, cluster or cluster address is missing")
	}
	if len(c.Keys) == 0 {
		return nil, nil, errors.New("there is no key: gossip is never in the clear")
	}
	for _, key := range c.Keys {
		if len(key) != KeyBytes {
			return nil, nil, fmt.Errorf("a key has %d bytes, not %d", len(key), KeyBytes)
		}
	}
	keyring, err := memberlist.NewKeyring(c.Keys, c.Keys[0])
	if err != nil {
		return nil, nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	config := memberlist.DefaultLANConfig()
	if c.Quick {
		quicken(config)
	}
	if config.BindAddr, config.BindPort, err = splitAddr(c.Bind); err != nil {
		return nil, nil, err
	}
	config.AdvertisePort = config.BindPort
	if c.Advertise != "" {
		if config.AdvertiseAddr, config.AdvertisePort, err = splitAddr(c.Advertise); err != nil {
			return nil, nil, err
		}
	}
	g := &Gossip{self: identity{c.ClusterID, c.NodeID, c.ClusterAddr}, changed: make(chan struct{}, 1), members: make(map[string]Member)}
	if len(g.self.encode()) > memberlist.MetaMaxSize {
		return nil, nil, fmt.Errorf("the node's description is over %d bytes", memberlist.MetaMaxSize)
	}
	g.keys = keyring
	config.Name = c.NodeID
	config.Label = "parley/" + c.ClusterID // authenticated with every packet, so that clusters that share a key stay apart
	config.Keyring = keyring
	config.Logger = storage.RaftLogger(c.Logger.With("node", c.NodeID)).StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true})
	config.DeadNodeReclaimTime = 5 * time.Second // a node may come back at another address
	delegate := delegate{g}
	config.Delegate, config.Events, config.Alive, config.Merge = delegate, delegate, delegate, delegate
	return config, g, nil
}

// quicken finds a dead node in about a second, at a price in packets.
func quicken(c *memberlist.Config) {
	c.TCPTimeout = time.Second
	c.ProbeInterval = 200 * time.Millisecond
	c.ProbeTimeout = 100 * time.Millisecond
	c.GossipInterval = 50 * time.Millisecond
	c.PushPullInterval = 2 * time.Second
	c.SuspicionMult = 3
	c.GossipToTheDeadTime = 5 * time.Second
}

func splitAddr(addr string) (ip string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %s: the port is not a number", addr)
	}
	if net.ParseIP(host) == nil {
		return "", 0, fmt.Errorf("address %s: gossip needs an IP address", addr)
	}
	return host, int(number), nil
}

// Addr is where others reach this node's gossip.
func (g *Gossip) Addr() string { return g.addr }

// Join meets the nodes at addrs (host:port each) and through them the others. It fails only when none could be reached; n says
// how many were.
func (g *Gossip) Join(addrs []string) (n int, err error) {
	if n, err = g.list.Join(addrs); n > 0 {
		return n, nil
	}
	return 0, fmt.Errorf("gossip: %w", err)
}

// Members are the nodes that are believed to be up, this one too, by node ID.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	members := slices.Collect(maps.Values(g.members))
	g.mu.Unlock()
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return members
}

// Lookup is the cluster address of a node that is believed to be up.
func (g *Gossip) Lookup(nodeID string) (addr string, found bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, found := g.members[nodeID]
	return m.ClusterAddr, found
}

// met enters a node that has come or changed.
func (g *Gossip) met(node *memberlist.Node) {
	id, err := decodeIdentity(node.Meta)
	if err != nil || id.cluster != g.self.cluster {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members[id.node] = Member{NodeID: id.node, ClusterAddr: id.clusterAddr, GossipAddr: node.Address()}
}

// missed takes out a node that has gone. A node's name is its ID.
func (g *Gossip) missed(node *memberlist.Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.members, node.Name)
}

// Changed receives after Members has changed. Changes that come faster than they are received are one.
func (g *Gossip) Changed() <-chan struct{} { return g.changed }

// SetKeys replaces the keys: the first encrypts, all decrypt. There are at most two.
func (g *Gossip) SetKeys(keys [][]byte) error {
	g.ring.Lock()
	defer g.ring.Unlock()
	if len(keys) == 0 {
		return errors.New("gossip: there is no key")
	}
	for _, key := range keys {
		if len(key) != KeyBytes {
			return fmt.Errorf("gossip: a key has %d bytes, not %d", len(key), KeyBytes)
		}
		if err := g.keys.AddKey(key); err != nil {
			return fmt.Errorf("gossip: %w", err)
		}
	}
	if err := g.keys.UseKey(keys[0]); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	for _, key := range slices.Clone(g.keys.GetKeys()) {
		if slices.ContainsFunc(keys, func(kept []byte) bool { return bytes.Equal(kept, key) }) {
			continue
		}
		if err := g.keys.RemoveKey(key); err != nil {
			return fmt.Errorf("gossip: %w", err)
		}
	}
	return nil
}

// Keys are the keys in use, the encrypting one first. They are secrets.
func (g *Gossip) Keys() [][]byte {
	g.ring.Lock()
	defer g.ring.Unlock()
	return slices.Clone(g.keys.GetKeys())
}

// Leave tells the others that this node goes on purpose, and waits until somebody has been told, at most for timeout.
func (g *Gossip) Leave(timeout time.Duration) error { return g.list.Leave(timeout) }

// Close ends it without a word; the others find out by themselves.
func (g *Gossip) Close() error { return g.list.Shutdown() }
