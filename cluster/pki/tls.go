package pki

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// ServerTLS is the accepting end of the cluster port: TLS 1.3, and only nodes of the same cluster. Who the peer is, PeerNode
// tells after the handshake. The caller sets NextProtos.
func ServerTLS(creds Credentials) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{creds.certificate()},
		// The chain is checked in VerifyConnection with the same code as at the dialling end.
		ClientAuth:             tls.RequireAnyClientCert,
		VerifyConnection:       func(state tls.ConnectionState) error { return checkPeer(creds, state, "") },
		SessionTicketsDisabled: true, // a resumed session would outlive its certificate
	}
}

// ClientTLS is the dialling end: the peer must be wantNode of the same cluster. The caller sets NextProtos.
func ClientTLS(creds Credentials, wantNode string) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{creds.certificate()},
		// Nodes move between hosts and addresses, so a peer is its identity and not its host name. The standard check of the
		// name is off for that reason; VerifyConnection, which always runs, checks the chain and the identity.
		InsecureSkipVerify:     true,
		VerifyConnection:       func(state tls.ConnectionState) error { return checkPeer(creds, state, wantNode) },
		SessionTicketsDisabled: true,
	}
}

// PeerNode is the node at the other end of a connection whose handshake is complete.
func PeerNode(state tls.ConnectionState) (string, error) {
	if !state.HandshakeComplete || len(state.PeerCertificates) == 0 {
		return "", errors.New("the handshake is not complete, or the peer has no certificate")
	}
	id, err := readIdentity(state.PeerCertificates[0])
	return id.node, err
}

// PeerSerial is the serial number of the peer's certificate, big-endian, without leading zeros.
func PeerSerial(state tls.ConnectionState) []byte {
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	return state.PeerCertificates[0].SerialNumber.Bytes()
}

// InviterTLS is the accepting end for a node that has no certificate yet: it proves itself with its certificate and shows its
// CA, which the other end knows by its fingerprint alone. The caller sets NextProtos.
func InviterTLS(creds Credentials) *tls.Config {
	shown := creds.certificate()
	for _, ca := range creds.trust {
		shown.Certificate = append(shown.Certificate, ca.Raw)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{shown}, SessionTicketsDisabled: true}
}

// NewcomerTLS is the dialling end of a node without a certificate: the peer must be a node of the cluster by a CA with this
// fingerprint (CA.Fingerprint). The caller sets NextProtos.
func NewcomerTLS(clusterID string, fingerprint [32]byte) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		InsecureSkipVerify:     true, // as in ClientTLS: VerifyConnection checks chain and identity
		VerifyConnection:       func(state tls.ConnectionState) error { return checkInviter(clusterID, fingerprint, state) },
		SessionTicketsDisabled: true,
	}
}

func checkInviter(clusterID string, fingerprint [32]byte, state tls.ConnectionState) error {
	for _, shown := range state.PeerCertificates {
		if sha256.Sum256(shown.Raw) != fingerprint {
			continue
		}
		peer, err := Credentials{trust: []*x509.Certificate{shown}}.verify(state.PeerCertificates[0])
		if err == nil && peer.cluster != clusterID {
			err = fmt.Errorf("%w: cluster %q, not %q", ErrWrongPeer, peer.cluster, clusterID)
		}
		return err
	}
	return fmt.Errorf("%w: it does not show the CA with the fingerprint %x", ErrWrongPeer, fingerprint)
}

// checkPeer accepts wantNode only, or any node of the cluster where wantNode is empty.
func checkPeer(creds Credentials, state tls.ConnectionState, wantNode string) error {
	if len(state.PeerCertificates) == 0 {
		return fmt.Errorf("%w: it has no certificate", ErrWrongPeer)
	}
	peer, err := creds.verify(state.PeerCertificates[0])
	switch {
	case err != nil:
		return err
	case peer.cluster != creds.id.cluster:
		return fmt.Errorf("%w: cluster %q, not %q", ErrWrongPeer, peer.cluster, creds.id.cluster)
	case wantNode != "" && peer.node != wantNode:
		return fmt.Errorf("%w: node %q, not %q", ErrWrongPeer, peer.node, wantNode)
	}
	return nil
}
