// Package pki makes and reads the certificates that a cluster's nodes know each other by, and the TLS configurations that
// check them. The cluster has a private CA of its own: nothing that a public CA signs is ever accepted on the cluster port.
package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// NameBytesMax is the longest cluster or node ID.
const NameBytesMax = 64

// ErrWrongPeer marks a certificate that is valid in itself but belongs to another cluster or another node than expected.
var ErrWrongPeer = errors.New("the certificate is not the expected node's")

// identity is what a node's certificate says of it, as a URI SAN: parley://<cluster ID>/node/<node ID>.
type identity struct{ cluster, node string }

func (id identity) uri() *url.URL {
	return &url.URL{Scheme: "parley", Host: id.cluster, Path: "/node/" + id.node}
}

// CheckName refuses what cannot be a cluster or node ID: 1 to NameBytesMax lower-case letters, digits, dots and hyphens,
// beginning and ending with a letter or digit. Such a name needs no escaping in a URI, a file name or a log.
func CheckName(name string) error {
	if name == "" || len(name) > NameBytesMax {
		return fmt.Errorf("an ID has 1 to %d bytes, not %d", NameBytesMax, len(name))
	}
	for i := range len(name) {
		c := name[i]
		alphanumeric := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		inner := i > 0 && i < len(name)-1 && (c == '-' || c == '.')
		if !alphanumeric && !inner {
			return fmt.Errorf("the ID %q has a character that is not allowed at byte %d", name, i)
		}
	}
	return nil
}

// readIdentity takes the one parley URI out of a certificate. More than one would make the answer depend on their order.
func readIdentity(cert *x509.Certificate) (identity, error) {
	var found []identity
	for _, u := range cert.URIs {
		if u.Scheme != "parley" {
			continue
		}
		node, ok := strings.CutPrefix(u.Path, "/node/")
		if !ok || CheckName(node) != nil || CheckName(u.Host) != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return identity{}, fmt.Errorf("%w: malformed identity %q", ErrWrongPeer, u.Redacted())
		}
		found = append(found, identity{u.Host, node})
	}
	if len(found) != 1 {
		return identity{}, fmt.Errorf("%w: it names %d cluster nodes, not one", ErrWrongPeer, len(found))
	}
	return found[0], nil
}
