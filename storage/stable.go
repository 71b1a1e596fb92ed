package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// The keys under which hashicorp/raft v1.7.3 keeps its vote (raft.go, persistVote).
var (
	keyLastVoteTerm = []byte("LastVoteTerm")
	keyLastVoteCand = []byte("LastVoteCand")
	keyCurrentTerm  = []byte("CurrentTerm")
)

// boltOpenLimit is how long opening waits for another process that holds the file.
const boltOpenLimit = 5 * time.Second

// Stable keeps one group's term and vote in a bolt file of its own: a raft.StableStore. One file for all groups would put
// their elections in a row. Every write is synced when it returns. Safe for concurrent use.
type Stable struct {
	raft.StableStore
	bolt *raftboltdb.BoltStore
}

// OpenStable opens or makes the file, with permissions 0600.
func OpenStable(path string) (*Stable, error) { return openStable(path, false) }

// OpenStableReadOnly opens a file that is there, and changes nothing of it.
func OpenStableReadOnly(path string) (*Stable, error) { return openStable(path, true) }

func openStable(path string, readOnly bool) (*Stable, error) {
	bolt, err := openBolt(path, readOnly)
	if err != nil {
		return nil, err
	}
	if err := readVotes(boltStable{bolt}); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), bolt.Close())
	}
	return &Stable{StableStore: GuardVotes(boltStable{bolt}), bolt: bolt}, nil
}

// readVotes reads all that there is once, where damage can still be answered: bolt panics at a page that is not what it should be.
func readVotes(s raft.StableStore) error {
	err := recovered(func() error {
		_, term := s.GetUint64(keyCurrentTerm)
		_, vote := s.GetUint64(keyLastVoteTerm)
		_, candidate := s.Get(keyLastVoteCand)
		return errors.Join(term, vote, candidate)
	})
	if err != nil && !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// HasTerm reports whether a store of votes was ever used. raft notes a term before anything gets into a log, so a log or a state beside
// a store without one have lost their votes.
func HasTerm(s raft.StableStore) (bool, error) {
	term, err := s.GetUint64(keyCurrentTerm)
	return term > 0, err
}

// CurrentTerm is the last term that a store of votes has heard of, 0 for none.
func CurrentTerm(s raft.StableStore) (uint64, error) { return s.GetUint64(keyCurrentTerm) }

// SeedVotes makes a store that forgot its votes one that has voted in every term up to this one, for nobody who could stand: it grants
// no vote in any of them. raft takes it for a store that was used, and will not bootstrap on it.
func SeedVotes(s raft.StableStore, term uint64) error {
	for _, key := range [][]byte{keyCurrentTerm, keyLastVoteTerm} {
		held, err := s.GetUint64(key)
		if err != nil {
			return fmt.Errorf("seed the votes: %w", err)
		}
		term = max(term, held)
	}
	err := s.SetUint64(keyLastVoteTerm, term)
	if err == nil {
		err = s.Set(keyLastVoteCand, []byte(nobody))
	}
	if err == nil {
		err = s.SetUint64(keyCurrentTerm, term)
	}
	if err != nil {
		return fmt.Errorf("seed the votes: %w", err)
	}
	return nil
}

// nobody is no node's ID: IDs have no spaces.
const nobody = "no candidate"

// ErrNoVote answers raft while it must not vote.
var ErrNoVote = errors.New("storage: the replica may not vote yet")

// HoldVotes wraps a store so that raft can neither read nor write a vote while may says no, and so grants none: raft v1.7.3 refuses
// a candidate, and does not count its own vote, where the store answers an error. may is called by raft's own goroutine.
func HoldVotes(inner raft.StableStore, may func() bool) raft.StableStore {
	return heldVotes{inner, may}
}

type heldVotes struct {
	raft.StableStore
	may func() bool
}

func (s heldVotes) GetUint64(key []byte) (uint64, error) {
	if bytes.Equal(key, keyLastVoteTerm) && !s.may() {
		return 0, ErrNoVote
	}
	return s.StableStore.GetUint64(key)
}

func (s heldVotes) SetUint64(key []byte, value uint64) error {
	if bytes.Equal(key, keyLastVoteTerm) && !s.may() {
		return ErrNoVote
	}
	return s.StableStore.SetUint64(key, value)
}

// Close closes the file.
func (s *Stable) Close() error {
	if err := s.bolt.Close(); err != nil {
		return fmt.Errorf("close the stable store: %w", err)
	}
	return nil
}

func openBolt(path string, readOnly bool) (*raftboltdb.BoltStore, error) {
	options := *bbolt.DefaultOptions
	options.ReadOnly = readOnly
	options.Timeout = boltOpenLimit
	var bolt *raftboltdb.BoltStore
	err := recovered(func() (err error) {
		bolt, err = raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &options})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, boltError(err))
	}
	if readOnly {
		return bolt, nil
	}
	// bolt syncs its file, not the name of it.
	if err := SyncDir(vfs.Default, filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return bolt, nil
}

// boltError tells damage from other errors.
func boltError(err error) error {
	if errors.Is(err, bbolt.ErrChecksum) || errors.Is(err, bbolt.ErrInvalid) || errors.Is(err, bbolt.ErrVersionMismatch) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// boltStable answers an absent key as raft.StableStore documents it, empty or 0, where raft-boltdb answers an error.
type boltStable struct{ *raftboltdb.BoltStore }

func (s boltStable) Get(key []byte) ([]byte, error) {
	value, err := s.BoltStore.Get(key)
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return nil, nil
	}
	return value, err
}

func (s boltStable) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	if err != nil || value == nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fmt.Errorf("stable key %q: %w: %d bytes", key, ErrCorrupt, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// voteGuard keeps a vote whole although raft writes it in two steps.
type voteGuard struct {
	mu    sync.Mutex // held over a whole call, so that clearing and setting are one for others
	inner raft.StableStore
}

// GuardVotes wraps a store whose every write is durable when it returns.
//
// raft writes LastVoteTerm and then LastVoteCand. A crash in between left the new term beside the candidate of an older
// vote; asked again by that candidate in the new term, raft took it for a repeated request and granted without comparing
// logs (seen with a candidate 48 entries behind). Here the old candidate is cleared durably before a new term is set, so
// what a crash leaves is a term without a vote, which raft reads as not having voted. Forgetting the older vote is safe:
// raft has made the new CurrentTerm durable before and ignores requests of older terms.
func GuardVotes(inner raft.StableStore) raft.StableStore {
	return &voteGuard{inner: inner}
}

func (s *voteGuard) SetUint64(key []byte, value uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(key, keyLastVoteTerm) && !bugVoteOrder {
		if err := s.clearOlderVote(value); err != nil {
			return fmt.Errorf("clear the older vote: %w", err)
		}
	}
	return s.inner.SetUint64(key, value)
}

// clearOlderVote leaves a vote of the same term alone: clearing it could let this node vote twice.
func (s *voteGuard) clearOlderVote(term uint64) error {
	held, err := s.inner.GetUint64(keyLastVoteTerm)
	if err != nil || held == term {
		return err
	}
	candidate, err := s.inner.Get(keyLastVoteCand)
	if err != nil || len(candidate) == 0 {
		return err
	}
	return s.inner.Set(keyLastVoteCand, nil)
}

// Get answers nil for an empty value as for an absent one: raft takes any candidate that is not nil for a vote.
func (s *voteGuard) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, err := s.inner.Get(key)
	if len(value) == 0 {
		return nil, err
	}
	return value, err
}

func (s *voteGuard) Set(key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inner.Set(key, value)
}

func (s *voteGuard) GetUint64(key []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inner.GetUint64(key)
}
