package cluster

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"parley/fsm"
)

// trailingRaft is Raft's reloadable configuration alone.
type trailingRaft struct{ config raft.ReloadableConfig }

func (r *trailingRaft) ReloadableConfig() raft.ReloadableConfig { return r.config }

func (r *trailingRaft) ReloadConfig(config raft.ReloadableConfig) error {
	r.config = config
	return nil
}

// The log is held from the offer of a snapshot on, and where a state was sent until a minute after the last user has gone.
func TestLogHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const usual, state = 10, 1 << 30
		r := &trailingRaft{raft.ReloadableConfig{TrailingLogs: usual, SnapshotThreshold: usual}}
		var h logHold
		h.open(r, 64<<20)
		holds := func(when string, want bool) {
			t.Helper()
			if held := r.config.TrailingLogs > usual; held != want {
				t.Errorf("%s the log is held: %v", when, held)
			}
		}
		grow := func(bytes uint64, full bool) {
			t.Helper()
			held, err := h.grew(bytes, full)
			if err != nil || held != (r.config.TrailingLogs > usual) || held != (r.config.SnapshotThreshold > usual) {
				t.Fatalf("held %v, with %+v, %v", held, r.config, err)
			}
		}
		use := func(done func(), err error) func() {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			return done
		}
		offered := use(h.offer())
		grow(1, false)
		holds("while a snapshot is offered", true)
		offered()
		grow(1, false)
		holds("after a snapshot was offered to nobody", false)
		offered = use(h.offer())
		sent := use(h.lend(state))
		holds("while a state is sent", true)
		sent()
		time.Sleep(10 * holdAfter)
		grow(1, false)
		holds("while the receiver writes what came", true)
		offered()
		time.Sleep(holdAfter - time.Second)
		grow(1, false)
		holds("while the receiver catches up", true)
		time.Sleep(2 * time.Second)
		grow(1, false)
		holds("after that", false)

		sent = use(h.lend(state))
		grow(state, false)
		holds("as long as the log is the shorter way", true)
		grow(1, false)
		holds("when the state is", false)
		sent()

		sent = use(h.lend(state))
		grow(1, true)
		holds("where the disk is full", false)
		sent()
	})
}

// A state takes so long to bring over that its source would drop its log several times meanwhile, and its receiver is cut off in the
// middle, while what it has goes out of date everywhere. One state is enough, nothing of it comes twice, and the rest comes from the log.
func TestOneStateIsEnoughForABusyShard(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	links := map[string]*link{"n1": newLink(), "n2": newLink(), "n3": newLink()}
	c := threeNodes(t, func(config *Config) {
		config.Network = links[config.Credentials.NodeID()]
		config.Raft.SnapshotBytes, config.Raft.SnapshotCheck, config.Raft.TrailingLogs = 32<<10, time.Hour, 4
		config.StateRate = 3 * paceStep                                               // slow beside a snapshot for every message
		config.Raft.Heartbeat, config.Raft.LeaderLease = 5*time.Second, 4*time.Second // another leader would be another source, with another view
	})
	c.awaitSettings()
	r := c.openRoom("n1", "busy")
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	away := "n1"
	if c.leaderNode(shard.ID) == away {
		away = "n2"
	}
	alice := user(t, "alice")
	through := c.nodes["n3"] // not looked up by the writer, who may outlive a test that fails
	put := func(i int) bool {
		message := r.Message(strings.Repeat(fmt.Sprint("message ", i, " "), 3000), r.Epoch, alice)
		return settled(through, message) == nil
	}
	c.stop(away)
	for i := range 60 { // the disk has them compressed; what is sent is not
		if !put(i) {
			t.Fatal("a message was not taken")
		}
	}
	term := c.nodes["n3"].replica(shard.ID).raft.CurrentTerm()
	n := c.start(away)
	done := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 60; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
			if !put(i) {
				t.Error("a message was not taken")
				return
			}
		}
	})
	m := n.replica(shard.ID).machine
	eventually(t, "some of the state has come", func() bool { return m.fetching.fetched.Load() > chunkBytes*3/2 })
	links[away].cut(time.Second)
	restores := make(map[uint64]bool)
	leader := c.nodes[c.leaderNode(shard.ID)].replica(shard.ID).machine
	eventually(t, "the replica goes on from the log", func() bool {
		through, err := m.state.RestoredThrough()
		if err == nil && through > 0 {
			restores[through] = true
		}
		return len(restores) > 0 && m.applied.current()+2 >= leader.applied.current()
	})
	close(done)
	writer.Wait()
	c.digests(away)
	p := &m.fetching
	restored, err := m.state.RestoredThrough()
	if err != nil || !restores[restored] {
		t.Errorf("states that were fetched: %v, then %d, %v", restores, restored, err)
	}
	if now := n.replica(shard.ID).raft.CurrentTerm(); now != term { // the machine was too slow for its leader to stay
		t.Logf("an election came in between, from term %d to %d: what came is not counted", term, now)
	} else if len(restores) != 1 {
		t.Errorf("states that were fetched: %v", restores)
	} else if came, needed := p.fetched.Load(), p.arrived.Load()+p.reused.Load(); p.reused.Load() == 0 || came > needed+64<<10 {
		t.Errorf("%d bytes came for a state of %d", came, needed)
	}
	if view := n.View(); view.Replicas[shard.ID-1].Fetching != nil {
		t.Errorf("a fetch is shown that has ended: %+v", view.Replicas[shard.ID-1])
	}
}
