package cluster

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// A sealed secret is version ‖ key ID (8) ‖ nonce (12) ‖ AES-256-GCM ciphertext and tag. Version 1 had no key ID.
const (
	sealedVersion1 = 1
	sealedVersion2 = 2
	sealKeyIDBytes = 8
)

// errSealed says that a secret of the replicated state does not open: another seal key, or damage.
var errSealed = errors.New("the seal key does not open this secret")

// sealKeyID names a seal key without telling it.
func sealKeyID(key [32]byte) []byte {
	sum := sha256.Sum256(append([]byte("parley seal key/"), key[:]...))
	return sum[:sealKeyIDBytes]
}

func sealKeyIDs(keys [][32]byte) []string {
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = hex.EncodeToString(sealKeyID(key))
	}
	return ids
}

// sealKeys are this node's seal keys, the one that it seals with first.
func (n *Node) sealKeys() [][32]byte {
	return append([][32]byte{n.config.SealKey}, n.config.OldSealKeys...)
}

// seal encrypts a secret for the replicated state. The context is bound to it, so that one sealed secret cannot stand in
// another's place.
func seal(key [32]byte, secret []byte, context string) ([]byte, error) {
	aead, err := sealCipher(key)
	if err != nil {
		return nil, err
	}
	sealed := append([]byte{sealedVersion2}, sealKeyID(key)...)
	var nonce [12]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, fmt.Errorf("nonce: %w", err)
	}
	sealed = append(sealed, nonce[:]...)
	return aead.Seal(sealed, nonce[:], secret, []byte(context)), nil
}

// sealedUnder reports whether a secret says that it is sealed under a key.
func sealedUnder(key [32]byte, sealed []byte) bool {
	return len(sealed) > sealKeyIDBytes && sealed[0] == sealedVersion2 && bytes.Equal(sealed[1:1+sealKeyIDBytes], sealKeyID(key))
}

// unseal is the reverse of seal, with whichever of the keys it was. The error wraps errSealed and says which keys there were.
func unseal(keys [][32]byte, sealed []byte, context string) ([]byte, error) {
	body, under := sealed, "an unnamed key"
	switch {
	case len(sealed) > 1+sealKeyIDBytes && sealed[0] == sealedVersion2:
		body, under = sealed[1+sealKeyIDBytes:], "key "+hex.EncodeToString(sealed[1:1+sealKeyIDBytes])
	case len(sealed) > 1 && sealed[0] == sealedVersion1:
		body = sealed[1:]
	default:
		return nil, fmt.Errorf("%w: it is not in a form that this program knows", errSealed)
	}
	for _, key := range keys {
		aead, err := sealCipher(key)
		if err != nil {
			return nil, err
		}
		if len(body) < aead.NonceSize() {
			break
		}
		if secret, err := aead.Open(nil, body[:aead.NonceSize()], body[aead.NonceSize():], []byte(context)); err == nil {
			return secret, nil
		}
	}
	return nil, fmt.Errorf("%w: it is sealed under %s, and the node has %s", errSealed, under, strings.Join(sealKeyIDs(keys), ", "))
}

func sealCipher(key [32]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
