package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// LogUnderTest is one empty log. Reopen closes the store and opens it again over the same data; nil where the store cannot.
type LogUnderTest struct {
	Store  raft.LogStore
	Reopen func() raft.LogStore
}

// RunLogSuite holds a raft.LogStore to what raft relies on. What only a monotonic store promises (no gaps, a store that
// overwrites cuts the tail) is asked of those that say they are. After each step the whole log is read and compared.
func RunLogSuite(t *testing.T, open func(t *testing.T) LogUnderTest) {
	for name, test := range map[string]func(*logModel){
		"Empty": testEmpty, "Append": testAppend, "Fields": testFields, "OverwriteTail": testOverwriteTail,
		"TruncateHead": testTruncateHead, "TruncateTail": testTruncateTail, "TruncateAll": testTruncateAll,
		"Gaps": testGaps, "BigEntries": testBigEntries, "OwnSlices": testOwnSlices, "Random": testRandom,
		"TruncateBesideAppend": testTruncateBesideAppend,
	} {
		t.Run(name, func(t *testing.T) {
			m := &logModel{t: t, LogUnderTest: open(t)}
			test(m)
			m.reopen()
		})
	}
}

// logModel is what the log must contain: entries from first on.
type logModel struct {
	LogUnderTest
	t       *testing.T
	first   uint64 // 0: empty
	entries []*raft.Log
}

// entry makes an entry whose data tells index and term.
func entry(index, term uint64) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "index %d term %d", index, term)}
}

func entries(from, to, term uint64) (all []*raft.Log) {
	for index := from; index <= to; index++ {
		all = append(all, entry(index, term))
	}
	return all
}

func (m *logModel) last() uint64 {
	if m.first == 0 {
		return 0
	}
	return m.first + uint64(len(m.entries)) - 1
}

func (m *logModel) monotonic() bool {
	store, ok := m.Store.(raft.MonotonicLogStore)
	return ok && store.IsMonotonic()
}

func (m *logModel) store(added []*raft.Log) {
	m.t.Helper()
	if err := m.Store.StoreLogs(added); err != nil {
		m.t.Fatalf("store [%d, %d]: %v", added[0].Index, added[len(added)-1].Index, err)
	}
	from := added[0].Index
	switch {
	case m.first == 0 || from <= m.first:
		m.first, m.entries = from, nil
	default:
		m.entries = m.entries[:from-m.first]
	}
	m.entries = append(m.entries, added...)
	m.verify()
}

func (m *logModel) delete(from, to uint64) {
	m.t.Helper()
	if err := m.Store.DeleteRange(from, to); err != nil {
		m.t.Fatalf("delete [%d, %d]: %v", from, to, err)
	}
	var left []*raft.Log
	for _, e := range m.entries {
		if e.Index < from || e.Index > to {
			left = append(left, e)
		}
	}
	m.entries, m.first = left, 0
	if len(left) > 0 {
		m.first = left[0].Index
	}
	m.verify()
}

func (m *logModel) reopen() {
	m.t.Helper()
	if m.Reopen != nil {
		m.Store = m.Reopen()
	}
	m.verify()
}

// verify reads everything, and what lies beside it.
func (m *logModel) verify() {
	m.t.Helper()
	first, err := m.Store.FirstIndex()
	last, err2 := m.Store.LastIndex()
	if err := errors.Join(err, err2); err != nil {
		m.t.Fatal(err)
	}
	if first != m.first || last != m.last() {
		m.t.Fatalf("the log is [%d, %d], want [%d, %d]", first, last, m.first, m.last())
	}
	var got raft.Log
	for _, want := range m.entries {
		if err := m.Store.GetLog(want.Index, &got); err != nil {
			m.t.Fatalf("get %d: %v", want.Index, err)
		}
		if !sameEntry(&got, want) {
			m.t.Fatalf("get %d: %+v, want %+v", want.Index, got, *want)
		}
	}
	for _, absent := range []uint64{0, first - 1, last + 1, last + 1000} {
		if absent >= m.first && absent <= m.last() && m.first != 0 {
			continue
		}
		if err := m.Store.GetLog(absent, &got); !errors.Is(err, raft.ErrLogNotFound) {
			m.t.Fatalf("get %d, which is absent: %v", absent, err)
		}
	}
}

func sameEntry(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data) &&
		bytes.Equal(a.Extensions, b.Extensions) && a.AppendedAt.Equal(b.AppendedAt)
}

func testEmpty(m *logModel) {
	m.verify()
	m.delete(1, 10)
	if m.monotonic() {
		m.store(entries(500, 501, 3)) // an empty log may begin anywhere: after a restore it does
	}
}

func testAppend(m *logModel) {
	if err := m.Store.StoreLog(entry(1, 1)); err != nil {
		m.t.Fatal(err)
	}
	m.first, m.entries = 1, entries(1, 1, 1)
	m.verify()
	m.store(entries(2, 2, 1))
	m.store(entries(3, 40, 2))
	m.reopen()
	m.store(entries(41, 41, 2))
}

func testFields(m *logModel) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC)
	m.store([]*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: []byte{0, 1, 2}, AppendedAt: at},
		{Index: 2, Term: 1 << 40, Type: raft.LogNoop},
		{Index: 3, Term: 1 << 40, Type: raft.LogBarrier, Extensions: []byte("extensions")},
		{Index: 4, Term: 1<<63 + 7, Type: raft.LogCommand, Data: []byte("data"), Extensions: []byte{0}, AppendedAt: at.Add(time.Hour)},
	})
}

