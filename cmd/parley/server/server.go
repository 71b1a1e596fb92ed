// Package server puts a node together: the cluster's node, the three listeners in front of it, and the delivery to peers.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"parley/cluster"
	"parley/cluster/pki"
	"parley/cmd/parley/config"
	"parley/cmd/parley/keyfile"
	"parley/httpapi"
)

// closeMax is how long the cluster's node may take to close.
const closeMax = 10 * time.Second

// Server is one running node of a provider.
type Server struct {
	config  config.Config
	log     *slog.Logger
	node    *cluster.Node
	fatal   chan error
	sockets map[string]net.Listener
	tasks   []task
	client  *httpapi.Client
}

// task is something that runs until the context ends.
type task struct {
	name string
	run  func(context.Context) error
}

// New opens the node's stores and sockets. Run serves; a Server that is not run must be closed.
func New(c config.Config, log *slog.Logger) (_ *Server, err error) {
	s := &Server{config: c, log: log, fatal: make(chan error, 1), sockets: make(map[string]net.Listener)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := s.openNode(); err != nil {
		return nil, err
	}
	return s, s.openDoors()
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

func (s *Server) openNode() error {
	credentials, err := pki.LoadCredentials(s.config.Cluster.Credentials)
	if err != nil {
		return fmt.Errorf("cluster.credentials: %w", err)
	}
	gossipKey, err := keyfile.Read(s.config.Cluster.GossipKey)
	if err != nil {
		return fmt.Errorf("cluster.gossip_key_file: %w", err)
	}
	sealKey, err := keyfile.Read(s.config.Cluster.SealKey)
	if err != nil {
		return fmt.Errorf("cluster.seal_key_file: %w", err)
	}
	s.node, err = cluster.Open(cluster.Config{
		DataDir: s.config.DataDir, Credentials: credentials,
		ClusterListen: s.config.Cluster.Listen, ClusterAdvertise: s.config.Cluster.Advertise,
		GossipListen: s.config.Cluster.Gossip, GossipKey: gossipKey, GossipSeeds: s.config.Cluster.Seeds,
		LogStore: cluster.LogStore(s.config.Cluster.LogStore), SealKey: sealKey,
		Log: s.log, Clock: cluster.SystemClock(), Raft: cluster.DefaultRaftSettings(),
		OnFatal: func(cause error) { s.fatal <- cause },
	})
	return err
}

func (s *Server) openDoors() error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	requests, err := httpapi.NewRequestMetrics(registry)
	if err != nil {
		return err
	}
	deliveries, err := httpapi.NewDeliveryMetrics(registry)
	if err != nil {
		return err
	}
	peerCertificates, err := certificates(s.config.Peer)
	if err != nil {
		return fmt.Errorf("peer listener: %w", err)
	}
	localCertificates, err := certificates(s.config.Local)
	if err != nil {
		return fmt.Errorf("local listener: %w", err)
	}
	s.client = httpapi.NewClient(httpapi.ClientLimits{}, s.node, s.node, peerCertificates)
	pulse := httpapi.NewPulse(s.node.OutboxChanged())
	desk := httpapi.NewDesk(s.node, s.node, s.node, s.client)
	peer, err := httpapi.NewPeerServer(httpapi.PeerConfig{PublicURL: s.config.Peer.PublicURL}, desk, s.node, peerCertificates, requests, s.log)
	if err != nil {
		return err
	}
	local := httpapi.NewLocalServer(httpapi.LocalConfig{}, desk, s.node, pulse, s.node, localCertificates, requests, s.log)
	admin := httpapi.NewAdminServer(httpapi.AdminConfig{}, &operations{s.node}, registry, requests, s.log)
	deliverer := httpapi.NewDeliverer(httpapi.DeliveryConfig{}, s.node, s.node, s.client, pulse, deliveries, s.log)
	s.tasks = []task{
		{"peer listener", func(ctx context.Context) error { return peer.Serve(ctx, s.sockets["peer"]) }},
		{"local listener", func(ctx context.Context) error { return local.Serve(ctx, s.sockets["local"]) }},
		{"admin listener", func(ctx context.Context) error { return admin.Serve(ctx, s.sockets["admin"]) }},
		{"pulse", func(ctx context.Context) error { pulse.Run(ctx); return nil }},
		{"deliverer", func(ctx context.Context) error { deliverer.Run(ctx); return nil }},
	}
	return nil
}

// certificates reads a listener's certificate anew whenever its file has changed.
func certificates(l config.Listener) (httpapi.Certificates, error) {
	var mu sync.Mutex
	var loaded *tls.Certificate
	var changed time.Time
	get := func() (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		info, err := os.Stat(l.CertFile)
		if err != nil || loaded != nil && info.ModTime().Equal(changed) {
			return loaded, err
		}
		pair, err := tls.LoadX509KeyPair(l.CertFile, l.KeyFile)
		if err != nil {
			return loaded, err
		}
		loaded, changed = &pair, info.ModTime()
		return loaded, nil
	}
	_, err := get()
	return get, err
}

// Run serves until the context ends, which is no error, or until something fails; the Server is closed then. Where the node itself must not
// go on it returns at once and closes nothing: the process has to end, so that others take over from a leader whose disk hangs.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.log.Info("serving", "node", s.node.ID(), "domain", s.config.Domain, "peer", s.config.Peer.Listen, "local", s.config.Local.Listen,
		"admin", s.config.Admin.Listen, "cluster", s.node.ClusterAddr())
	ended := make(chan error, len(s.tasks))
	for _, t := range s.tasks {
		go func() {
			err := t.run(ctx)
			if err != nil {
				err = fmt.Errorf("%s: %w", t.name, err)
			}
			ended <- err
		}()
	}
	var cause error
	running := len(s.tasks)
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
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

// Close releases what New took.
func (s *Server) Close() error {
	var wrong []error
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
