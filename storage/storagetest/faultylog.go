package storagetest

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Fault is what happens to one write of a FaultyLog. The zero Fault lets it pass.
type Fault struct {
	Delay   time.Duration // before the write
	Err     error         // what the caller gets; nil for what the store answered
	Persist bool          // with an Err: the write is done all the same, as when an answer is lost
}

// FaultyLog is a raft.LogStore that delays or fails writes. Delays are slept with no lock held, so that fake time passes in a
// testing/synctest bubble. Safe for concurrent use.
type FaultyLog struct {
	raft.LogStore

	mu     sync.Mutex // owns decide
	decide func(operation string) Fault
}

// NewFaultyLog wraps a store; nothing goes wrong until SetFault.
func NewFaultyLog(store raft.LogStore) *FaultyLog {
	return &FaultyLog{LogStore: store, decide: func(string) Fault { return Fault{} }}
}

// SetFault sets what decides over each following write. It is called with "store" or "delete", with no lock held and
// possibly by several goroutines at once.
func (l *FaultyLog) SetFault(decide func(operation string) Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.decide = decide
}

// IsMonotonic answers for the wrapped store (raft.MonotonicLogStore).
func (l *FaultyLog) IsMonotonic() bool {
	store, ok := l.LogStore.(raft.MonotonicLogStore)
	return ok && store.IsMonotonic()
}

// StoreLog passes through the fault set for "store".
func (l *FaultyLog) StoreLog(entry *raft.Log) error {
	return l.StoreLogs([]*raft.Log{entry})
}

// StoreLogs passes through the fault set for "store".
func (l *FaultyLog) StoreLogs(entries []*raft.Log) error {
	return l.write("store", func() error { return l.LogStore.StoreLogs(entries) })
}

// DeleteRange passes through the fault set for "delete".
func (l *FaultyLog) DeleteRange(from, to uint64) error {
	return l.write("delete", func() error { return l.LogStore.DeleteRange(from, to) })
}

func (l *FaultyLog) write(operation string, write func() error) error {
	l.mu.Lock()
	decide := l.decide
	l.mu.Unlock()
	fault := decide(operation)
	if fault.Delay > 0 {
		time.Sleep(fault.Delay)
	}
	if fault.Err != nil && !fault.Persist {
		return fault.Err
	}
	if err := write(); err != nil {
		return err
	}
	return fault.Err
}
