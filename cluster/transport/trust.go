package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"parley/cluster/pki"
)

// trust is who may be talked to, and the connections that would have to end when somebody no longer may. The zero value is ready.
type trust struct {
	mu    sync.Mutex
	conns map[*watchedConn]struct{} // open, both directions
}

// watchedConn is a connection beneath TLS that is known until it is closed.
type watchedConn struct {
	net.Conn
	port *Port

	// Of the peer's certificate; under trust.mu, set in the handshake.
	node   string
	serial []byte
}

// Close implements net.Conn.
func (c *watchedConn) Close() error {
	t := &c.port.trust
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
	return c.Conn.Close()
}

func (p *Port) watch(raw net.Conn) *watchedConn {
	c := &watchedConn{Conn: raw, port: p}
	p.trust.mu.Lock()
	defer p.trust.mu.Unlock()
	if p.trust.conns == nil {
		p.trust.conns = make(map[*watchedConn]struct{})
	}
	p.trust.conns[c] = struct{}{}
	return c
}

// guarded adds to a TLS configuration for one connection that its peer must not be barred. The connection's peer is noted before
// Barred is asked, so that a Review that comes in between finds it.
func (p *Port) guarded(config *tls.Config, conn *watchedConn) *tls.Config {
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verify(state); err != nil {
			return err
		}
		node, err := pki.PeerNode(finished(state))
		if err != nil {
			return err
		}
		serial := pki.PeerSerial(state)
		p.trust.mu.Lock()
		conn.node, conn.serial = node, serial
		p.trust.mu.Unlock()
		return p.barred(node, serial)
	}
	return config
}

// finished is a state that is being verified, as it will be when the handshake is complete: the certificates are all there.
func finished(state tls.ConnectionState) tls.ConnectionState {
	state.HandshakeComplete = true
	return state
}

func (p *Port) barred(node string, serial []byte) error {
	if p.opts.Barred == nil {
		return nil
	}
	return p.opts.Barred(node, serial)
}

// Review asks Options.Barred about every open connection, and closes those of barred peers.
func (p *Port) Review() {
	type known struct {
		conn   *watchedConn
		node   string
		serial []byte
	}
	var open []known
	p.trust.mu.Lock()
	for conn := range p.trust.conns {
		if conn.node != "" {
			open = append(open, known{conn, conn.node, conn.serial})
		}
	}
	p.trust.mu.Unlock()
	for _, k := range open {
		if err := p.barred(k.node, k.serial); err != nil {
			p.log.Warn("cluster port: connection closed", "remote", k.conn.RemoteAddr(), "peer", k.node, "error", err)
			closeQuietly(k.conn)
		}
	}
}

func (p *Port) credentials() pki.Credentials { return *p.creds.Load() }

// SetCredentials is what the port proves itself with from the next handshake on. Connections that are open stay so.
func (p *Port) SetCredentials(creds pki.Credentials) error {
	if now := p.credentials(); creds.NodeID() != now.NodeID() || creds.ClusterID() != now.ClusterID() {
		return errors.New("the credentials are another node's")
	}
	p.creds.Store(&creds)
	return nil
}
