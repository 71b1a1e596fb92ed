package clustertest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// linkBytesMax is what can be on its way in one direction of a connection. A writer that waits beyond it may hold a mutex of its
	// library, on which others wait, and fake time does not pass then; so nothing comes near it.
	linkBytesMax = 256 << 20
	deadAfter    = 15 * time.Second // a connection whose link was cut for so long breaks, as keep-alives find out
	latency      = 500 * time.Microsecond
)

// Network is what the nodes of a test reach each other by: connections in memory with latency, whose links can be cut in each
// direction, delayed and broken. Bytes of a cut link wait, as TCP's do, until it is healed or the connection breaks. Addresses
// are "node:port". Safe for concurrent use.
type Network struct {
	mu      sync.Mutex
	links   map[link]linkState
	changed chan struct{} // closed when a link changes
	hosts   map[string]*host
}

// link is one direction between two nodes.
type link struct{ from, to string }

type linkState struct {
	cut   bool
	since time.Time // when it was cut
	delay time.Duration
}

// host is one life of a node on the network. The next life is another host.
type host struct {
	network  *Network
	name     string
	dead     bool // guarded by network.mu, as are the two below
	listener *listener
	conns    map[*conn]struct{}
}

// NewNetwork has no nodes and no faults.
func NewNetwork() *Network {
	return &Network{links: make(map[link]linkState), hosts: make(map[string]*host), changed: make(chan struct{})}
}

// Join gives a node a new life on the network. The one before must have been killed.
func (n *Network) Join(name string) *host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &host{network: n, name: name, conns: make(map[*conn]struct{})}
	n.hosts[name] = h
	return h
}

// Kill ends a life: nothing of it is sent or received any more, its connections are reset at both ends, and who dials it is
// refused.
func (h *host) Kill() {
	n := h.network
	n.mu.Lock()
	h.dead = true
	conns := h.conns
	h.conns = make(map[*conn]struct{})
	if h.listener != nil {
		h.listener.shut()
	}
	n.mu.Unlock()
	for c := range conns {
		c.reset()
	}
}

// Set changes one direction of a link. Its latency stays when it is cut.
func (n *Network) Set(from, to string, cut bool, delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	state := n.links[link{from, to}]
	if cut && !state.cut {
		state.since = time.Now()
	}
	state.cut, state.delay = cut, delay
	n.links[link{from, to}] = state
	close(n.changed)
	n.changed = make(chan struct{})
}

// Break resets every connection between two nodes.
func (n *Network) Break(a, b string) {
	n.mu.Lock()
	var broken []*conn
	for _, h := range n.hosts {
		for c := range h.conns {
			if c.in.link == (link{a, b}) || c.in.link == (link{b, a}) {
				broken = append(broken, c)
			}
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.reset()
	}
}

// state is a link's, with a channel that is closed at the next change of any.
func (n *Network) state(l link) (linkState, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[l], n.changed
}

// Listen implements transport.Network.
func (h *host) Listen(_ context.Context, addr string) (net.Listener, error) {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	if h.dead || h.listener != nil {
		return nil, &net.OpError{Op: "listen", Err: syscall.EADDRINUSE}
	}
	h.listener = &listener{host: h, addr: address(addr), backlog: make(chan net.Conn, 64), closed: make(chan struct{})}
	return h.listener, nil
}

// Dial implements transport.Network. Over a cut link it waits, as TCP does.
func (h *host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: address(addr), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, way := range []link{{h.name, name}, {name, h.name}} {
		if err := h.network.pass(ctx, way); err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: address(addr), Err: err}
		}
	}
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	to := n.hosts[name]
	if h.dead || to == nil || to.dead || to.listener == nil {
		return nil, refused
	}
	there, back := newHalf(n, link{h.name, name}), newHalf(n, link{name, h.name})
	here := &conn{in: back, out: there, local: address(h.name + ":0"), remote: address(addr), host: h}
	other := &conn{in: there, out: back, local: address(addr), remote: address(h.name + ":0"), host: to}
	select {
	case to.listener.backlog <- other:
	default:
		return nil, refused
	}
	h.conns[here], to.conns[other] = struct{}{}, struct{}{}
	return here, nil
}

