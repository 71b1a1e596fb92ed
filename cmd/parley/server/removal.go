package server

import (
	"context"
	"errors"
	"fmt"
	"net"

	"parley/cluster"
	"parley/httpapi"
)

// A node that is out of its cluster goes on as a process, and as nothing else: it tells whoever asks that another node is to be asked. To end
// would be worse. A service manager starts again what has ended, in vain and for as long as it is set to; and where nothing answers, nobody can
// say why. So it is with a node that learns it while it serves, and with one that is started on a directory which says so: the cluster has
// removed it, or goes on in a generation without it.

// outcast is why the node is out, and what it was.
type outcast struct{ node, cluster, why string }

// outcastBy makes one of an error of cluster.Open that no other start will get past, or nil.
func outcastBy(err error, admission cluster.Admission) *outcast {
	var removed *cluster.RemovedError
	var superseded *cluster.SupersededError
	if !errors.As(err, &removed) && !errors.As(err, &superseded) {
		return nil
	}
	return &outcast{node: admission.Credentials.NodeID(), cluster: admission.Credentials.ClusterID(), why: err.Error()}
}

// outcast is nil while the node is a member, or may become one.
func (s *Server) outcast() *outcast {
	if out := s.out.Load(); out != nil {
		return out
	}
	if !s.isOpen() {
		return nil
	}
	if removal := s.node.Removal(); removal != nil {
		return &outcast{node: s.node.ID(), cluster: s.node.ClusterID(), why: removal.Error()}
	}
	return nil
}

// refusal is what an operator hears who asks for anything else than how the node is.
func (o *outcast) refusal() error { return &httpapi.RemovedError{Reason: o.why} }

// readiness and status are how the node is.
func (o *outcast) readiness() httpapi.Readiness {
	return httpapi.Readiness{Node: o.node, Reasons: []string{o.why}}
}

// serveClosed answers in the place of the peer and the local listener until the context ends. An address that somebody else has taken
// meanwhile is his.
func (s *Server) serveClosed(ctx context.Context) error {
	var doors []task
	for _, name := range []string{peerListener, localListener} {
		socket := s.sockets[name]
		if s.isOpen() { // the one that served has closed it
			again, err := net.Listen("tcp", socket.Addr().String())
			if err != nil {
				s.log.Warn("nobody is told there that another node is to be asked", "listener", name, "error", err)
				continue
			}
			socket = again
		}
		door := httpapi.NewClosedDoor(name, s.certificates[name].get, s.requests, s.log)
		doors = append(doors, task{name + " listener", func(ctx context.Context) error { return door.Serve(ctx, socket) }})
	}
	s.log.Warn("this node is out of its cluster, and sends everybody elsewhere: stop it, and move its directory away", "why", s.outcast().why)
	if err := runAll(ctx, doors); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// serveUntilRemoved runs the doors until one of them ends, the context does, or the node learns that it is out of the cluster: then out is true,
// and the node is at rest.
func (s *Server) serveUntilRemoved(ctx context.Context) (out bool, err error) {
	doors, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-s.node.Removed():
			cancel()
		case <-doors.Done():
		}
	}()
	err = runAll(doors, s.doors)
	cancel()
	<-watched
	if err != nil || ctx.Err() != nil || s.node.Removal() == nil {
		return false, err
	}
	resting, done := context.WithTimeout(context.WithoutCancel(ctx), closeMax)
	defer done()
	if err := s.node.Retire(resting); err != nil {
		return false, fmt.Errorf("come to rest: %w", err)
	}
	return true, nil
}
