package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"parley/cluster/pki"
	"parley/cmd/parley/keyfile"
)

// Examine looks into the files that a configuration names, as a node does when it starts, and says all that is wrong with them, by key. It
// opens no socket, and runs seal_key_command, which has to print the key.
func (c Config) Examine(ctx context.Context, now time.Time) error {
	var wrong []error
	check := func(key string, err error) {
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", key, err))
		}
	}
	if c.Cluster.SealKey != "" {
		_, err := keyfile.Read(c.Cluster.SealKey)
		check("cluster.seal_key_file", err)
	} else {
		_, err := keyfile.FromCommand(ctx, c.Cluster.SealCommand)
		check("cluster.seal_key_command", err)
	}
	for i, name := range c.Cluster.OldSealKeys {
		_, err := keyfile.Read(name)
		check(fmt.Sprintf("cluster.old_seal_key_files[%d]", i), err)
	}
	if c.Cluster.Credentials != "" {
		credentials, err := pki.LoadCredentials(c.Cluster.Credentials)
		if err == nil && now.After(credentials.NotAfter()) {
			err = fmt.Errorf("the certificate has ended at %s", credentials.NotAfter().Format(time.RFC3339))
		}
		check("cluster.credentials", err)
		_, err = keyfile.Read(c.Cluster.GossipKey)
		check("cluster.gossip_key_file", err)
	}
	check("cluster.advertise", reachable(c.Cluster.Advertise))
	check("peer.cert_file", pair(c.Peer.CertFile, c.Peer.KeyFile, c.Domain, now))
	check("local.cert_file", pair(c.Local.CertFile, c.Local.KeyFile, "", now))
	if c.Admin.Guarded() {
		check("admin.cert_file", pair(c.Admin.CertFile, c.Admin.KeyFile, "", now))
		_, err := c.Admin.ClientRoots()
		check("admin.client_ca_file", err)
	}
	check("data_dir", directory(c.DataDir))
	return errors.Join(wrong...)
}

// reachable refuses an address at which no other node can find this one.
func reachable(address string) error {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return fmt.Errorf("%s names no machine: the other nodes are told to come there", address)
	}
	return err
}

// pair loads a certificate with its key. It must be valid now and, where a name is given, be for it.
func pair(certFile, keyFile, name string, now time.Time) error {
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	leaf := certificate.Leaf
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate has ended at %s", leaf.NotAfter.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate begins at %s", leaf.NotBefore.Format(time.RFC3339))
	case name != "" && leaf.VerifyHostname(name) != nil:
		return fmt.Errorf("the certificate is not for %s, by which other providers know this one, but for %v", name, leaf.DNSNames)
	}
	return nil
}

// ClientRoots are the certificates by which clients of the admin listener are known.
func (a Admin) ClientRoots() (*x509.CertPool, error) {
	pem, err := os.ReadFile(a.ClientCA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in it", a.ClientCA)
	}
	return roots, nil
}

// directory refuses what is there and no directory. One that is not there yet is made when the node starts.
func directory(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	}
	return nil
}
