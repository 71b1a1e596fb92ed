package meta_test

import (
	"fmt"
	"testing"

	"parley/fsm/fsmtest"
	"parley/fsm/meta"
)

// bring applies a command that must be taken.
func bring(t *testing.T, store *fsmtest.Store, c meta.Command) uint64 {
	t.Helper()
	outcome, err := meta.Apply(store, 1, meta.EncodeCommand(c))
	done, taken := outcome.(meta.Done)
	if err != nil || !taken {
		t.Fatalf("%T: %v, %v", c, outcome, err)
	}
	return done.Version
}

func begun(t *testing.T) *fsmtest.Store {
	store := fsmtest.NewStore()
	bring(t, store, parseCommand(t, "init c1 domains=a.example"))
	return store
}

func TestOldestEndedJobGoes(t *testing.T) {
	store := begun(t)
	oldest := bring(t, store, meta.PutJob{Kind: "k", Key: "live"})
	ended := bring(t, store, meta.PutJob{Kind: "k", Key: "ended", Spec: []byte("x")})
	bring(t, store, meta.EndJob{ID: ended, Revision: 1, State: meta.JobDone})
	for i := range meta.JobsMax - 1 {
		bring(t, store, meta.PutJob{Kind: "k", Key: fmt.Sprint(i), Planned: true, Spec: fmt.Append(nil, i)})
	}
	jobs, err := meta.ReadJobs(store)
	if err != nil || len(jobs) != meta.JobsMax || jobs[0].ID != oldest || jobs[1].ID == ended {
		t.Fatalf("%d jobs from %d on, %v", len(jobs), jobs[0].ID, err)
	}
	// Without ended ones the oldest plan goes, and never a live one.
	bring(t, store, meta.PutJob{Kind: "k", Key: "one more", Spec: []byte("y")})
	now, err := meta.ReadJobs(store)
	if err != nil || len(now) != meta.JobsMax || now[0].ID != oldest || now[1].ID != jobs[2].ID {
		t.Errorf("%d jobs, %v", len(now), err)
	}
}

func TestLiveJobsAreBounded(t *testing.T) {
	store := begun(t)
	for i := range meta.JobsLiveMax {
		bring(t, store, meta.PutJob{Kind: "k", Key: fmt.Sprint(i), Spec: fmt.Append(nil, i)})
	}
	outcome, err := meta.Apply(store, 1, meta.EncodeCommand(meta.PutJob{Kind: "k", Key: "one more"}))
	if _, refused := outcome.(meta.Refused); err != nil || !refused {
		t.Errorf("one more: %v, %v", outcome, err)
	}
}

func TestAuditLogForgetsTheOldest(t *testing.T) {
	store := begun(t)
	for i := range meta.AuditEntriesMax + 5 {
		c := meta.Audited{By: "a", Verb: "v", What: fmt.Sprint(i)}
		copy(c.Key[:], fmt.Sprintf("%016d", i+1))
		bring(t, store, c)
	}
	entries, err := meta.ReadAudit(store, 0, 2*meta.AuditEntriesMax)
	if err != nil || len(entries) != meta.AuditEntriesMax || entries[0].What != fmt.Sprint(meta.AuditEntriesMax+4) || entries[len(entries)-1].Sequence != 6 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	keys := 0
	if err := store.Scan(nil, []byte{0xff, 0xff, 0xff}, func(key, _ []byte) (bool, error) { keys++; return true, nil }); err != nil {
		t.Fatal(err)
	}
	if most := 2*meta.AuditEntriesMax + 4; keys > most { // with the version, the cluster, the settings and the bounds
		t.Errorf("%d keys are left", keys)
	}
	page, err := meta.ReadAudit(store, 10, 3)
	if err != nil || len(page) != 3 || page[0].Sequence != 9 || page[2].Sequence != 7 {
		t.Errorf("a page: %+v, %v", page, err)
	}
}

// A change that is judged by time is judged by the time at which it goes into the log, also where it is audited.
func TestAuditedChangeIsStamped(t *testing.T) {
	stamped := meta.Audited{Command: meta.HoldPeer{}}.WithStamp(7).(meta.Audited)
	if inner := stamped.Command.(meta.HoldPeer); stamped.Stamp != 7 || inner.Stamp != 7 {
		t.Errorf("stamped %d, inside %d", stamped.Stamp, inner.Stamp)
	}
	if bare := (meta.Audited{Command: meta.RevokeToken{}}).WithStamp(7).(meta.Audited); bare.Command != (meta.RevokeToken{}) {
		t.Errorf("%+v", bare.Command)
	}
}
