package pki

import (
	"crypto/tls"
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
