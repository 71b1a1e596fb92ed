package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

const (
	tendNodeInterval = 500 * time.Millisecond
	membershipWait   = 5 * time.Second // for one change of the meta group's configuration
	probeTimeout     = 2 * time.Second
	joinVersion      = 1
)

// metaVoters is how many nodes vote in the meta group: three, and five from five nodes on.
func metaVoters(nodes int) int {
	if nodes >= 5 {
		return 5
	}
	return min(nodes, 3)
}

// InitOptions are what a cluster begins with.
type InitOptions struct {
	Settings fsm.Settings
	Shards   int // 0 means 6
	// Replication is the number of replicas of each shard, 0 means 3. The shards are placed when so many nodes have joined.
	Replication int
	HubKeys     []HubKeyImport // keys to use instead of generated ones, at most one per scheme
}

// Init makes a cluster with this node as its first. On a node that belongs to a cluster already it goes on where an earlier
// Init was cut off, and is refused if that cluster is another: nothing that exists is ever bootstrapped again.
func (n *Node) Init(ctx context.Context, options InitOptions) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if options.Shards == 0 {
		options.Shards = 6
	}
	if options.Replication == 0 {
		options.Replication = 3
	}
	bootstrap := raft.Configuration{Servers: []raft.Server{serverOf(n.id, raft.Voter)}}
	if err := n.meta.raft.BootstrapCluster(bootstrap).Error(); err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return fmt.Errorf("bootstrap the meta group: %w", err)
	}
	commands := []meta.Command{
		meta.InitCluster{
			ClusterID: n.config.Credentials.ClusterID(), Settings: options.Settings,
			ReplicationFactor: uint32(options.Replication), Shards: uint32(options.Shards),
		},
		meta.AddNode{Node: n.self()},
	}
	for _, command := range commands {
		if err := n.change(ctx, command); err != nil {
			return fmt.Errorf("init: %w", err)
		}
	}
	return n.ensureHubKeys(ctx, options.HubKeys)
}

func (n *Node) self() meta.Node {
	return meta.Node{ID: n.id, ClusterAddr: n.advertise, State: meta.NodeActive}
}

// Join makes this node a member of the cluster that a node at address belongs to, and returns when it has the cluster's map. It
// can be repeated.
func (n *Node) Join(ctx context.Context, address string) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	var pause backoff
	for {
		err := n.joinOnce(ctx, address)
		var refused *RefusedError
		if err == nil || errors.As(err, &refused) {
			return err
		}
		if pause.wait(ctx) != nil {
			return fmt.Errorf("join through %s: %w", address, err)
		}
	}
}

// joinOnce asks the member:
//
//	struct { uint8 version = 1; opaque cluster_addr<V>; } JoinRequest;
//	struct { uint8 version = 1; opaque refusal<V>; JoinNode nodes<V>; } JoinAnswer;
//	struct { opaque id<V>; opaque address<V>; } JoinNode;
func (n *Node) joinOnce(ctx context.Context, address string) error {
	var w mls.Writer
	w.Uint8(joinVersion)
	w.Opaque([]byte(n.advertise))
	raw, err := n.port.Call(ctx, "", address, methodJoin, w.Bytes())
	if err != nil {
		return err
	}
	r := mls.NewReader("JoinAnswer", raw)
	if version := r.Uint8("version"); version != joinVersion {
		r.Fail("version", "is not known")
	}
	refusal := string(r.Opaque("refusal"))
	nodes := mls.ReadList(r, "nodes", func(r *mls.Reader) [2]string {
		return [2]string{string(r.Opaque("id")), string(r.Opaque("address"))}
	})
	if err := r.Close(); err != nil {
		return err
	}
	if refusal != "" {
		return &RefusedError{refusal}
	}
	n.mu.Lock()
	for _, node := range nodes {
		n.hints[node[0]] = node[1]
	}
	n.mu.Unlock()
	return n.awaitMembership(ctx)
}

// awaitMembership waits until this node's own copy of the map has this node.
func (n *Node) awaitMembership(ctx context.Context) error {
	for {
		current, changed := n.meta.watch()
		if _, member := current.Node(n.id); member {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the cluster's map has not arrived: %w", ctx.Err())
		}
	}
}

