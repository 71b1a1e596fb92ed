// Package keyfile keeps symmetric keys in files: 32 bytes in hexadecimal, mode 0600.
package keyfile

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
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
	return parse(name, text)
}

func parse(from string, text []byte) (key [32]byte, err error) {
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != len(key) {
		return key, fmt.Errorf("%s: want 64 hexadecimal digits", from)
	}
	return [32]byte(raw), nil
}

// commandMax is how long a command may take to print a key.
const commandMax = 30 * time.Second

// FromCommand runs a program without a shell and reads the key that it prints, in the form of New. What it prints is never in an error.
func FromCommand(ctx context.Context, command []string) (key [32]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandMax)
	defer cancel()
	program := exec.CommandContext(ctx, command[0], command[1:]...)
	program.Stderr = os.Stderr
	text, err := program.Output()
	if err != nil {
		return key, fmt.Errorf("%s: %w", command[0], err)
	}
	return parse(command[0], text)
}
