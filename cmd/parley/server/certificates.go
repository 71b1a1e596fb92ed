package server

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"parley/cmd/parley/config"
)

// Names of the listeners.
const (
	peerListener  = "peer"
	localListener = "local"
	adminListener = "admin"
)

// certificates reads a listener's certificate anew whenever its file has changed. Safe for concurrent use.
type certificates struct {
	mu                sync.Mutex
	certFile, keyFile string
	loaded            *tls.Certificate
	changed           time.Time // of the file that it came from
}

// get is the present certificate. Where the file cannot be read any more it is the last one that could.
func (c *certificates) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.certFile)
	if err != nil || c.loaded != nil && info.ModTime().Equal(c.changed) {
		return c.loaded, err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return c.loaded, err
	}
	c.loaded, c.changed = &pair, info.ModTime()
	return c.loaded, nil
}

// use takes the certificate from other files from now on, if it can be read there.
func (c *certificates) use(certFile, keyFile string) error {
	next := &certificates{certFile: certFile, keyFile: keyFile}
	if _, err := next.get(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.certFile, c.keyFile, c.loaded, c.changed = certFile, keyFile, next.loaded, next.changed
	return nil
}

// ends is when the present certificate does.
func (c *certificates) ends() (time.Time, error) {
	certificate, err := c.get()
	if err != nil {
		return time.Time{}, err
	}
	return certificate.Leaf.NotAfter, nil
}

// certificateFiles are those of the listeners that have a certificate, by listener.
func certificateFiles(c config.Config) map[string][2]string {
	files := map[string][2]string{peerListener: {c.Peer.CertFile, c.Peer.KeyFile}, localListener: {c.Local.CertFile, c.Local.KeyFile}}
	if c.Admin.Guarded() {
		files[adminListener] = [2]string{c.Admin.CertFile, c.Admin.KeyFile}
	}
	return files
}

func (s *Server) loadCertificates() error {
	for listener, files := range certificateFiles(s.config) {
		c := new(certificates)
		if err := c.use(files[0], files[1]); err != nil {
			return fmt.Errorf("%s listener: %w", listener, err)
		}
		s.certificates[listener] = c
	}
	return nil
}

// adminGuard is the TLS of an admin listener that is not for this machine alone; nil where it is.
func (s *Server) adminGuard() (*tls.Config, error) {
	if !s.config.Admin.Guarded() {
		return nil, nil
	}
	roots, err := s.config.Admin.ClientRoots()
	if err != nil {
		return nil, fmt.Errorf("admin.client_ca_file: %w", err)
	}
	get := s.certificates[adminListener].get
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return get() },
	}, nil
}
