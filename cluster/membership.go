package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"parley/cluster/transport"
	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

const (
	tendNodeInterval = 500 * time.Millisecond
	membershipWait   = 5 * time.Second // for one change of the meta group's configuration
	probeTimeout     = 2 * time.Second
	joinVersion      = 1
	// joinGenerationVersion is of an answer in a cluster that has begun another generation than the first.
	joinGenerationVersion = 2
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
	// Restore makes the cluster of what a backup has; nil: a new one. Settings and HubKeys count for nothing then.
	Restore *RestoreOptions
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
	if err := n.checkRestore(options.Restore); err != nil {
		return err
	}
	if err := n.begun(ctx); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	for _, command := range append(n.beginnings(options), meta.AddNode{Node: n.self()}) {
		if err := n.change(ctx, command); err != nil {
			return fmt.Errorf("init: %w", err)
		}
	}
	if err := n.takeUpFounded(ctx); err != nil {
		return fmt.Errorf("init: the CA: %w", err)
	}
	if len(n.Map().GossipKeys()) == 0 {
		if err := n.putGossipKey(ctx, n.config.GossipKey[:]); err != nil {
			return fmt.Errorf("init: the gossip key: %w", err)
		}
	}
	return n.ensureHubKeys(ctx, options.HubKeys)
}

// begun makes this node the first of its cluster's meta group, unless it is in the cluster already. The mark in the directory comes
// first: Init goes on after a crash, and a directory that came in by Join never begins anything.
func (n *Node) begun(ctx context.Context) error {
	how, err := n.stores.dir.Admission()
	if err != nil {
		return err
	}
	if held := n.meta.held.Load(); held != nil {
		return &RefusedError{"the cluster exists, and this node's replica of its meta group is held back: " + held.reason}
	}
	if how == admittedByJoin {
		return nil // what follows goes to the meta group that there is
	}
	if how == "" {
		if err := n.refuseIfBegun(ctx); err != nil {
			return err
		}
		if err := n.stores.dir.Admit(admittedByInit); err != nil {
			return err
		}
		if err := n.takeGeneration(); err != nil {
			return err
		}
	}
	servers := []raft.Server{serverOf(n.id, raft.Voter)}
	if err := n.startMeta(servers); err != nil {
		return err
	}
	err = n.meta.started.Load().raft.BootstrapCluster(raft.Configuration{Servers: servers}).Error()
	if err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return fmt.Errorf("bootstrap the meta group: %w", err)
	}
	return nil
}

// refuseIfBegun asks every node that gossip knows whether the cluster exists. A node that lost its directory would otherwise begin it
// a second time.
func (n *Node) refuseIfBegun(ctx context.Context) error {
	for _, member := range n.gossip.Members() {
		if member.NodeID == n.id {
			continue
		}
		probe, cancel := context.WithTimeout(ctx, probeTimeout)
		status, err := n.statusOf(probe, member.NodeID)
		cancel()
		if err != nil {
			return fmt.Errorf("node %s cannot be asked whether the cluster exists: %w", member.NodeID, err)
		}
		if status.MapVersion > 0 {
			return &RefusedError{fmt.Sprintf("the cluster exists: node %s belongs to it; join it instead", member.NodeID)}
		}
	}
	return nil
}

func (n *Node) self() meta.Node {
	return meta.Node{ID: n.id, Incarnation: n.stores.identity.Incarnation, ClusterAddr: n.advertise, State: meta.NodeActive}
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
	began := n.config.Clock.Monotonic()
	for {
		err := n.joinOnce(ctx, address)
		var refused *RefusedError
		switch {
		case err == nil || errors.As(err, &refused):
			return err
		case transport.Refutes(err):
			return &RefusedError{fmt.Sprintf("the node at %s is none that this one can join: %v", address, err)}
		case errors.Is(err, transport.ErrNotSent) && n.config.Clock.Monotonic()-began > enrolPatience:
			return &UnreachableError{fmt.Errorf("%s: %w", address, err)}
		}
		if pause.wait(ctx) != nil {
			return fmt.Errorf("join through %s: %w", address, err)
		}
	}
}

// joinOnce asks the member:
//
//	struct { uint8 version = 1; opaque incarnation<V>; opaque cluster_addr<V>; } JoinRequest;
//	struct { uint8 version; opaque refusal<V>; JoinNode nodes<V>; select (version) { case 1: ; case 2: uint64 generation; }; } JoinAnswer;
//	struct { opaque id<V>; opaque address<V>; } JoinNode;
func (n *Node) joinOnce(ctx context.Context, address string) error {
	var w mls.Writer
	w.Uint8(joinVersion)
	w.Opaque([]byte(n.stores.identity.Incarnation))
	w.Opaque([]byte(n.advertise))
	raw, err := n.port.Call(ctx, "", address, methodJoin, w.Bytes())
	if err != nil {
		return err
	}
	r := mls.NewReader("JoinAnswer", raw)
	version := r.Uint8("version")
	if version != joinVersion && version != joinGenerationVersion {
		r.Fail("version", "is not known")
	}
	refusal := string(r.Opaque("refusal"))
	nodes := mls.ReadList(r, "nodes", func(r *mls.Reader) [2]string {
		return [2]string{string(r.Opaque("id")), string(r.Opaque("address"))}
	})
	generation := uint64(fsm.FirstGeneration)
	if version == joinGenerationVersion {
		generation = r.Uint64("generation")
	}
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
	// The cluster has this directory's name now, so nobody else can come in under this node's ID.
	if err := n.comeInto(generation); err != nil {
		return err
	}
	if err := n.startMeta(nil); err != nil {
		return err
	}
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
			return fmt.Errorf("%w: the cluster has taken this node in, and its map has not arrived here: %w", fsm.ErrUnknownOutcome, ctx.Err())
		}
	}
}

