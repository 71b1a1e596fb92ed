package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/storage"
)

var errTest = errors.New("an entry that cannot be applied")

// countingMachine is a machine whose state is the list of indexes that it applied. An entry of "bad" fails.
func countingMachine(t *testing.T) (m *machine, fatal *[]error) {
	t.Helper()
	fatal = new([]error)
	engine, err := storage.OpenState(t.TempDir(), storage.StateOptions{OnFatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	m = &machine{
		group: 7, node: "n1", state: engine.Group(7), sync: engine.Sync, log: slog.New(slog.DiscardHandler), running: true,
		fatal:   func(err error) { *fatal = append(*fatal, err) },
		settled: func() error { return nil }, restored: func() error { return nil }, grown: func(uint64) {},
		apply: func(store fsm.Store, index uint64, entry []byte) (any, error) {
			if string(entry) == "bad" {
				return nil, errTest
			}
			return index, store.Set(binary.BigEndian.AppendUint64([]byte("applied"), index), []byte{1})
		},
	}
	return m, fatal
}

func entries(from, to uint64) (logs []*raft.Log) {
	for i := from; i <= to; i++ {
		logs = append(logs, &raft.Log{Index: i, Type: raft.LogCommand, Data: []byte("good")})
	}
	return logs
}

// history is what the machine's state says it applied.
func history(t *testing.T, m *machine) (indexes []uint64) {
	t.Helper()
	view, err := m.state.View()
	if err != nil {
		t.Fatal(err)
	}
	err = view.Scan(nil, nil, func(key, _ []byte) (bool, error) {
		indexes = append(indexes, binary.BigEndian.Uint64(key[len("applied"):]))
		return true, nil
	})
	if err := errors.Join(err, view.Close()); err != nil {
		t.Fatal(err)
	}
	return indexes
}

func TestMachineSkipsWhatTheStateHolds(t *testing.T) {
	m, fatal := countingMachine(t)
	m.ApplyBatch(entries(1, 3))
	responses := m.ApplyBatch(append(entries(2, 5), &raft.Log{Index: 6, Type: raft.LogConfiguration}))
	if !slices.Equal(responses, []any{nil, nil, uint64(4), uint64(5), nil}) {
		t.Errorf("responses: %v", responses)
	}
	if got := history(t, m); !slices.Equal(got, []uint64{1, 2, 3, 4, 5}) {
		t.Errorf("applied: %v", got)
	}
	if applied, err := m.state.Applied(); err != nil || applied != 6 || m.applied.current() != 6 || len(*fatal) > 0 {
		t.Errorf("at %d and %d, %v, %v", applied, m.applied.current(), err, *fatal)
	}
}

func TestMachineStopsAtTheFirstError(t *testing.T) {
	m, fatal := countingMachine(t)
	m.ApplyBatch(entries(1, 2))
	for _, logs := range [][]*raft.Log{append(entries(3, 3), &raft.Log{Index: 4, Type: raft.LogCommand, Data: []byte("bad")}), entries(5, 6)} {
		for _, response := range m.ApplyBatch(logs) {
			if _, failed := response.(error); !failed {
				t.Errorf("an entry was answered with %v", response)
			}
		}
	}
	if got := history(t, m); !slices.Equal(got, []uint64{1, 2}) || m.applied.current() != 2 {
		t.Errorf("applied %v, at %d", got, m.applied.current())
	}
	if len(*fatal) != 1 || !errors.Is((*fatal)[0], errTest) {
		t.Errorf("fatal: %v", *fatal)
	}
	if _, err := m.Snapshot(); err == nil {
		t.Error("a stopped machine made a snapshot")
	}
}

func TestMachineRestoreNeedsTheState(t *testing.T) {
	m, fatal := countingMachine(t)
	m.ApplyBatch(entries(1, 5))
	for _, c := range []struct {
		named manifest
		ok    bool
	}{{manifest{group: 7, index: 5}, true}, {manifest{group: 8, index: 5}, false}, {manifest{group: 7, index: 6}, false}} {
		if err := m.covers(c.named.encode()); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.named, err)
		}
	}
	if len(*fatal) > 0 {
		t.Error(*fatal)
	}
}

// TestRestoreIsFinishedAfterACrash begins an exchange of the state, breaks it off, and starts again.
func TestRestoreIsFinishedAfterACrash(t *testing.T) {
	source, _ := countingMachine(t)
	source.ApplyBatch(entries(1, 9))
	staged := filepath.Join(t.TempDir(), "00000007")
	fetchAll(t, source, staged)
	m, fatal := countingMachine(t)
	m.ApplyBatch(entries(1, 2))
	cancelled, cancel := context.WithCancel(t.Context())
	replacement, err := m.state.Prepare(t.Context(), 9, func(func(key, value []byte) error) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := replacement.Install(cancelled); err == nil || m.state.Restoring() {
		t.Fatalf("an exchange whose context has ended: %v", err)
	}
	m.running = false
	if err := m.finishRestore(vfs.Default, staged); err != nil || m.applied.current() != 2 {
		t.Errorf("where nothing was cut off: at %d, %v", m.applied.current(), err)
	}
	if err := m.state.MarkRestoring(); err != nil {
		t.Fatal(err)
	}
	if err := m.finishRestore(vfs.Default, staged+".missing"); err != nil || !m.state.Restoring() {
		t.Errorf("without the staged state: %v", err)
	}
	if err := m.finishRestore(vfs.Default, staged); err != nil {
		t.Fatal(err)
	}
	if got := history(t, m); len(got) != 9 || m.applied.current() != 9 || m.state.Restoring() || len(*fatal) > 0 {
		t.Errorf("after the crash: %v at %d, %v", got, m.applied.current(), *fatal)
	}
	if _, err := os.Stat(staged); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the staged state is still there: %v", err)
	}
}
