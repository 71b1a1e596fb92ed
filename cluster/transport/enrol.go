package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"parley/cluster/pki"
)

// A node that has no certificate yet has a protocol of its own, which carries one question and one answer:
//
//	struct { uint32 length; opaque body[length]; } EnrolFrame;
const protocolEnrol = "parley-enrol/1"

const (
	enrolBytesMax = 64 << 10
	// enrolmentsMax is how many strangers are heard at a time; more are sent away.
	enrolmentsMax = 8
)

// ErrNoCluster: the node at an address is of no cluster that the newcomer can trust, or none at all.
var ErrNoCluster = errors.New("it is not a node of the cluster")

// Newcomer answers a node that has no certificate. Nothing is known of who asks but what the request proves.
type Newcomer func(ctx context.Context, request []byte) []byte

// HandleNewcomers lets nodes without a certificate ask. Before, they are refused. It is called once.
func (p *Port) HandleNewcomers(answer Newcomer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newcomers = answer
	p.enrolments = make(chan struct{}, enrolmentsMax)
}

// configFor is the TLS configuration of a connection on which nothing but enrolment is offered, or nothing but the question for a
// standing; other connections are as they were.
func (p *Port) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	switch {
	case slices.Equal(hello.SupportedProtos, []string{protocolEnrol}):
		config := pki.InviterTLS(p.credentials())
		config.NextProtos = []string{protocolEnrol}
		return config, nil
	case slices.Equal(hello.SupportedProtos, []string{protocolStanding}):
		return p.configForStanding(), nil
	default:
		return nil, nil
	}
}

// enrol hears one newcomer.
func (p *Port) enrol(ctx context.Context, conn *tls.Conn) {
	defer closeQuietly(conn)
	p.mu.Lock()
	answer, places := p.newcomers, p.enrolments
	p.mu.Unlock()
	if answer == nil {
		return
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	default:
		p.log.Warn("cluster port: too many newcomers at a time", "remote", conn.RemoteAddr())
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.opts.CallTimeout)
	defer cancel()
	defer context.AfterFunc(p.rpc.life, cancel)()
	err := conn.SetReadDeadline(time.Now().Add(p.opts.HandshakeTimeout))
	if err == nil {
		var request []byte
		if request, err = readEnrolFrame(conn); err == nil {
			response := answer(ctx, request)
			err = errors.Join(conn.SetWriteDeadline(time.Now().Add(p.opts.HandshakeTimeout)), writeEnrolFrame(conn, response))
		}
	}
	if err != nil {
		p.log.Warn("cluster port: a newcomer was not answered", "remote", conn.RemoteAddr(), "error", err)
	}
}

// Enrol asks the node at addr as one that has no certificate. config, of pki.NewcomerTLS, decides who may be told anything: the
// request is sent only after it has accepted the other end. The error wraps ErrNoCluster where it has not.
func Enrol(ctx context.Context, addr string, config *tls.Config, request []byte) ([]byte, error) {
	config.NextProtos = []string{protocolEnrol}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	defer closeQuietly(conn)
	handshake, done := context.WithTimeout(ctx, Options{}.withDefaults().HandshakeTimeout)
	err = conn.HandshakeContext(handshake)
	done()
	switch {
	case err != nil && refutes(err):
		return nil, fmt.Errorf("%w: %w", ErrNoCluster, err)
	case err != nil:
		return nil, err
	case conn.ConnectionState().NegotiatedProtocol != protocolEnrol:
		return nil, fmt.Errorf("%w: it does not take newcomers", ErrNoCluster)
	}
	defer context.AfterFunc(ctx, func() { closeQuietly(raw) })()
	if err := writeEnrolFrame(conn, request); err != nil {
		return nil, err
	}
	return readEnrolFrame(conn)
}

// refutes tells a handshake that cannot go well from one that was cut off.
func refutes(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	return errors.Is(err, pki.ErrWrongPeer) || errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &invalid) ||
		errors.As(err, &alert) || errors.As(err, &record)
}

// Refutes reports whether an error says that the node at an address is none that this one can ever talk to, with the certificates
// that both have now: trying again is in vain.
func Refutes(err error) bool { return errors.Is(err, ErrNoCluster) || refutes(err) }

func writeEnrolFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func readEnrolFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > enrolBytesMax {
		return nil, fmt.Errorf("a frame of %d bytes, more than %d", n, enrolBytesMax)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}
