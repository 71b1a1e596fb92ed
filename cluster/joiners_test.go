package cluster

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

// joiners are users who want to join one room by one code, each through any node. Whoever gets the lease commits.
type joiners struct {
	t     *testing.T
	c     *testCluster
	nodes []*Node // those of the beginning; some may have stopped
	code  fsm.CodeID

	mu      sync.Mutex // owns what is below
	changed *sync.Cond // the room's epoch
	room    *fsmtest.Room
	leases  []lent
	commits []fsm.Accepted
}

// lent is a lease as its holder heard of it.
type lent struct {
	fsm.LeaseGranted
	to mimi.UserURI
}

// decide proposes at one node after the other until one knows the outcome: a command is recognised when it comes again.
func (j *joiners) decide(first int, command fsm.Command) fsm.Outcome {
	for i := 0; ; i++ {
		outcome, _, err := j.nodes[(first+i)%len(j.nodes)].Propose(j.c.context(), command)
		if err == nil {
			return outcome
		}
		if i > 20 {
			j.t.Errorf("%T is never decided: %v", command, err)
			return nil
		}
	}
}

func (j *joiners) ask(at int, who mimi.UserURI) fsm.TakeLease {
	j.mu.Lock()
	defer j.mu.Unlock()
	return fsm.TakeLease{Room: j.room.URI, Requester: who, Client: "phone", LeaseGrounds: fsm.LeaseGrounds{
		Peer: who.Provider(), Right: fsm.LeaseByCode, GroupContextHash: j.room.ContextHash(), Code: fsm.PresentedCode{ID: j.code, Known: true},
	}}
}

// commit is a Commit by which a user joins in the present epoch.
func (j *joiners) commit(who mimi.UserURI) fsm.AcceptCommit {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.room.Commit(fsmtest.Next{Label: who.String(), Participants: append(slices.Clone(j.room.Participants), fsm.Participant{User: who, Role: 2})})
	c.Sender, c.JoiningCode = who, j.code
	return c
}

func (j *joiners) accepted(c fsm.AcceptCommit, at fsm.Accepted) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.room.Advance(c)
	j.commits = append(j.commits, at)
	j.changed.Broadcast()
}

// join goes on until the user is in, and says whether it is.
func (j *joiners) join(at int, who mimi.UserURI) bool {
	for {
		asked := j.ask(at, who)
		switch o := j.decide(at, asked).(type) {
		case fsm.LeaseGranted:
			j.mu.Lock()
			j.leases = append(j.leases, lent{o, who})
			j.mu.Unlock()
			c := j.commit(who)
			if accepted, ok := j.decide(at, c).(fsm.Accepted); ok {
				j.accepted(c, accepted)
				return true
			}
		case fsm.LeaseHeld, fsm.ReadSetChanged: // until whoever holds it has joined
			j.mu.Lock()
			for j.room.ContextHash() == asked.GroupContextHash {
				j.changed.Wait()
			}
			j.mu.Unlock()
		default:
			j.t.Errorf("%s got %#v", who, o)
			return false
		}
	}
}

// openJoining is a room with a code for so many users.
func openJoining(t *testing.T, c *testCluster, name string, uses uint32) *joiners {
	t.Helper()
	j := &joiners{t: t, c: c, code: fsm.CodeIDOf([]byte(name)), room: c.openRoom("n1", name)}
	j.changed = sync.NewCond(&j.mu)
	for _, id := range []string{"n1", "n2", "n3"} {
		j.nodes = append(j.nodes, c.nodes[id])
	}
	made := j.decide(1, fsm.CreateJoiningCode{
		Room: j.room.URI, ID: j.code, Creator: user(t, "alice"), Role: 2, Uses: uses, GroupContextHash: j.room.ContextHash(),
	})
	if _, ok := made.(fsm.JoiningCodeMade); !ok {
		t.Fatalf("no code: %#v", made)
	}
	return j
}

