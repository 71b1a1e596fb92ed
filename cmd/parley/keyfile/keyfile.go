// Package keyfile keeps symmetric keys in files: 32 bytes in hexadecimal, mode 0600.
package keyfile

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

// New writes a random key to a file that must not exist.
func New(name string) error {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(file, "%x\n", key); err != nil {
		file.Close()
		return fmt.Errorf("%s: %w", name, err)
	}
	return file.Close()
}

// Read reads what New wrote.
func Read(name string) ([32]byte, error) {
	var key [32]byte
	text, err := os.ReadFile(name)
	if err != nil {
		return key, err
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != len(key) {
		return key, fmt.Errorf("%s: want 64 hexadecimal digits", name)
	}
	copy(key[:], raw)
	return key, nil
}
