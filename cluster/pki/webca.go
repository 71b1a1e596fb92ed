package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// WebCA is a CA for development: it stands where the public CAs stand between providers, and signs what the peer and local
// listeners show. It has nothing to do with the cluster's CA, and no node of a real cluster has one.
type WebCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewWebCA makes a development CA; name appears in its certificate.
func NewWebCA(name string) (WebCA, error) {
	cert, key, err := selfSigned(pkix.Name{CommonName: name})
	if err != nil {
		return WebCA{}, err
	}
	return WebCA{cert, key}, nil
}

// CertificatePEM is what others trust.
func (ca WebCA) CertificatePEM() []byte { return certPEM(ca.cert.Raw) }

// Save writes ca.pem and ca.key (0600) into dir (0700) and refuses to replace them.
func (ca WebCA) Save(dir string) error {
	return saveNew(dir, caCertFile, caKeyFile, ca.CertificatePEM(), ca.key)
}

// LoadWebCA reads what Save wrote.
func LoadWebCA(dir string) (WebCA, error) {
	cert, key, err := loadPair(filepath.Join(dir, caCertFile), filepath.Join(dir, caKeyFile))
	if err == nil && !cert.IsCA {
		err = fmt.Errorf("%s: the certificate is not a CA's", dir)
	}
	return WebCA{cert, key}, err
}

// ServerCertificate is a certificate with its key, in PEM.
type ServerCertificate struct{ Certificate, Key []byte }

// IssueServer makes a certificate for hosts (names and IP addresses; the first is the provider's domain). It serves both ends of
// mutual TLS (serverAuth and clientAuth).
func (ca WebCA) IssueServer(lifetime time.Duration, hosts ...string) (ServerCertificate, error) {
	if ca.cert == nil || len(hosts) == 0 {
		return ServerCertificate{}, errors.New("a server certificate needs a CA and at least one host")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return ServerCertificate{}, err
	}
	template, err := leafTemplate(hosts[0], hosts, lifetime)
	if err != nil {
		return ServerCertificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return ServerCertificate{}, err
	}
	text, err := keyPEM(key)
	return ServerCertificate{certPEM(der), text}, err
}

// Save writes certPath and keyPath (0600), replacing what is there; their directory (0700) is made where it is missing.
func (s ServerCertificate) Save(certPath, keyPath string) error {
	if err := errors.Join(makeDir(filepath.Dir(certPath)), makeDir(filepath.Dir(keyPath))); err != nil {
		return err
	}
	return errors.Join(writeFile(keyPath, s.Key), writeFile(certPath, s.Certificate))
}

// TLS parses the pair for use in a tls.Config.
func (s ServerCertificate) TLS() (tls.Certificate, error) {
	return tls.X509KeyPair(s.Certificate, s.Key)
}
