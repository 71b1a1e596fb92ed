// Package server puts a node together: the cluster's node, the three listeners in front of it, and the delivery to peers.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"parley/cluster"
	"parley/cmd/parley/archive"
	"parley/cmd/parley/config"
	"parley/cmd/parley/sdnotify"
	"parley/httpapi"
)

// closeMax is how long the cluster's node may take to close.
const closeMax = 10 * time.Second

// partMax is how long a node that stops may take to hand over what it leads.
const partMax = 5 * time.Second

// Server is one running node of a provider.
type Server struct {
	config  config.Config
	log     *slog.Logger
	fatal   chan error
	sockets map[string]net.Listener

	registry *prometheus.Registry
	program  Program
	requests *httpapi.RequestMetrics
	admin    *httpapi.AdminServer
	checker  *archive.Checker // of backups that a cluster is to be made of

	present      configNow                // with what a reload has changed since
	certificates map[string]*certificates // of the listeners, by name; not changed after New

	admitting sync.Mutex    // held while the node is being admitted and opened
	opened    chan struct{} // closed when node, doors and client are set, which do not change then
	node      *cluster.Node
	doors     []task
	client    *httpapi.Client

	out atomic.Pointer[outcast] // the directory says that the node is out of its cluster, and it is not opened; nil otherwise
}

// task is something that runs until the context ends.
type task struct {
	name string
	run  func(context.Context) error
}

// New opens the sockets, and the node's stores where the node has credentials; one that has none waits for init or join. Run serves; a
// Server that is not run must be closed.
func New(c config.Config, program Program) (_ *Server, err error) {
	s := &Server{
		config: c, log: program.Log, program: program, fatal: make(chan error, 1), sockets: make(map[string]net.Listener), registry: prometheus.NewRegistry(),
		opened: make(chan struct{}), certificates: make(map[string]*certificates), checker: archive.NewChecker(),
	}
	s.present.set(c)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.listen(); err != nil {
		return nil, err
	}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.requests, err = httpapi.NewRequestMetrics(s.registry); err != nil {
		return nil, err
	}
	if err := s.loadCertificates(); err != nil {
		return nil, err
	}
	guard, err := s.adminGuard()
	if err != nil {
		return nil, err
	}
	s.admin = httpapi.NewAdminServer(httpapi.AdminConfig{TLS: guard}, &lobby{s}, s.registry, s.requests, s.log)
	admission, known, err := s.admission()
	if err != nil || !known {
		return s, err
	}
	err = s.open(admission)
	if out := outcastBy(err, admission); out != nil {
		s.out.Store(out)
		return s, nil
	}
	return s, err
}

// listen takes the sockets first: a port that is in use is found before anything has begun.
func (s *Server) listen() error {
	for name, address := range map[string]string{
		"peer": s.config.Peer.Listen, "local": s.config.Local.Listen, "admin": s.config.Admin.Listen,
	} {
		socket, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("%s listener: %w", name, err)
		}
		s.sockets[name] = socket
	}
	return nil
}

func (s *Server) openDoors() error {
	deliveries, err := httpapi.NewDeliveryMetrics(s.registry)
	if err != nil {
		return err
	}
	peerCertificates, localCertificates := s.certificates[peerListener].get, s.certificates[localListener].get
	s.client = httpapi.NewClient(httpapi.ClientLimits{}, s.node, s.node, peerCertificates)
	pulse := httpapi.NewPulse(s.node.OutboxChanged())
	desk := httpapi.NewDesk(s.node, s.node, s.node, s.client)
	peer, err := httpapi.NewPeerServer(httpapi.PeerConfig{PublicURL: s.config.Peer.PublicURL}, desk, s.node, s.node, peerCertificates, s.requests, s.log)
	if err != nil {
		return err
	}
	local := httpapi.NewLocalServer(httpapi.LocalConfig{}, desk, s.node, pulse, s.node, s.node, localCertificates, s.requests, s.log)
	outbound, err := httpapi.NewCourierMetrics(s.registry)
	if err != nil {
		return err
	}
	courier := httpapi.NewCourier(httpapi.CourierConfig{}, s.node, s.node, s.client, pulse, outbound, s.log)
	deliverer := httpapi.NewDeliverer(httpapi.DeliveryConfig{Config: s.node}, s.node, s.node, s.client, pulse, deliveries, s.log)
	care := newCareMetrics(s.node, s.program.Version, s.certificates)
	if err := errors.Join(s.registry.Register(newNodeMetrics(s.node, s.log)), s.registry.Register(care)); err != nil {
		return fmt.Errorf("register the node's metrics: %w", err)
	}
	if err := s.registry.Register(newPlacementMetrics(s.node)); err != nil {
		return fmt.Errorf("register the metrics of placement: %w", err)
	}
	if err := s.registry.Register(newGenerationMetrics(s.node, s.log)); err != nil {
		return fmt.Errorf("register the metrics of generations: %w", err)
	}
	s.node.ReportExam(s.examBeside)
	s.node.ReportLanes(lanesOf(deliverer))
	s.doors = []task{
		{"peer listener", func(ctx context.Context) error { return peer.Serve(ctx, s.sockets["peer"]) }},
		{"local listener", func(ctx context.Context) error { return local.Serve(ctx, s.sockets["local"]) }},
		{"pulse", func(ctx context.Context) error { pulse.Run(ctx); return nil }},
		{"courier", func(ctx context.Context) error { courier.Run(ctx); return nil }},
		{"deliverer", func(ctx context.Context) error { deliverer.Run(ctx); return nil }},
	}
	return nil
}