func testOverwriteTail(m *logModel) {
	if !m.monotonic() {
		m.t.Skip("the store does not cut the tail itself")
	}
	m.store(entries(1, 20, 1))
	m.store(entries(11, 13, 2)) // 14 to 20 must go
	m.reopen()
	m.store(entries(13, 30, 3))
	m.store(entries(1, 2, 4))
	m.delete(1, 1)
	m.store(entries(1, 1, 5)) // below the first index
}

func testTruncateHead(m *logModel) {
	m.store(entries(1, 20, 1))
	m.delete(1, 5)
	m.delete(6, 6)
	if m.monotonic() {
		m.delete(1, 3) // nothing is left of it
	}
	m.reopen()
	m.store(entries(21, 22, 1))
	m.delete(7, 21)
}

func testTruncateTail(m *logModel) {
	m.store(entries(1, 20, 1))
	m.delete(15, 20)
	m.delete(14, 14)
	m.reopen()
	m.store(entries(14, 16, 2))
}

func testTruncateAll(m *logModel) {
	m.store(entries(5, 20, 1))
	m.delete(5, 20)
	m.reopen()
	m.store(entries(100, 101, 2))
	m.delete(1, 1000)
	m.store(entries(3, 4, 3))
}

func testGaps(m *logModel) {
	if !m.monotonic() {
		m.t.Skip("the store takes gaps")
	}
	m.store(entries(10, 20, 1))
	for what, err := range map[string]error{
		"a gap behind the log":     m.Store.StoreLogs(entries(22, 23, 1)),
		"a gap among the entries":  m.Store.StoreLogs([]*raft.Log{entry(21, 1), entry(23, 1)}),
		"a step back":              m.Store.StoreLogs([]*raft.Log{entry(21, 1), entry(20, 1)}),
		"a duplicate":              m.Store.StoreLogs([]*raft.Log{entry(21, 1), entry(21, 1)}),
		"index 0":                  m.Store.StoreLogs(entries(0, 1, 1)),
		"a hole out of the middle": m.Store.DeleteRange(12, 15),
	} {
		if err == nil {
			m.t.Errorf("%s was taken", what)
		}
	}
	m.verify()
	m.store(entries(21, 21, 1))
}

func testBigEntries(m *logModel) {
	var big []*raft.Log
	for index := uint64(1); index <= 20; index++ {
		e := entry(index, 1)
		e.Data = bytes.Repeat([]byte{byte(index)}, 600<<10)
		big = append(big, e)
	}
	m.store(big)
	m.reopen()
	m.delete(1, 19)
}

// An entry read must not change when the store goes on, nor the log when the reader writes into it.
func testOwnSlices(m *logModel) {
	m.store(entries(1, 3, 1))
	var got raft.Log
	if err := m.Store.GetLog(2, &got); err != nil {
		m.t.Fatal(err)
	}
	if m.Reopen == nil {
		m.t.Skip("the control gives out its own slices")
	}
	clear(got.Data)
	m.verify()
	if err := m.Store.GetLog(2, &got); err != nil {
		m.t.Fatal(err)
	}
	m.delete(1, 3)
	m.store(entries(1, 9, 2))
	if !sameEntry(&got, entry(2, 1)) {
		m.t.Errorf("an entry read before became %q", got.Data)
	}
}

func testRandom(m *logModel) {
	if !m.monotonic() {
		m.t.Skip("asks for overwriting")
	}
	seed := rand.Uint64()
	m.t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	within := func() uint64 { return m.first + random.Uint64N(uint64(len(m.entries))+1) }
	for step := range 60 {
		term := uint64(step + 1)
		switch pick := random.IntN(10); {
		case m.first == 0:
			from := 1 + random.Uint64N(50)
			m.store(entries(from, from+random.Uint64N(5), term))
		case pick < 4:
			m.store(entries(m.last()+1, m.last()+1+random.Uint64N(6), term))
		case pick < 6:
			from := within()
			m.store(entries(from, from+random.Uint64N(4), term))
		case pick < 8:
			m.delete(m.first, within())
		case pick < 9:
			m.delete(within(), m.last())
		default:
			m.reopen()
		}
	}
}

// raft truncates the head in its snapshot goroutine while its main loop appends and others read.
func testTruncateBesideAppend(m *logModel) {
	const total, perWrite = 120, 4
	m.store(entries(1, perWrite, 1))
	var running sync.WaitGroup
	done := make(chan struct{})
	running.Go(func() {
		defer close(done)
		for from := uint64(perWrite + 1); from <= total; from += perWrite {
			if err := m.Store.StoreLogs(entries(from, from+perWrite-1, 1)); err != nil {
				m.t.Errorf("append: %v", err)
				return
			}
		}
	})
	each := func(work func(first, last uint64) error) {
		running.Go(func() {
			for stop := false; !stop; {
				select {
				case <-done:
					stop = true
				default:
				}
				first, err := m.Store.FirstIndex()
				last, err2 := m.Store.LastIndex()
				if err := errors.Join(err, err2, work(first, last)); err != nil {
					m.t.Errorf("[%d, %d]: %v", first, last, err)
					return
				}
			}
		})
	}
	each(func(first, last uint64) error {
		if last < first+10 {
			return nil
		}
		return m.Store.DeleteRange(first, last-10)
	})
	each(func(first, last uint64) error {
		var got raft.Log
		err := m.Store.GetLog(last, &got)
		if errors.Is(err, raft.ErrLogNotFound) {
			return nil
		}
		if err == nil && !sameEntry(&got, entry(last, 1)) {
			err = fmt.Errorf("read %+v", got)
		}
		return err
	})
	running.Wait()
	first, err := m.Store.FirstIndex()
	if err != nil {
		m.t.Fatal(err)
	}
	m.first, m.entries = first, entries(first, total, 1)
	m.verify()
}
