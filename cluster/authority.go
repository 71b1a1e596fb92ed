package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"parley/cluster/pki"
	"parley/fsm/meta"
	"parley/mls"
)

const (
	// nodeCertificateLifetime is that of what the cluster's CA gives to nodes; they renew by themselves from the middle of it on.
	nodeCertificateLifetime = 90 * 24 * time.Hour
	renewalRetry            = time.Minute
	renewalVersion          = 1
)

func caContext(cluster string) string { return "parley cluster CA/" + cluster }

// authority is the cluster's CA with its private key, which every node can open that has the seal key.
func (n *Node) authority() (pki.CA, error) {
	sealed, has := n.Map().CA()
	if !has {
		return pki.CA{}, &RefusedError{"the cluster does not have the key of its CA: its certificates are made elsewhere, by 'parley certs node'"}
	}
	key, err := unseal(n.sealKeys(), sealed.Sealed, caContext(n.Map().ClusterID()))
	if err != nil {
		return pki.CA{}, fmt.Errorf("the CA's key: %w", err)
	}
	return pki.ParseCA(sealed.Certificate, key)
}

// AdoptCA gives the cluster the key of the CA that made its nodes' certificates. From then on it invites nodes and renews certificates.
func (n *Node) AdoptCA(ctx context.Context, ca pki.CA) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if !n.Map().Initialised() {
		return ErrNotInitialised
	}
	if !n.currentCredentials().Trusts(ca.Certificate()) {
		return &RefusedError{"the nodes' certificates are of another CA"}
	}
	record, err := sealCA(n.config.SealKey, ca)
	if err != nil {
		return err
	}
	return n.change(ctx, meta.PutCA{CA: record})
}

func sealCA(key [32]byte, ca pki.CA) (meta.CA, error) {
	private, err := ca.PrivateKey()
	if err != nil {
		return meta.CA{}, err
	}
	sealed, err := seal(key, private, caContext(ca.ClusterID()))
	return meta.CA{Certificate: ca.Certificate(), Sealed: sealed}, err
}

func recordOf(node string, issued pki.Issued) meta.Certificate {
	return meta.Certificate{Serial: issued.Serial, Node: node, NotAfter: uint64(issued.NotAfter.UnixMilli())}
}

func (n *Node) currentCredentials() pki.Credentials { return *n.credentials.Load() }

// tendCertificate records this node's certificate in the map, where a revocation finds it, and fetches the next one when half
// of its life is over.
func (n *Node) tendCertificate(ctx context.Context, current *meta.Map) error {
	creds := n.currentCredentials()
	if member, in := current.Node(n.id); !in || member.State != meta.NodeActive || current.Barred(n.id, creds.Serial()) != "" {
		return nil
	}
	if _, recorded := current.Certificate(creds.Serial()); !recorded {
		own := meta.Certificate{Serial: creds.Serial(), Node: n.id, NotAfter: uint64(creds.NotAfter().UnixMilli())}
		if err := n.change(ctx, meta.RecordCertificate{Certificate: own}); err != nil {
			return fmt.Errorf("record this node's certificate: %w", err)
		}
	}
	ca, has := current.CA()
	if !has || n.config.CredentialsDir == "" || !creds.Trusts(ca.Certificate) || n.config.Clock.Wall().Before(creds.RenewAt()) {
		return nil
	}
	if err := n.renew(ctx, creds); err != nil {
		return fmt.Errorf("the certificate, which ends on %s, is not renewed: %w", creds.NotAfter().Format(time.DateOnly), err)
	}
	return nil
}

// renew asks for a certificate for a new key, here or at whichever member can sign, and uses it from the next handshake on.
func (n *Node) renew(ctx context.Context, old pki.Credentials) error {
	key, err := pki.NewNodeKey()
	if err != nil {
		return err
	}
	request, err := key.Request(n.id)
	if err != nil {
		return err
	}
	text, err := n.certify(ctx, n.id, request)
	for _, member := range activeNodes(n.Map()) {
		if err == nil {
			break
		}
		if member == n.id {
			continue
		}
		var w mls.Writer
		w.Uint8(renewalVersion)
		w.Opaque(request)
		answer, _, callErr := n.call(ctx, member, methodRenew, w.Bytes())
		if callErr == nil {
			text, err = answer, nil
		} else {
			err = errors.Join(err, callErr)
		}
	}
	if err != nil {
		return err
	}
	fresh, err := key.Credentials(text, old.TrustPEM())
	if err != nil {
		return err
	}
	// On disk first: after a crash the node must not come back with a key that it has forgotten.
	if err := fresh.Save(n.config.CredentialsDir); err != nil {
		return err
	}
	if err := n.port.SetCredentials(fresh); err != nil {
		return err
	}
	n.credentials.Store(&fresh)
	n.log.Info("the node's certificate was renewed", "until", fresh.NotAfter())
	return nil
}

// certify signs a request of a member and puts the certificate on record.
func (n *Node) certify(ctx context.Context, node string, request []byte) ([]byte, error) {
	ca, err := n.authority()
	if err != nil {
		return nil, err
	}
	issued, err := pki.SignRequest(ca, request, node, nil, nodeCertificateLifetime)
	if err != nil {
		return nil, err
	}
	return issued.PEM, n.change(ctx, meta.RecordCertificate{Certificate: recordOf(node, issued)})
}

// serveRenew answers methodRenew with a certificate for the node that asks, in PEM:
//
//	struct { uint8 version = 1; opaque request<V>; } RenewRequest; // PKCS #10
func (n *Node) serveRenew(ctx context.Context, from string, payload []byte) ([]byte, error) {
	r := mls.NewReader("RenewRequest", payload)
	if version := r.Uint8("version"); version != renewalVersion {
		r.Fail("version", "is not known")
	}
	request := r.Opaque("request")
	if err := r.Close(); err != nil {
		return nil, err
	}
	return n.certify(ctx, from, request)
}

// RevokeCertificates shuts a node out of the cluster: no member talks to it until it was invited again by its name.
func (n *Node) RevokeCertificates(ctx context.Context, node string) error {
	return n.Change(ctx, meta.RevokeCertificates{Node: node})
}
