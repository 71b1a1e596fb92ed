package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"parley/cluster/pki"
)

// A node that must not be talked to is told nothing on the other protocols: its connections end with an alert, which has no reason in it and is
// the same for a stolen certificate as for a node that was taken out of the cluster. So there is a protocol for that question alone. Whoever has
// a certificate of the cluster's CA may ask, barred or not; the answer, an EnrolFrame, is about the one who asks, and the connection ends.
const protocolStanding = "parley-standing/1"

// standingsMax is how many are answered at a time; more are sent away.
const standingsMax = 8

// Standing answers a node with a certificate of this serial number what stands about it here. It must not block.
type Standing func(node string, serial []byte) []byte

// HandleStanding lets nodes ask for their standing. Before, they are refused. It is called once.
func (p *Port) HandleStanding(answer Standing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.standing = answer
	p.standings = make(chan struct{}, standingsMax)
}

// configForStanding is for a connection on which nothing else is offered: as any other, but that its peer may be barred.
func (p *Port) configForStanding() *tls.Config {
	config := pki.ServerTLS(p.credentials())
	config.NextProtos = []string{protocolStanding}
	return config
}

// tellStanding answers one node.
func (p *Port) tellStanding(conn *tls.Conn) {
	defer closeQuietly(conn)
	p.mu.Lock()
	answer, places := p.standing, p.standings
	p.mu.Unlock()
	if answer == nil {
		return
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	default:
		return
	}
	state := conn.ConnectionState()
	node, err := pki.PeerNode(state)
	if err == nil {
		err = errors.Join(conn.SetWriteDeadline(time.Now().Add(p.opts.HandshakeTimeout)), writeEnrolFrame(conn, answer(node, pki.PeerSerial(state))))
	}
	if err != nil {
		p.log.Info("cluster port: a node was not told its standing", "remote", conn.RemoteAddr(), "error", err)
	}
}

// AskStanding asks the node at addr what stands about this one there. The answer is that node's, by its certificate.
func (p *Port) AskStanding(ctx context.Context, node, addr string) ([]byte, error) {
	conn, err := p.dial(ctx, node, addr, protocolStanding)
	if err != nil {
		return nil, err
	}
	defer closeQuietly(conn)
	defer context.AfterFunc(ctx, func() { closeQuietly(conn.NetConn()) })()
	err = conn.SetReadDeadline(time.Now().Add(p.opts.HandshakeTimeout))
	var answer []byte
	if err == nil {
		answer, err = readEnrolFrame(conn)
	}
	if err != nil {
		return nil, fmt.Errorf("node %s at %s: %w", node, addr, err)
	}
	return answer, nil
}
