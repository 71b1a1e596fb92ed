package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// hashicorp/raft #696: a leader that refuses everything for longer than any transfer of leadership takes is opened again, once; one that
// takes something in between is not.
func TestTransferWithoutEndIsNoticed(t *testing.T) {
	now := time.Now()
	woken := 0
	g := &group{onSpoiled: func() { woken++ }}
	refuse := func(after time.Duration) {
		now = now.Add(after)
		g.heed(raft.ErrLeadershipTransferInProgress, now)
	}
	refuse(0)
	refuse(transferMax - time.Second)
	g.heed(nil, now)
	refuse(2 * time.Second)
	if refuse(transferMax); g.unusable() != "" {
		t.Errorf("a leader that had taken an entry: %s", g.unusable())
	}
	g.heed(errors.New("anything else says that it is not handing over"), now)
	refuse(0)
	refuse(transferMax + time.Millisecond)
	refuse(time.Second)
	if g.unusable() == "" || woken != 1 {
		t.Errorf("spoiled: %q, woken %d times", g.unusable(), woken)
	}
}
