package mls

import (
	"crypto"
	"fmt"
	"io"

	"github.com/cloudflare/circl/hpke"
)

// Suite computes with the algorithms of one cipher suite (RFC 9420 §5.1, §17.1). It is constant and may be used concurrently.
type Suite struct {
	ID     CipherSuite
	Scheme SignatureScheme
	hash   crypto.Hash
	kem    hpke.KEM
	hpke   hpke.Suite
}

// suites are those of RFC 9420 §17.1, by number.
var suites = [...]*Suite{
	1: newSuite(1, Ed25519, crypto.SHA256, hpke.KEM_X25519_HKDF_SHA256, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES128GCM),
	2: newSuite(2, ECDSAWithP256, crypto.SHA256, hpke.KEM_P256_HKDF_SHA256, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES128GCM),
	3: newSuite(3, Ed25519, crypto.SHA256, hpke.KEM_X25519_HKDF_SHA256, hpke.KDF_HKDF_SHA256, hpke.AEAD_ChaCha20Poly1305),
	4: newSuite(4, Ed448, crypto.SHA512, hpke.KEM_X448_HKDF_SHA512, hpke.KDF_HKDF_SHA512, hpke.AEAD_AES256GCM),
	5: newSuite(5, ECDSAWithP521, crypto.SHA512, hpke.KEM_P521_HKDF_SHA512, hpke.KDF_HKDF_SHA512, hpke.AEAD_AES256GCM),
	6: newSuite(6, Ed448, crypto.SHA512, hpke.KEM_X448_HKDF_SHA512, hpke.KDF_HKDF_SHA512, hpke.AEAD_ChaCha20Poly1305),
	7: newSuite(7, ECDSAWithP384, crypto.SHA384, hpke.KEM_P384_HKDF_SHA384, hpke.KDF_HKDF_SHA384, hpke.AEAD_AES256GCM),
}

func newSuite(id CipherSuite, s SignatureScheme, h crypto.Hash, kem hpke.KEM, kdf hpke.KDF, aead hpke.AEAD) *Suite {
	return &Suite{ID: id, Scheme: s, hash: h, kem: kem, hpke: hpke.NewSuite(kem, kdf, aead)}
}

// Suite finds the algorithms of a suite. The error is an *InvalidError: a hub refuses what it cannot verify.
func (id CipherSuite) Suite() (*Suite, error) {
	if int(id) < len(suites) && suites[id] != nil {
		return suites[id], nil
	}
	return nil, invalid("5.1", "cipher suite 0x%04x is not supported", uint16(id))
}

// HashBytes is the length of the suite's hash.
func (s *Suite) HashBytes() int { return s.hash.Size() }

// Hash hashes the parts one after another.
func (s *Suite) Hash(parts ...[]byte) []byte { return digest(s.hash, parts...) }

// RefHash is RFC 9420 §5.2.
//
//	struct {
//	    opaque label<V>;
//	    opaque value<V>;
//	} RefHashInput;
func (s *Suite) RefHash(label string, value []byte) []byte { return s.Hash(labelled(label, value)) }

// ProposalRef is the reference of a Proposal by the message that carried it (RFC 9420 §5.2).
func (s *Suite) ProposalRef(a AuthenticatedContent) ProposalRef {
	return ProposalRef(s.RefHash("MLS 1.0 Proposal Reference", a.Marshal()))
}

// Ref is the KeyPackage's reference, under its own suite (RFC 9420 §5.2). The error is an *InvalidError where the suite is
// not supported.
func (k KeyPackage) Ref() (KeyPackageRef, error) {
	s, err := k.Suite.Suite()
	if err != nil {
		return "", err
	}
	return KeyPackageRef(s.RefHash("MLS 1.0 KeyPackage Reference", k.Marshal())), nil
}

// VerifyWithLabel is RFC 9420 §5.1.2 under the suite's signature scheme.
func (s *Suite) VerifyWithLabel(publicKey []byte, label string, content, signature []byte) bool {
	return s.Scheme.VerifyWithLabel(publicKey, label, content, signature)
}

// SealWithLabel is EncryptWithLabel of RFC 9420 §5.1.3; entropy must be fit for cryptography.
//
//	struct {
//	    opaque label<V>; // "MLS 1.0 " + Label
//	    opaque context<V>;
//	} EncryptContext;
func (s *Suite) SealWithLabel(entropy io.Reader, publicKey []byte, label string, context, plaintext []byte) (HPKECiphertext, error) {
	key, err := s.kem.Scheme().UnmarshalBinaryPublicKey(publicKey)
	if err != nil {
		return HPKECiphertext{}, fmt.Errorf("read an HPKE public key: %w", err)
	}
	sender, err := s.hpke.NewSender(key, labelled(labelPrefix+label, context))
	if err != nil {
		return HPKECiphertext{}, fmt.Errorf("set up HPKE: %w", err)
	}
	enc, sealer, err := sender.Setup(entropy)
	if err != nil {
		return HPKECiphertext{}, fmt.Errorf("set up HPKE: %w", err)
	}
	sealed, err := sealer.Seal(plaintext, nil)
	if err != nil {
		return HPKECiphertext{}, fmt.Errorf("seal with HPKE: %w", err)
	}
	return HPKECiphertext{KEMOutput: enc, Ciphertext: sealed}, nil
}

// OpenWithLabel is DecryptWithLabel of RFC 9420 §5.1.3. The private key is in the form of RFC 9180's SerializePrivateKey.
func (s *Suite) OpenWithLabel(privateKey []byte, label string, context []byte, sealed HPKECiphertext) ([]byte, error) {
	key, err := s.kem.Scheme().UnmarshalBinaryPrivateKey(privateKey)
	if err != nil {
		return nil, fmt.Errorf("read an HPKE private key: %w", err)
	}
	receiver, err := s.hpke.NewReceiver(key, labelled(labelPrefix+label, context))
	if err != nil {
		return nil, fmt.Errorf("set up HPKE: %w", err)
	}
	opener, err := receiver.Setup(sealed.KEMOutput)
	if err != nil {
		return nil, fmt.Errorf("set up HPKE: %w", err)
	}
	plain, err := opener.Open(sealed.Ciphertext, nil)
	if err != nil {
		return nil, fmt.Errorf("open with HPKE: %w", err)
	}
	return plain, nil
}

// GenerateHPKEKey makes a key pair for the suite from entropy: an external_receiver's, or a test client's.
func (s *Suite) GenerateHPKEKey(entropy io.Reader) (public, private []byte, err error) {
	scheme := s.kem.Scheme()
	seed := make([]byte, scheme.SeedSize())
	if _, err := io.ReadFull(entropy, seed); err != nil {
		return nil, nil, fmt.Errorf("read entropy for an HPKE key: %w", err)
	}
	pub, priv := scheme.DeriveKeyPair(seed)
	if public, err = pub.MarshalBinary(); err != nil {
		return nil, nil, fmt.Errorf("encode an HPKE public key: %w", err)
	}
	if private, err = priv.MarshalBinary(); err != nil {
		return nil, nil, fmt.Errorf("encode an HPKE private key: %w", err)
	}
	return public, private, nil
}
