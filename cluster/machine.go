package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/storage"
)

// errStopped answers entries after the state machine has failed: the node is on its way down.
var errStopped = errors.New("the state machine has stopped")

// machine joins one group's state machine to Raft. Each batch that Raft delivers becomes one batch of the state engine,
// the applied index in it, so that after any crash the state is exactly that of its index. Entries that the state already
// holds, as they come again after a restart, are skipped.
type machine struct {
	group uint32
	node  string
	state *storage.GroupState
	sync  func() error // makes durable what is in the state
	fatal func(error)
	log   *slog.Logger

	// apply changes the store by one entry and returns what Raft's future is to answer.
	apply func(store fsm.Store, index uint64, entry []byte) (response any, err error)
	// settled is called after each batch is in the state and before anybody is told, by one goroutine at a time.
	settled func() error
	// advanced is called after each batch, when the applied index says so; nil: nobody is.
	advanced func()
	// restored is called at the start and after the whole state was replaced, likewise.
	restored func() error
	// watch sees each entry that is applied; nil: nobody does.
	watch func(group uint32, index uint64, entry []byte)
	// grown is told how many bytes of log were applied.
	grown func(bytes uint64)

	applied  appliedIndex
	last     atomic.Pointer[logPlace] // the entry that was applied last since the start; nil before the first
	fetching fetchProgress
	hold     logHold // while others fetch the state
	lent     lentState
	vantages vantages
	// configured is the index of the last change of the group's members that was delivered, 0 where none has been since the start.
	configured atomic.Uint64

	// mu holds batches and a restore apart: Raft applies while a snapshot for it is still being staged.
	mu      sync.Mutex
	running bool // Raft delivers
	failed  bool
}

// logPlace is an entry's place in the log.
type logPlace struct{ index, term uint64 }

var _ raft.BatchingFSM = (*machine)(nil)

// Apply implements raft.FSM.
func (m *machine) Apply(log *raft.Log) any { return m.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch implements raft.BatchingFSM. Any error ends the node: to carry on would be to differ from the other replicas.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	m.mu.Lock()
	defer m.mu.Unlock()
	responses := make([]any, len(logs))
	for _, log := range logs {
		if log.Type == raft.LogConfiguration {
			m.configured.Store(log.Index)
		}
	}
	err := errStopped
	if !m.failed {
		err = m.applyBatch(logs, responses)
	}
	if err != nil {
		for i := range responses {
			responses[i] = err
		}
		m.fail(err)
		return responses
	}
	return responses
}

func (m *machine) applyBatch(logs []*raft.Log, responses []any) error {
	for {
		index, found := m.vantages.next(logs[len(logs)-1].Index)
		if !found {
			return m.applyPart(logs, responses, 0)
		}
		// What is at or before it, which may be nothing: the index can be of an entry that is not delivered.
		through := sort.Search(len(logs), func(i int) bool { return logs[i].Index > index })
		if through == 0 {
			m.vantages.open(index, m.applied.current(), m.state)
			continue
		}
		if err := m.applyPart(logs[:through], responses[:through], index); err != nil || through == len(logs) {
			return err
		}
		logs, responses = logs[through:], responses[through:]
	}
}

// applyPart applies what becomes one batch of the state engine. Somebody wants a view of the state right behind it where vantage is not 0.
func (m *machine) applyPart(logs []*raft.Log, responses []any, vantage uint64) error {
	last := logs[len(logs)-1].Index
	if last <= m.applied.current() {
		return nil
	}
	bytes, err := m.write(logs, responses)
	if err != nil {
		return fmt.Errorf("group %d, entries to %d: %w", m.group, last, err)
	}
	if vantage > 0 {
		m.vantages.open(vantage, vantage, m.state) // before anybody is told that the index is reached
	}
	if err := m.settled(); err != nil {
		return fmt.Errorf("group %d at %d: %w", m.group, last, err)
	}
	m.applied.advance(last)
	m.last.Store(&logPlace{last, logs[len(logs)-1].Term})
	if m.advanced != nil {
		m.advanced()
	}
	m.grown(bytes)
	return nil
}

// write commits one batch of the state engine with what the entries come to.
func (m *machine) write(logs []*raft.Log, responses []any) (bytes uint64, err error) {
	batch := m.state.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	from := m.applied.current()
	for i, log := range logs {
		if log.Index <= from || log.Type != raft.LogCommand {
			continue
		}
		if responses[i], err = m.apply(batch, log.Index, log.Data); err != nil {
			return 0, err
		}
		bytes += uint64(len(log.Data))
		if m.watch != nil {
			m.watch(m.group, log.Index, log.Data)
		}
	}
	if err := batch.SetApplied(logs[len(logs)-1].Index); err != nil {
		return 0, err
	}
	return bytes, batch.Commit()
}

// forget makes ready for a state that begins with nothing. Raft does not run.
func (m *machine) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied.forget()
	m.configured.Store(0)
	m.running = false
}

func (m *machine) fail(err error) {
	if !m.failed {
		m.failed = true
		m.fatal(err)
	}
}

// Snapshot implements raft.FSM. Nothing is copied here or in Persist.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed {
		return nil, errStopped
	}
	return machineSnapshot{m, m.applied.current()}, nil
}

// machineSnapshot is a promise that the state holds everything up to an index.
type machineSnapshot struct {
	machine *machine
	index   uint64
}

// Persist makes the promise durable: only then may Raft drop the log up to it.
func (s machineSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.machine.sync(); err != nil {
		s.machine.fatal(fmt.Errorf("group %d: sync of the state: %w", s.machine.group, err))
		return err
	}
	m := manifest{group: s.machine.group, index: s.index, source: s.machine.node}
	_, err := sink.Write(m.encode())
	return err
}

// Release implements raft.FSMSnapshot.
func (machineSnapshot) Release() {}

// Restore implements raft.FSM. The state was fetched before Raft heard of the snapshot (see stage); here it is only checked,
// and a state that is not there ends the node, since Raft has the snapshot on disk by now and would go on from it. Raft closes
// the snapshot.
func (m *machine) Restore(snapshot io.ReadCloser) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	raw, err := io.ReadAll(io.LimitReader(snapshot, manifestBytesMax))
	if err == nil {
		err = m.covers(raw)
	}
	if err != nil {
		m.fail(fmt.Errorf("group %d: restore: %w", m.group, err))
	}
	return err
}

func (m *machine) covers(raw []byte) error {
	named, err := decodeManifest(raw)
	switch {
	case err != nil:
		return err
	case named.group != m.group:
		return fmt.Errorf("the snapshot is of group %d", named.group)
	case m.applied.current() < named.index:
		return fmt.Errorf("the state is at %d, the snapshot at %d", m.applied.current(), named.index)
	}
	return nil
}
