package transport

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"parley/mls"
)

// hello opens every Raft stream, from the dialling node. TLS has proved who the two nodes are; hello says which group the
// stream is for, so that a replica of an old generation, or a node that was moved, never speaks to a group that is not its own.
//
//	struct {
//	    opaque cluster<V>;
//	    uint32 group;
//	    uint64 generation;
//	    opaque from<V>;
//	    opaque to<V>;
//	} Hello;
//
//	struct { uint16 length; Hello hello; } HelloFrame;
type hello struct {
	cluster    string
	group      uint32
	generation uint64
	from, to   string
}

// verdict answers a hello.
//
//	struct { uint16 length; uint8 accepted; opaque reason<V>; } VerdictFrame;
type verdict struct {
	accepted bool
	reason   string
}

// frameBytesMax bounds a handshake frame: three names of at most pki.NameBytesMax, or a reason.
const frameBytesMax = 1024

// ErrRefused marks a stream that the other node refused: it does not have the group, or not in this generation.
var ErrRefused = errors.New("the stream was refused")

func (h hello) encode() []byte {
	var w mls.Writer
	w.Opaque([]byte(h.cluster))
	w.Uint32(h.group)
	w.Uint64(h.generation)
	w.Opaque([]byte(h.from))
	w.Opaque([]byte(h.to))
	return w.Bytes()
}

func decodeHello(b []byte) (hello, error) {
	r := mls.NewReader("Hello", b)
	h := hello{
		cluster:    string(r.Opaque("cluster")),
		group:      r.Uint32("group"),
		generation: r.Uint64("generation"),
		from:       string(r.Opaque("from")),
		to:         string(r.Opaque("to")),
	}
	return h, r.Close()
}

func (v verdict) encode() []byte {
	var w mls.Writer
	w.Bool(v.accepted)
	w.Opaque([]byte(v.reason))
	return w.Bytes()
}

func decodeVerdict(b []byte) (verdict, error) {
	r := mls.NewReader("Verdict", b)
	v := verdict{accepted: r.Bool("accepted"), reason: string(r.Opaque("reason"))}
	return v, r.Close()
}

// introduce sends the hello and waits for the verdict. The connection's deadline is cleared afterwards.
func introduce(conn *tls.Conn, h hello, timeout time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if err := writeFrame(conn, h.encode()); err != nil {
		return err
	}
	frame, err := readFrame(conn)
	if err != nil {
		return err
	}
	v, err := decodeVerdict(frame)
	if err != nil {
		return err
	}
	if !v.accepted {
		return fmt.Errorf("%w by %s: %s", ErrRefused, h.to, v.reason)
	}
	return conn.SetDeadline(time.Time{})
}

// admitStream reads a hello, and gives the stream to its group or refuses it. On an error the caller closes the connection.
func (p *Port) admitStream(conn *tls.Conn, peer string) error {
	if err := conn.SetDeadline(time.Now().Add(p.opts.HandshakeTimeout)); err != nil {
		return err
	}
	frame, err := readFrame(conn)
	if err != nil {
		return err
	}
	h, err := decodeHello(frame)
	if err != nil {
		return err
	}
	group, refusal := p.match(h, peer)
	if refusal == nil {
		refusal = group.stream.reserve(peer)
	}
	if refusal != nil {
		return errors.Join(refusal, writeFrame(conn, verdict{reason: clip(refusal.Error())}.encode()))
	}
	if err = writeFrame(conn, verdict{accepted: true}.encode()); err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		group.stream.release(peer)
		return err
	}
	return group.stream.deliver(conn, peer)
}

// match finds the group that a hello is for, and says why there is none.
func (p *Port) match(h hello, peer string) (*GroupTransport, error) {
	switch {
	case h.cluster != p.credentials().ClusterID():
		return nil, fmt.Errorf("cluster %q, not %q", h.cluster, p.credentials().ClusterID())
	case h.from != peer:
		return nil, fmt.Errorf("from node %q, but the certificate is %q's", h.from, peer)
	case h.to != p.NodeID():
		return nil, fmt.Errorf("for node %q, but this is %q", h.to, p.NodeID())
	}
	p.mu.Lock()
	group := p.groups[h.group]
	p.mu.Unlock()
	if group == nil {
		return nil, fmt.Errorf("group %d is not here", h.group)
	}
	if h.generation != group.generation {
		return nil, fmt.Errorf("group %d has generation %d, not %d", h.group, group.generation, h.generation)
	}
	return group, nil
}

func clip(reason string) string { return reason[:min(len(reason), frameBytesMax/2)] }

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(head[:])
	if n > frameBytesMax {
		return nil, fmt.Errorf("a handshake frame of %d bytes, more than %d", n, frameBytesMax)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}
