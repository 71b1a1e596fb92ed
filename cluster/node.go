// Package cluster is a node of a Parley cluster: its copy of the meta group and of the shards that the map gives it, the way
// of a request through them, and its place among the other nodes.
package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"parley/cluster/gossip"
	"parley/cluster/pki"
	"parley/cluster/transport"
	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// Node is one running node. Every exported method may be called by many goroutines.
type Node struct {
	config    Config
	id        string
	advertise string
	opened    time.Time
	log       *slog.Logger

	stores *stores
	port   *transport.Port
	gossip Gossip
	meta   *metaReplica
	known  *groupCache // of all shards
	held   *held

	disk      diskWatch
	deaths    *deathWatch
	clocks    *clocks
	appointed *appointments
	appointer *appointer
	placer    *placer
	replays   *replays
	jobs      *jobFrame
	load      slotLoad
	archive   atomic.Pointer[Archive]                                        // nil before KeepArchive
	lanes     atomic.Pointer[func() map[mimi.Provider]Lane]                  // nil before ReportLanes
	statePace *rate.Limiter                                                  // of what is read and sent for others' states
	beside    atomic.Pointer[func(context.Context) (json.RawMessage, error)] // nil before ReportExam
	rounds    rounds

	whereabouts whereabouts // of slots that have moved further than the map says

	retired map[fsm.ShardID]bool // whose replicas are cleared here; of supervise's goroutine
	convoys *convoys
	cleared atomic.Uint64 // replicas, for damage

	generation atomic.Uint64 // of the directory; 0 while it has no history

	credentials atomic.Pointer[pki.Credentials] // the present ones
	heeded      atomic.Pointer[meta.Map]        // the map that heed was told of last; nil before the first

	metaWatch metaWatch // of tend's goroutine

	handing   chan struct{} // capacity 1: held while a lead is handed to who leads fewest
	refreshed atomic.Bool   // refreshMap has been through

	removed chan struct{}          // closed by part, when removal is set
	shutOut atomic.Pointer[string] // why others refuse this node; nil: it hears of the cluster, or nobody has said

	outboxChanged chan struct{} // capacity 1
	looks         atomic.Uint64 // counts answers of Heads
	spoiled       chan struct{} // capacity 1: a replica has to be opened again

	life       context.Context // ends when Close begins
	end        context.CancelFunc
	background sync.WaitGroup // supervise, tend, heedMap, tendTrust, tendStanding, meetGossip, tendRebuilds, clocks with its handovers, balance, appointer, jobs, load, placer
	users      sync.WaitGroup // calls that are under way; Add under mu and only while not closed

	fatalOnce sync.Once
	rest      func() error // ends all that the node does, once, and leaves the engines open

	mu          sync.Mutex
	closed      bool
	failure     error                       // what fatal was told
	removal     *RemovedError               // the node is out of the cluster
	replicas    map[fsm.ShardID]*replica    // running
	quarantined map[fsm.ShardID]*quarantine // why a replica is not started
	leaders     map[fsm.ShardID]string      // of shards without a replica here, as last heard
	hints       map[string]string           // addresses of nodes, as a member told them at Join
	signers     map[string]*mls.SigningKey  // opened hub keys, by public key
	vacant      map[fsm.ShardID]bool        // shards of which nothing is here, as was looked up before
}

// Open starts a node on its directory: the replicas that it has go on where they were, and a node that belongs to no cluster
// waits for Init or Join. It returns when everything that can run is running.
func Open(config Config) (_ *Node, err error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("cluster configuration: %w", err)
	}
	n := &Node{
		config: config, id: config.Credentials.NodeID(), log: config.Log.With("node", config.Credentials.NodeID()),
		outboxChanged: make(chan struct{}, 1), spoiled: make(chan struct{}, 1), handing: make(chan struct{}, 1), opened: time.Now(),
		replicas: make(map[fsm.ShardID]*replica), quarantined: make(map[fsm.ShardID]*quarantine),
		retired: make(map[fsm.ShardID]bool),
		leaders: make(map[fsm.ShardID]string), hints: make(map[string]string), signers: make(map[string]*mls.SigningKey),
		vacant:  make(map[fsm.ShardID]bool),
		removed: make(chan struct{}),
	}
	n.rest = sync.OnceValue(n.comeToRest)
	n.credentials.Store(&config.Credentials)
	n.life, n.end = context.WithCancel(context.Background())
	n.deaths = newDeathWatch(n)
	n.clocks = newClocks(n)
	n.convoys = newConvoys(n)
	n.appointed = newAppointments(n)
	n.appointer = newAppointer(n)
	n.placer = &placer{node: n}
	n.replays = newReplays()
	n.jobs = newJobFrame(n)
	known, err := newGroupCache()
	if err != nil {
		return nil, err
	}
	n.known = known
	n.statePace = newPace(cmp.Or(config.StateRate, defaultStateRate))
	defer func() {
		if err != nil {
			err = errors.Join(err, n.shut())
		}
	}()
	if n.stores, err = openStores(config, n.fatal); err != nil {
		return nil, err
	}
	if err := n.takeGeneration(); err != nil {
		return nil, err
	}
	if err := n.openHeld(); err != nil {
		return nil, err
	}
	if err := n.openPorts(); err != nil {
		return nil, err
	}
	if n.meta, err = n.openMeta(); err != nil {
		return nil, err
	}
	n.heed(n.Map()) // before anybody is called
	if err := n.startMeta(nil); err != nil && n.meta.held.Load() == nil {
		return nil, err
	}
	n.serve()
	n.startReplicas(n.Map())
	n.background.Go(n.supervise)
	n.background.Go(n.tend)
	n.background.Go(n.watchDisk)
	n.background.Go(n.heedMap)
	n.background.Go(n.tendTrust)
	n.background.Go(n.tendStanding)
	n.background.Go(n.meetGossip)
	n.background.Go(n.tendRebuilds)
	n.background.Go(n.clocks.run)
	n.background.Go((&balance{node: n}).run)
	n.background.Go(n.appointer.run)
	n.background.Go(n.jobs.run)
	n.background.Go(func() { n.load.age(n.life) })
	n.background.Go(n.placer.run)
	n.background.Go(func() { n.held.run(n.life) })
	return n, nil
}

