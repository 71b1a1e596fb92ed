package storage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

var errStopped = errors.New("the machine stopped")

// stoppingStore does a number of writes and then no more, as a machine that stops.
type stoppingStore struct {
	raft.StableStore
	writes int
}

func (s *stoppingStore) Set(key, value []byte) error {
	if s.writes--; s.writes < 0 {
		return errStopped
	}
	return s.StableStore.Set(key, value)
}

func (s *stoppingStore) SetUint64(key []byte, value uint64) error {
	if s.writes--; s.writes < 0 {
		return errStopped
	}
	return s.StableStore.SetUint64(key, value)
}

// persistVote writes a vote as hashicorp/raft v1.7.3 does.
func persistVote(store raft.StableStore, term uint64, candidate string) error {
	if err := store.SetUint64(keyLastVoteTerm, term); err != nil {
		return err
	}
	return store.Set(keyLastVoteCand, []byte(candidate))
}

// A voter that stopped anywhere in its vote of term 6 must come back either with that vote or without any in term 6,
// and with its vote of term 5 as long as term 5 is what it holds.
func TestVoteCutOffAnywhere(t *testing.T) {
	for writes := range 4 {
		path := filepath.Join(t.TempDir(), "stable.bolt")
		store, err := OpenStable(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := persistVote(store, 5, "old"); err != nil {
			t.Fatal(err)
		}
		guarded := GuardVotes(&stoppingStore{StableStore: boltStable{store.bolt}, writes: writes})
		if err := persistVote(guarded, 6, "new"); (err == nil) != (writes >= 3) {
			t.Fatalf("%d writes: %v", writes, err)
		}
		closeNow(t, store)
		if store, err = OpenStable(path); err != nil {
			t.Fatal(err)
		}
		term, err := store.GetUint64(keyLastVoteTerm)
		candidate, err2 := store.Get(keyLastVoteCand)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		type vote struct {
			term      uint64
			candidate string
		}
		if got, want := (vote{term, string(candidate)}), []vote{{5, "old"}, {5, ""}, {6, ""}, {6, "new"}}[writes]; got != want {
			t.Errorf("after %d writes the vote is %v, want %v", writes, got, want)
		}
		if len(candidate) == 0 && candidate != nil {
			t.Errorf("after %d writes raft would take the empty candidate for a vote", writes)
		}
		closeNow(t, store)
	}
}

func TestSettingTheSameTermKeepsTheVote(t *testing.T) {
	store := openStableIn(t)
	if err := errors.Join(persistVote(store, 5, "a"), store.SetUint64(keyLastVoteTerm, 5)); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Get(keyLastVoteCand); err != nil || string(got) != "a" {
		t.Errorf("the vote became %q (%v)", got, err)
	}
}

func openStableIn(t *testing.T) *Stable {
	t.Helper()
	store, err := OpenStable(filepath.Join(t.TempDir(), "stable.bolt"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, store) })
	return store
}

// With raft itself: a voter with 48 entries voted for "behind" in term 5 and stopped in the middle of its vote of term 6.
// Asked by "behind", which has one entry, it must not grant. Without the guard the same raft grants.
func TestRaftDoesNotGrantAfterACutOffVote(t *testing.T) {
	unguarded := openStableIn(t).bolt
	cutOff := func(store raft.StableStore) error {
		return errors.Join(store.SetUint64([]byte("CurrentTerm"), 5), persistVote(store, 5, "behind"),
			store.SetUint64([]byte("CurrentTerm"), 6), store.SetUint64(keyLastVoteTerm, 6))
	}
	if err := cutOff(boltStable{unguarded}); err != nil {
		t.Fatal(err)
	}
	if !askForVote(t, boltStable{unguarded}) {
		t.Error("raft does not grant without the guard, so this test shows nothing")
	}
	guarded := openStableIn(t)
	if err := cutOff(guarded); err != nil {
		t.Fatal(err)
	}
	if askForVote(t, guarded) {
		t.Error("the vote was granted to a candidate that is 47 entries behind")
	}
}