// TestJoinersContend lets 32 users of one code contend for leases through three nodes, of which the one that leads stops on the way.
// No two have the GroupInfo at a time, all get in, and a 33rd does not.
func TestJoinersContend(t *testing.T) {
	t.Parallel()
	const count = 32
	c := threeNodes(t, nil)
	c.awaitSettings()
	j := openJoining(t, c, "contended", count)
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(j.room.URI))
	leader := c.leaderNode(shard.ID)
	var wait sync.WaitGroup
	for i := range count {
		wait.Go(func() { j.join(i, user(t, fmt.Sprint("joiner", i))) })
	}
	j.mu.Lock()
	for len(j.commits) < count/4 {
		j.changed.Wait()
	}
	j.mu.Unlock()
	c.stop(leader)
	wait.Wait()

	if len(j.commits) != count || len(j.room.Participants) != count+1 {
		t.Errorf("%d Commits, %d participants", len(j.commits), len(j.room.Participants))
	}
	j.checkLeases()
	late := j.decide(0, j.ask(0, user(t, "late")))
	if _, refused := late.(fsm.NotAllowed); !refused {
		t.Errorf("one more than the code is for got %#v", late)
	}
	c.start(leader)
	c.digests(leader)
}

// checkLeases compares each lease with the next: that one begins at the end of the first, or behind a Commit that came after its
// beginning.
func (j *joiners) checkLeases() {
	j.t.Helper()
	slices.SortFunc(j.leases, func(a, b lent) int { return int(a.Token) - int(b.Token) })
	for i, next := range j.leases[1:] {
		held, begun := j.leases[i], next.UntilMillis-fsm.DefaultSettings().LeaseDefaultMillis
		ended := begun >= held.UntilMillis || slices.ContainsFunc(j.commits, func(c fsm.Accepted) bool {
			return c.Epoch == held.Epoch+1 && c.Millis <= begun
		})
		if next.Token == held.Token && next.to != held.to || next.Token != held.Token && !ended {
			j.t.Errorf("%+v is lent beside %+v", next, held)
		}
	}
}

// TestSingleUseCodeIsRaced has two users present a single-use code and commit in one epoch, at two nodes. One joins; the other does not
// in the next epoch either.
func TestSingleUseCodeIsRaced(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	for round := range 5 {
		j := openJoining(t, c, fmt.Sprint("raced", round), 1)
		rivals := []mimi.UserURI{user(t, "erin"), user(t, "frank")}
		var commits []fsm.AcceptCommit
		for i, who := range rivals {
			switch o := j.decide(i, j.ask(i, who)).(type) {
			case fsm.LeaseGranted, fsm.LeaseHeld:
			default:
				t.Fatalf("%s got %#v", who, o)
			}
			commits = append(commits, j.commit(who))
		}
		outcomes := make([]fsm.Outcome, len(rivals))
		var wait sync.WaitGroup
		for i := range rivals {
			wait.Go(func() { outcomes[i] = j.decide(i+1, commits[i]) })
		}
		wait.Wait()
		winner := slices.IndexFunc(outcomes, func(o fsm.Outcome) bool { _, ok := o.(fsm.Accepted); return ok })
		if winner < 0 {
			t.Fatalf("nobody joined: %#v", outcomes)
		}
		if _, wrong := outcomes[1-winner].(fsm.WrongEpoch); !wrong {
			t.Errorf("the loser got %#v", outcomes[1-winner])
		}
		j.accepted(commits[winner], outcomes[winner].(fsm.Accepted))
		again := j.decide(0, j.commit(rivals[1-winner]))
		if refused, ok := again.(fsm.NotAllowed); !ok || refused.Reason == "" {
			t.Errorf("the loser joins in the next epoch: %#v", again)
		}
		if retry := j.decide(2, commits[winner]); retry != outcomes[winner] {
			t.Errorf("the winner's retry got %#v", retry)
		}
	}
	c.digests("n1")
}
