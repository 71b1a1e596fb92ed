package cluster

import (
	"fmt"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// Who is removed from a room is removed by the hub from a room that depends on it, in another shard.
func TestHubRemovesFromDependants(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	parent := c.openReal("n1", "parent")
	base := mimi.BaseRoomPolicy{MultiDevice: true, ParentDependent: true, ParentRooms: []string{parent.uri.String()}}
	dependence := mls.AppDataDictionary{}.With(mimi.ComponentBaseRoomPolicy, base.Marshal())
	sub := c.openRealWith("n2", c.inAnotherShard(parent.uri), dependence)
	eventually(t, "the parent has told who is in it", func() bool { return sub.dependence("n1").Known })

	parent.commit("n3", mlstest.Plan{
		Inline: []mls.Proposal{mls.Remove{Removed: 1}, mls.Remove{Removed: 2}, mls.AppDataUpdate{
			Component: mimi.ComponentParticipantList,
			Operation: mls.ComponentUpdate{Update: mimi.ParticipantListUpdate{Removed: []uint32{1}}.Marshal()},
		}},
		Path: true, ChangeInfo: listingNow(listing(parent.alice)),
	})
	refs := sub.await("n1", 0, 3) // two leaves, and a place in the list
	plan := mlstest.Plan{Path: true, References: refs, ChangeInfo: listingNow(joined(listing(sub.alice), dependence))}
	sub.commit("n1", plan)
	eventually(t, "nobody has to leave", func() bool {
		state, pending := sub.look("n1")
		return state.Epoch == 1 && state.Departing == 0 && len(pending) == 0 && len(state.Participants) == 1
	})

	request, err := judge.NewDestroyRoom(parent.uri)
	parent.accept("n2", request, err)
	sub.await("n1", 1, 2) // alice's leaf, and her place
}

// listingNow gives a GroupInfo the dictionary that a Commit makes.
func listingNow(dictionary mls.AppDataDictionary) func(*mls.GroupInfo) {
	return func(info *mls.GroupInfo) {
		info.Context.Extensions = info.Context.Extensions.With(mls.ExtensionAppDataDictionary, dictionary.Marshal())
	}
}

// inAnotherShard is the name of a room that is not in the shard of one.
func (c *testCluster) inAnotherShard(uri mimi.RoomURI) string {
	c.t.Helper()
	shards := c.nodes["n1"].Map()
	here, _ := shards.ShardOfSlot(fsm.SlotOfRoom(uri))
	for i := range 100 {
		name := fmt.Sprint("sub", i)
		if there, _ := shards.ShardOfSlot(fsm.SlotOfRoom(room(c.t, name))); there.ID != here.ID {
			return name
		}
	}
	c.t.Fatal("there is no other shard")
	return ""
}

func (r *realRoom) dependence(at string) fsm.Dependence {
	r.t.Helper()
	shard, _ := r.nodes[at].Map().ShardOfSlot(fsm.SlotOfRoom(r.uri))
	view, err := r.nodes[at].replica(shard.ID).view()
	if err != nil {
		r.t.Fatal(err)
	}
	is, _, err := fsm.ReadDependence(view, r.uri)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := view.Close(); err != nil {
		r.t.Fatal(err)
	}
	return is
}
