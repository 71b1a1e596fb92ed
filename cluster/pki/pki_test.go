package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newCA(t *testing.T, cluster string) CA {
	t.Helper()
	ca, err := NewCA(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca CA, node string) Credentials {
	t.Helper()
	creds, err := IssueNode(ca, node, []string{"127.0.0.1", "host.example"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return creds
}

// meet runs a handshake and returns both ends' errors.
func meet(t *testing.T, server, client *tls.Config) (atServer, atClient error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := tls.Server(a, server).HandshakeContext(ctx)
		if err != nil {
			_ = a.Close()
		}
		done <- err
	}()
	conn := tls.Client(b, client)
	atClient = conn.HandshakeContext(ctx)
	if atClient != nil {
		_ = b.Close()
	} else if _, err := conn.Write(nil); err != nil {
		atClient = err
	} else {
		go func() { _, _ = conn.Read(make([]byte, 1)) }() // an alert of the server needs a reader
	}
	return <-done, atClient
}

func TestNodesKnowEachOther(t *testing.T) {
	ca, other := newCA(t, "c1"), newCA(t, "c1")
	n1, n2 := issue(t, ca, "n1"), issue(t, ca, "n2")
	for name, test := range map[string]struct {
		server, client              *tls.Config
		serverRefuses, clientLeaves bool
	}{
		"as it must be":                       {ServerTLS(n2), ClientTLS(n1, "n2"), false, false},
		"another node answers":                {ServerTLS(n2), ClientTLS(n1, "n3"), true, true},
		"another CA of the same name answers": {ServerTLS(issue(t, other, "n2")), ClientTLS(n1, "n2"), true, true},
		"another CA of the same name calls":   {ServerTLS(n2), trusting(ClientTLS(issue(t, other, "n1"), "n2")), true, false},
		"no certificate":                      {ServerTLS(n2), &tls.Config{InsecureSkipVerify: true}, true, false},
		"TLS 1.2":                             {ServerTLS(n2), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			atServer, atClient := meet(t, test.server, test.client)
			if (atServer != nil) != test.serverRefuses || (atClient != nil) != test.clientLeaves {
				t.Errorf("at the server: %v; at the client: %v", atServer, atClient)
			}
		})
	}
}

// trusting makes a client that goes on with anybody.
func trusting(c *tls.Config) *tls.Config {
	c.VerifyConnection = nil
	return c
}

// One CA that signed for two clusters would still not let them mix: the identity is compared, not only the chain.
func TestClusterIsCompared(t *testing.T) {
	ca := newCA(t, "c1")
	foreign := ca
	foreign.cluster = "c2"
	atServer, _ := meet(t, ServerTLS(issue(t, ca, "n2")), trusting(ClientTLS(issue(t, foreign, "n1"), "n2")))
	if !errors.Is(atServer, ErrWrongPeer) {
		t.Errorf("the server: %v", atServer)
	}
}

func TestCertificateSaysWhoTheNodeIs(t *testing.T) {
	creds := issue(t, newCA(t, "c1"), "n1.rack-2")
	if creds.NodeID() != "n1.rack-2" || creds.ClusterID() != "c1" {
		t.Errorf("%q of %q", creds.NodeID(), creds.ClusterID())
	}
	if got := creds.cert.URIs[0].String(); got != "parley://c1/node/n1.rack-2" {
		t.Errorf("the URI is %s", got)
	}
	if creds.cert.IsCA || len(creds.cert.ExtKeyUsage) != 2 || creds.cert.DNSNames[0] != "host.example" || len(creds.cert.IPAddresses) != 1 {
		t.Errorf("the certificate is %+v", creds.cert)
	}
	if err := creds.cert.CheckSignatureFrom(creds.trust[0]); err != nil {
		t.Error(err)
	}
}

func TestIdentityIsStrict(t *testing.T) {
	for uris, valid := range map[string]bool{
		"parley://c1/node/n1": true, "https://x.example/ parley://c1/node/n1": true,
		"": false, "parley://c1/node/": false, "parley://c1/n1": false, "parley:///node/n1": false, "parley://c1/node/n1/x": false,
		"parley://u@c1/node/n1": false, "parley://c1/node/n1?a=b": false, "parley://c1/node/N1": false,
		"parley://c1/node/n1 parley://c1/node/n2": false, "parley://c1:1/node/n1": false,
	} {
		cert := new(x509.Certificate)
		for _, text := range strings.Fields(uris) {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			cert.URIs = append(cert.URIs, u)
		}
		if _, err := readIdentity(cert); (err == nil) != valid {
			t.Errorf("%q: %v", uris, err)
		}
	}
}

func TestFilesAreSecretAndComplete(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	ca := newCA(t, "c1")
	if err := ca.Save(filepath.Join(dir, "ca")); err != nil {
		t.Fatal(err)
	}
	if err := newCA(t, "c1").Save(filepath.Join(dir, "ca")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a CA was overwritten: %v", err)
	}
	loaded, err := LoadCA(filepath.Join(dir, "ca"))
	if err != nil || loaded.ClusterID() != "c1" || loaded.Fingerprint() != ca.Fingerprint() {
		t.Fatal(loaded.ClusterID(), err)
	}
	for range 2 { // a renewal replaces
		if err := issue(t, loaded, "n1").Save(filepath.Join(dir, "node")); err != nil {
			t.Fatal(err)
		}
	}
	creds, err := LoadCredentials(filepath.Join(dir, "node"))
	if err != nil || creds.NodeID() != "n1" {
		t.Fatal(creds.NodeID(), err)
	}
	if atServer, atClient := meet(t, ServerTLS(issue(t, ca, "n2")), ClientTLS(creds, "n2")); atServer != nil || atClient != nil {
		t.Error(atServer, atClient)
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCredentialsMustFit(t *testing.T) {
	dir, ca := t.TempDir(), newCA(t, "c1")
	if err := issue(t, ca, "n1").Save(dir); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"another key": func() error {
			text, err := keyPEM(issue(t, ca, "n1").key)
			return errors.Join(err, os.WriteFile(filepath.Join(dir, nodeFile), append(certPEM(issue(t, ca, "n1").cert.Raw), text...), 0o600))
		},
		"another CA": func() error {
			return os.WriteFile(filepath.Join(dir, trustFile), newCA(t, "c1").CertificatePEM(), 0o600)
		},
		"no PEM":  func() error { return os.WriteFile(filepath.Join(dir, nodeFile), []byte("x"), 0o600) },
		"missing": func() error { return os.Remove(filepath.Join(dir, trustFile)) },
	} {
		if err := issue(t, ca, "n1").Save(dir); err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadCredentials(dir); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	for what, err := range map[string]error{
		"an expired certificate": second(IssueNode(ca, "n1", nil, time.Nanosecond)),
		"no lifetime":            second(IssueNode(ca, "n1", nil, 0)),
		"a bad node ID":          second(IssueNode(ca, "N 1", nil, time.Hour)),
		"no CA":                  second(IssueNode(CA{}, "n1", nil, time.Hour)),
		"a bad cluster ID":       second(NewCA("a/b")),
	} {
		if err == nil {
			t.Errorf("%s was issued", what)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestJoiningNodeKeepsItsKey(t *testing.T) {
	ca := newCA(t, "c1")
	key, err := NewNodeKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := key.Request("n7")
	if err != nil {
		t.Fatal(err)
	}
	issued, err := SignRequest(ca, request, "n7", nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := key.Credentials(issued.PEM, ca.CertificatePEM())
	if err != nil || creds.NodeID() != "n7" || !bytes.Equal(creds.Serial(), issued.Serial) || !creds.NotAfter().Equal(issued.NotAfter) {
		t.Fatal(creds.NodeID(), err)
	}
	if half := time.Until(creds.RenewAt()); half > 30*time.Minute || half < 20*time.Minute {
		t.Errorf("a certificate of an hour is renewed in %s", half)
	}
	if atServer, atClient := meet(t, ServerTLS(issue(t, ca, "n2")), ClientTLS(creds, "n2")); atServer != nil || atClient != nil {
		t.Error(atServer, atClient)
	}
	other, err := NewNodeKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Credentials(issued.PEM, ca.CertificatePEM()); err == nil {
		t.Error("a certificate fits another key")
	}
	request[len(request)-1] ^= 1
	if _, err := SignRequest(ca, request, "n7", nil, time.Hour); err == nil {
		t.Error("a request with a bad signature was signed")
	}
}

// A crash between a request and its answer must not change the key: the invitation is good for that key alone.
func TestPendingKeyStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pending")
	first, err := LoadNodeKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadNodeKey(dir)
	if err != nil || !again.key.Equal(first.key) {
		t.Fatalf("another key: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, pendingFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	if err := errors.Join(ForgetNodeKey(dir), ForgetNodeKey(dir)); err != nil {
		t.Fatal(err)
	}
	if other, err := LoadNodeKey(dir); err != nil || other.key.Equal(first.key) {
		t.Fatalf("the forgotten key came back: %v", err)
	}
}

// A node without a certificate knows the cluster by the CA's fingerprint, and by nothing that the other end says.
func TestNewcomerKnowsTheCA(t *testing.T) {
	ca, other := newCA(t, "c1"), newCA(t, "c1")
	foreign := ca
	foreign.cluster = "c2"
	impostor := InviterTLS(issue(t, other, "n1"))
	impostor.Certificates[0].Certificate = append(impostor.Certificates[0].Certificate, ca.cert.Raw)
	for name, test := range map[string]struct {
		server *tls.Config
		leaves bool
	}{
		"as it must be":                   {InviterTLS(issue(t, ca, "n1")), false},
		"another CA of the same name":     {InviterTLS(issue(t, other, "n1")), true},
		"another's leaf beside the CA":    {impostor, true},
		"the same CA for another cluster": {InviterTLS(issue(t, foreign, "n1")), true},
	} {
		t.Run(name, func(t *testing.T) {
			if _, atClient := meet(t, test.server, NewcomerTLS("c1", ca.Fingerprint())); (atClient != nil) != test.leaves {
				t.Errorf("the newcomer: %v", atClient)
			}
		})
	}
	hidden := tls.ConnectionState{PeerCertificates: []*x509.Certificate{issue(t, ca, "n1").cert}}
	if err := checkInviter("c1", ca.Fingerprint(), hidden); !errors.Is(err, ErrWrongPeer) {
		t.Errorf("a CA that is not shown: %v", err)
	}
}

func TestCAComesBackFromItsParts(t *testing.T) {
	ca := newCA(t, "c1")
	key, err := ca.PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseCA(ca.Certificate(), key)
	if err != nil || again.ClusterID() != "c1" || again.Fingerprint() != ca.Fingerprint() {
		t.Fatal(again.ClusterID(), err)
	}
	if !issue(t, again, "n1").Trusts(ca.Certificate()) {
		t.Error("what it signs is of another CA")
	}
	if _, err := ParseCA(newCA(t, "c1").Certificate(), key); err == nil {
		t.Error("a key fits another CA")
	}
}

func TestWebCA(t *testing.T) {
	dir := t.TempDir()
	ca, err := NewWebCA("Parley development")
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	if ca, err = LoadWebCA(dir); err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueServer(time.Hour, "a.example", "localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := pair.Save(filepath.Join(dir, "a", "cert.pem"), filepath.Join(dir, "a", "key.pem")); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "a", "cert.pem"), filepath.Join(dir, "a", "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.CertificatePEM()) {
		t.Fatal("the CA's PEM holds no certificate")
	}
	server := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	for host, known := range map[string]bool{"a.example": true, "localhost": true, "127.0.0.1": true, "b.example": false} {
		_, err := meet(t, server, &tls.Config{RootCAs: roots, ServerName: host, Certificates: []tls.Certificate{cert}})
		if (err == nil) != known {
			t.Errorf("%s: %v", host, err)
		}
	}
}
