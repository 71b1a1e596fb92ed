package mls

import (
	"bytes"
	"crypto/ecdh"
	"slices"

	"github.com/cloudflare/circl/hpke"
)

// hpkeCurves are those whose points the standard library reads; it refuses the point at infinity and what is not on the curve.
var hpkeCurves = map[hpke.KEM]ecdh.Curve{
	hpke.KEM_P256_HKDF_SHA256: ecdh.P256(), hpke.KEM_P384_HKDF_SHA384: ecdh.P384(), hpke.KEM_P521_HKDF_SHA512: ecdh.P521(),
}

// lowOrder are the u-coordinates of Curve25519 and Curve448, little-endian, at which every shared secret is zero, so that
// nobody could encrypt to such a key (RFC 7748 §6, RFC 9180 §7.1.4): 0, 1, p - 1, these again as p and p + 1, and of Curve25519
// two more.
var lowOrder = map[hpke.KEM][][]byte{
	hpke.KEM_X25519_HKDF_SHA256: {
		filled(32, 0x00, 0x00, 0x00), filled(32, 0x01, 0x00, 0x00),
		filled(32, 0xec, 0xff, 0x7f), filled(32, 0xed, 0xff, 0x7f), filled(32, 0xee, 0xff, 0x7f),
		{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
			0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
		{0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
			0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
	},
	hpke.KEM_X448_HKDF_SHA512: {
		filled(56, 0x00, 0x00, 0x00), filled(56, 0x01, 0x00, 0x00),
		slices.Concat(filled(28, 0xfe, 0xff, 0xff), filled(28, 0xfe, 0xff, 0xff)), // p - 1
		slices.Concat(filled(28, 0xff, 0xff, 0xff), filled(28, 0xfe, 0xff, 0xff)),
		slices.Concat(filled(28, 0x00, 0x00, 0x00), filled(28, 0xff, 0xff, 0xff)),
	},
}

// filled are size octets, the first and the last of which stand out.
func filled(size int, first, between, last byte) []byte {
	b := bytes.Repeat([]byte{between}, size)
	b[0], b[size-1] = first, last
	return b
}

// ValidHPKEKey reports whether a public key is one that others can encrypt to under the suite: of the right length, on the
// curve, and not of a low order (RFC 9180 §7.1.4).
func (s *Suite) ValidHPKEKey(key []byte) bool {
	if curve, weierstrass := hpkeCurves[s.kem]; weierstrass {
		_, err := curve.NewPublicKey(key)
		return err == nil
	}
	if len(key) != s.kem.Scheme().PublicKeySize() {
		return false
	}
	u := bytes.Clone(key)
	if s.kem == hpke.KEM_X25519_HKDF_SHA256 {
		u[31] &= 0x7f // receivers ignore it (RFC 7748 §5)
	}
	for _, bad := range lowOrder[s.kem] {
		if bytes.Equal(u, bad) {
			return false
		}
	}
	return true
}

// aeadTagBytes is what every AEAD of the suites adds to a plaintext (RFC 9180 §7.3).
const aeadTagBytes = 16

// validSecrets reports whether encrypted path secrets have the form of the suite: a kem_output that is a key of it, since one
// that is not fails every receiver before it decrypts, and a ciphertext of one secret (RFC 9420 §7.6).
func (s *Suite) validSecrets(list []HPKECiphertext) bool {
	for _, c := range list {
		if len(c.Ciphertext) != s.HashBytes()+aeadTagBytes || !s.ValidHPKEKey(c.KEMOutput) {
			return false
		}
	}
	return true
}
