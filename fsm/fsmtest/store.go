// Package fsmtest is for tests of what stands on the state machine: a store in memory, and rooms whose Commits are real enough
// for apply's proof.
package fsmtest

import (
	"maps"
	"slices"
	"sort"

	"parley/fsm"
)

// Store is an fsm.Store in memory, the zero value of which is ready. It is not safe for concurrent use, and what Apply wrote
// before an error stays: drop the store then.
type Store struct {
	keys   []string // sorted
	values map[string][]byte
}

var _ fsm.Store = (*Store)(nil)

// NewStore returns an empty store.
func NewStore() *Store { return &Store{} }

// Clone returns a store with the same contents, which changes apart.
func (s *Store) Clone() *Store {
	return &Store{keys: slices.Clone(s.keys), values: maps.Clone(s.values)}
}

// Len counts the keys.
func (s *Store) Len() int { return len(s.keys) }

func (s *Store) Get(key []byte) ([]byte, error) {
	value, found := s.values[string(key)]
	if !found {
		return nil, nil
	}
	return append([]byte{}, value...), nil
}

// Scan lends the visitor buffers that it overwrites afterwards, so that a visitor which keeps a slice is found out.
func (s *Store) Scan(lower, upper []byte, visit func(key, value []byte) (bool, error)) error {
	from, to := s.at(string(lower)), s.at(string(upper))
	for _, k := range slices.Clone(s.keys[from:max(from, to)]) {
		key, value := []byte(k), slices.Clone(s.values[k])
		more, err := visit(key, value)
		spoil(key)
		spoil(value)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (s *Store) Set(key, value []byte) error {
	if s.values == nil {
		s.values = make(map[string][]byte)
	}
	if _, found := s.values[string(key)]; !found {
		s.keys = slices.Insert(s.keys, s.at(string(key)), string(key))
	}
	s.values[string(key)] = append([]byte{}, value...)
	return nil
}

func (s *Store) Delete(key []byte) error {
	if _, found := s.values[string(key)]; found {
		at := s.at(string(key))
		s.keys = slices.Delete(s.keys, at, at+1)
		delete(s.values, string(key))
	}
	return nil
}

func (s *Store) DeleteRange(lower, upper []byte) error {
	from, to := s.at(string(lower)), s.at(string(upper))
	if from >= to {
		return nil
	}
	for _, k := range s.keys[from:to] {
		delete(s.values, k)
	}
	s.keys = slices.Delete(s.keys, from, to)
	return nil
}

// at is the place of the first key that is not below k.
func (s *Store) at(k string) int { return sort.SearchStrings(s.keys, k) }

func spoil(b []byte) {
	for i := range b {
		b[i] ^= 0x5a
	}
}
