package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY" // PKCS #8
)

func certPEM(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der}) }

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// parseCerts reads every certificate of a PEM text, which may hold keys besides.
func parseCerts(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == keyBlock {
			continue
		}
		if block.Type != certBlock {
			return nil, fmt.Errorf("a PEM block of type %q where certificates belong", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate in the PEM text")
	}
	return certs, nil
}

// parseKey reads the first private key of a PEM text, which may hold certificates before it.
func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, rest := pem.Decode(text)
	for block != nil && block.Type == certBlock {
		block, rest = pem.Decode(rest)
	}
	if block == nil || block.Type != keyBlock {
		return nil, errors.New("no PKCS #8 private key in the PEM text")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a private key of type %T, not ECDSA", key)
	}
	return ec, nil
}

// loadPair reads a certificate and the key that belongs to it.
func loadPair(certPath, keyPath string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certText, err := os.ReadFile(certPath)
	if err != nil {
		return nil, nil, err
	}
	keyText, err := os.ReadFile(keyPath)
	if err != nil {
		return nil, nil, err
	}
	certs, err := parseCerts(certText)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", certPath, err)
	}
	key, err := parseKey(keyText)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", keyPath, err)
	}
	if !key.PublicKey.Equal(certs[0].PublicKey) {
		return nil, nil, fmt.Errorf("%s does not hold the key of %s", keyPath, certPath)
	}
	return certs[0], key, nil
}

// saveNew writes a certificate and its key, and refuses to replace either.
func saveNew(dir, certName, keyName string, cert []byte, key *ecdsa.PrivateKey) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	for _, name := range []string{certName, keyName} {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s: %w", path, fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	text, err := keyPEM(key)
	if err != nil {
		return err
	}
	// The key first: a certificate without its key would look like a finished directory.
	if err := writeFile(filepath.Join(dir, keyName), text); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, certName), cert)
}

// WriteSecret replaces a file (0600) as a whole and synced, in a folder that it makes (0700) where it is missing.
func WriteSecret(path string, content []byte) error {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	return writeFile(path, content)
}

// writeFile replaces a file (0600) as a whole and synced, so that a crash leaves the old one or the new one.
func writeFile(path string, text []byte) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // made 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	if _, err = temp.Write(text); err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err = os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