// serveJoin takes a node in, as itself: its ID is the one in its certificate.
func (n *Node) serveJoin(ctx context.Context, from string, payload []byte) ([]byte, error) {
	r := mls.NewReader("JoinRequest", payload)
	if version := r.Uint8("version"); version != joinVersion {
		r.Fail("version", "is not known")
	}
	incarnation, address := string(r.Opaque("incarnation")), string(r.Opaque("cluster_addr"))
	if err := r.Close(); err != nil {
		return nil, err
	}
	if !n.Map().Initialised() {
		return n.joinAnswer(fmt.Sprintf("node %s belongs to no cluster yet itself: run 'parley cluster init' there, or name another node", n.id)), nil
	}
	node := meta.Node{ID: from, Incarnation: incarnation, ClusterAddr: address, State: meta.NodeActive}
	var command meta.Command = meta.AddNode{Node: node}
	if known, found := n.Map().Node(from); found && known.State == meta.NodeActive {
		command = meta.UpdateNode{Node: node}
	}
	var refused *RefusedError
	if err := n.change(ctx, command); err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	if refused != nil {
		return n.joinAnswer(refused.Reason), nil
	}
	return n.joinAnswer(""), nil
}

func (n *Node) joinAnswer(refusal string) []byte {
	var w mls.Writer
	generation, version := n.generation.Load(), uint8(joinVersion)
	if generation > uint64(fsm.FirstGeneration) {
		version = joinGenerationVersion
	}
	w.Uint8(version)
	w.Opaque([]byte(refusal))
	w.Vector(func(w *mls.Writer) {
		for _, node := range n.Map().Nodes() {
			w.Opaque([]byte(node.ID))
			w.Opaque([]byte(node.ClusterAddr))
		}
	})
	if version == joinGenerationVersion {
		w.Uint64(generation)
	}
	return w.Bytes()
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
	if err := n.tellZone(ctx, current); err != nil {
		return fmt.Errorf("tell the cluster of this node's zone: %w", err)
	}
	g := n.meta.started.Load()
	if g == nil || !g.leads() {
		return nil
	}
	if err := n.settleMeta(ctx, g); err != nil {
		return err
	}
	current = n.Map()
	if err := n.reconcileMeta(ctx, g, current); err != nil {
		return fmt.Errorf("members of the meta group: %w", err)
	}
	serving := current.ServingNodes()
	if len(current.Shards()) > 0 || len(serving) < current.ReplicationFactor() || !zonesTold(current, serving) {
		return n.ensureRestoreJob(ctx, current)
	}
	zone := func(node string) string {
		name, _ := current.ZoneOf(node)
		return name
	}
	return n.change(ctx, meta.PlaceShards{Shards: meta.EvenShardsOver(current.ShardsWanted(), serving, current.ReplicationFactor(), zone)})
}

// zonesTold reports whether it is known where nodes are. A node says so when it has come, or that nobody has told it.
func zonesTold(current *meta.Map, nodes []string) bool {
	if settings, _ := current.Settings(); settings.Format < fsm.FormatResize {
		return true // there are no zones yet
	}
	return !slices.ContainsFunc(nodes, func(node string) bool {
		_, told := current.ZoneOf(node)
		return !told
	})
}

// tellZone brings this node's word on its zone into the map.
func (n *Node) tellZone(ctx context.Context, current *meta.Map) error {
	self, member := current.Node(n.id)
	settings, _ := current.Settings()
	if zone, told := current.ZoneOf(n.id); !member || self.State != meta.NodeActive || settings.Format < fsm.FormatResize || told && zone == n.config.Zone {
		return nil
	}
	return n.change(ctx, meta.TellZone{Zone: meta.Zone{Node: n.id, Name: n.config.Zone}})
}

// settleMeta brings one command through the log in each term that this node leads: only then is its map known not to be behind, and a
// member that the map lacks may be taken out.
func (n *Node) settleMeta(ctx context.Context, g *group) error {
	term := g.raft.CurrentTerm()
	if n.meta.settled.Load() == term {
		return nil
	}
	var refused *RefusedError // it went through the log all the same
	if err := n.change(ctx, meta.UpdateNode{Node: n.self()}); err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("catch up in term %d: %w", term, err)
	}
	n.meta.settled.Store(term)
	return nil
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
