package mlstest

import (
	"crypto/ecdh"
	"encoding/binary"
	"math/rand/v2"

	"parley/mls"
)

// entropy makes what real clients would draw or compute from secrets.
type entropy struct {
	*rand.ChaCha8
	suite *mls.Suite
	curve ecdh.Curve // nil where any string of keyBytes is a key
	bytes int
	kem   []byte // the one kem_output of all ciphertexts, where a curve's points are dear
}

// curves are the suites' curves whose public keys are points; those of X25519 and X448 are any octets.
var curves = map[mls.CipherSuite]ecdh.Curve{2: ecdh.P256(), 5: ecdh.P521(), 7: ecdh.P384()}

// montgomeryBytes is the length of a public key of the others.
var montgomeryBytes = map[mls.CipherSuite]int{1: 32, 3: 32, 4: 56, 6: 56}

func newEntropy(suite *mls.Suite, seed uint64) *entropy {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	binary.BigEndian.PutUint16(key[8:], uint16(suite.ID))
	e := &entropy{ChaCha8: rand.NewChaCha8(key), suite: suite, curve: curves[suite.ID], bytes: montgomeryBytes[suite.ID]}
	if e.curve != nil {
		e.kem = e.hpkeKey()
	}
	return e
}

func (e *entropy) octets(n int) []byte {
	b := make([]byte, n)
	e.Read(b) // a ChaCha8's Read always fills b
	return b
}

// tag stands for a MAC.
func (e *entropy) tag() []byte { return e.octets(e.suite.HashBytes()) }

// hpkeKey is a valid public key of the suite; on the curves that have points, at the price of one multiplication.
func (e *entropy) hpkeKey() []byte {
	if e.curve == nil {
		return e.octets(e.bytes)
	}
	size := map[mls.CipherSuite]int{2: 32, 5: 66, 7: 48}[e.suite.ID]
	for {
		scalar := e.octets(size)
		if e.suite.ID == 5 {
			scalar[0] &= 1
		}
		// A random string is nearly always a scalar of the curve.
		if key, err := e.curve.NewPrivateKey(scalar); err == nil {
			return key.PublicKey().Bytes()
		}
	}
}

// aeadTagBytes is what sealing adds to a plaintext, under every AEAD of the suites.
const aeadTagBytes = 16

// sealed stands for an encrypted path secret.
func (e *entropy) sealed() mls.HPKECiphertext {
	kem := e.kem
	if kem == nil {
		kem = e.hpkeKey()
	}
	return mls.HPKECiphertext{KEMOutput: kem, Ciphertext: e.octets(e.suite.HashBytes() + aeadTagBytes)}
}
