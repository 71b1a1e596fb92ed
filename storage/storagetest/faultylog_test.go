package storagetest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// Failures come in pairs: the write was not done, and the write was done but the answer was lost.
func TestFaultyLogFailsWithAndWithoutPersisting(t *testing.T) {
	errDisk := errors.New("disk")
	for _, persist := range []bool{false, true} {
		log := NewFaultyLog(raft.NewInmemStore())
		log.SetFault(func(string) Fault { return Fault{Err: errDisk, Persist: persist} })
		if err := log.StoreLog(entry(1, 1)); !errors.Is(err, errDisk) {
			t.Errorf("persist %v: %v", persist, err)
		}
		if last, err := log.LastIndex(); err != nil || (last == 1) != persist {
			t.Errorf("persist %v: the log ends at %d (%v)", persist, last, err)
		}
	}
}

// A delayed write holds nobody else up, and fake time passes over it.
func TestFaultyLogDelaysWithoutALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := NewFaultyLog(raft.NewInmemStore())
		log.SetFault(func(operation string) Fault {
			if operation == "store" {
				return Fault{Delay: time.Hour}
			}
			return Fault{}
		})
		stored := make(chan error)
		start := time.Now()
		go func() { stored <- log.StoreLogs(entries(1, 3, 1)) }()
		synctest.Wait()
		if err := log.DeleteRange(1, 3); err != nil || !time.Now().Equal(start) {
			t.Errorf("a delete waited for the delayed write: %v", err)
		}
		if err := <-stored; err != nil || time.Since(start) != time.Hour {
			t.Errorf("the delayed write took %v: %v", time.Since(start), err)
		}
	})
}

func TestStableInMemoryGuardsVotes(t *testing.T) {
	store := NewStable()
	term, cand := []byte("LastVoteTerm"), []byte("LastVoteCand")
	if err := errors.Join(store.SetUint64(term, 1), store.Set(cand, []byte("a")), store.SetUint64(term, 2)); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Get(cand); err != nil || got != nil {
		t.Errorf("the vote of term 1 is left in term 2: %q, %v", got, err)
	}
}
