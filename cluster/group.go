package cluster

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"parley/cluster/transport"
	"parley/storage"
)

// metaGroup is the Raft group that holds the cluster map; shards are numbered from 1.
const metaGroup uint32 = 0

// group is one Raft instance with its stores and its transport: the meta group's replica or a shard's.
type group struct {
	id        uint32
	self      string
	machine   *machine
	raft      *raft.Raft
	ready     chan struct{} // closed once raft is set: its goroutines run before
	transport *transport.GroupTransport
	stores    groupStores

	// calls are proposals that wait for Raft without a proposer; close waits for them while Raft still runs, since a stopped
	// one forgets futures in its queue.
	calls   sync.WaitGroup
	callsMu sync.Mutex // guards closing, and calls.Add against calls.Wait
	closing bool

	rebuilt atomic.Bool // the mark of a replica that was rebuilt is gone

	spoiled   spoilage
	onSpoiled func() // wakes who opens the replica again

	leadership leadership
	candidacy  candidacy

	snapshotting atomic.Bool
	grown        atomic.Uint64 // bytes of log applied since the last snapshot that was asked for
	bytesMax     uint64
	diskLow      func() bool
	background   sync.WaitGroup
}

// openGroup starts a replica. A configuration bootstraps it, but only where it has no state at all; elsewhere it is ignored.
// The error is a *quarantine where the stores do not fit together.
func (n *Node) openGroup(m *machine, stores groupStores, bootstrap []raft.Server) (*group, error) {
	if !bugRestoreCheckOff {
		if err := m.finishRestore(stores.dir.FS(), stores.staged); err != nil {
			return nil, err
		}
		if err := stores.check(); err != nil {
			return nil, err
		}
	}
	g := &group{
		id: m.group, self: n.id, machine: m, stores: stores, bytesMax: n.config.Raft.SnapshotBytes, ready: make(chan struct{}),
		onSpoiled: n.wakeSupervisor, diskLow: n.disk.low.Load,
	}
	m.grown = g.grew
	applied, err := m.state.Applied()
	if err != nil {
		return nil, err
	}
	m.applied.advance(applied)
	if err := m.restored(); err != nil {
		return nil, err
	}
	m.running = true
	m.vantages.begin()
	tr, err := n.port.Group(m.group, n.generation.Load(), addressBook{n}, transport.GroupOptions{
		Stage: n.stageInto(m, stores.staged), Lost: func(peer string) { n.deaths.lost(g, peer) },
		Installed: g.installed, Leads: g.leadsTo, Offering: m.hold.offer,
	})
	if err != nil {
		return nil, err
	}
	g.transport = tr
	config := n.raftConfig(m.group)
	stable := stores.stable
	if stores.rebuilding != nil {
		stable, bootstrap = storage.HoldVotes(stable, g.mayVote), nil
	}
	if len(bootstrap) > 0 {
		err = bootstrapEmpty(config, stores, tr, bootstrap)
	}
	if err == nil {
		g.raft, err = newRaft(config, m, stores, stable, tr)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("group %d: %w", m.group, err), tr.Close())
	}
	m.hold.open(g.raft, n.config.Raft.HoldBytes)
	g.leadership.observe(g.raft)
	close(g.ready)
	return g, nil
}

// newRaft starts a Raft instance. raft v1.7.3 panics at an entry that it cannot read back, before it has begun anything; the log has
// told of the damage by then.
func newRaft(config *raft.Config, m *machine, stores groupStores, stable raft.StableStore, tr raft.Transport) (r *raft.Raft, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			if held, _ := stores.held(m.group); held != nil {
				err = held
				return
			}
			panic(cause)
		}
	}()
	return raft.NewRaft(config, m, stores.log, stable, stores.snapshots, tr)
}

func bootstrapEmpty(config *raft.Config, stores groupStores, tr raft.Transport, servers []raft.Server) error {
	used, err := raft.HasExistingState(stores.log, stores.stable, stores.snapshots)
	if err != nil || used {
		return err
	}
	return raft.BootstrapCluster(config, stores.log, stores.stable, stores.snapshots, tr, raft.Configuration{Servers: servers})
}

func (n *Node) raftConfig(group uint32) *raft.Config {
	r := n.config.Raft
	config := raft.DefaultConfig()
	config.ProtocolVersion = raft.ProtocolVersionMax // 3: servers are known by their IDs
	config.LocalID = raft.ServerID(n.id)
	config.HeartbeatTimeout = r.Heartbeat
	config.ElectionTimeout = r.Heartbeat
	config.LeaderLeaseTimeout = r.LeaderLease
	config.CommitTimeout = r.Commit
	config.MaxAppendEntries = r.MaxAppendEntries
	config.BatchApplyCh = true
	config.ShutdownOnRemove = false // the node decides when a replica stops
	config.TrailingLogs = r.TrailingLogs
	config.SnapshotInterval = r.SnapshotCheck
	config.SnapshotThreshold = r.SnapshotEntries
	config.NoSnapshotRestoreOnStart = true // the state engine is the state; a snapshot is only a manifest
	config.NoLegacyTelemetry = true
	config.Logger = storage.RaftLogger(quiet(n.log).With("group", group))
	return config
}

// close stops the replica. Raft's shutdown waits for its RPCs, which the transport has to cut.
func (g *group) close() error {
	g.callsMu.Lock()
	g.closing = true
	g.callsMu.Unlock()
	g.calls.Wait()
	stopped := g.raft.Shutdown()
	err := g.transport.Close()
	g.candidacy.close()
	err = errors.Join(err, stopped.Error())
	g.background.Wait()
	return errors.Join(err, g.machine.lent.close(), g.machine.vantages.close(), g.stores.close())
}

// apply proposes an entry and waits for its fate; for groups without a proposer.
func (g *group) apply(entry []byte) (response any, err error) {
	g.callsMu.Lock()
	if g.closing {
		g.callsMu.Unlock()
		return nil, raft.ErrNotLeader
	}
	g.calls.Add(1)
	g.callsMu.Unlock()
	defer g.calls.Done()
	future := g.Apply(entry, enqueueTimeout)
	if err := future.Error(); err != nil {
		return nil, err
	}
	return future.Response(), nil
}

// grew asks for a snapshot when enough log has been applied, and is not being held; Raft itself counts entries only.
func (g *group) grew(bytes uint64) {
	held, err := g.machine.hold.grew(bytes, g.diskLow())
	if err == nil && !held {
		err = g.machine.lent.drop()
	}
	if err != nil {
		g.machine.fatal(fmt.Errorf("group %d: let its log go: %w", g.id, err))
	}
	if g.grown.Add(bytes) < g.bytesMax || held || !g.snapshotting.CompareAndSwap(false, true) {
		return
	}
	g.grown.Store(0)
	g.background.Go(func() {
		defer g.snapshotting.Store(false)
		<-g.ready
		// What can go wrong is fatal inside Persist, or passes: nothing new, a change of members under way, the end.
		if err := g.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrRaftShutdown) {
			g.machine.log.Info("no snapshot was taken", "group", g.id, "error", err)
		}
	})
}

// addressBook finds a node's address for Raft, whose own addresses are node IDs.
type addressBook struct{ node *Node }

// ServerAddr implements raft.ServerAddressProvider.
func (b addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	address, ok := b.node.addressOf(string(id))
	if !ok {
		return "", fmt.Errorf("no address of node %s is known", id)
	}
	return raft.ServerAddress(address), nil
}