// serveJoin takes a node in, as itself: its ID is the one in its certificate.
func (n *Node) serveJoin(ctx context.Context, from string, payload []byte) ([]byte, error) {
	r := mls.NewReader("JoinRequest", payload)
	if version := r.Uint8("version"); version != joinVersion {
		r.Fail("version", "is not known")
	}
	address := string(r.Opaque("cluster_addr"))
	if err := r.Close(); err != nil {
		return nil, err
	}
	if !n.Map().Initialised() {
		return nil, ErrNotInitialised
	}
	node := meta.Node{ID: from, ClusterAddr: address, State: meta.NodeActive}
	var command meta.Command = meta.AddNode{Node: node}
	if known, found := n.Map().Node(from); found && known.State == meta.NodeActive {
		command = meta.UpdateNode{Node: node}
	}
	var refused *RefusedError
	if err := n.change(ctx, command); err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	var w mls.Writer
	w.Uint8(joinVersion)
	if refused != nil {
		w.Opaque([]byte(refused.Reason))
	} else {
		w.Opaque(nil)
	}
	w.Vector(func(w *mls.Writer) {
		for _, node := range n.Map().Nodes() {
			w.Opaque([]byte(node.ID))
			w.Opaque([]byte(node.ClusterAddr))
		}
	})
	return w.Bytes(), nil
}

// tend keeps the map true about this node and, where it leads the meta group, the cluster as the map wants it. It takes one
// step at a time and looks again.
func (n *Node) tend() {
	ticker := time.NewTicker(tendNodeInterval)
	defer ticker.Stop()
	for {
		current, changed := n.meta.watch()
		if current.Initialised() {
			if err := n.tendOnce(current); err != nil && n.life.Err() == nil {
				n.log.Info("cluster duties will be tried again", "error", err)
			}
		}
		select {
		case <-n.life.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
	}
}

func (n *Node) tendOnce(current *meta.Map) error {
	ctx, cancel := context.WithTimeout(n.life, membershipWait)
	defer cancel()
	if self, member := current.Node(n.id); member && self.State == meta.NodeActive && self != n.self() {
		if err := n.change(ctx, meta.UpdateNode{Node: n.self()}); err != nil {
			return fmt.Errorf("tell the cluster of this node's address: %w", err)
		}
	}
	if !n.meta.leads() {
		return nil
	}
	if err := n.reconcileMeta(ctx, current); err != nil {
		return fmt.Errorf("members of the meta group: %w", err)
	}
	active := activeNodes(current)
	if len(current.Shards()) > 0 || len(active) < current.ReplicationFactor() {
		return nil
	}
	return n.change(ctx, meta.PlaceShards{Shards: meta.EvenShards(current.ShardsWanted(), active, current.ReplicationFactor())})
}

func activeNodes(current *meta.Map) []string {
	var active []string
	for _, node := range current.Nodes() {
		if node.State == meta.NodeActive {
			active = append(active, node.ID)
		}
	}
	return active
}

// reconcileMeta makes one change that brings the meta group's members nearer to what the map wants: every active node has a
// copy, a few vote, and only a node that answers is given a vote.
func (n *Node) reconcileMeta(ctx context.Context, current *meta.Map) error {
	future := n.meta.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return err
	}
	index := future.Index()
	suffrage := make(map[string]raft.ServerSuffrage)
	voters := 0
	for _, server := range future.Configuration().Servers {
		suffrage[string(server.ID)] = server.Suffrage
		if server.Suffrage == raft.Voter {
			voters++
		}
	}
	active := activeNodes(current)
	for id := range suffrage {
		if !slices.Contains(active, id) && id != n.id {
			return n.meta.raft.RemoveServer(raft.ServerID(id), index, membershipWait).Error()
		}
	}
	for _, id := range active {
		has, member := suffrage[id]
		server := serverOf(id, raft.Nonvoter)
		switch {
		case !member:
			return n.meta.raft.AddNonvoter(server.ID, server.Address, index, membershipWait).Error()
		case has != raft.Voter && voters < metaVoters(len(active)) && n.hasMap(ctx, id, current.Version()):
			return n.meta.raft.AddVoter(server.ID, server.Address, index, membershipWait).Error()
		}
	}
	return nil
}

// hasMap asks a node whether its copy of the map is at least of a version.
func (n *Node) hasMap(ctx context.Context, id string, version uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	status, err := n.statusOf(ctx, id)
	return err == nil && status.MapVersion >= version
}
