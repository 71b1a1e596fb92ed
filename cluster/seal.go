package cluster

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// sealedVersion begins every sealed secret: version ‖ nonce (12) ‖ AES-256-GCM ciphertext and tag.
const sealedVersion = 1

// errSealed says that a secret of the replicated state does not open: another seal key, or damage.
var errSealed = errors.New("the seal key does not open this secret")

// seal encrypts a secret for the replicated state. The context is bound to it, so that one sealed secret cannot stand in
// another's place.
func seal(key [32]byte, secret []byte, context string) ([]byte, error) {
	aead, err := sealCipher(key)
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(secret)+aead.Overhead())
	sealed[0] = sealedVersion
	if _, err := rand.Read(sealed[1:]); err != nil {
		return nil, fmt.Errorf("nonce: %w", err)
	}
	return aead.Seal(sealed, sealed[1:], secret, []byte(context)), nil
}

// unseal is the reverse of seal; the error is errSealed.
func unseal(key [32]byte, sealed []byte, context string) ([]byte, error) {
	aead, err := sealCipher(key)
	if err != nil {
		return nil, err
	}
	nonceEnd := 1 + aead.NonceSize()
	if len(sealed) < nonceEnd || sealed[0] != sealedVersion {
		return nil, errSealed
	}
	secret, err := aead.Open(nil, sealed[1:nonceEnd], sealed[nonceEnd:], []byte(context))
	if err != nil {
		return nil, errSealed
	}
	return secret, nil
}

func sealCipher(key [32]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
