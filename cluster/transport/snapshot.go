package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// ManifestBytesMax bounds a snapshot as raft sees it where it is staged: a manifest that names the data, not the data.
const ManifestBytesMax = 1 << 20

var (
	errSuperseded = errors.New("superseded by a newer snapshot")
	errStaleTerm  = errors.New("a snapshot of a later term is being staged")
)

// stageState lets one staging run at a time. A leader offers one snapshot at a time to a follower, so a second offer means that
// the first was given up: it ends the first, unless it comes from a leader of an earlier term.
type stageState struct {
	mu     sync.Mutex
	term   uint64                  // of the newest offer that was let in
	cancel context.CancelCauseFunc // of the one that runs
	done   chan struct{}           // closed when the one that runs has ended
}

// enter waits for its turn. The returned func ends it.
func (s *stageState) enter(parent context.Context, term uint64) (context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(parent)
	done := make(chan struct{})
	s.mu.Lock()
	if term < s.term && s.done != nil {
		s.mu.Unlock()
		cancel(nil)
		return nil, nil, errStaleTerm
	}
	previous := s.done
	if s.cancel != nil {
		s.cancel(errSuperseded)
	}
	s.term, s.cancel, s.done = term, cancel, done
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		if s.done == done {
			s.cancel, s.done = nil, nil
		}
		s.mu.Unlock()
		cancel(nil)
		close(done)
	}
	if previous != nil {
		<-previous // it was cancelled, and a Stage must heed that
	}
	return ctx, leave, nil
}

// install stages a snapshot and then lets raft have it, or answers raft's RPC with the error.
func (g *GroupTransport) install(rpc raft.RPC, req *raft.InstallSnapshotRequest) {
	if err := g.stageAndPass(rpc, req); err != nil {
		g.port.log.Warn("snapshot not staged", "group", g.id, "index", req.LastLogIndex, "error", err)
		// The answer goes to a channel of one, which only this call fills.
		rpc.Respond(&raft.InstallSnapshotResponse{Term: req.Term}, err)
	}
}

// stageAndPass keeps its turn until raft has the snapshot: one that was superseded and came late would set raft back and let it drop
// log that it has acknowledged.
func (g *GroupTransport) stageAndPass(rpc raft.RPC, req *raft.InstallSnapshotRequest) error {
	if req.Size < 0 || req.Size > ManifestBytesMax {
		return fmt.Errorf("a snapshot manifest of %d bytes, more than %d", req.Size, ManifestBytesMax)
	}
	manifest := make([]byte, req.Size)
	if _, err := io.ReadFull(rpc.Reader, manifest); err != nil {
		return fmt.Errorf("snapshot manifest: %w", err)
	}
	ctx, cancel := context.WithTimeout(g.life, g.opts.StageTimeout)
	defer cancel()
	ctx, leave, err := g.stage.enter(ctx, req.Term)
	if err != nil {
		return err
	}
	defer leave()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := g.opts.Stage(ctx, req, manifest); err != nil {
		return fmt.Errorf("stage snapshot: %w", err)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return g.hand(rpc, req, manifest)
}

// hand gives raft a snapshot that is staged, and waits until it is installed.
func (g *GroupTransport) hand(rpc raft.RPC, req *raft.InstallSnapshotRequest, manifest []byte) error {
	answered := make(chan raft.RPCResponse, 1)
	g.pass(raft.RPC{Command: rpc.Command, Reader: bytes.NewReader(manifest), RespChan: answered})
	var answer raft.RPCResponse
	select {
	case answer = <-answered:
	case <-g.life.Done():
		return ErrClosed
	}
	if response, ok := answer.Response.(*raft.InstallSnapshotResponse); ok && answer.Error == nil && response.Success && g.opts.Installed != nil {
		if err := g.opts.Installed(req.LastLogIndex); err != nil {
			return err
		}
	}
	rpc.Respond(answer.Response, answer.Error)
	return nil
}
