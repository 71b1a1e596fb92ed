package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// streamsPerPeerMax bounds the streams of one group with one peer, each way. Raft needs one for heartbeats, one for
// replication and its pipeline each, and a few for votes and snapshots.
const streamsPerPeerMax = 16

// streamLayer gives one group's raft.NetworkTransport its connections: inbound ones that the Port has let in, outbound ones
// that have been through the handshake. Addresses are node IDs on this side of it.
type streamLayer struct {
	port      *Port
	group     uint32
	gen       uint64
	addresses raft.ServerAddressProvider

	lost func(peer string) // called when a peer's last inbound stream has ended; nil for nobody

	inbound chan net.Conn
	life    context.Context // ended by Close
	end     context.CancelFunc

	mu     sync.Mutex
	conns  map[*streamConn]struct{} // open, both directions
	in     map[string]int           // inbound streams and reservations by peer
	out    map[string]int           // outbound streams and dials by peer
	closed bool

	wait sync.WaitGroup // inbound streams, until their reader has let go
}

var _ raft.StreamLayer = (*streamLayer)(nil)

func newStreamLayer(p *Port, group uint32, generation uint64, addresses raft.ServerAddressProvider, lost func(string)) *streamLayer {
	life, end := context.WithCancel(context.Background())
	return &streamLayer{
		life: life, end: end,
		port: p, group: group, gen: generation, addresses: addresses, lost: lost,
		inbound: make(chan net.Conn),
		conns:   make(map[*streamConn]struct{}), in: make(map[string]int), out: make(map[string]int),
	}
}

// Accept implements net.Listener.
func (s *streamLayer) Accept() (net.Conn, error) {
	select {
	case conn := <-s.inbound:
		return conn, nil
	case <-s.life.Done():
		return nil, net.ErrClosed
	}
}

// Addr is the node's ID, which is its address in Raft's configuration.
func (s *streamLayer) Addr() net.Addr { return nodeAddr(s.port.NodeID()) }

// Close closes every stream and returns when no inbound stream has a reader any more.
func (s *streamLayer) Close() error {
	s.mu.Lock()
	s.closed = true
	s.end()
	for conn := range s.conns {
		closeQuietly(conn.NetConn()) // not the TLS one: its farewell may wait for a peer that does not read
	}
	s.mu.Unlock()
	s.wait.Wait()
	return nil
}

// Dial connects to the node that address names.
func (s *streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	node := string(address)
	hostPort, err := s.addresses.ServerAddr(raft.ServerID(node))
	if err != nil {
		return nil, fmt.Errorf("address of node %s: %w", node, err)
	}
	if err := s.take(s.out, node); err != nil {
		return nil, err
	}
	conn, err := s.connect(node, string(hostPort), timeout)
	if err != nil {
		s.give(s.out, node)
		return nil, err
	}
	return conn, nil
}

func (s *streamLayer) connect(node, hostPort string, timeout time.Duration) (net.Conn, error) {
	if limit := s.port.opts.HandshakeTimeout; timeout <= 0 || timeout > limit {
		timeout = limit
	}
	ctx, cancel := context.WithTimeout(s.life, timeout)
	defer cancel()
	raw, err := s.port.dial(ctx, node, hostPort, protocolRaft)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { closeQuietly(raw) }) // a Close in the middle of the handshake
	err = introduce(raw, hello{s.port.credentials().ClusterID(), s.group, s.gen, s.port.NodeID(), node}, timeout)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		closeQuietly(raw)
		return nil, fmt.Errorf("group %d: %w", s.group, err)
	}
	conn := &streamConn{Conn: raw, layer: s, peer: node}
	if err := s.hold(conn); err != nil {
		closeQuietly(raw)
		return nil, err
	}
	return conn, nil
}

// reserve counts an inbound stream before its handshake is answered; deliver or release must follow.
func (s *streamLayer) reserve(peer string) error { return s.take(s.in, peer) }

func (s *streamLayer) release(peer string) { s.give(s.in, peer) }

// deliver hands a reserved inbound stream to Raft's transport.
func (s *streamLayer) deliver(raw *tls.Conn, peer string) error {
	conn := &streamConn{Conn: raw, layer: s, peer: peer, inbound: true}
	if err := s.hold(conn); err != nil {
		s.release(peer)
		return err
	}
	select {
	case s.inbound <- conn:
		return nil
	case <-s.life.Done():
		return errors.Join(ErrClosed, conn.Close())
	}
}

func (s *streamLayer) take(count map[string]int, peer string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if count[peer] >= streamsPerPeerMax {
		return fmt.Errorf("group %d has %d streams with node %s already", s.group, count[peer], peer)
	}
	count[peer]++
	return nil
}

// give takes back what take counted, and reports whether it was the last of an open layer.
func (s *streamLayer) give(count map[string]int, peer string) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if count[peer]--; count[peer] > 0 {
		return false
	}
	delete(count, peer)
	return !s.closed
}

func (s *streamLayer) hold(conn *streamConn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.conns[conn] = struct{}{}
	if conn.inbound {
		s.wait.Add(1) // under mu and before closed, so never beside Close's Wait
	}
	return nil
}

// streamConn tells its layer when its owner lets go of it.
type streamConn struct {
	*tls.Conn
	layer   *streamLayer
	peer    string
	inbound bool
	once    sync.Once
}

// Close is called by the stream's owner; streamLayer.Close closes the connection beneath instead, so that the owner's Close
// still marks the moment at which its goroutine is done with the stream.
func (c *streamConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		s := c.layer
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		if c.inbound {
			if s.give(s.in, c.peer) && s.lost != nil {
				s.lost(c.peer)
			}
			s.wait.Done() // after lost, so that nobody is told of anything once Close has returned
		} else {
			s.give(s.out, c.peer)
		}
	})
	return err
}

// nodeAddr makes a node ID a net.Addr.
type nodeAddr string

func (nodeAddr) Network() string  { return "node" }
func (a nodeAddr) String() string { return string(a) }
