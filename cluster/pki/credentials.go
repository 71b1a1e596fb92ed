package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	nodeFile    = "node.pem" // the certificate and its key, in one file so that a renewal replaces both or none
	trustFile   = "cluster-ca.pem"
	pendingFile = "pending.key" // the key of a request that has not been answered
)

// Credentials are what one node proves itself with, and the CAs that it accepts others by (more than one while a CA is being
// replaced). An immutable value; the zero value is none.
type Credentials struct {
	id    identity
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	trust []*x509.Certificate
}

func newCredentials(der []byte, key *ecdsa.PrivateKey, trust []*x509.Certificate) (Credentials, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Credentials{}, err
	}
	c := Credentials{cert: cert, key: key, trust: trust}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return Credentials{}, errors.New("the certificate is not for this node's key")
	}
	c.id, err = c.verify(cert)
	return c, err
}

// NodeID is the ID in the certificate.
func (c Credentials) NodeID() string { return c.id.node }

// ClusterID is the cluster in the certificate.
func (c Credentials) ClusterID() string { return c.id.cluster }

// NotAfter is when the certificate must have been renewed.
func (c Credentials) NotAfter() time.Time { return c.cert.NotAfter }

// Serial is the certificate's serial number, big-endian, without leading zeros.
func (c Credentials) Serial() []byte { return c.cert.SerialNumber.Bytes() }

// RenewAt is the middle of the certificate's life: from then on there is time to fetch the next one.
func (c Credentials) RenewAt() time.Time {
	made := c.cert.NotBefore.Add(backdate)
	return made.Add(c.cert.NotAfter.Sub(made) / 2)
}

// Trusts reports whether a CA, by its certificate in DER, is among those that others are accepted by.
func (c Credentials) Trusts(ca []byte) bool {
	return slices.ContainsFunc(c.trust, func(known *x509.Certificate) bool { return bytes.Equal(known.Raw, ca) })
}

// TrustPEM are the certificates of the CAs that others are accepted by.
func (c Credentials) TrustPEM() []byte {
	var trust []byte
	for _, ca := range c.trust {
		trust = append(trust, certPEM(ca.Raw)...)
	}
	return trust
}

// Trusting are the same credentials with further CAs to accept others by, in PEM: while one is replaced by another.
func (c Credentials) Trusting(more []byte) (Credentials, error) {
	cas, err := parseCerts(more)
	if err != nil {
		return Credentials{}, err
	}
	c.trust = slices.Clone(c.trust)
	for _, ca := range cas {
		if !ca.IsCA {
			return Credentials{}, errors.New("a certificate to trust is not a CA's")
		}
		if !c.Trusts(ca.Raw) {
			c.trust = append(c.trust, ca)
		}
	}
	return c, nil
}

// verify checks a certificate's chain and returns whose it is. Both key usages stand in every node's certificate, so that one
// check serves both ends.
func (c Credentials) verify(cert *x509.Certificate) (identity, error) {
	roots := x509.NewCertPool()
	for _, ca := range c.trust {
		roots.AddCert(ca)
	}
	options := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if _, err := cert.Verify(options); err != nil {
		return identity{}, err
	}
	return readIdentity(cert)
}

func (c Credentials) certificate() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.cert.Raw}, PrivateKey: c.key, Leaf: c.cert}
}

// Save writes node.pem (certificate and key) and cluster-ca.pem (0600) into dir (0700), replacing what is there, as a renewal
// does. A crash in the middle leaves a directory that can be loaded, as long as the CAs before and after overlap.
func (c Credentials) Save(dir string) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	key, err := keyPEM(c.key)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, trustFile), c.TrustPEM()); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, nodeFile), append(certPEM(c.cert.Raw), key...))
}

