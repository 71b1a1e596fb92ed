// Package storagetest holds what tests put in the place of a node's disk, and the suite that every log store must pass.
package storagetest

import (
	"bytes"
	"sync"

	"github.com/hashicorp/raft"

	"parley/storage"
)

// NewStable makes a raft.StableStore in memory, with the same guard of votes as the one on the disk. It stands for a disk that
// never loses a write: give it to the next raft to restart a node.
func NewStable() raft.StableStore {
	return storage.GuardVotes(&memStable{values: make(map[string][]byte), numbers: make(map[string]uint64)})
}

type memStable struct {
	mu      sync.Mutex // owns both maps
	values  map[string][]byte
	numbers map[string]uint64
}

func (s *memStable) Set(key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[string(key)] = bytes.Clone(value)
	return nil
}

func (s *memStable) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.values[string(key)]), nil
}

func (s *memStable) SetUint64(key []byte, value uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numbers[string(key)] = value
	return nil
}

func (s *memStable) GetUint64(key []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.numbers[string(key)], nil
}
