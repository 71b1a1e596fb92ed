package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"parley/cluster/pki"
	"parley/fsm/meta"
)

const (
	admissionGossipFile = "gossip.key"
	foundedCAFile       = "founded-ca.sealed"
)

// Admission is what a node needs before it can open: its credentials, and a key to hear gossip with. Where no operator gives them, they
// come from Found or Enrol and are kept in a folder of the node's.
type Admission struct {
	Credentials pki.Credentials
	GossipKey   [32]byte
}

// LoadAdmission reads what Found or Enrol left; known is false where there is none.
func LoadAdmission(dir string) (_ Admission, known bool, err error) {
	credentials, err := pki.LoadCredentials(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Admission{}, false, nil
	}
	if err != nil {
		return Admission{}, false, err
	}
	text, err := os.ReadFile(filepath.Join(dir, admissionGossipFile))
	if err != nil {
		return Admission{}, false, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return Admission{}, false, fmt.Errorf("%s: want 64 hexadecimal digits", filepath.Join(dir, admissionGossipFile))
	}
	return Admission{credentials, [32]byte(key)}, true, nil
}

// save writes the credentials last: their being there says that all is.
func (a Admission) save(dir string) error {
	if err := pki.WriteSecret(filepath.Join(dir, admissionGossipFile), []byte(hex.EncodeToString(a.GossipKey[:])+"\n")); err != nil {
		return err
	}
	return a.Credentials.Save(dir)
}

// Found makes a CA for a new cluster and the admission of its first node, which Init then takes up. The CA's private key is on disk
// only under the seal key, and only until Init has it in the replicated state. Found again returns the same. A cluster that is made of a
// backup keeps its ID and gets another CA: the certificates of the lost cluster's nodes are worth nothing in it. An empty ID is a new one.
func Found(dir, node, cluster string, sealKey [32]byte) (Admission, error) {
	if had, known, err := LoadAdmission(dir); err != nil || known {
		switch {
		case err == nil && had.Credentials.NodeID() != node && node != "":
			err = &RefusedError{fmt.Sprintf("this is node %s already", had.Credentials.NodeID())}
		case err == nil && cluster != "" && had.Credentials.ClusterID() != cluster:
			err = &RefusedError{fmt.Sprintf("this node has credentials of cluster %s already", had.Credentials.ClusterID())}
		}
		return had, err
	}
	if err := pki.CheckName(node); err != nil {
		return Admission{}, &RefusedError{err.Error()}
	}
	if cluster == "" {
		var id [8]byte
		if _, err := rand.Read(id[:]); err != nil {
			return Admission{}, err
		}
		cluster = hex.EncodeToString(id[:])
	}
	ca, err := pki.NewCA(cluster)
	if err != nil {
		return Admission{}, err
	}
	// Whatever a former call left without credentials named nobody yet, and is replaced.
	record, err := sealCA(sealKey, ca)
	if err != nil {
		return Admission{}, err
	}
	if err := pki.WriteSecret(filepath.Join(dir, foundedCAFile), meta.EncodeCA(record)); err != nil {
		return Admission{}, err
	}
	a := Admission{}
	if a.Credentials, err = pki.IssueNode(ca, node, nil, nodeCertificateLifetime); err != nil {
		return Admission{}, err
	}
	if _, err := rand.Read(a.GossipKey[:]); err != nil {
		return Admission{}, err
	}
	return a, a.save(dir)
}

// takeUpFounded brings the CA that Found made into the replicated state, and takes it off the disk.
func (n *Node) takeUpFounded(ctx context.Context) error {
	if n.config.CredentialsDir == "" {
		return nil
	}
	path := filepath.Join(n.config.CredentialsDir, foundedCAFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	record, err := meta.DecodeCA(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := n.change(ctx, meta.PutCA{CA: record}); err != nil {
		return err
	}
	return os.Remove(path)
}
