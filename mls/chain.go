package mls

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
)

// checkCredential verifies the form of a credential (RFC 9420 §5.3): a chain of X.509 certificates that can be read, each
// issued under the name of the one after it, whose first certifies the signature key. Whether the chain is to be trusted, and
// its signatures with that, is the application's policy.
func checkCredential(c Credential, signatureKey []byte) error {
	chain, ok := c.(X509Credential)
	if !ok {
		return nil
	}
	if len(chain.Certificates) == 0 {
		return invalid("5.3", "the x509 credential has no certificate")
	}
	var below *x509.Certificate
	for i, der := range chain.Certificates {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return invalid("5.3", "certificate %d of the x509 credential cannot be read", i)
		}
		if below != nil && !bytes.Equal(below.RawIssuer, certificate.RawSubject) {
			return invalid("5.3", "certificate %d of the x509 credential is not the issuer of the one before", i)
		}
		below = certificate
		if i > 0 {
			continue
		}
		key, err := certifiedKey(certificate)
		if err != nil || !bytes.Equal(key, signatureKey) {
			return invalid("5.3", "the x509 credential certifies another key than the signature key")
		}
	}
	return nil
}

// certifiedKey is the raw public key of a certificate, which for every signature scheme of MLS is how MLS writes it.
func certifiedKey(c *x509.Certificate) ([]byte, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &info); err != nil {
		return nil, err
	}
	return info.Key.RightAlign(), nil
}
