package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"parley/storage"
)

// Stage fetches what an InstallSnapshot's manifest names, before raft is told of the snapshot at all: raft's main loop stands
// still while it installs, so what takes long happens here. It must return when ctx ends: the group closes, or a newer
// snapshot is offered. manifest is the whole snapshot as raft sees it.
type Stage func(ctx context.Context, req *raft.InstallSnapshotRequest, manifest []byte) error

// GroupOptions are one group's settings; zero values mean the defaults.
type GroupOptions struct {
	Stage        Stage         // nil: snapshots go to raft as they come
	Timeout      time.Duration // of an RPC's writing and of its answer; default 10 s
	StageTimeout time.Duration // of a whole InstallSnapshot, staging included, at both ends; default 24 h: a Stage ends by itself when nothing comes
	RPCsInFlight int           // AppendEntries on their way to one peer; default 2

	// Installed is told of a snapshot that raft has installed, before its leader is; with an error the leader gets that, and offers the
	// snapshot again. nil for nobody.
	Installed func(index uint64) error

	// Lost is told of a peer whose last stream to this node's replica has ended, as all do when its process dies. It must not block,
	// and is not called once Close has returned. nil for nobody.
	Lost func(peer string)

	// Leads reports whether this node's replica leads in a term, with a peer among its members. It is asked for as long as a failure
	// to reach that peer is held back, and must not block. nil: none is held back.
	Leads func(term uint64, peer string) bool

	// Offering is asked before a snapshot is offered to a follower; with an error it is not. done is called when the follower has
	// answered or the offer has failed, also where that failure is held back. nil for nobody.
	Offering func() (done func(), err error)
}

func (o GroupOptions) withDefaults() GroupOptions {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.StageTimeout <= 0 {
		o.StageTimeout = 24 * time.Hour
	}
	if o.RPCsInFlight <= 0 {
		o.RPCsInFlight = raft.DefaultMaxRPCsInFlight
	}
	return o
}

// networkTransport keeps the embedded field out of the exported API.
type networkTransport = raft.NetworkTransport

// idleStreamsMax is how many streams to one peer are kept for the next RPC.
const idleStreamsMax = 3

// GroupTransport is the raft.Transport of one group on one node. Its addresses are node IDs: a raft.ServerAddress in the
// group's configuration equals the raft.ServerID, and is resolved anew at every dial.
//
// Raft's framing is raft.NetworkTransport's; streams, addresses, snapshots and heartbeats are ours.
//
// A raft that shuts down waits for its replication goroutines, which may be in the middle of an InstallSnapshot. So whoever
// shuts a group down calls raft's Shutdown, then Close here, and only then waits for raft's future.
type GroupTransport struct {
	*networkTransport // RPCs but InstallSnapshot

	port       *Port
	id         uint32
	generation uint64
	opts       GroupOptions
	stream     *streamLayer

	// snapshots sends InstallSnapshot. It is a transport of its own because the answer comes after the receiver has staged the
	// data, and a NetworkTransport has one timeout for everything.
	snapshots *raft.NetworkTransport

	absences absences

	rpcs  chan raft.RPC // what raft consumes
	life  context.Context
	end   context.CancelFunc
	stage stageState
	wait  sync.WaitGroup // the intake and the stagings
	once  sync.Once
}

var (
	_ raft.Transport   = (*GroupTransport)(nil)
	_ raft.WithPreVote = (*GroupTransport)(nil)
	_ raft.WithClose   = (*GroupTransport)(nil)
)

// Group opens the transport of a group on this node. Streams of other generations are refused. One group ID can be open once.
func (p *Port) Group(id uint32, generation uint64, addresses raft.ServerAddressProvider, opts GroupOptions) (*GroupTransport, error) {
	if addresses == nil {
		return nil, errors.New("a group needs a way to find its nodes' addresses")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if p.groups[id] != nil {
		return nil, fmt.Errorf("group %d is open already", id)
	}
	life, end := context.WithCancel(context.Background())
	g := &GroupTransport{
		port: p, id: id, generation: generation, opts: opts.withDefaults(),
		stream: newStreamLayer(p, id, generation, addresses, opts.Lost),
		rpcs:   make(chan raft.RPC), life: life, end: end,
	}
	logger := storage.RaftLogger(p.log.With("group", id))
	config := raft.NetworkTransportConfig{
		Logger: logger, Stream: g.stream, MaxPool: idleStreamsMax, Timeout: g.opts.Timeout, MaxRPCsInFlight: g.opts.RPCsInFlight,
	}
	g.networkTransport = raft.NewNetworkTransportWithConfig(&config)
	config.Stream, config.MaxPool, config.Timeout = outboundOnly{g.stream}, 0, g.opts.StageTimeout
	g.snapshots = raft.NewNetworkTransportWithConfig(&config)
	p.groups[id] = g
	g.wait.Go(g.intake)
	return g, nil
}

// Close ends every stream and staging of the group and returns when their goroutines are gone. Safe to call again.
func (g *GroupTransport) Close() error {
	var err error
	g.once.Do(func() {
		g.port.mu.Lock()
		delete(g.port.groups, g.id)
		g.port.mu.Unlock()
		g.end()
		// This order: closing the stream layer waits for readers, which wait for the first transport's end.
		err = errors.Join(g.networkTransport.Close(), g.snapshots.Close())
		g.wait.Wait()
		g.networkTransport.CloseStreams()
	})
	return err
}

// Consumer is where raft takes its RPCs from: all of them, heartbeats too.
func (g *GroupTransport) Consumer() <-chan raft.RPC { return g.rpcs }

// SetHeartbeatHandler registers nothing. raft would have heartbeats answered beside its main loop, and a leader that was
// deposed while idle then writes an entry under a term it learned of there: two replicas with different logs
// (hashicorp/raft #695). Without a handler a heartbeat takes the way of every RPC, through Consumer.
func (g *GroupTransport) SetHeartbeatHandler(handler func(raft.RPC)) {
	if bugFastPath {
		g.networkTransport.SetHeartbeatHandler(handler)
	}
}

// intake passes RPCs on to raft in their order, but holds snapshots back until they are staged.
func (g *GroupTransport) intake() {
	for {
		select {
		case rpc := <-g.networkTransport.Consumer():
			if req, ok := rpc.Command.(*raft.InstallSnapshotRequest); ok && g.opts.Stage != nil {
				g.wait.Go(func() { g.install(rpc, req) })
			} else {
				g.pass(rpc)
			}
		case <-g.life.Done():
			return
		}
	}
}

// pass gives an RPC to raft, or drops it with its stream where the group closes first.
func (g *GroupTransport) pass(rpc raft.RPC) {
	select {
	case g.rpcs <- rpc:
	case <-g.life.Done():
	}
}

// outboundOnly is a stream layer for a transport that only dials.
type outboundOnly struct{ *streamLayer }

// Close leaves the streams to the other transport.
func (o outboundOnly) Close() error { return nil }

// Accept waits for the end: inbound streams belong to the other transport.
func (o outboundOnly) Accept() (net.Conn, error) {
	<-o.life.Done()
	return nil, net.ErrClosed
}
