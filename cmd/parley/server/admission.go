package server

import (
	"context"
	"fmt"
	"path/filepath"

	"parley/cluster"
	"parley/cluster/pki"
	"parley/cmd/parley/archive"
	"parley/cmd/parley/keyfile"
)

// admissionFolder is where a node without configured credentials keeps those that it was given.
func (s *Server) admissionFolder() string { return filepath.Join(s.config.DataDir, "admission") }

// admission is what the node has to open with: what the configuration names, else what it was given before.
func (s *Server) admission() (_ cluster.Admission, known bool, err error) {
	if s.config.Cluster.Credentials == "" {
		return cluster.LoadAdmission(s.admissionFolder())
	}
	var a cluster.Admission
	if a.Credentials, err = pki.LoadCredentials(s.config.Cluster.Credentials); err != nil {
		return a, false, fmt.Errorf("cluster.credentials: %w", err)
	}
	if a.GossipKey, err = keyfile.Read(s.config.Cluster.GossipKey); err != nil {
		return a, false, fmt.Errorf("cluster.gossip_key_file: %w", err)
	}
	return a, true, nil
}

func (s *Server) sealKey() ([32]byte, error) {
	if len(s.config.Cluster.SealCommand) > 0 {
		key, err := keyfile.FromCommand(context.Background(), s.config.Cluster.SealCommand)
		if err != nil {
			err = fmt.Errorf("cluster.seal_key_command: %w", err)
		}
		return key, err
	}
	key, err := keyfile.Read(s.config.Cluster.SealKey)
	if err != nil {
		err = fmt.Errorf("cluster.seal_key_file: %w", err)
	}
	return key, err
}

func (s *Server) oldSealKeys() ([][32]byte, error) {
	var keys [][32]byte
	for _, name := range s.config.Cluster.OldSealKeys {
		key, err := keyfile.Read(name)
		if err != nil {
			return nil, fmt.Errorf("cluster.old_seal_key_files: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// open opens the node and its doors. It is called once that succeeds; admitting is held, or nobody else has the Server yet.
func (s *Server) open(admission cluster.Admission) error {
	sealKey, err := s.sealKey()
	if err != nil {
		return err
	}
	old, err := s.oldSealKeys()
	if err != nil {
		return err
	}
	folder := s.config.Cluster.Credentials
	if folder == "" {
		folder = s.admissionFolder()
	}
	s.node, err = cluster.Open(cluster.Config{
		DataDir: s.config.DataDir, Credentials: admission.Credentials, CredentialsDir: folder,
		ClusterListen: s.config.Cluster.Listen, ClusterAdvertise: s.config.Cluster.Advertise,
		GossipListen: s.config.Cluster.Gossip, GossipKey: admission.GossipKey, GossipSeeds: s.config.Cluster.Seeds,
		Delivery: cluster.Delivery(s.config.Cluster.Delivery), LogStore: cluster.LogStore(s.config.Cluster.LogStore), SealKey: sealKey, OldSealKeys: old,
		Zone:      s.config.Cluster.Zone,
		HeldBytes: s.config.Cluster.HeldBytes, HeldItems: s.config.Cluster.HeldItems,
		Version: s.program.Version, Log: s.log, Clock: cluster.SystemClock(), Raft: cluster.DefaultRaftSettings(),
		OnFatal: func(cause error) { s.fatal <- cause },
	})
	if err != nil {
		return err
	}
	s.node.KeepArchive(archive.New(s.node, "parley", nil))
	if err := s.openDoors(); err != nil {
		return err
	}
	close(s.opened)
	return nil
}

// admitted is the node's operations, opening the node first where it has to be: get says how it comes by its admission.
func (s *Server) admitted(get func() (cluster.Admission, error)) (*operations, error) {
	s.admitting.Lock()
	defer s.admitting.Unlock()
	if out := s.outcast(); out != nil {
		return nil, out.refusal()
	}
	if !s.isOpen() {
		admission, err := get()
		if err != nil {
			return nil, err
		}
		if err := s.open(admission); err != nil {
			s.fatal <- err // half of it may be up, and the operator learns of it either way
			return nil, err
		}
	}
	return &operations{node: s.node}, nil
}

func (s *Server) isOpen() bool {
	select {
	case <-s.opened:
		return true
	default:
		return false
	}
}
