// Package transport is a node's cluster port: one TCP listener with mutual TLS 1.3 under the cluster's own CA, which carries
// the Raft streams of every group and the calls between nodes. ALPN tells them apart before anything else is read.
package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"parley/cluster/pki"
)

// The two protocols between members. Beside them are that of newcomers (enrol.go) and that of who is shut out (standing.go).
const (
	protocolRaft = "parley-raft/1"
	protocolRPC  = "parley-rpc/1"
)

// ErrClosed is returned by what is used after its Close.
var ErrClosed = errors.New("the cluster port is closed")

// Options are a Port's limits; zero values mean the defaults.
type Options struct {
	Network          Network       // default: the machine's
	Logger           *slog.Logger  // default slog.Default()
	HandshakeTimeout time.Duration // of TLS and of the group handshake, and of a dial; default 5 s
	HandshakesMax    int           // unauthenticated connections at a time; more are closed at once; default 256
	CallTimeout      time.Duration // of a Call whose context has no deadline; default 30 s
	// Barred says why a node with a certificate of this serial number must not be talked to. It is asked at each handshake, at both
	// ends, and by Review. nil bars nobody.
	Barred func(node string, serial []byte) error
	// Generation is the node's generation of the cluster, 0 while it has no history; asked at each call. nil says 0.
	Generation func() uint64
	// OpenMethods are what a node may call that has no generation yet.
	OpenMethods []string
	// Superseded is told of a node of a later generation: nobody of that has to do with this node any more. nil tells nobody.
	Superseded func(node string, generation uint64)
}

