package mls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	_ "crypto/sha256" // the hashes of the schemes and suites, by crypto.Hash
	_ "crypto/sha512"
	"errors"
	"fmt"
	"io"

	"github.com/cloudflare/circl/sign/ed448"
)

// SignatureScheme is the signature algorithm of a cipher suite (RFC 9420 §5.1, §17.1).
type SignatureScheme uint8

const (
	Ed25519       SignatureScheme = iota + 1 // keys of 32 bytes
	Ed448                                    // keys of 57 bytes
	ECDSAWithP256                            // with SHA-256; keys are uncompressed points of 65 bytes
	ECDSAWithP384                            // with SHA-384; 97 bytes
	ECDSAWithP521                            // with SHA-512; 133 bytes
	schemesEnd                               // one past the last

)

// labelPrefix begins every label that is signed or encrypted under (RFC 9420 §5.1.2, §5.1.3).
const labelPrefix = "MLS 1.0 "

// publicKeyBytes is the length of a public key of each scheme; no two are alike.
var publicKeyBytes = [schemesEnd]int{
	Ed25519: ed25519.PublicKeySize, Ed448: ed448.PublicKeySize, ECDSAWithP256: 65, ECDSAWithP384: 97, ECDSAWithP521: 133,
}

// privateKeyBytes is the length of a private key of each scheme, in the form that NewSigningKey takes.
var privateKeyBytes = [schemesEnd]int{
	Ed25519: ed25519.SeedSize, Ed448: ed448.SeedSize, ECDSAWithP256: 32, ECDSAWithP384: 48, ECDSAWithP521: 66,
}

// SchemeOfKey finds the scheme of a public key that came without a suite, by its length; false where no scheme has such keys.
func SchemeOfKey(publicKey []byte) (SignatureScheme, bool) {
	for s := Ed25519; s < schemesEnd; s++ {
		if publicKeyBytes[s] == len(publicKey) {
			return s, true
		}
	}
	return 0, false
}

// VerifyByKeyLength is VerifyWithLabel under the scheme of SchemeOfKey.
func VerifyByKeyLength(publicKey []byte, label string, content, signature []byte) bool {
	s, known := SchemeOfKey(publicKey)
	return known && s.VerifyWithLabel(publicKey, label, content, signature)
}

// VerifyWithLabel is RFC 9420 §5.1.2. It is false also for a key that is none of the scheme's.
//
//	struct {
//	    opaque label<V>; // "MLS 1.0 " + Label
//	    opaque content<V>;
//	} SignContent;
func (s SignatureScheme) VerifyWithLabel(publicKey []byte, label string, content, signature []byte) bool {
	if len(publicKey) != publicKeyBytes[s] {
		return false
	}
	signed := labelled(labelPrefix+label, content)
	switch s {
	case Ed25519:
		return ed25519.Verify(publicKey, signed, signature)
	case Ed448:
		return ed448.Verify(publicKey, signed, signature, "")
	default:
		curve, hash := s.ecdsa()
		key, err := ecdsa.ParseUncompressedPublicKey(curve, publicKey)
		return err == nil && ecdsa.VerifyASN1(key, digest(hash, signed), signature)
	}
}

// ecdsa is the curve and hash of an ECDSA scheme.
func (s SignatureScheme) ecdsa() (elliptic.Curve, crypto.Hash) {
	switch s {
	case ECDSAWithP256:
		return elliptic.P256(), crypto.SHA256
	case ECDSAWithP384:
		return elliptic.P384(), crypto.SHA384
	case ECDSAWithP521:
		return elliptic.P521(), crypto.SHA512
	default:
		panic(fmt.Sprintf("mls: signature scheme %d is not ECDSA", s))
	}
}

// labelled encodes the pair that RFC 9420 signs, encrypts under and hashes: `opaque label<V>; opaque value<V>;`.
func labelled(label string, value []byte) []byte {
	w := newWriter(len(label) + len(value) + 5)
	w.Opaque([]byte(label))
	w.Opaque(value)
	return w.Bytes()
}

