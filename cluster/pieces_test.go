package cluster

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
	"parley/mls"
)

// pieceBytes are those that wait in a slot, at every node with a replica, once all have applied an index.
func (c *testCluster) pieceBytes(slot fsm.SlotID, index uint64) (held []uint64) {
	c.t.Helper()
	for _, n := range c.nodes {
		shard, _ := n.Map().ShardOfSlot(slot)
		r := n.replica(shard.ID)
		if err := r.reach(c.context(), index, patience); err != nil {
			c.t.Fatal(err)
		}
		view, err := r.view()
		if err != nil {
			c.t.Fatal(err)
		}
		bytes, err := fsm.ReadPieceBytes(view, slot)
		if err := errors.Join(err, view.Close()); err != nil {
			c.t.Fatal(err)
		}
		held = append(held, bytes)
	}
	return held
}

// piecesInLog counts the pieces among all that is in a replica's log.
func piecesInLog(t *testing.T, r *replica) (pieces int) {
	t.Helper()
	first, err := r.stores.log.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	for index := first; index <= r.machine.applied.current(); index++ {
		var log raft.Log
		if err := r.stores.log.GetLog(index, &log); err != nil {
			t.Fatal(err)
		}
		if log.Type != raft.LogCommand {
			continue
		}
		entry, err := fsm.DecodeEntry(log.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range entry.Commands {
			if _, yes := command.(fsm.PutPiece); yes {
				pieces++
			}
		}
	}
	return pieces
}

// largeCommit brings a room to several thousand clients.
func largeCommit(t *testing.T, r *fsmtest.Room, label string) fsm.AcceptCommit {
	t.Helper()
	commit := fsmtest.Grown(r.Commit(fsmtest.Next{Label: label}), 4000, 320)
	if size := commandBytes(commit); size < 2<<20 {
		t.Fatalf("the Commit makes %d bytes only", size)
	}
	return commit
}

// A Commit that no entry can hold is decided through any node, by all at once, and leaves no pieces behind.
func TestLargeCommitGoesInPieces(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "large")
	commit := largeCommit(t, r, "commit")
	// Whoever is decided first takes the pieces away from the others, who put them again and get the same answer.
	outcomes := make([]fsm.Outcome, 3)
	var last uint64
	var wait sync.WaitGroup
	var mu sync.Mutex // guards last
	for j := range outcomes {
		wait.Go(func() {
			outcome, index, err := c.nodes[[]string{"n1", "n2", "n3"}[j]].Propose(c.context(), commit)
			if err != nil {
				t.Errorf("at node %d: %v", j+1, err)
			}
			mu.Lock()
			defer mu.Unlock()
			outcomes[j], last = outcome, max(last, index)
		})
	}
	wait.Wait()
	for _, outcome := range outcomes {
		if accepted, ok := outcome.(fsm.Accepted); !ok || accepted.Epoch != 1 || outcome != outcomes[0] {
			t.Fatalf("outcomes %+v", outcomes)
		}
	}
	for _, held := range c.pieceBytes(commit.Slot(), last) {
		if held != 0 {
			t.Errorf("%d bytes of pieces are left", held)
		}
	}
	c.digests("n1")
}

// The leader goes while pieces are on their way: the Commit is decided once by those that stay.
func TestLargeCommitOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "failover")
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	leader := c.leaderNode(shard.ID)
	at := "n1"
	if leader == at {
		at = "n2"
	}
	commit := largeCommit(t, r, "commit")
	n := c.nodes[at]
	begun := n.replica(shard.ID).machine.applied.current()
	decided := make(chan fsm.Outcome, 1)
	go func() {
		outcome, _, err := n.Propose(c.context(), commit)
		if err != nil {
			t.Errorf("the Commit: %v", err)
		}
		decided <- outcome
	}()
	eventually(t, "pieces are in the log", func() bool { return n.replica(shard.ID).machine.applied.current() > begun })
	c.stop(leader)
	if accepted, ok := (<-decided).(fsm.Accepted); !ok || accepted.Epoch != 1 {
		t.Fatalf("the Commit got %+v", accepted)
	}
	if again, _ := propose(t, c, at, commit); again.(fsm.Accepted).Epoch != 1 {
		t.Errorf("its retry got %+v", again)
	}
}

// What is too large even in pieces is refused, and so are pieces of a shard whose format does not know them; the format is raised by
// the settings.
func TestPiecesNeedTheirFormat(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	n := c.add("n1")
	settings := fsm.DefaultSettings(provider(t, "a.example"))
	settings.Format = fsm.FormatFirst
	if err := n.Init(c.context(), InitOptions{Settings: settings, Shards: 1, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	c.awaitActive(1)
	c.awaitSettings()
	r := c.openRoom("n1", "early")
	malformed := (*mls.MalformedError)(nil)
	commit := largeCommit(t, r, "commit")
	if _, _, err := n.Propose(c.context(), commit); !errors.As(err, &malformed) {
		t.Fatalf("before its format a Commit in pieces got %v", err)
	}
	if n := piecesInLog(t, n.replica(1)); n != 0 {
		t.Errorf("%d pieces got into the log, where a program of that format would stop at them", n)
	}
	settings.Format = fsm.FormatNewest
	if err := n.Change(c.context(), meta.PutSettings{Settings: settings}); err != nil {
		t.Fatal(err)
	}
	c.awaitSettings()
	r.Settings = c.settingsIn(1)
	commit = largeCommit(t, r, "commit")
	if outcome, _ := propose(t, c, "n1", commit); outcome.(fsm.Accepted).Epoch != 1 {
		t.Errorf("in its format it got %+v", outcome)
	}
	if piecesInLog(t, n.replica(1)) == 0 {
		t.Error("it got into the log without pieces")
	}
	commit.Commit = make([]byte, fsm.ObjectBytesMax)
	if _, _, err := n.Propose(c.context(), commit); !errors.As(err, &malformed) {
		t.Errorf("a Commit that is too large got %v", err)
	}
}

// A command that names pieces takes its entry for itself.
func TestNamingFillsItsEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		p := newProposer(log, newHubTime(fakeClock()))
		named := fsm.ApplyPieces{Count: 5, Bytes: 1 << 20, Kind: fsm.KindAcceptCommit}
		for _, command := range []fsm.Command{fsm.Fence{}, named, fsm.Fence{}, fsm.Fence{}, named, named} {
			mustPropose(t, p, command)
		}
		time.Sleep(2 * gatherWindow)
		synctest.Wait()
		for i, e := range log.sent() {
			for _, command := range e.Commands {
				if _, yes := command.(fsm.ApplyPieces); yes && len(e.Commands) > 1 {
					t.Errorf("entry %d has %d commands", i, len(e.Commands))
				}
			}
			log.land(i)
		}
		p.close()
	})
}