func (n *Node) openPorts() error {
	var err error
	if n.port, err = transport.Listen(n.config.ClusterListen, n.config.Credentials, transport.Options{
		Logger: quiet(n.config.Log), Network: n.config.Network, Barred: n.barred,
		Generation: n.generation.Load, Superseded: n.superseded, OpenMethods: []string{methodJoin, methodStatus},
	}); err != nil {
		return err
	}
	if n.advertise = n.config.ClusterAdvertise; n.advertise == "" {
		n.advertise = n.port.Addr().String()
	}
	start := n.config.Gossip
	if start == nil {
		start = func(c gossip.Config) (Gossip, error) { return gossip.Start(c) }
	}
	found, err := start(gossip.Config{
		NodeID: n.id, ClusterID: n.config.Credentials.ClusterID(), ClusterAddr: n.advertise,
		Bind: n.config.GossipListen, Keys: [][]byte{n.config.GossipKey[:]}, Quick: n.config.GossipQuick, Logger: quiet(n.config.Log),
	})
	if err == nil {
		n.gossip = found
	}
	return err
}

// serve lets other nodes call this one.
func (n *Node) serve() {
	for method, handler := range map[string]transport.Handler{
		methodPropose: n.servePropose, methodDo: n.serveDo, methodMeta: n.serveMeta, methodJoin: n.serveJoin,
		methodInbox: n.serveInbox, methodEvents: n.serveEvents, methodStatus: n.serveStatus, methodDigest: n.serveDigest,
		methodGone: n.serveGone, methodLead: n.serveLead,
		methodRenew: n.serveRenew, methodTransfer: n.serveTransfer, methodClock: n.serveClock,
		methodEvict: n.serveEvict, methodProposeMany: n.serveProposeMany, methodAppoint: n.serveAppoint,
		methodReplay: n.serveReplay, methodDeliveries: n.serveDeliveries,
		methodSlotLook: n.serveSlotLook, methodSlotPage: n.serveSlotPage, methodSlotWeights: n.serveSlotWeights,
		methodSlotLoads: n.serveSlotLoads,
		methodArchive:   n.serveArchive, methodRestoreLook: n.serveRestoreLook,
		methodExam: n.serveExam, methodLook: n.serveLook, methodSum: n.serveSum, methodHoldBack: n.serveHoldBack,
	} {
		n.port.Handle(method, func(ctx context.Context, from string, payload []byte) ([]byte, error) {
			ctx, done, err := n.begin(ctx)
			if err != nil {
				return nil, err
			}
			defer done()
			return handler(ctx, from, payload)
		})
	}
	n.port.HandleStream(methodState, n.streamState)
	n.port.HandleStream(methodCopy, n.streamCopy)
	n.port.HandleNewcomers(n.serveNewcomer)
	n.port.HandleStanding(n.tellStanding)
}

// ID is the node's ID.
func (n *Node) ID() string { return n.id }

// ClusterID is the cluster that the node's certificate names; the node need not be in it yet.
func (n *Node) ClusterID() string { return n.config.Credentials.ClusterID() }

// ClusterAddr is where other nodes reach this one.
func (n *Node) ClusterAddr() string { return n.advertise }

// GossipAddr is a seed for other nodes.
func (n *Node) GossipAddr() string { return n.gossip.Addr() }

// begin admits a call: it gets a deadline, and ends early when the node closes, which waits for done.
func (n *Node) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.failure != nil:
		return nil, nil, fmt.Errorf("%w: the node has failed", fsm.ErrNotProposed)
	case n.removal != nil:
		return nil, nil, fmt.Errorf("%w: %w", fsm.ErrNotProposed, n.removal)
	case n.closed:
		return nil, nil, fmt.Errorf("%w: the node is closing", fsm.ErrNotProposed)
	}
	n.users.Add(1)
	ctx, cancel := withDeadline(ctx)
	stop := context.AfterFunc(n.life, cancel)
	return ctx, func() {
		stop()
		cancel()
		n.users.Done()
	}, nil
}

