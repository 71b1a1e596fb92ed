package backup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const slotsOfTests = 16

// fine makes several chunks of little.
var fine = cutting{least: 4 << 10, mean: 16 << 10, most: 64 << 10}

// memoryStore is a Store that counts what is put, and can be told to fail.
type memoryStore struct {
	mu      sync.Mutex
	objects map[string][]byte
	puts    map[string]int
	// before each Put: an error is the answer; kept says whether the object is there all the same.
	fail func(name string) (kept bool, err error)
}

func newMemoryStore() *memoryStore {
	return &memoryStore{objects: make(map[string][]byte), puts: make(map[string]int)}
}

func (m *memoryStore) Put(_ context.Context, name string, content []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if kept, err := m.fail(name); err != nil {
			if kept {
				m.objects[name] = bytes.Clone(content)
			}
			return err
		}
	}
	m.puts[name]++
	m.objects[name] = bytes.Clone(content)
	return nil
}

func (m *memoryStore) Get(_ context.Context, name string, most int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	content, found := m.objects[name]
	switch {
	case !found:
		return nil, fmt.Errorf("%s: %w", name, ErrMissing)
	case int64(len(content)) > most:
		return nil, fmt.Errorf("%s: %w", name, errTooLong)
	}
	return bytes.Clone(content), nil
}

func (m *memoryStore) Size(_ context.Context, name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	content, found := m.objects[name]
	if !found {
		return 0, fmt.Errorf("%s: %w", name, ErrMissing)
	}
	return int64(len(content)), nil
}

func (m *memoryStore) List(_ context.Context, prefix string, visit func(string, int64) error) error {
	m.mu.Lock()
	names := slices.Sorted(maps.Keys(m.objects))
	m.mu.Unlock()
	for _, name := range names {
		size, err := m.Size(context.Background(), name)
		if err == nil && strings.HasPrefix(name, prefix) {
			err = visit(name, size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *memoryStore) Remove(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

func (m *memoryStore) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.objects))
}

type record struct{ key, value []byte }

// memoryCluster is a Source of slots in shards.
type memoryCluster struct {
	id      string
	shards  map[uint32][]Owned
	records map[uint16][]record // of each slot, in order
	meta    []record
	index   uint64
	opened  map[uint32]int
	// before each Open.
	opening func(group uint32)
	// cut ends the state of a group after so many records, once.
	cut map[uint32]int
}

func newMemoryCluster(shards int) *memoryCluster {
	c := &memoryCluster{
		id: "test", shards: make(map[uint32][]Owned), records: make(map[uint16][]record), opened: make(map[uint32]int), cut: make(map[uint32]int), index: 100,
	}
	for slot := range uint16(slotsOfTests) {
		shard := uint32(int(slot)*shards/slotsOfTests) + 1
		c.shards[shard] = append(c.shards[shard], Owned{slot, 1})
	}
	c.meta = []record{{[]byte{0xff, 0xff, 0x82}, []byte("settings")}, {[]byte{0xff, 0xff, 0x85, 'b'}, []byte("a peer")}}
	return c
}

// fill gives a slot records of about so many bytes each.
func (c *memoryCluster) fill(slot uint16, count, size int, r *rand.Rand) {
	var all []record
	for i := range count {
		key := binary.BigEndian.AppendUint16(nil, slot)
		key = append(key, 0x23)
		key = binary.BigEndian.AppendUint64(key, r.Uint64())
		value := make([]byte, size/2+r.IntN(size))
		for j := range value {
			value[j] = byte(r.Uint32())
		}
		binary.BigEndian.PutUint32(value, uint32(i))
		all = append(all, record{key, value})
	}
	slices.SortFunc(all, func(a, b record) int { return bytes.Compare(a.key, b.key) })
	c.records[slot] = all
}

func (c *memoryCluster) Cluster(context.Context) (Cluster, error) {
	return Cluster{ID: c.id, Generation: 1, Format: 6, Slots: slotsOfTests, Shards: slices.Sorted(maps.Keys(c.shards))}, nil
}

func (c *memoryCluster) Count(counts Counts, group uint32, _ []byte) {
	if group != 0 {
		counts["keyPackages"]++
	}
}

func (c *memoryCluster) Open(_ context.Context, group uint32) (State, error) {
	if c.opening != nil {
		c.opening(group)
	}
	c.opened[group]++
	c.index++
	s := &memoryState{head: Head{Group: group, Index: c.index, HubMillis: 5, Format: 6, Source: "n1", TakenAt: now()}, records: c.meta}
	if group != 0 {
		s.records = nil
		s.head.SlotsOwned = slices.SortedFunc(slices.Values(c.shards[group]), func(a, b Owned) int { return cmp.Compare(a.Slot, b.Slot) })
		for _, o := range s.head.SlotsOwned {
			s.records = append(s.records, c.records[o.Slot]...)
		}
	}
	if after, cut := c.cut[group]; cut {
		delete(c.cut, group)
		s.cut, s.records = true, s.records[:min(after, len(s.records))]
	}
	return s, nil
}

type memoryState struct {
	head    Head
	records []record
	cut     bool
}

func (s *memoryState) Head() Head   { return s.head }
func (s *memoryState) Close() error { return nil }

func (s *memoryState) Next() (key, value []byte, err error) {
	switch {
	case len(s.records) > 0:
		r := s.records[0]
		s.records = s.records[1:]
		return r.key, r.value, nil
	case s.cut:
		return nil, nil, fmt.Errorf("the node went away")
	default:
		return nil, nil, nil
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// smallCluster has something in most slots, in shards of several chunks.
func smallCluster(t testing.TB) *memoryCluster {
	t.Helper()
	c := newMemoryCluster(3)
	r := rand.New(rand.NewPCG(1, 2))
	for slot := range uint16(slotsOfTests - 1) {
		c.fill(slot, 150, 60, r)
	}
	return c
}

func mustCreate(t testing.TB, source Source, store Store, id string) Created {
	t.Helper()
	made, err := Create(testContext(t), source, store, Creation{ID: id, cuts: fine}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func mustBeWhole(t testing.TB, store Store, id string) Report {
	t.Helper()
	report, err := Verify(testContext(t), store, id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Whole() {
		t.Fatalf("the backup is not whole: %q", report.Problems)
	}
	return report
}

// recordsOf are what a backup has of each slot.
func recordsOf(t testing.TB, store Store, id string) map[uint16][]record {
	t.Helper()
	all := make(map[uint16][]record)
	inspected, err := Inspect(testContext(t), store, id)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newReader(store)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	for _, p := range inspected.Parts[1:] {
		err := r.records(testContext(t), p, func(chunkPlace) {}, func(key, value []byte) error {
			all[slotOf(key)] = append(all[slotOf(key)], record{bytes.Clone(key), bytes.Clone(value)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func sameRecords(t testing.TB, want, have map[uint16][]record) {
	t.Helper()
	for slot := range uint16(slotsOfTests) {
		if !slices.EqualFunc(want[slot], have[slot], func(a, b record) bool { return bytes.Equal(a.key, b.key) && bytes.Equal(a.value, b.value) }) {
			t.Errorf("slot %d: %d records are not the %d that it had", slot, len(have[slot]), len(want[slot]))
		}
	}
}
