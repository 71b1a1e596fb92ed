package judge

import (
	"testing"

	"parley/fsm"
	"parley/mls"
)

// memory remembers everything.
type memory map[GroupKey]*mls.PublicGroup

func (m memory) Get(key GroupKey) (*mls.PublicGroup, bool) {
	group, known := m[key]
	return group, known
}

func (m memory) Add(key GroupKey, group *mls.PublicGroup) { m[key] = group }

// scans counts how often a replica is walked over.
type scans struct {
	fsm.Reader
	count int
}

func (s *scans) Scan(lower, upper []byte, visit func(key, value []byte) (bool, error)) error {
	s.count++
	return s.Reader.Scan(lower, upper, visit)
}

// TestKnownGroupsAreNotReadAgain, also those of an epoch that was judged here; and what is judged is the same.
func TestKnownGroupsAreNotReadAgain(t *testing.T) {
	m := openMaker(t)
	known := make(memory)
	reads := func(replica fsm.Reader) int {
		counting := &scans{Reader: replica}
		state, err := readState(Remembering{Reader: counting, Groups: known}, m.recording.Room.URI)
		m.ok(err)
		fresh, err := readState(replica, m.recording.Room.URI)
		m.ok(err)
		if string(state.group.ContextBytes()) != string(fresh.group.ContextBytes()) ||
			string(state.group.Tree().Marshal()) != string(fresh.group.Tree().Marshal()) {
			t.Error("the group that is remembered is another")
		}
		return counting.count
	}
	first, second := reads(m.store), reads(m.store)
	if second >= first {
		t.Errorf("%d walks, then %d", first, second)
	}
	command := m.judged(Remembering{Reader: m.store, Groups: known}, "a.example", m.commit("alice1", false, inline(m.rename())))
	want[fsm.Accepted](t, m.apply(command))
	if next := reads(m.store); next != second {
		t.Errorf("%d walks for the epoch that was judged here, %d for one that is known", next, second)
	}
}
