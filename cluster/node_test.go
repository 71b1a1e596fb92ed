package cluster

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// propose is Propose that must succeed.
func propose(t testing.TB, c *testCluster, at string, command fsm.Command) (fsm.Outcome, uint64) {
	t.Helper()
	outcome, index, err := c.nodes[at].Propose(c.context(), command)
	if err != nil {
		t.Fatalf("%T at %s: %v", command, at, err)
	}
	return outcome, index
}

// openRoom creates a room through the log.
func (c *testCluster) openRoom(at, name string) *fsmtest.Room {
	c.t.Helper()
	uri := room(c.t, name)
	alice := user(c.t, "alice")
	r := fsmtest.NewRoom(uri, 0, []mimi.UserURI{alice}, []mimi.Provider{provider(c.t, "a.example"), provider(c.t, "b.example")})
	outcome, _ := propose(c.t, c, at, r.Create())
	if _, ok := outcome.(fsm.Accepted); !ok {
		c.t.Fatalf("create %s: %#v", name, outcome)
	}
	shard, _ := c.nodes[at].Map().ShardOfSlot(fsm.SlotOfRoom(uri))
	r.Incarnation = c.incarnationIn(shard.ID, uri)
	r.Settings = c.settingsIn(shard.ID)
	return r
}

// incarnationIn is a room's in a shard. It is not the index of the answer, where the room was asked for again.
func (c *testCluster) incarnationIn(shard fsm.ShardID, uri mimi.RoomURI) (incarnation uint64) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("the leader of shard %d has %s", shard, uri), func() bool {
		view, err := c.nodes[c.leaderOf(shard)].replica(shard).view()
		if err != nil {
			return false
		}
		found, known, err := fsm.ReadRoom(view, uri)
		incarnation = found.Incarnation
		return errors.Join(err, view.Close()) == nil && known
	})
	return incarnation
}

// upToDate is a node whose replica of a shard has applied all that was decided before it is asked for. One that leads need not have: it may
// have been elected just now.
func (c *testCluster) upToDate(shard fsm.ShardID) (id string) {
	c.t.Helper()
	_, index, err := c.anyNode().ProposeTo(c.context(), shard, fsm.Fence{})
	if err != nil {
		c.t.Fatalf("a fence in shard %d: %v", shard, err)
	}
	eventually(c.t, fmt.Sprintf("a replica of shard %d has applied %d", shard, index), func() bool {
		for other, n := range c.nodes {
			if r := n.replica(shard); r != nil && r.machine.applied.current() >= index {
				id = other
				return true
			}
		}
		return false
	})
	return id
}

// settingsIn is the settings version that is in force in a shard.
func (c *testCluster) settingsIn(shard fsm.ShardID) (version uint64) {
	c.t.Helper()
	view, err := c.nodes[c.upToDate(shard)].replica(shard).view()
	if err != nil {
		c.t.Fatal(err)
	}
	_, version, err = fsm.ReadSettings(view)
	if err := errors.Join(err, view.Close()); err != nil {
		c.t.Fatal(err)
	}
	return version
}

// awaitSettings waits until every shard has the map's settings, after which a room's read set stays true.
func (c *testCluster) awaitSettings() {
	c.t.Helper()
	eventually(c.t, "the settings have entered", func() bool {
		current := c.newestMap()
		_, version := current.Settings()
		return !slices.ContainsFunc(current.Shards(), func(shard meta.Shard) bool {
			return shard.State != meta.ShardRetired && c.settingsIn(shard.ID) != version
		})
	})
}

// leaderNode is the node that leads a shard.
func (c *testCluster) leaderNode(shard fsm.ShardID) string {
	c.t.Helper()
	var leader string
	eventually(c.t, fmt.Sprintf("shard %d has a leader", shard), func() bool {
		for id, n := range c.nodes {
			if r := n.replica(shard); r != nil && r.leads() {
				leader = id
				return true
			}
		}
		return false
	})
	return leader
}

