package cluster

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// realRoom is a room of a group with signatures that hold: alice with one client, zoe with two.
type realRoom struct {
	*testCluster
	uri        mimi.RoomURI
	alice, zoe mimi.UserURI
	group      *mlstest.Group
}

// openReal creates the room. All its credentials name users.
func (c *testCluster) openReal(at, name string) *realRoom {
	c.t.Helper()
	return c.openRealWith(at, name, mls.AppDataDictionary{})
}

// openRealWith creates the room with more in its dictionary than its list.
func (c *testCluster) openRealWith(at, name string, more mls.AppDataDictionary) *realRoom {
	c.t.Helper()
	r := &realRoom{testCluster: c, uri: room(c.t, name), alice: user(c.t, "alice"), zoe: user(c.t, "zoe")}
	_, sender, found := c.nodes[at].HubSigner(mls.Ed25519)
	if !found {
		c.t.Fatal("the hub has no key")
	}
	var err error
	r.group, err = mlstest.New(mlstest.Config{
		Suite: 1, Seed: 3, Members: 3, GroupID: mls.GroupID("group of " + name),
		Extensions: mls.Extensions{}.With(mls.ExtensionExternalSenders, mls.ExternalSenders{sender}.Marshal()).
			With(mls.ExtensionAppDataDictionary, joined(listing(r.alice, r.zoe), more).Marshal()),
		Leaf: func(leaf *mls.LeafNode) {
			of := r.zoe
			if strings.HasSuffix(string(leaf.Credential.(mls.BasicCredential).Identity), "/0") {
				of = r.alice
			}
			leaf.Credential = mls.BasicCredential{Identity: []byte(of.String())}
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	info := r.group.GroupInfo()
	request, err := judge.NewCreateRoom(r.uri, r.alice, info.Marshal(), r.group.Tree())
	r.accept(at, request, err)
	return r
}

// listing is a dictionary whose participants are these.
func listing(users ...mimi.UserURI) mls.AppDataDictionary {
	var list mimi.ParticipantListData
	for _, u := range users {
		list.Participants = append(list.Participants, mimi.UserRolePair{User: u, Role: 1})
	}
	return mls.AppDataDictionary{}.With(mimi.ComponentParticipantList, list.Marshal())
}

func joined(dictionary, more mls.AppDataDictionary) mls.AppDataDictionary {
	for _, component := range more {
		dictionary = dictionary.With(component.ID, component.Data)
	}
	return dictionary
}

func (r *realRoom) accept(at string, request judge.Request, err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	outcome, err := r.nodes[at].Do(r.context(), request)
	if _, ok := outcome.(fsm.Accepted); !ok || err != nil {
		r.t.Fatalf("%T got %#v, %v", request, outcome, err)
	}
}

// commit is alice's. A node has to have what it names, so it is made against the hub's pending Proposals.
func (r *realRoom) commit(at string, plan mlstest.Plan) {
	r.t.Helper()
	step, err := r.group.Commit(plan)
	if err != nil {
		r.t.Fatal(err)
	}
	request, err := judge.NewUpdate(r.alice.Provider(), r.uri, mimi.CommitBundle{
		Commit: mls.MLSMessage{Body: step.Message}, GroupInfo: mimi.FullGroupInfo{GroupInfo: step.GroupInfo}, Tree: mimi.DistributionServiceTree{},
	}.Marshal())
	r.accept(at, request, err)
	r.group = step.After
}

// look reads the room at a node.
func (r *realRoom) look(at string) (state fsm.Room, pending []fsm.PendingProposal) {
	r.t.Helper()
	shard, _ := r.nodes[at].Map().ShardOfSlot(fsm.SlotOfRoom(r.uri))
	view, err := r.nodes[at].replica(shard.ID).view()
	if err != nil {
		r.t.Fatal(err)
	}
	state, _, err = fsm.ReadRoom(view, r.uri)
	if err == nil {
		pending, err = fsm.ReadAllPending(view, r.uri)
	}
	if err := errors.Join(err, view.Close()); err != nil {
		r.t.Fatal(err)
	}
	return state, pending
}

// await waits until a node knows of so many Proposals of an epoch that wait, and lets the group know them.
func (r *realRoom) await(at string, epoch mls.Epoch, count int) (refs []mls.ProposalRef) {
	r.t.Helper()
	var waiting []fsm.PendingProposal
	eventually(r.t, "the hub's Proposals wait", func() bool {
		state, pending := r.look(at)
		waiting = pending
		return state.Epoch == epoch && len(pending) >= count
	})
	if len(waiting) != count {
		r.t.Fatalf("in epoch %d %d Proposals wait, not %d", epoch, len(waiting), count)
	}
	for _, p := range waiting {
		message, err := mls.ParseMLSMessage(p.Message)
		if err != nil {
			r.t.Fatal(err)
		}
		refs = append(refs, r.group.Receive(message.Body.(*mls.PublicMessage)))
	}
	return refs
}

// proposed counts the Proposals that went out, by epoch.
func (r *realRoom) proposed(at string) map[mls.Epoch]int {
	r.t.Helper()
	counts := make(map[mls.Epoch]int)
	for _, item := range r.wholeInbox(at) {
		messages, err := mimi.ParseFanout(item.Body)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, m := range messages {
			if sent, ok := m.Event.(mimi.FanoutProposals); ok {
				for _, p := range sent.Proposals {
					counts[p.Body.(*mls.PublicMessage).Content.Epoch]++
				}
			}
		}
	}
	return counts
}

// The hub removes a deleted user from its rooms: once in an epoch, again in the next, also where the leader that began is gone, and no
// more when nothing is left.
func TestHubRemovesDeletedUsersThroughFailover(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openReal("n1", "departures")
	c.awaitCarried(r.uri)
	request, err := judge.NewDepart(r.zoe.Provider(), r.zoe, mimi.ClientURI{})
	r.accept("n2", request, err)
	shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.uri))
	r.await("n1", 0, 3) // two leaves, and a place in the list

	leader := c.leaderNode(shard.ID)
	duties := c.nodes[leader].replica(shard.ID)
	term := duties.raft.CurrentTerm()
	duties.stop() // it goes on leading, and sees nobody out
	<-duties.usher.stopped
	r.commit(leader, mlstest.Plan{Path: true})
	for id, n := range c.nodes {
		if err := n.replica(shard.ID).reach(c.context(), duties.machine.applied.current(), patience); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	if _, pending := r.look(leader); len(pending) != 0 && duties.raft.CurrentTerm() == term { // in another term another sees them out
		t.Fatalf("%d Proposals wait although nobody has made any", len(pending))
	}
	c.stop(leader)
	at := slices.Sorted(maps.Keys(c.nodes))[0]
	refs := r.await(at, 1, 3)
	r.commit(at, mlstest.Plan{Path: true, References: refs, ChangeInfo: func(info *mls.GroupInfo) {
		info.Context.Extensions = info.Context.Extensions.With(mls.ExtensionAppDataDictionary, listing(r.alice).Marshal())
	}})
	eventually(t, "nobody has to leave", func() bool {
		state, pending := r.look(at)
		return state.Epoch == 2 && state.Departing == 0 && len(pending) == 0
	})
	if counts := r.proposed(at); counts[0] != 3 || counts[1] != 3 || counts[2] != 0 {
		t.Errorf("the hub proposed, by epoch: %v", counts)
	}
}

// After a rotation new rooms get the new key, of each scheme, and a room that lists an older one hears the hub speak with that.
func TestRotatedHubKeys(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openReal("n1", "rotation")
	c.awaitCarried(r.uri)
	n := c.nodes["n2"]
	before := make(map[mls.SignatureScheme][]byte)
	for _, scheme := range hubSchemes {
		key, _, found := n.HubSigner(scheme)
		if !found {
			t.Fatalf("the hub has no key of scheme %d", scheme)
		}
		before[scheme] = key.Public()
	}
	if err := n.RotateHubKeys(c.context()); err != nil {
		t.Fatal(err)
	}
	for _, scheme := range hubSchemes {
		key, sender, _ := n.HubSigner(scheme)
		if bytes.Equal(key.Public(), before[scheme]) || !bytes.Equal(sender.SignatureKey, key.Public()) {
			t.Errorf("after the rotation the key of scheme %d is %x, before it was %x", scheme, key.Public(), before[scheme])
		}
		if old, still := n.SignerOf(before[scheme]); !still || !bytes.Equal(old.Public(), before[scheme]) {
			t.Errorf("the old key of scheme %d is not there any more", scheme)
		}
	}
	if err := n.RotateHubKeys(c.context(), mls.Ed448); err != nil {
		t.Fatal(err)
	}
	all := n.HubKeys()
	if len(all) != 11 || all[10].Scheme != mls.Ed448 || all[10].AddedMillis == 0 {
		t.Errorf("%d keys, the last of scheme %d, added %d", len(all), all[len(all)-1].Scheme, all[len(all)-1].AddedMillis)
	}
	request, err := judge.NewDepart(r.zoe.Provider(), r.zoe, mimi.ClientURI{})
	r.accept("n2", request, err)
	r.await("n1", 0, 3)
}