// Close stops the node. What it was asked for and has not answered ends with fsm.ErrUnknownOutcome or fsm.ErrNotProposed.
func (n *Node) Close(ctx context.Context) error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	n.mu.Unlock()
	stopped := make(chan error, 1)
	go func() { stopped <- n.shut() }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the node is still closing: %w", ctx.Err())
	}
}

// shut takes down what is up, from the top: nobody uses an engine any more when it is closed.
func (n *Node) shut() error {
	err := n.rest()
	if n.held != nil {
		err = errors.Join(err, n.held.journal.Close())
	}
	if n.stores != nil {
		err = errors.Join(err, n.stores.close())
	}
	return err
}

// comeToRest ends all that the node does.
func (n *Node) comeToRest() error {
	n.end()
	n.closeArchive()
	n.background.Wait()
	n.users.Wait()
	var err error
	if n.gossip != nil {
		err = errors.Join(err, n.gossip.Close())
	}
	err = errors.Join(err, n.closeReplicas())
	if n.meta != nil {
		err = errors.Join(err, n.meta.close())
	}
	n.deaths.close()
	if n.port != nil {
		err = errors.Join(err, n.port.Close())
	}
	return err
}

func (n *Node) closeReplicas() error {
	n.mu.Lock()
	running := n.replicas
	n.replicas = make(map[fsm.ShardID]*replica)
	n.mu.Unlock()
	var wait sync.WaitGroup
	results := make(chan error, len(running))
	for _, r := range running {
		wait.Go(func() { results <- r.close() })
	}
	wait.Wait()
	close(results)
	var err error
	for result := range results {
		err = errors.Join(err, result)
	}
	return err
}

// fatal is where every failure ends that the node must not outlive.
func (n *Node) fatal(cause error) {
	n.fatalOnce.Do(func() {
		n.mu.Lock()
		n.failure = cause
		n.mu.Unlock()
		n.log.Error("the node must stop", "error", cause)
		n.config.OnFatal(cause)
	})
}

// call sends a request to another node. sent is false where that node has certainly not acted on it.
func (n *Node) call(ctx context.Context, to, method string, payload []byte) (answer []byte, sent bool, err error) {
	address, known := n.addressOf(to)
	if !known {
		return nil, false, fmt.Errorf("no address of node %s is known", to)
	}
	answer, err = n.port.Call(ctx, to, address, method, payload)
	return answer, err == nil || !errors.Is(err, transport.ErrNotSent), err
}

// wakeSupervisor tells supervise that a replica has to be opened again.
func (n *Node) wakeSupervisor() {
	select {
	case n.spoiled <- struct{}{}:
	default: // one is waiting already
	}
}

// supervise starts the replicas that the map gives this node.
func (n *Node) supervise() {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		current, changed := n.meta.watch()
		n.reopenSpoiled()
		n.endRetired(current)
		n.startReplicas(current)
		select {
		case <-n.life.Done():
			return
		case <-n.spoiled:
		case <-changed:
		case <-retry.C:
		}
	}
}

func (n *Node) startReplicas(current *meta.Map) {
	for _, shard := range current.Shards() {
		if n.life.Err() != nil || !n.lacks(shard) {
			continue
		}
		n.mu.Lock()
		delete(n.vacant, shard.ID)
		n.mu.Unlock()
		r, err := n.openReplica(shard)
		var quarantined *quarantine
		n.mu.Lock()
		switch {
		case err == nil:
			n.replicas[shard.ID] = r
		case errors.As(err, &quarantined):
			n.quarantined[shard.ID] = quarantined
		}
		n.mu.Unlock()
		if quarantined != nil {
			n.log.Error("a replica must not run", "shard", shard.ID, "reason", quarantined.reason)
		} else if err != nil {
			n.log.Error("a replica could not be started; it will be tried again", "shard", shard.ID, "error", err)
		}
	}
}

// lacks reports whether a shard should run here and does not: one that the map gives to this node, or that has not left it yet.
func (n *Node) lacks(shard meta.Shard) bool {
	if !replicates(shard, n.id) && (!departs(shard, n.id) || !n.remains(shard.ID)) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	_, quarantined := n.quarantined[shard.ID]
	return n.replicas[shard.ID] == nil && !quarantined
}

// meetGossip looks for the seeds until one is met, and again while gossip knows fewer nodes than the map.
func (n *Node) meetGossip() {
	if len(n.config.GossipSeeds) == 0 {
		return
	}
	ticker := time.NewTicker(2 * time.Second)
	defer ticker.Stop()
	for {
		if known := len(n.gossip.Members()); known <= 1 || known < len(activeNodes(n.Map())) {
			if _, err := n.gossip.Join(n.config.GossipSeeds); err != nil {
				n.log.Debug("no gossip seed could be reached", "error", err)
			}
		}
		select {
		case <-n.life.Done():
			return
		case <-ticker.C:
		}
	}
}