// digests waits until all replicas of each shard have the same digest, and returns them.
func (c *testCluster) digests(at string) map[fsm.ShardID][32]byte {
	c.t.Helper()
	all := make(map[fsm.ShardID][32]byte)
	n := c.nodes[at]
	for _, shard := range n.Map().Shards() {
		eventually(c.t, fmt.Sprintf("equal digests of shard %d", shard.ID), func() bool {
			digests, err := n.Digest(c.context(), shard.ID)
			if err != nil {
				return false
			}
			for _, d := range digests {
				if d.Err != nil || d.Index != digests[0].Index {
					return false
				}
				if d.Digest != digests[0].Digest {
					c.t.Fatalf("shard %d at index %d: %s and %s differ", shard.ID, d.Index, d.Node, digests[0].Node)
				}
			}
			all[shard.ID] = digests[0].Digest
			return true
		})
	}
	return all
}

func TestThreeNodesDecide(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "everywhere")
	for i, id := range []string{"n1", "n2", "n3", "n1"} {
		commit := r.Commit(fsmtest.Next{Label: fmt.Sprint("commit ", i)})
		outcome, _ := propose(t, c, id, commit)
		accepted, ok := outcome.(fsm.Accepted)
		if !ok || accepted.Epoch != r.Epoch+1 {
			t.Fatalf("commit at %s: %#v", id, outcome)
		}
		for _, other := range []string{"n1", "n2", "n3"} {
			if again, _ := propose(t, c, other, commit); again != outcome {
				t.Errorf("the retry at %s got %#v, not %#v", other, again, outcome)
			}
		}
		loser := r.Commit(fsmtest.Next{Label: "too late"})
		r.Advance(commit)
		outcome, _ = propose(t, c, id, loser)
		if wrong, ok := outcome.(fsm.WrongEpoch); !ok || wrong.Current != r.Epoch || wrong.Winner != commit.CommitHash {
			t.Errorf("a second Commit for the epoch: %#v", outcome)
		}
	}
	c.digests("n2")
	t.Run("requests", func(t *testing.T) { testRequests(t, c, r) })
	t.Run("outbox", func(t *testing.T) { testOutbox(t, c, r) })
	t.Run("status", func(t *testing.T) { testStatus(t, c) })
	t.Run("hub keys", func(t *testing.T) { testHubKeys(t, c) })
	t.Run("map", func(t *testing.T) { testMapChanges(t, c) })
}

// testRequests asks every node; a *no* needs a fence wherever it is asked.
func testRequests(t *testing.T, c *testCluster, r *fsmtest.Room) {
	for id, n := range c.nodes {
		known, err := judge.NewDescribeRoom(r.URI)
		if err != nil {
			t.Fatal(err)
		}
		outcome, err := n.Do(c.context(), known)
		if described, ok := outcome.(fsm.RoomDescribed); err != nil || !ok || described.GroupID != r.GroupID {
			t.Errorf("%s describes the room: %#v, %v", id, outcome, err)
		}
		unknown, err := judge.NewDescribeRoom(room(t, "nowhere"))
		if err != nil {
			t.Fatal(err)
		}
		if outcome, err := n.Do(c.context(), unknown); err != nil || outcome != (fsm.NoSuchRoom{}) {
			t.Errorf("%s on a room that is not: %#v, %v", id, outcome, err)
		}
	}
}

