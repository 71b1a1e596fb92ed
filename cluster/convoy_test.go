package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

// follower is a node that does not lead the room's shard, and who does.
func (c *testCluster) follower(r *fsmtest.Room) (n *Node, shard fsm.ShardID, leader string) {
	c.t.Helper()
	place, _ := c.anyNode().Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	leader = c.leaderNode(place.ID)
	for id, n := range c.nodes {
		if id != leader {
			return n, place.ID, leader
		}
	}
	c.t.Fatal("there is no follower")
	return nil, 0, ""
}

func messages(t testing.TB, r *fsmtest.Room, n int) (commands []fsm.Command) {
	for i := range n {
		commands = append(commands, r.Message(fmt.Sprint("message ", i), r.Epoch, user(t, "alice")))
	}
	return commands
}

// Commands of many callers share calls; each gets an answer of its own, also where another's is no acceptance.
func TestConvoy(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "convoy")
	n, shard, leader := c.follower(r)
	var wait sync.WaitGroup
	for i, command := range messages(t, r, 200) {
		wait.Go(func() {
			commands := []fsm.Command{command}
			if i%3 == 0 {
				commands = append(commands, r.Message(fmt.Sprint("early ", i), r.Epoch+1, user(t, "alice")), command)
			}
			replies := n.convoys.ask(c.context(), leader, shard, commands)
			for ctx := c.context(); ctx.Err() == nil && slices.ContainsFunc(replies, func(a answer) bool { return a.code != answerOutcome }); {
				place, _ := n.Map().Shard(shard) // on a slow machine another may lead meanwhile
				replies = n.ask(ctx, cmp.Or(n.leaderOf(shard), leader), place, commands)
			}
			for j, reply := range replies {
				_, refused := reply.outcome.(fsm.NotAllowed)
				_, accepted := reply.outcome.(fsm.Accepted)
				if len(replies) != len(commands) || reply.code != answerOutcome || refused != (j == 1) || accepted == (j == 1) {
					t.Errorf("message %d, part %d: %+v", i, j, reply)
				}
			}
		})
	}
	wait.Wait()
	if got, _ := c.streamOf(r.URI, provider(t, "b.example")); len(got) != 200 {
		t.Errorf("%d messages were accepted", len(got))
	}
	eventually(t, "nothing of the convoys is left", func() bool {
		n.convoys.mu.Lock()
		defer n.convoys.mu.Unlock()
		return n.convoys.bytes == 0 && len(n.convoys.to) == 0
	})
	t.Run("a leader that knows no convoys", func(t *testing.T) {
		eventually(t, "each has its answer, one by one", func() bool { // not where the lead changes meanwhile
			p := &passenger{arrived: make(chan struct{})}
			for _, command := range messages(t, r, 3) {
				p.commands = append(p.commands, fsm.EncodeCommand(command))
			}
			n.convoys.oneByOne(c.context(), convoyTarget{c.leaderNode(shard), shard}, []*passenger{p})
			return len(p.answers) == 3 && !slices.ContainsFunc(p.answers, func(a answer) bool { return !accepted(a.outcome) })
		})
	})
	t.Run("a node that does not lead", func(t *testing.T) {
		eventually(t, "it answers who does", func() bool {
			leads := c.leaderNode(shard)
			for _, other := range []string{"n1", "n2", "n3"} {
				if other == leads || other == n.ID() {
					continue
				}
				replies := n.convoys.ask(c.context(), other, shard, messages(t, r, 2))
				if len(replies) == 2 && !slices.ContainsFunc(replies, func(a answer) bool { return a.code != answerNotLeader || a.leader != leads }) {
					return true
				}
			}
			return false
		})
	})
	t.Run("nobody", func(t *testing.T) {
		for i, reply := range n.convoys.ask(c.context(), "n9", shard, messages(t, r, 2)) {
			if reply.code != answerNotProposed {
				t.Errorf("%d: %+v", i, reply)
			}
		}
	})
}

// What was not sent when its caller gives up is not proposed, and what was sent is open; a node that holds too much takes no more.
func TestConvoyLeftBehind(t *testing.T) {
	c := newConvoys(&Node{})
	r := fsmtest.NewRoom(room(t, "club"), 0, []mimi.UserURI{user(t, "alice")}, nil)
	key := convoyTarget{"n2", 1}
	c.to[key] = &convoy{calls: convoyCallsMax} // nothing more can go
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, reply := range c.ask(ctx, "n2", 1, messages(t, r, 2)) {
		if reply.code != answerNotProposed {
			t.Errorf("not sent: %+v", reply)
		}
	}
	if c.bytes != 0 || len(c.to[key].waiting) != 0 || c.to[key].bytes != 0 {
		t.Errorf("%d bytes are left", c.bytes)
	}
	sent := &passenger{sent: true, arrived: make(chan struct{})}
	if c.leave(key, sent) {
		t.Error("what was sent was taken back")
	}
	c.bytes = convoyWaitMax
	for _, reply := range c.ask(context.Background(), "n2", 1, messages(t, r, 1)) {
		if reply.code != answerOverloaded {
			t.Errorf("over the bound: %+v", reply)
		}
	}
}

// Nothing of a run is proposed behind what has to come again; a command that can never be proposed holds nothing up.
func TestRunStops(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "run")
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	large := r.Message(string(make([]byte, commandBytesMax)), 0, user(t, "alice"))
	all := messages(t, r, 2)
	codes := func(n *Node, commands ...fsm.Command) (codes []answerCode) {
		for _, reply := range n.start(c.context(), shard.ID, commands).await(c.context()) {
			codes = append(codes, reply.code)
		}
		return codes
	}
	eventually(t, "one that no entry holds holds nothing up", func() bool { // at a node that leads all the while
		got := codes(c.nodes[c.leaderNode(shard.ID)], all[0], large, all[1])
		return slices.Equal(got, []answerCode{answerOutcome, answerMalformed, answerOutcome})
	})
	eventually(t, "nothing comes behind one that is refused", func() bool {
		n := c.nodes[c.leaderNode(shard.ID)]
		n.disk.low.Store(true) // messages are refused, what makes room is not; until the disk is looked at
		defer n.disk.low.Store(false)
		got := codes(n, fsm.Sweep{Max: 1}, all[0], fsm.Sweep{Max: 1})
		return slices.Equal(got, []answerCode{answerOutcome, answerOverloaded, answerOverloaded})
	})
	for code, want := range map[answerCode]answerCode{answerUnknown: answerNotProposed, answerNotLeader: answerNotLeader, answerOverloaded: answerOverloaded} {
		if got := behind(answer{code: code}).code; got != want || !stopsRun(code) {
			t.Errorf("behind %d: %d", code, got)
		}
	}
}
