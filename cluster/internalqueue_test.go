package cluster

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// userIn is a user whose slot is in the shard of a room, or in another.
func (c *testCluster) userIn(at string, r *fsmtest.Room, same bool) mimi.UserURI {
	c.t.Helper()
	home, _ := c.nodes[at].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	for i := range 1000 {
		u := user(c.t, fmt.Sprint("user", i))
		if shard, _ := c.nodes[at].Map().ShardOfSlot(fsm.SlotOfUser(u)); (shard.ID == home.ID) == same {
			return u
		}
	}
	c.t.Fatal("every user is in one shard")
	return mimi.UserURI{}
}

// claimed uploads KeyPackages of a user's client and claims the first for the room, which records the route.
func (c *testCluster) claimed(at string, r *fsmtest.Room, u mimi.UserURI) (fsm.ClaimKeyPackages, fsm.ClaimedClient) {
	c.t.Helper()
	client, err := mimi.ParseClientURI("mimi://a.example/d/client")
	if err != nil {
		c.t.Fatal(err)
	}
	upload := fsm.UploadKeyPackages{User: u, Client: client}
	now := uint64(time.Now().Unix())
	for i := range 5 {
		upload.Packages = append(upload.Packages, fsm.KeyPackageFacts{
			Ref: mls.KeyPackageRef(fmt.Sprint(u, i)), Suite: 1, NotBefore: now - 86_400, NotAfter: now + 86_400, Message: []byte{byte(i)},
		})
	}
	if stored, _ := propose(c.t, c, at, upload); stored.(fsm.Uploaded).Stored != 5 {
		c.t.Fatalf("the upload got %+v", stored)
	}
	claim := fsm.ClaimKeyPackages{
		User: u, Requester: user(c.t, "alice"), Provider: provider(c.t, "a.example"), Room: r.URI, Suites: []mls.CipherSuite{1},
		ReplayKey: [32]byte{1}, ReplayMillis: 24 * 60 * 60 * 1000,
	}
	propose(c.t, c, at, fsm.SetConsents{User: u, Entries: []fsm.ConsentEntry{{Requester: claim.Requester, Room: r.URI, Consent: fsm.ConsentGranted}}})
	outcome, _ := propose(c.t, c, at, claim)
	got := outcome.(fsm.Claimed).Clients[0]
	propose(c.t, c, at, fsm.RecordKeyPackageRefs{Room: r.URI, Refs: []fsm.KeyPackageRoute{
		{Ref: got.Ref, Provider: u.Provider(), User: u, Client: client, NotAfter: got.NotAfter},
	}})
	return claim, got
}

// welcome commits a Welcome for KeyPackages, judged anew while settings are still coming in.
func (c *testCluster) welcome(at string, r *fsmtest.Room, refs ...mls.KeyPackageRef) {
	c.t.Helper()
	shard, _ := c.nodes[at].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	eventually(c.t, "the Welcome is accepted", func() bool {
		r.Settings = c.settingsIn(shard.ID)
		commit := r.Commit(fsmtest.Next{
			Label: fmt.Sprint("welcome ", refs), Welcomes: []fsm.WelcomeDelivery{fsmtest.Welcome(provider(c.t, "a.example"), refs...)},
		})
		outcome, _ := propose(c.t, c, at, commit)
		switch outcome := outcome.(type) {
		case fsm.Accepted:
			r.Advance(commit)
			return true
		case fsm.ReadSetChanged:
			return false
		default:
			c.t.Fatalf("the Commit got %#v", outcome)
			return false
		}
	})
}

// awaitCarried waits until nothing of a room's slot is on its way, at any node.
func (c *testCluster) awaitCarried(room mimi.RoomURI) {
	c.t.Helper()
	for id, n := range c.nodes {
		shard, _ := n.Map().ShardOfSlot(fsm.SlotOfRoom(room))
		eventually(c.t, "everything is carried, as "+id+" knows", func() bool {
			view, err := n.replica(shard.ID).view()
			if err != nil {
				c.t.Fatal(err)
			}
			carried := false
			err = fsm.InternalQueues(view, fsm.SlotOfRoom(room), func(q fsm.InternalQueue) (bool, error) {
				carried = q.Waiting == 0
				return carried, nil
			})
			if err := errors.Join(err, view.Close()); err != nil {
				c.t.Fatal(err)
			}
			return carried
		})
	}
}

// A Welcome ends the replay of the claims whose KeyPackages it names, whichever shard the user is in.
func TestWelcomeReachesTheUsersSlot(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "welcoming")
	for _, same := range []bool{true, false} {
		claim, got := c.claimed("n1", r, c.userIn("n1", r, same))
		if again, _ := propose(t, c, "n2", claim); again.(fsm.Claimed).Clients[0].Ref != got.Ref {
			t.Fatalf("before the Welcome the claim got %+v", again)
		}
		c.welcome("n3", r, got.Ref)
		c.awaitCarried(r.URI)
		if again, _ := propose(t, c, "n2", claim); again.(fsm.Claimed).Clients[0].Ref == got.Ref {
			t.Errorf("in the same shard %v: after the Welcome the claim got the KeyPackage that it named", same)
		}
	}
	c.digests("n1")
}

// The leader that accepted the Commit is gone before it has carried anything: its successor carries.
func TestNextLeaderCarries(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "successor")
	claim, got := c.claimed("n1", r, c.userIn("n1", r, false))
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	leader := c.leaderNode(shard.ID)
	duties := c.nodes[leader].replica(shard.ID)
	duties.stop() // it goes on leading, and carries nothing
	<-duties.carrier.stopped
	c.welcome(leader, r, got.Ref)
	for id, n := range c.nodes {
		if err := n.replica(shard.ID).reach(c.context(), duties.machine.applied.current(), patience); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	c.stop(leader)
	at := "n1"
	if leader == at {
		at = "n2"
	}
	c.awaitCarried(r.URI)
	if again, _ := propose(t, c, at, claim); again.(fsm.Claimed).Clients[0].Ref == got.Ref {
		t.Errorf("after the Welcome the claim got the KeyPackage that it named")
	}
}

// What was posted before a restart is carried after it.
func TestCarryingOutlivesARestart(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	n := c.add("n1")
	options := InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}
	if err := n.Init(c.context(), options); err != nil {
		t.Fatal(err)
	}
	c.awaitActive(1)
	c.awaitSettings()
	r := c.openRoom("n1", "restarted")
	_, got := c.claimed("n1", r, c.userIn("n1", r, true))
	duties := n.replica(1)
	duties.stop()
	<-duties.carrier.stopped
	c.welcome("n1", r, got.Ref)
	c.stop("n1")
	n = c.start("n1")
	eventually(t, "the replica is open", func() bool { return n.replica(1) != nil })
	c.awaitCarried(r.URI)
}
