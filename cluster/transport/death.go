package transport

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// redialPause is how long Refused leaves a process that is going away for the closing of its port.
const redialPause = 2 * time.Millisecond

// Refused dials addr and reports whether the machine there answers that nothing listens. Nothing else counts: not silence, not a
// connection that stays, not an address that cannot be reached. A connection that is taken and then broken leaves it open, since a
// dying process may lose its streams just before its port: it is dialled again, until ctx ends.
func (p *Port) Refused(ctx context.Context, addr string) bool {
	for ctx.Err() == nil {
		conn, err := p.opts.Network.Dial(ctx, addr)
		if err != nil {
			return errors.Is(err, syscall.ECONNREFUSED)
		}
		stop := context.AfterFunc(ctx, func() { closeQuietly(conn) })
		_, _ = conn.Read(make([]byte, 1)) // who lives waits for our handshake, and says nothing
		stop()
		closeQuietly(conn)
		select {
		case <-time.After(redialPause):
		case <-ctx.Done():
		}
	}
	return false
}

// Hears reports whether a peer has a stream open to the group, or is about to.
func (g *GroupTransport) Hears(peer string) bool {
	g.stream.mu.Lock()
	defer g.stream.mu.Unlock()
	return g.stream.in[peer] > 0
}

// StandNow makes this node's raft stand for election at once, as a leader does to whom it hands over: without a pre-vote, and with vote
// requests that followers grant although they know a leader. It is for a follower whose leader is known to be gone. It returns when raft
// has taken the request; ctx should be short, since a request that waited would meet a raft that has moved on.
func (g *GroupTransport) StandNow(ctx context.Context) error {
	answered := make(chan raft.RPCResponse, 1)
	request := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}}
	select {
	case g.rpcs <- raft.RPC{Command: request, RespChan: answered}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-g.life.Done():
		return ErrClosed
	}
	select {
	case response := <-answered:
		return response.Error
	case <-g.life.Done():
		return ErrClosed
	}
}