func digest(hash crypto.Hash, parts ...[]byte) []byte {
	h := hash.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// SigningKey is a private signature key. Signing is deterministic (RFC 8032, RFC 6979), so a repeated message is the same
// bytes. It may be used concurrently.
type SigningKey struct {
	scheme  SignatureScheme
	private []byte
	public  []byte
	sign    func(message []byte) ([]byte, error)
}

// NewSigningKey takes a private key in its native form: the seed of 32 bytes for Ed25519 and of 57 for Ed448, the scalar in
// big-endian order for ECDSA, of the curve's length (32, 48 or 66 bytes) or without its leading zeros.
func NewSigningKey(scheme SignatureScheme, private []byte) (*SigningKey, error) {
	k := &SigningKey{scheme: scheme, private: append([]byte(nil), private...)}
	switch scheme {
	case Ed25519:
		if len(private) != ed25519.SeedSize {
			return nil, fmt.Errorf("an Ed25519 seed has %d bytes, not %d", ed25519.SeedSize, len(private))
		}
		key := ed25519.NewKeyFromSeed(private)
		k.public = key.Public().(ed25519.PublicKey)
		k.sign = func(m []byte) ([]byte, error) { return ed25519.Sign(key, m), nil }
	case Ed448:
		if len(private) != ed448.SeedSize {
			return nil, fmt.Errorf("an Ed448 seed has %d bytes, not %d", ed448.SeedSize, len(private))
		}
		key := ed448.NewKeyFromSeed(private)
		k.public = key.Public().(ed448.PublicKey)
		k.sign = func(m []byte) ([]byte, error) { return ed448.Sign(key, m, ""), nil }
	case ECDSAWithP256, ECDSAWithP384, ECDSAWithP521:
		curve, hash := scheme.ecdsa()
		if missing := privateKeyBytes[scheme] - len(private); missing > 0 {
			k.private = append(make([]byte, missing), private...)
		}
		key, err := ecdsa.ParseRawPrivateKey(curve, k.private)
		if err != nil {
			return nil, fmt.Errorf("read an ECDSA private key: %w", err)
		}
		if k.public, err = key.PublicKey.Bytes(); err != nil {
			return nil, fmt.Errorf("derive an ECDSA public key: %w", err)
		}
		// Without a source of randomness Sign derives its nonce by RFC 6979.
		k.sign = func(m []byte) ([]byte, error) { return key.Sign(nil, digest(hash, m), hash) }
	default:
		return nil, fmt.Errorf("signature scheme %d is unknown", scheme)
	}
	return k, nil
}

// GenerateSigningKey makes a key from entropy, which must be fit for cryptography.
func GenerateSigningKey(scheme SignatureScheme, entropy io.Reader) (*SigningKey, error) {
	if scheme == 0 || scheme >= schemesEnd {
		return nil, fmt.Errorf("signature scheme %d is unknown", scheme)
	}
	private := make([]byte, privateKeyBytes[scheme])
	// A random string is not always a scalar of the curve; at the curves' orders eight misses in a row do not happen.
	for range 8 {
		if _, err := io.ReadFull(entropy, private); err != nil {
			return nil, fmt.Errorf("read entropy for a signature key: %w", err)
		}
		if scheme == ECDSAWithP521 {
			private[0] &= 1
		}
		if k, err := NewSigningKey(scheme, private); err == nil {
			return k, nil
		}
	}
	return nil, errors.New("the entropy for a signature key is not random")
}

// Scheme is the scheme that the key is for.
func (k *SigningKey) Scheme() SignatureScheme { return k.scheme }

// Public is the public key as it stands in a leaf or an ExternalSender.
func (k *SigningKey) Public() []byte { return append([]byte(nil), k.public...) }

// Private is the form that NewSigningKey takes. Keep it sealed.
func (k *SigningKey) Private() []byte { return append([]byte(nil), k.private...) }

// SignWithLabel is RFC 9420 §5.1.2.
func (k *SigningKey) SignWithLabel(label string, content []byte) ([]byte, error) {
	return k.sign(labelled(labelPrefix+label, content))
}