func askForVote(t *testing.T, stable raft.StableStore) (granted bool) {
	t.Helper()
	logs := raft.NewInmemStore()
	servers := raft.Configuration{Servers: []raft.Server{{ID: "voter", Address: "voter"}, {ID: "behind", Address: "behind"}, {ID: "third", Address: "third"}}}
	if err := logs.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(servers)}); err != nil {
		t.Fatal(err)
	}
	for index := uint64(2); index <= 48; index++ {
		if err := logs.StoreLog(&raft.Log{Index: index, Term: 5}); err != nil {
			t.Fatal(err)
		}
	}
	config := raft.DefaultConfig()
	config.LocalID = "voter"
	config.Logger = RaftLogger(nil)
	config.HeartbeatTimeout, config.ElectionTimeout = time.Hour, time.Hour
	_, transport := raft.NewInmemTransport("voter")
	node, err := raft.NewRaft(config, &raft.MockFSM{}, logs, stable, raft.NewInmemSnapshotStore(), transport)
	if err != nil {
		t.Fatal(err)
	}
	_, candidate := raft.NewInmemTransport("behind")
	candidate.Connect("voter", transport)
	var answer raft.RequestVoteResponse
	err = candidate.RequestVote("voter", "voter", &raft.RequestVoteRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("behind"), Addr: []byte("behind")},
		Term:      6, LastLogIndex: 1, LastLogTerm: 1}, &answer)
	if err := errors.Join(err, node.Shutdown().Error()); err != nil {
		t.Fatal(err)
	}
	return answer.Granted
}

func TestStableStoreKeepsValues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stable.bolt")
	store, err := OpenStable(path)
	if err != nil {
		t.Fatal(err)
	}
	absent, err := store.Get([]byte("absent"))
	number, err2 := store.GetUint64([]byte("absent"))
	if absent != nil || number != 0 || err != nil || err2 != nil {
		t.Errorf("absent keys: %q, %v; %d, %v", absent, err, number, err2)
	}
	if err := errors.Join(store.Set([]byte("k"), []byte("v")), store.SetUint64([]byte("CurrentTerm"), 1<<63+1)); err != nil {
		t.Fatal(err)
	}
	closeNow(t, store)
	if store, err = OpenStable(path); err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, store)
	value, err := store.Get([]byte("k"))
	number, err2 = store.GetUint64([]byte("CurrentTerm"))
	if string(value) != "v" || number != 1<<63+1 || err != nil || err2 != nil {
		t.Errorf("read back %q, %v; %d, %v", value, err, number, err2)
	}
	if err := store.Set([]byte("short"), []byte("123")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.GetUint64([]byte("short")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a number of three bytes: %v", err)
	}
	checkPermissions(t, path, 0o600)
}

func checkPermissions(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has permissions %o, want %o", path, got, want)
	}
}

func TestBoltLogNoticesDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.bolt")
	var heard []uint32
	open := func() *BoltLog {
		log, err := OpenBoltLog(path, BoltLogOptions{Group: 7, OnFatal: failTest(t), OnCorrupt: func(group uint32, err error) { heard = append(heard, group) }})
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	log := open()
	if err := log.StoreLogs(logEntries(1, 3)); err != nil {
		t.Fatal(err)
	}
	closeNow(t, log)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.ReplaceAll(content, []byte("entry 2"), []byte("entrx 2"))
	if bytes.Equal(flipped, content) {
		t.Fatal("nothing to damage")
	}
	if err := os.WriteFile(path, flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	log = open()
	defer closeNow(t, log)
	var entry raft.Log
	if err := log.GetLog(2, &entry); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the damaged entry: %v", err)
	}
	if err := log.GetLog(1, &entry); err != nil {
		t.Errorf("a sound entry: %v", err)
	}
	if len(heard) != 1 || heard[0] != 7 {
		t.Errorf("OnCorrupt heard of groups %v", heard)
	}
}

// Two failures in a row: the first is reported, and a later success of the disk changes nothing.
func TestBoltLogFailureIsFinal(t *testing.T) {
	var fatals []error
	log, err := OpenBoltLog(filepath.Join(t.TempDir(), "log.bolt"), BoltLogOptions{OnFatal: func(err error) { fatals = append(fatals, err) }})
	if err != nil {
		t.Fatal(err)
	}
	closeNow(t, log) // bolt answers every write with an error from here on
	for range 2 {
		if err := log.stop.do("store", 0, func() error { return log.bolt.StoreLogs(logEntries(1, 1)) }); !errors.Is(err, ErrFailed) {
			t.Errorf("the failing write: %v", err)
		}
	}
	if err := log.StoreLogs(logEntries(1, 1)); !errors.Is(err, ErrFailed) || len(fatals) != 1 {
		t.Errorf("a later write: %v; OnFatal heard %v", err, fatals)
	}
}