// testOutbox reads what the room's Commits made for both destinations, and acknowledges it. Who leads, and who delivers, may change on the way.
func testOutbox(t *testing.T, c *testCluster, r *fsmtest.Room) {
	local, peer := provider(t, "a.example"), provider(t, "b.example")
	slot := fsm.SlotOfRoom(r.URI)
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(slot)
	headsOf := func(n *Node, busy bool) []fsm.OutboxItem {
		heads, err := n.Heads(c.context(), peer, func(mimi.RoomURI) bool { return busy }, fsm.OutboxPage{Rooms: 10, PerRoom: 1})
		if err != nil {
			t.Fatal(err)
		}
		return heads
	}
	var deliverer *Node
	eventually(t, "a follower that keeps up delivers, and the leader does not", func() bool {
		leader := c.nodes[c.leaderNode(shard.ID)]
		deliverer = c.deliverer(slot, peer)
		heads := headsOf(deliverer, false)
		return leader != deliverer && slices.Equal(deliverer.Waiting(), []mimi.Provider{peer}) &&
			len(heads) == 1 && heads[0].Room == r.URI && heads[0].Sequence == 1 && len(headsOf(leader, false)) == 0 && !leader.Delivers(slot, peer)
	})
	if heads := headsOf(deliverer, true); len(heads) > 0 {
		t.Errorf("heads of a busy room: %v", heads)
	}
	var items uint64
	eventually(t, "the leader knows what waits", func() bool {
		backlog, err := c.nodes[c.leaderNode(shard.ID)].Backlog(c.context())
		waits := backlog[peer]
		items = waits.Items
		return err == nil && waits.Items > 0 && waits.Items == backlog[local].Items && waits.Rooms == 1 && waits.Bytes > 0 && waits.OldestMillis > 0
	})
	for id := range c.nodes {
		eventually(t, "the inbox at "+id+" begins at its beginning", func() bool {
			inbox, err := c.nodes[id].Inbox(c.context(), 3)
			return err == nil && len(inbox) == 3 && inbox[0].Sequence == 1 && inbox[2].Sequence == 3
		})
	}
	var sequences []uint64
	for sequence := range items {
		sequences = append(sequences, sequence+1)
	}
	propose(t, c, "n2", fsm.Acknowledge{At: slot, Destination: local, Sequences: sequences})
	for id := range c.nodes {
		if inbox := c.wholeInbox(id); len(inbox) > 0 {
			t.Errorf("inbox at %s after the acknowledgement: %v", id, inbox)
		}
	}
	acknowledge, err := judge.NewAcknowledge(slot, peer, sequences)
	if err != nil {
		t.Fatal(err)
	}
	if outcome, err := deliverer.Do(c.context(), acknowledge); err != nil || outcome != (fsm.Done{}) {
		t.Fatalf("%#v, %v", outcome, err)
	}
	if heads := headsOf(deliverer, false); len(heads) > 0 {
		t.Errorf("heads after the acknowledgement: %v", heads)
	}
	if waiting := deliverer.Waiting(); len(waiting) > 0 {
		t.Errorf("waiting after the acknowledgement: %v", waiting)
	}
}

// testStatus waits until all is as it is to be: every replica runs, votes and is heard of, and no node leads two shards of three nodes.
func testStatus(t *testing.T, c *testCluster) {
	var status Status
	defer func() {
		if t.Failed() {
			t.Logf("%+v", status)
		}
	}()
	eventuallyWithin(t, 2*patience, "n3 sees all three nodes, which all vote, and share the leads", func() bool {
		var err error
		status, err = c.nodes["n3"].Status(c.context())
		if err != nil || len(status.Nodes) != 3 || len(status.Shards) != 2 || status.Meta.Leader == "" || status.Shards[0].Leader == status.Shards[1].Leader {
			return false
		}
		return !slices.ContainsFunc(status.Nodes, func(n NodeStatus) bool {
			return n.Error != "" || len(n.View.Replicas) != 2 || !n.View.Meta.Voter
		}) && !slices.ContainsFunc(status.Shards, func(s ShardStatus) bool {
			return s.Leader == "" || slices.ContainsFunc(s.Replicas, func(r ReplicaStatus) bool { return !r.Running || !r.Voter || r.Quarantined != "" })
		})
	})
}