// pass waits until a small message would be through a link.
func (n *Network) pass(ctx context.Context, l link) error {
	for {
		state, changed := n.state(l)
		var through <-chan time.Time
		if !state.cut {
			if state.delay == 0 {
				return ctx.Err()
			}
			through = time.After(state.delay)
		}
		select {
		case <-through:
			return nil
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type listener struct {
	host    *host
	addr    net.Addr
	backlog chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *listener) shut() { l.once.Do(func() { close(l.closed) }) }

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.shut()
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// address is "node:port".
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// conn is one end of a connection.
type conn struct {
	in, out       *half
	local, remote net.Addr
	host          *host
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

func (c *conn) Close() error {
	c.host.network.mu.Lock()
	delete(c.host.conns, c)
	c.host.network.mu.Unlock()
	c.in.abandon()
	c.out.finish()
	return nil
}

func (c *conn) reset() {
	c.in.fail(syscall.ECONNRESET)
	c.out.fail(syscall.ECONNRESET)
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.in.setDeadline(&c.in.readBy, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.out.setDeadline(&c.out.writeBy, t) }

// half is one direction of a connection.
type half struct {
	network *Network
	link    link

	mu       sync.Mutex
	moved    chan struct{} // closed when anything below changes
	chunks   []chunk
	bytes    int
	finished bool  // the writer has closed
	gone     bool  // the reader has closed
	err      error // broken
	readBy   time.Time
	writeBy  time.Time
}

type chunk struct {
	data []byte
	at   time.Time // when it is there
}

func newHalf(n *Network, l link) *half { return &half{network: n, link: l, moved: make(chan struct{})} }

// move wakes who waits. The caller holds mu.
func (h *half) move() {
	close(h.moved)
	h.moved = make(chan struct{})
}

func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.move()
}

func (h *half) finish()        { h.change(func() { h.finished = true }) }
func (h *half) abandon()       { h.change(func() { h.gone = true }) }
func (h *half) fail(err error) { h.change(func() { h.err, h.chunks = err, nil }) }

func (h *half) setDeadline(field *time.Time, t time.Time) error {
	h.change(func() { *field = t })
	return nil
}

// wait returns when something may have changed, or at the moment given (zero: none).
func wait(moved, changed <-chan struct{}, moments ...time.Time) {
	var first time.Time
	for _, m := range moments {
		if !m.IsZero() && (first.IsZero() || m.Before(first)) {
			first = m
		}
	}
	var due <-chan time.Time
	if !first.IsZero() {
		timer := time.NewTimer(time.Until(first))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-moved:
	case <-changed:
	case <-due:
	}
}

func (h *half) read(b []byte) (int, error) {
	for {
		state, changed := h.network.state(h.link)
		n, next, moved, err := h.take(b, state)
		if n > 0 || err != nil {
			return n, err
		}
		wait(moved, changed, next...)
	}
}

// take reads what is there, or says when to look again.
func (h *half) take(b []byte, state linkState) (n int, next []time.Time, moved <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case h.gone:
		return 0, nil, nil, net.ErrClosed
	case h.err != nil:
		return 0, nil, nil, h.err
	case !h.readBy.IsZero() && !now.Before(h.readBy):
		return 0, nil, nil, os.ErrDeadlineExceeded
	}
	next = []time.Time{h.readBy}
	if state.cut {
		if now.Sub(state.since) >= deadAfter {
			h.err = syscall.ETIMEDOUT
			h.move()
			return 0, nil, nil, h.err
		}
		return 0, append(next, state.since.Add(deadAfter)), h.moved, nil
	}
	switch {
	case len(h.chunks) > 0 && !now.Before(h.chunks[0].at):
		n = copy(b, h.chunks[0].data)
		if h.chunks[0].data = h.chunks[0].data[n:]; len(h.chunks[0].data) == 0 {
			h.chunks = h.chunks[1:]
		}
		h.bytes -= n
		h.move()
		return n, nil, nil, nil
	case len(h.chunks) > 0:
		next = append(next, h.chunks[0].at)
	case h.finished:
		return 0, nil, nil, io.EOF
	}
	return 0, next, h.moved, nil
}

func (h *half) write(b []byte) (written int, err error) {
	for {
		state, changed := h.network.state(h.link)
		n, next, moved, err := h.put(b, state)
		written += n
		if b = b[n:]; err != nil || len(b) == 0 {
			return written, err
		}
		wait(moved, changed, next)
	}
}

func (h *half) put(b []byte, state linkState) (n int, next time.Time, moved <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case h.finished:
		return 0, next, nil, net.ErrClosed
	case h.err != nil:
		return 0, next, nil, h.err
	case h.gone:
		return 0, next, nil, os.NewSyscallError("write", syscall.EPIPE)
	case !h.writeBy.IsZero() && !now.Before(h.writeBy):
		return 0, next, nil, os.ErrDeadlineExceeded
	}
	if n = min(len(b), linkBytesMax-h.bytes); n > 0 {
		at := now.Add(latency + state.delay)
		if last := len(h.chunks) - 1; last >= 0 && h.chunks[last].at.After(at) {
			at = h.chunks[last].at
		}
		h.chunks = append(h.chunks, chunk{append([]byte(nil), b[:n]...), at})
		h.bytes += n
		h.move()
	}
	return n, h.writeBy, h.moved, nil
}
