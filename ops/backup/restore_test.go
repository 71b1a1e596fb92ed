package backup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// memoryTarget is a cluster that slots come into. What was put of a slot that was not closed stays half.
type memoryTarget struct {
	mu     sync.Mutex
	slots  map[uint16][]record
	closed map[uint16]bool
	opened map[uint16]int
	steps  int
	failAt int // of Put and Close together; 0: never
}

var errTarget = errors.New("no quorum")

func newMemoryTarget() *memoryTarget {
	return &memoryTarget{slots: make(map[uint16][]record), closed: make(map[uint16]bool), opened: make(map[uint16]int)}
}

func (m *memoryTarget) Done(_ context.Context, slots []uint16) (map[uint16]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	done := make(map[uint16]bool)
	for _, slot := range slots {
		done[slot] = m.closed[slot]
	}
	return done, nil
}

func (m *memoryTarget) Open(_ context.Context, slot RestoredSlot) (SlotSink, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened[slot.Slot.Slot]++
	if m.closed[slot.Slot.Slot] {
		return nil, fmt.Errorf("slot %d was opened again", slot.Slot.Slot)
	}
	return &memorySink{target: m, slot: slot}, nil
}

func (m *memoryTarget) step() error {
	if m.steps++; m.steps == m.failAt {
		return errTarget
	}
	return nil
}

type memorySink struct {
	target *memoryTarget
	slot   RestoredSlot
	came   []record
}

func (s *memorySink) Put(_ context.Context, key, value []byte) error {
	s.target.mu.Lock()
	defer s.target.mu.Unlock()
	s.came = append(s.came, record{key, value})
	return s.target.step()
}

func (s *memorySink) Close(context.Context) error {
	sum := newSummer()
	for _, r := range s.came {
		sum.add(r.key, r.value)
	}
	if sum.end() != s.slot.Sum {
		return fmt.Errorf("slot %d has another digest", s.slot.Slot.Slot)
	}
	s.target.mu.Lock()
	defer s.target.mu.Unlock()
	if err := s.target.step(); err != nil {
		return err
	}
	s.target.slots[s.slot.Slot.Slot], s.target.closed[s.slot.Slot.Slot] = s.came, true
	return nil
}

func TestRestoreBringsEverySlot(t *testing.T) {
	store, c := newMemoryStore(), smallCluster(t)
	c.fill(3, 40, 400<<10, rand.New(rand.NewPCG(7, 8))) // more than is handed over at once
	mustCreate(t, c, store, "b1")
	target := newMemoryTarget()
	if err := Restore(testContext(t), store, "b1", target, nil); err != nil {
		t.Fatal(err)
	}
	sameRecords(t, c.records, target.slots)
	if len(target.closed) != slotsOfTests {
		t.Errorf("%d slots are there, the empty ones too", len(target.closed))
	}
	var names []string
	m, head, err := MetaRecords(testContext(t), store, "b1", func(_, value []byte) error {
		names = append(names, string(value))
		return nil
	})
	if err != nil || m.Cluster != "test" || head.Index == 0 || strings.Join(names, ",") != "settings,a peer" {
		t.Errorf("the map: %v of %+v, %v", names, head, err)
	}
}

// Wherever a restore is cut off, the same again ends well, and brings no slot that is done a second time.
func TestRestoreGoesOnWhereItWasCutOff(t *testing.T) {
	store, c := newMemoryStore(), smallCluster(t)
	mustCreate(t, c, store, "b1")
	whole := newMemoryTarget()
	if err := Restore(testContext(t), store, "b1", whole, nil); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= whole.steps; at += 37 {
		target := newMemoryTarget()
		target.failAt = at
		if err := Restore(testContext(t), store, "b1", target, nil); !errors.Is(err, errTarget) {
			t.Fatalf("cut off at %d: %v", at, err)
		}
		closed := len(target.closed)
		if err := Restore(testContext(t), store, "b1", target, nil); err != nil {
			t.Fatalf("cut off at %d with %d slots done, and again: %v", at, closed, err)
		}
		sameRecords(t, c.records, target.slots)
	}
}

// A backup that was damaged since it was checked ends a restore, before the slot that it concerns is served.
func TestRestoreRefusesDamage(t *testing.T) {
	sound, c := newMemoryStore(), smallCluster(t)
	mustCreate(t, c, sound, "b1")
	for _, name := range sound.names() {
		store := newMemoryStore()
		for n, content := range sound.objects {
			store.objects[n] = append([]byte(nil), content...)
		}
		store.objects[name][len(store.objects[name])/2] ^= 4
		target := newMemoryTarget()
		err := Restore(testContext(t), store, "b1", target, nil)
		_, _, metaErr := MetaRecords(testContext(t), store, "b1", func(_, _ []byte) error { return nil })
		if !errors.Is(err, ErrDamaged) && !errors.Is(metaErr, ErrDamaged) {
			t.Errorf("%s altered: %v, %v", name, err, metaErr)
		}
		for slot, came := range target.slots {
			if len(came) != len(c.records[slot]) {
				t.Errorf("%s altered: slot %d is served with %d of %d records", name, slot, len(came), len(c.records[slot]))
			}
		}
	}
}