func testHubKeys(t *testing.T, c *testCluster) {
	for _, scheme := range hubSchemes {
		var public []byte
		for id, n := range c.nodes {
			key, sender, found := n.HubSigner(scheme)
			if !found {
				t.Fatalf("%s has no key of scheme %d", id, scheme)
			}
			if public == nil {
				public = key.Public()
			}
			signature, err := key.SignWithLabel("Test", []byte("content"))
			if err != nil || !scheme.VerifyWithLabel(public, "Test", []byte("content"), signature) {
				t.Errorf("%s signs otherwise with scheme %d: %v", id, scheme, err)
			}
			if !slices.Equal(sender.SignatureKey, public) {
				t.Errorf("%s: the external sender has another key", id)
			}
		}
		key, _ := c.nodes["n1"].Map().HubKey(scheme)
		if _, err := unseal([][32]byte{{3}}, key.Sealed, c.nodes["n1"].sealContext(key.Public)); !errors.Is(err, errSealed) {
			t.Errorf("another seal key: %v", err)
		}
	}
}

func testMapChanges(t *testing.T, c *testCluster) {
	peer := meta.Peer{Domain: provider(t, "b.example"), Domains: []mimi.Provider{provider(t, "b.example")}}
	for id, n := range c.nodes {
		if err := n.PutPeer(c.context(), peer); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		if _, found := n.Peer(peer.Domain); !found {
			t.Errorf("%s does not see its own change", id)
		}
	}
	var refused *RefusedError
	taken := meta.Peer{Domain: provider(t, "a.example"), Domains: []mimi.Provider{provider(t, "a.example")}}
	if err := c.nodes["n2"].PutPeer(c.context(), taken); !errors.As(err, &refused) {
		t.Errorf("a peer of our own name: %v", err)
	}
	if err := c.nodes["n2"].Join(c.context(), c.nodes["n3"].ClusterAddr()); err != nil {
		t.Errorf("joining again: %v", err)
	}
}

// TestOneCommitWinsAnEpoch lets all nodes propose for the same epoch at the same time.
func TestOneCommitWinsAnEpoch(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "race")
	for round := range 5 {
		const racers = 24
		commits := make([]fsm.AcceptCommit, racers)
		outcomes := make([]fsm.Outcome, racers)
		var wait sync.WaitGroup
		for i := range racers {
			commits[i] = r.Commit(fsmtest.Next{Label: fmt.Sprint(round, " racer ", i)})
			n := c.nodes[[]string{"n1", "n2", "n3"}[i%3]]
			wait.Go(func() {
				var err error
				if outcomes[i], _, err = n.Propose(c.context(), commits[i]); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		winner := -1
		for i, outcome := range outcomes {
			if _, ok := outcome.(fsm.Accepted); ok {
				if winner >= 0 {
					t.Fatalf("round %d: %d and %d both won", round, winner, i)
				}
				winner = i
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won: %v", round, outcomes)
		}
		for i, outcome := range outcomes {
			if wrong, ok := outcome.(fsm.WrongEpoch); i != winner && (!ok || wrong.Winner != commits[winner].CommitHash || wrong.Current != r.Epoch+1) {
				t.Errorf("round %d: loser %d was told %#v", round, i, outcome)
			}
		}
		r.Advance(commits[winner])
	}
	c.digests("n1")
}

func TestLeaderStops(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n2", "failover")
	commit := r.Commit(fsmtest.Next{Label: "before"})
	original, _ := propose(t, c, "n3", commit)
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI))
	stopped := c.leaderNode(shard.ID)
	c.stop(stopped)
	for id := range c.nodes {
		if again, _ := propose(t, c, id, commit); again != original {
			t.Errorf("the retry at %s got %#v, not %#v", id, again, original)
		}
		loser := r.Commit(fsmtest.Next{Label: "other"})
		outcome, _ := propose(t, c, id, loser)
		if wrong, ok := outcome.(fsm.WrongEpoch); !ok || wrong.Winner != commit.CommitHash {
			t.Errorf("another Commit at %s: %#v", id, outcome)
		}
	}
	r.Advance(commit)
	for id := range c.nodes {
		next := r.Commit(fsmtest.Next{Label: "after " + id})
		if outcome, _ := propose(t, c, id, next); outcome.(fsm.Accepted).Epoch != r.Epoch+1 {
			t.Errorf("a Commit at %s after the failover: %#v", id, outcome)
		}
		r.Advance(next)
	}
	c.start(stopped)
	c.digests(stopped)
}

func TestAllNodesRestart(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "restart")
	commit := r.Commit(fsmtest.Next{Label: "before"})
	original, _ := propose(t, c, "n1", commit)
	r.Advance(commit)
	before := c.digests("n1")
	names := []string{"n1", "n2", "n3"}
	for _, id := range names {
		c.stop(id)
	}
	for _, id := range names {
		c.start(id)
	}
	// The digest proposes a fence, which moves hub time and nothing else.
	after := c.digests("n2")
	for shard := range before {
		if before[shard] == after[shard] {
			t.Errorf("shard %d: hub time stood still", shard)
		}
	}
	if again, _ := propose(t, c, "n3", commit); again != original {
		t.Errorf("the retry got %#v, not %#v", again, original)
	}
	next := r.Commit(fsmtest.Next{Label: "after"})
	if outcome, _ := propose(t, c, "n2", next); outcome.(fsm.Accepted).Epoch != r.Epoch+1 {
		t.Errorf("after the restart: %#v", outcome)
	}
}