// Network is how a port reaches others and is reached. Connections must heed deadlines and closing as TCP ones do. Both methods
// may be called concurrently.
type Network interface {
	Listen(ctx context.Context, addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// machineNetwork is TCP.
type machineNetwork struct{}

func (machineNetwork) Listen(ctx context.Context, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	return config.Listen(ctx, "tcp", addr)
}

func (machineNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	return dialer.DialContext(ctx, "tcp", addr)
}

func (o Options) withDefaults() Options {
	if o.Network == nil {
		o.Network = machineNetwork{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = 5 * time.Second
	}
	if o.HandshakesMax <= 0 {
		o.HandshakesMax = 256
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = 30 * time.Second
	}
	return o
}

// keepAlive finds a peer that vanished without a word within about 15 s, also where nothing is being written.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 3 * time.Second, Count: 3}

// Port is one node's cluster port. Every method may be called concurrently.
type Port struct {
	creds    atomic.Pointer[pki.Credentials]
	opts     Options
	log      *slog.Logger
	listener net.Listener
	rpc      *rpcServer
	calls    *callers

	handshakes chan struct{} // one token for each connection that is not authenticated yet

	mu     sync.Mutex
	groups map[uint32]*GroupTransport // open groups
	fresh  map[net.Conn]struct{}      // in their handshake; owned by their goroutine, closed by Close too
	closed bool

	newcomers  Newcomer      // under mu; nil refuses them
	enrolments chan struct{} // under mu; a token for each newcomer who is being heard
	standing   Standing      // under mu; nil answers nobody
	standings  chan struct{} // under mu; a token for each node that is being told

	trust trust

	wait sync.WaitGroup // the accept loop and the handshakes
}

// Listen opens the cluster port on addr (host:port; port 0 picks a free one) as the node that creds belong to.
func Listen(addr string, creds pki.Credentials, opts Options) (*Port, error) {
	if creds.NodeID() == "" {
		return nil, errors.New("the cluster port needs a node's credentials")
	}
	opts = opts.withDefaults()
	listener, err := opts.Network.Listen(context.Background(), addr)
	if err != nil {
		return nil, fmt.Errorf("cluster port: %w", err)
	}
	p := &Port{
		opts:       opts,
		log:        opts.Logger.With("node", creds.NodeID()),
		listener:   listener,
		handshakes: make(chan struct{}, opts.HandshakesMax),
		groups:     make(map[uint32]*GroupTransport),
		fresh:      make(map[net.Conn]struct{}),
	}
	p.creds.Store(&creds)
	generations := generations{own: opts.Generation, later: opts.Superseded, open: opts.OpenMethods}
	p.calls = newCallers(p.dialRPC, generations, opts.CallTimeout)
	p.rpc = newRPCServer(listener.Addr(), generations, p.log)
	p.wait.Go(p.acceptLoop)
	return p, nil
}

// Addr is where the port listens.
func (p *Port) Addr() net.Addr { return p.listener.Addr() }

// NodeID is the node that the port speaks as.
func (p *Port) NodeID() string { return p.credentials().NodeID() }

// Close closes the listener, every group and every connection, and returns when all handlers have returned: their contexts are
// cancelled, and they must heed that.
func (p *Port) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	groups := make([]*GroupTransport, 0, len(p.groups))
	for _, g := range p.groups {
		groups = append(groups, g)
	}
	for conn := range p.fresh {
		closeQuietly(conn)
	}
	p.mu.Unlock()

	err := p.listener.Close()
	for _, g := range groups {
		err = errors.Join(err, g.Close())
	}
	p.calls.close()
	err = errors.Join(err, p.rpc.close())
	p.wait.Wait()
	return err
}

func (p *Port) acceptLoop() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, most likely; the listener itself is sound.
			p.log.Error("cluster port: accept", "error", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		select {
		case p.handshakes <- struct{}{}:
			p.wait.Go(func() {
				defer func() { <-p.handshakes }()
				p.admit(conn)
			})
		default:
			p.log.Warn("cluster port: too many handshakes at a time; connection closed", "remote", conn.RemoteAddr())
			closeQuietly(conn)
		}
	}
}

// admit authenticates a connection and hands it to the protocol that was asked for.
func (p *Port) admit(raw net.Conn) {
	if !p.holdFresh(raw) {
		closeQuietly(raw)
		return
	}
	defer p.dropFresh(raw)
	watched := p.watch(raw)
	config := p.guarded(pki.ServerTLS(p.credentials()), watched)
	config.NextProtos = []string{protocolRaft, protocolRPC}
	config.GetConfigForClient = p.configFor
	conn := tls.Server(watched, config)
	ctx, cancel := context.WithTimeout(context.Background(), p.opts.HandshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		p.log.Warn("cluster port: connection refused", "remote", raw.RemoteAddr(), "error", err)
		closeQuietly(watched)
		return
	}
	state := conn.ConnectionState()
	switch state.NegotiatedProtocol {
	case protocolEnrol:
		p.enrol(ctx, conn)
		return
	case protocolStanding:
		p.tellStanding(conn)
		return
	}
	peer, err := pki.PeerNode(state)
	if err == nil {
		switch state.NegotiatedProtocol {
		case protocolRaft:
			err = p.admitStream(conn, peer)
		case protocolRPC:
			err = p.rpc.admit(conn, peer)
		default:
			err = fmt.Errorf("no cluster protocol was negotiated")
		}
	}
	if err != nil {
		p.log.Warn("cluster port: connection refused", "remote", raw.RemoteAddr(), "peer", peer, "error", err)
		closeQuietly(conn)
	}
}

// holdFresh remembers a connection until dropFresh, so that Close can end its handshake. It answers false once closed.
func (p *Port) holdFresh(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.fresh[conn] = struct{}{}
	return true
}

func (p *Port) dropFresh(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.fresh, conn)
}

// dial connects to node at addr for one of the protocols.
func (p *Port) dial(ctx context.Context, node, addr, protocol string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.HandshakeTimeout)
	defer cancel()
	raw, err := p.opts.Network.Dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("node %s at %s: %w", node, addr, err)
	}
	watched := p.watch(raw)
	config := p.guarded(pki.ClientTLS(p.credentials(), node), watched)
	config.NextProtos = []string{protocol}
	conn := tls.Client(watched, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		closeQuietly(watched)
		return nil, fmt.Errorf("node %s at %s: %w", node, addr, err)
	}
	return conn, nil
}

func (p *Port) dialRPC(ctx context.Context, node, addr string) (net.Conn, error) {
	conn, err := p.dial(ctx, node, addr, protocolRPC)
	if err != nil {
		return nil, err
	}
	return rpcConn{Conn: conn, peer: node}, nil
}

// closeQuietly closes a connection that is being given up; that closing it fails changes nothing.
func closeQuietly(conn net.Conn) { _ = conn.Close() }
