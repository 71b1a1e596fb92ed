package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// TestLaggingFollowerInstallsASnapshot brings a replica up to date whose next entry nobody has in the log any more.
func TestLaggingFollowerInstallsASnapshot(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, func(config *Config) {
		config.Raft.SnapshotBytes = 32 << 10
		config.Raft.SnapshotCheck = time.Hour // by bytes only
		config.Raft.TrailingLogs = 1
	})
	c.awaitSettings()
	r := c.openRoom("n1", "lagging")
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	lagging := "n1"
	if c.leaderNode(shard.ID) == lagging {
		lagging = "n2"
	}
	applied := c.nodes[lagging].replica(shard.ID).machine.applied.current()
	c.stop(lagging)
	leader := c.nodes[c.leaderNode(shard.ID)].replica(shard.ID)
	for i := 0; ; i++ {
		message := r.Message(strings.Repeat(fmt.Sprint("message ", i, " "), 1000), r.Epoch, user(t, "alice"))
		if outcome, _ := propose(t, c, leader.node.ID(), message); outcome.(fsm.Accepted).Epoch != r.Epoch {
			t.Fatalf("message: %#v", outcome)
		}
		if first, err := leader.stores.log.FirstIndex(); err != nil {
			t.Fatal(err)
		} else if first > applied+2 {
			break
		}
		if i > 1000 {
			t.Fatal("the log is never truncated")
		}
	}
	n := c.start(lagging)
	c.digests(lagging)
	through, err := n.replica(shard.ID).machine.state.RestoredThrough()
	if err != nil || through <= applied {
		t.Errorf("no state was fetched: restored through %d, %v", through, err)
	}
	if inbox := c.wholeInbox(lagging); len(inbox) == 0 {
		t.Error("the inbox at the restored replica is empty")
	}
	// What was restored survives a restart of its own.
	c.stop(lagging)
	c.start(lagging)
	c.digests(lagging)
	left, err := filepath.Glob(filepath.Join(c.configs[lagging].DataDir, "staging", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in staging: %v, %v", left, err)
	}
}

// TestNodeWithoutReplica serves requests through others.
func TestNodeWithoutReplica(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	fourth := c.add("n4")
	c.join(fourth, c.nodes["n2"].ClusterAddr())
	if len(fourth.View().Replicas) > 0 {
		t.Fatalf("the fourth node has replicas: %+v", fourth.View().Replicas)
	}
	r := c.openRoom("n4", "remote")
	commit := r.Commit(fsmtest.Next{Label: "remote"})
	if outcome, _ := propose(t, c, "n4", commit); outcome.(fsm.Accepted).Epoch != 1 {
		t.Errorf("a Commit: %#v", outcome)
	}
	if outcome, err := fourth.Do(c.context(), describe(t, "remote")); err != nil || outcome.(fsm.RoomDescribed).Epoch != 1 {
		t.Errorf("described: %#v, %v", outcome, err)
	}
	if outcome, err := fourth.Do(c.context(), describe(t, "nowhere")); err != nil || outcome != (fsm.NoSuchRoom{}) {
		t.Errorf("a room that is not: %#v, %v", outcome, err)
	}
	if inbox := c.wholeInbox("n4"); len(inbox) == 0 {
		t.Error("the inbox is empty")
	}
	shard, _ := fourth.Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	c.stop(c.leaderNode(shard.ID))
	if again, _ := propose(t, c, "n4", commit); again.(fsm.Accepted).Epoch != 1 {
		t.Errorf("a retry after the leader stopped: %#v", again)
	}
}

// TestQuarantine starts a node whose state is ahead of its log: the replica must stay down, and the rest go on.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "damaged")
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	commit := r.Commit(fsmtest.Next{Label: "kept"})
	original, _ := propose(t, c, "n1", commit)
	c.digests("n1")
	c.stop("n3")
	if err := os.WriteFile(filepath.Join(c.configs["n3"].DataDir, "groups", fmt.Sprintf("%08x", shard.ID), quarantineName), []byte("a test"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := c.start("n3")
	if n.replica(shard.ID) != nil {
		t.Fatal("a quarantined replica runs")
	}
	for _, view := range n.View().Replicas {
		if quarantined := view.Quarantined != ""; quarantined != (view.Shard == shard.ID) || view.Running == quarantined {
			t.Errorf("%+v", view)
		}
	}
	if again, _ := propose(t, c, "n3", commit); again != original {
		t.Errorf("through the others: %#v, not %#v", again, original)
	}
}

// TestDecodersRefuse: what a manifest or an answer says is checked before it is used.
func TestDecodersRefuse(t *testing.T) {
	m := manifest{group: 7, index: 9, source: "n1"}
	if back, err := decodeManifest(m.encode()); err != nil || back != m {
		t.Errorf("manifest: %+v, %v", back, err)
	}
	if _, err := decodeManifest(append(m.encode(), 0)); err == nil {
		t.Error("a manifest with trailing bytes was read")
	}
	for _, a := range []answer{
		{code: answerOutcome, index: 5, outcome: fsm.Done{}},
		{code: answerNotLeader, leader: "n2"}, {code: answerNotProposed}, {code: answerUnknown}, {code: answerOverloaded},
		{code: answerMalformed, fault: mls.MalformedError{Field: "f", Reason: "r"}}, {code: answerNoReplica}, {code: answerFault},
	} {
		raw := a.encode()
		if back, err := decodeAnswer(raw); err != nil || back != a {
			t.Errorf("%+v came back as %+v, %v", a, back, err)
		}
		if reply := received(raw[:len(raw)-1], true, nil); reply.code != answerUnknown {
			t.Errorf("an answer cut short counts as %+v", reply)
		}
	}
	if _, err := decodeAnswer([]byte{answerVersion, 99}); err == nil {
		t.Error("an unknown code was read")
	}
	if reply := received(nil, false, os.ErrDeadlineExceeded); reply.code != answerNotProposed {
		t.Errorf("a call that was not sent counts as %+v", reply)
	}
	if _, err := unseal([][32]byte{{}}, []byte{sealedVersion2}, ""); err == nil {
		t.Error("a short secret was opened")
	}
}

func TestOutboxIndexKeepsWhatCameMeanwhile(t *testing.T) {
	x := newOutboxIndex()
	destination := provider(t, "b.example")
	ref := fsm.OutboxRef{Slot: 3, Destination: destination}
	x.add([]fsm.OutboxRef{ref}, []fsm.OutboxRef{ref})
	mark := x.mark()
	x.add([]fsm.OutboxRef{ref}, []fsm.OutboxRef{ref}) // while a reader looks at an older state
	x.emptied(destination, ref.Slot, mark)
	x.calmed(destination, ref.Slot, mark)
	if len(x.slots(destination)) != 1 || len(x.slotsFrom(destination, true, 0)) != 1 {
		t.Error("an addition was forgotten")
	}
	x.calmed(destination, ref.Slot, x.mark())
	if len(x.slots(destination)) != 1 || len(x.slotsFrom(destination, true, 0)) != 0 {
		t.Error("an outbox without handshakes is not one without items")
	}
	x.emptied(destination, ref.Slot, x.mark())
	if got := x.destinations(); len(got) != 0 {
		t.Errorf("still waiting: %v", got)
	}
	x.emptied(mimi.Provider{}, ref.Slot, mark)
}
