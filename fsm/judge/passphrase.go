package judge

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"fmt"

	"parley/fsm"
)

// A joining code may need a passphrase besides, which reaches the joiner another way. It then stands behind the code in
// joiningCode, after a full stop, which no code has in it. The state has a key that PBKDF2 derives from it, under a salt of the code's
// own, so that whoever gets a copy of the state has to try passphrases one by one.
//
// The derivation is done here, before the log, and only for a code that there is: strangers cannot make a hub derive keys.

const (
	passphraseRounds    = 200_000
	passphraseKeyBytes  = 32
	passphraseSaltBytes = 16
)

// LockPassphrase makes what a passphrase is checked against. The salt is random, of 16 octets at least.
func LockPassphrase(passphrase, salt []byte) (fsm.PassphraseLock, error) {
	if len(salt) < passphraseSaltBytes {
		return fsm.PassphraseLock{}, fmt.Errorf("a passphrase's salt has %d octets", len(salt))
	}
	lock := fsm.PassphraseLock{Salt: salt, Rounds: passphraseRounds}
	var err error
	lock.Key, err = passphraseKey(lock, passphrase)
	return lock, err
}

// passphraseKey derives the key that a passphrase would have to have; none for a code without.
func passphraseKey(lock fsm.PassphraseLock, passphrase []byte) ([]byte, error) {
	if len(lock.Salt) == 0 {
		return nil, nil
	}
	key, err := pbkdf2.Key(sha256.New, string(passphrase), lock.Salt, int(lock.Rounds), passphraseKeyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive a key from a passphrase: %w", err)
	}
	return key, nil
}

// codeOf takes apart what a requester presents.
func codeOf(joiningCode []byte) (id fsm.CodeID, passphrase []byte) {
	code, passphrase, _ := bytes.Cut(joiningCode, []byte{'.'})
	return fsm.CodeIDOf(code), passphrase
}
