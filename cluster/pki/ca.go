package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

const (
	caLifetime = 20 * 365 * 24 * time.Hour
	// backdate lets a node whose clock is a little behind accept a certificate that was made just now.
	backdate = 5 * time.Minute

	caCertFile = "ca.pem"
	caKeyFile  = "ca.key"
)

// CA signs the certificates of one cluster's nodes. It is an immutable value; the zero value is no CA. ECDSA P-256.
type CA struct {
	cluster string
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
}

// NewCA makes the private CA of a new cluster. It may sign leaf certificates only.
func NewCA(clusterID string) (CA, error) {
	if err := CheckName(clusterID); err != nil {
		return CA{}, fmt.Errorf("cluster ID: %w", err)
	}
	cert, key, err := selfSigned(pkix.Name{CommonName: "Parley cluster " + clusterID},
		&url.URL{Scheme: "parley", Host: clusterID, Path: "/ca"})
	if err != nil {
		return CA{}, err
	}
	return CA{clusterID, cert, key}, nil
}

// ClusterID names the cluster that the CA belongs to.
func (ca CA) ClusterID() string { return ca.cluster }

// CertificatePEM is what every node needs to check the others.
func (ca CA) CertificatePEM() []byte { return certPEM(ca.cert.Raw) }

// Fingerprint is the SHA-256 of the CA's certificate: short enough to stand in a join token.
func (ca CA) Fingerprint() [32]byte { return sha256.Sum256(ca.cert.Raw) }

// Save writes ca.pem and ca.key (0600) into dir, which it makes (0700) where it is missing. Existing files are not overwritten:
// a CA that is gone cannot be made again.
func (ca CA) Save(dir string) error {
	return saveNew(dir, caCertFile, caKeyFile, ca.CertificatePEM(), ca.key)
}

// LoadCA reads what Save wrote.
func LoadCA(dir string) (CA, error) {
	cert, key, err := loadPair(filepath.Join(dir, caCertFile), filepath.Join(dir, caKeyFile))
	if err != nil {
		return CA{}, err
	}
	cluster, err := clusterOfCA(cert)
	if err != nil {
		return CA{}, fmt.Errorf("%s: %w", dir, err)
	}
	return CA{cluster, cert, key}, nil
}

// ParseCA joins a CA's certificate (X.509, DER) with its private key (PKCS #8, DER), as Certificate and PrivateKey gave them.
func ParseCA(certificate, key []byte) (CA, error) {
	cert, err := x509.ParseCertificate(certificate)
	if err != nil {
		return CA{}, err
	}
	cluster, err := clusterOfCA(cert)
	if err != nil {
		return CA{}, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return CA{}, err
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !private.PublicKey.Equal(cert.PublicKey) {
		return CA{}, errors.New("the private key is not the CA certificate's")
	}
	return CA{cluster, cert, private}, nil
}

// Certificate is the CA's certificate, X.509 in DER.
func (ca CA) Certificate() []byte { return ca.cert.Raw }

// PrivateKey is the CA's private key, PKCS #8 in DER. It is a secret.
func (ca CA) PrivateKey() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(ca.key) }

// clusterOfCA reads the URI SAN that NewCA put in.
func clusterOfCA(cert *x509.Certificate) (string, error) {
	if !cert.IsCA || len(cert.URIs) != 1 || cert.URIs[0].Scheme != "parley" || cert.URIs[0].Path != "/ca" {
		return "", errors.New("the certificate is not a cluster CA's")
	}
	return cert.URIs[0].Host, CheckName(cert.URIs[0].Host)
}

// IssueNode makes a key and a certificate for one node. hosts are the names and addresses that the node is reached at; they
// are for people and tools, since nodes recognise each other by the identity in the certificate alone.
func IssueNode(ca CA, nodeID string, hosts []string, lifetime time.Duration) (Credentials, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Credentials{}, fmt.Errorf("node key: %w", err)
	}
	cert, err := signNode(ca, nodeID, hosts, lifetime, key.Public())
	if err != nil {
		return Credentials{}, err
	}
	return newCredentials(cert, key, []*x509.Certificate{ca.cert})
}

func signNode(ca CA, nodeID string, hosts []string, lifetime time.Duration, public crypto.PublicKey) ([]byte, error) {
	if ca.cert == nil {
		return nil, errors.New("no CA to sign with")
	}
	if err := CheckName(nodeID); err != nil {
		return nil, fmt.Errorf("node ID: %w", err)
	}
	template, err := leafTemplate(nodeID, hosts, lifetime)
	if err != nil {
		return nil, err
	}
	template.URIs = []*url.URL{identity{ca.cluster, nodeID}.uri()}
	return x509.CreateCertificate(rand.Reader, template, ca.cert, public, ca.key)
}

func selfSigned(subject pkix.Name, uris ...*url.URL) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("CA key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: subject, URIs: uris,
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

// leafTemplate is a certificate for both ends of a connection: nodes and providers are client and server alike.
func leafTemplate(name string, hosts []string, lifetime time.Duration) (*x509.Certificate, error) {
	if lifetime <= 0 {
		return nil, fmt.Errorf("a lifetime of %s", lifetime)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(lifetime), BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if host != "" {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template, nil
}

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}

// makeDir makes a directory for secrets.
func makeDir(dir string) error { return os.MkdirAll(dir, 0o700) }