// LoadCredentials reads what Save wrote, and checks that it fits together. An expired certificate is refused here, where the
// operator sees it, and not at the first connection.
func LoadCredentials(dir string) (Credentials, error) {
	cert, key, err := loadPair(filepath.Join(dir, nodeFile), filepath.Join(dir, nodeFile))
	if err != nil {
		return Credentials{}, err
	}
	text, err := os.ReadFile(filepath.Join(dir, trustFile))
	if err != nil {
		return Credentials{}, err
	}
	trust, err := parseCerts(text)
	if err != nil {
		return Credentials{}, fmt.Errorf("%s: %w", trustFile, err)
	}
	c, err := newCredentials(cert.Raw, key, trust)
	if err != nil {
		return Credentials{}, fmt.Errorf("%s: %w", dir, err)
	}
	return c, nil
}

// NodeKey is the key of a node that has no certificate yet. The private half never leaves the node.
type NodeKey struct{ key *ecdsa.PrivateKey }

// NewNodeKey makes a key for a node that is about to join.
func NewNodeKey() (NodeKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return NodeKey{key}, err
}

// Request is the PKCS #10 request that the joining node sends, in DER. It proves possession of the key, nothing more: the
// names in the certificate are the signer's decision.
func (k NodeKey) Request(nodeID string) ([]byte, error) {
	if err := CheckName(nodeID); err != nil {
		return nil, fmt.Errorf("node ID: %w", err)
	}
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: nodeID}}, k.key)
}

// LoadNodeKey reads the key that a former call left in dir (0600, in a folder of 0700), or makes one and leaves it there: who asks for a
// certificate again after a crash has to ask with the same key.
func LoadNodeKey(dir string) (NodeKey, error) {
	path := filepath.Join(dir, pendingFile)
	text, err := os.ReadFile(path)
	if err == nil {
		key, err := parseKey(text)
		if err != nil {
			return NodeKey{}, fmt.Errorf("%s: %w", path, err)
		}
		return NodeKey{key}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return NodeKey{}, err
	}
	key, err := NewNodeKey()
	if err != nil {
		return NodeKey{}, err
	}
	if text, err = keyPEM(key.key); err != nil {
		return NodeKey{}, err
	}
	if err := makeDir(dir); err != nil {
		return NodeKey{}, err
	}
	return key, writeFile(path, text)
}

// ForgetNodeKey removes what LoadNodeKey left.
func ForgetNodeKey(dir string) error {
	err := os.Remove(filepath.Join(dir, pendingFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Issued is a certificate that was made for a node.
type Issued struct {
	PEM      []byte
	Serial   []byte // big-endian, without leading zeros
	NotAfter time.Time
	KeyHash  [32]byte // SHA-256 of the public key, as SubjectPublicKeyInfo
}

// SignRequest answers a node's request with a certificate for nodeID. Whoever calls it has established that the requester may be
// that node.
func SignRequest(ca CA, request []byte, nodeID string, hosts []string, lifetime time.Duration) (Issued, error) {
	parsed, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return Issued{}, fmt.Errorf("certificate request: %w", err)
	}
	if err := parsed.CheckSignature(); err != nil {
		return Issued{}, fmt.Errorf("certificate request: %w", err)
	}
	if key, ok := parsed.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return Issued{}, errors.New("certificate request: the key is not ECDSA P-256")
	}
	der, err := signNode(ca, nodeID, hosts, lifetime, parsed.PublicKey)
	if err != nil {
		return Issued{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Issued{}, err
	}
	return Issued{certPEM(der), cert.SerialNumber.Bytes(), cert.NotAfter, sha256.Sum256(cert.RawSubjectPublicKeyInfo)}, nil
}

// Credentials joins the key with the certificate that SignRequest made and the CA certificates to trust, both in PEM.
func (k NodeKey) Credentials(certText, trustText []byte) (Credentials, error) {
	certs, err := parseCerts(certText)
	if err != nil {
		return Credentials{}, err
	}
	trust, err := parseCerts(trustText)
	if err != nil {
		return Credentials{}, err
	}
	return newCredentials(certs[0].Raw, k.key, trust)
}