// TestNoQuorum asks the last node that is left: what it cannot decide it must not deny.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "lost")
	c.digests("n1")
	c.stop("n2")
	c.stop("n3")
	n := c.nodes["n1"]
	_, _, err := n.Propose(shortly(t), r.Commit(fsmtest.Next{Label: "in vain"}))
	if !errors.Is(err, fsm.ErrNotProposed) && !errors.Is(err, fsm.ErrUnknownOutcome) {
		t.Errorf("a Commit: %v", err)
	}
	if outcome, err := n.Do(shortly(t), describe(t, "nowhere")); !errors.Is(err, fsm.ErrNotProposed) && !errors.Is(err, fsm.ErrUnknownOutcome) {
		t.Errorf("a no without a fence: %#v, %v", outcome, err)
	}
	c.start("n2")
	if outcome, _ := propose(t, c, "n1", r.Commit(fsmtest.Next{Label: "in vain"})); outcome.(fsm.Accepted).Epoch != 1 {
		t.Errorf("the same Commit with a quorum: %#v", outcome)
	}
}

func TestOneNodeAlone(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, func(config *Config) { config.LogStore = BoltLogs })
	n := c.add("only")
	if _, err := n.Do(shortly(t), describe(t, "early")); !errors.Is(err, fsm.ErrNotProposed) {
		t.Errorf("before there is a cluster: %v", err)
	}
	seed := make([]byte, 32)
	options := InitOptions{
		Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1,
		HubKeys: []HubKeyImport{{Scheme: mls.Ed25519, Private: seed, DevelopmentOnly: true}},
	}
	for range 2 { // Init can be repeated
		if err := n.Init(c.context(), options); err != nil {
			t.Fatal(err)
		}
	}
	c.awaitActive(1)
	if key, _ := n.Map().HubKey(mls.Ed25519); !key.DevelopmentOnly || len(n.Map().HubKeys()) != len(hubSchemes) {
		t.Errorf("hub keys: %+v", n.Map().HubKeys())
	}
	c.awaitSettings()
	r := c.openRoom("only", "alone")
	shard, _ := n.Map().Shard(1)
	commands, _, err := n.replica(1).duties(shard, true)
	if err != nil || len(commands) != 1 || commands[0] != (fsm.Sweep{Max: sweepMax}) {
		t.Errorf("the duties of a leader whose shard holds a room: %v, %v", commands, err)
	}
	c.stop("only")
	c.start("only")
	if outcome, err := c.nodes["only"].Do(c.context(), describe(t, "alone")); err != nil || outcome.(fsm.RoomDescribed).Room != r.URI {
		t.Errorf("after the restart: %#v, %v", outcome, err)
	}
}

func describe(t *testing.T, name string) judge.Request {
	t.Helper()
	request, err := judge.NewDescribeRoom(room(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return request
}