// Run serves until the context ends, which is no error, or until something fails; the Server is closed then. Where the node itself must not
// go on it returns at once and closes nothing: the process has to end, so that others take over from a leader whose disk hangs.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks := []task{
		{"admin listener", func(ctx context.Context) error { return s.admin.Serve(ctx, s.sockets["admin"]) }},
		{"node", s.serveDoors},
	}
	ended := make(chan error, len(tasks))
	for _, t := range tasks {
		go func() {
			err := t.run(ctx)
			if err != nil {
				err = fmt.Errorf("%s: %w", t.name, err)
			}
			ended <- err
		}()
	}
	var watching sync.WaitGroup
	watching.Go(func() { s.tellSystemd(ctx) })
	defer watching.Wait()
	defer cancel() // before it is waited for
	var cause error
	running := len(tasks)
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
		s.say(sdnotify.Stopping)
		s.part()
	case cause = <-s.fatal:
		return fmt.Errorf("the node must not go on: %w", cause)
	case cause = <-ended:
		running--
	}
	cancel()
	for ; running > 0; running-- {
		cause = errors.Join(cause, <-ended)
	}
	return errors.Join(cause, s.Close())
}

// part hands over what the node leads, while it still answers: an election costs those who wait ten times as much.
func (s *Server) part() {
	if !s.isOpen() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), partMax)
	defer cancel()
	s.node.HandOverAll(ctx)
}

// serveDoors serves all that needs the node, once there is one, and says that there is none where it is out of its cluster. It ends with the
// context, or when one of the doors does.
func (s *Server) serveDoors(ctx context.Context) error {
	if s.outcast() != nil {
		return s.serveClosed(ctx)
	}
	select {
	case <-s.opened:
	default:
		s.log.Info("waiting for 'parley cluster init' or 'parley node join --token'", "admin", s.config.Admin.Listen)
		select {
		case <-s.opened:
		case <-ctx.Done():
			return nil
		}
	}
	s.log.Info("serving", "node", s.node.ID(), "domain", s.config.Domain, "peer", s.config.Peer.Listen, "local", s.config.Local.Listen,
		"admin", s.config.Admin.Listen, "cluster", s.node.ClusterAddr())
	out, err := s.serveUntilRemoved(ctx)
	if err != nil || !out {
		return err
	}
	return s.serveClosed(ctx)
}

// runAll runs tasks until the context ends or one of them does, and then all do.
func runAll(ctx context.Context, tasks []task) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(tasks))
	for _, t := range tasks {
		go func() {
			err := t.run(ctx)
			if err != nil {
				err = fmt.Errorf("%s: %w", t.name, err)
			}
			ended <- err
			cancel()
		}()
	}
	var wrong []error
	for range tasks {
		wrong = append(wrong, <-ended)
	}
	return errors.Join(wrong...)
}

// Close releases what New took, and what was opened since.
func (s *Server) Close() error {
	s.admitting.Lock()
	defer s.admitting.Unlock()
	var wrong []error
	s.checker.Close()
	if s.client != nil {
		s.client.Close()
	}
	if s.node != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeMax)
		defer cancel()
		wrong = append(wrong, s.node.Close(ctx))
	}
	for _, socket := range s.sockets {
		if err := socket.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}
