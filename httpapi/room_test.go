package httpapi

import (
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// simulated is a room with the group that its members have, which is simulated: they hold no secrets, but all that a hub checks is right.
type simulated struct {
	t       testing.TB
	hub     *station
	uri     mimi.RoomURI
	group   *mlstest.Group
	members []device // by leaf
}

// openRoom makes a group of devices, one of the first user's at leaf 0, and opens the room for it at the hub. Users are participants in
// the order of their first device.
func (w *world) openRoom(hub *station, uri mimi.RoomURI, members ...device) *simulated {
	t := w.t
	t.Helper()
	r := &simulated{t: t, hub: hub, uri: uri, members: members}
	names := map[string]device{}
	for i, d := range members {
		names[simulatedName(i)] = d
	}
	group, err := mlstest.New(mlstest.Config{
		Suite: 1, Seed: 7, Members: len(members), Parents: true, GroupID: mls.GroupID("group of " + uri.String()), Epoch: 3,
		Extensions: r.extensions(), Components: appliers(),
		Leaf: func(leaf *mls.LeafNode) {
			if d, ok := names[string(leaf.Credential.(mls.BasicCredential).Identity)]; ok {
				leaf.Credential = d.credential()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.group = group
	for i := range r.members {
		r.members[i].key = group.Member(mls.LeafIndex(i)).Key
	}
	r.create()
	return r
}

// simulatedName is what mlstest calls the members that a group begins with.
func simulatedName(i int) string { return "mimi://sim.example/d/" + string(rune('0'+i)) }

func appliers() map[mls.ComponentID]mls.ComponentApplier {
	all := map[mls.ComponentID]mls.ComponentApplier{}
	for id, apply := range mimi.ComponentAppliers() {
		all[id] = apply
	}
	return all
}

func (r *simulated) users() (users []mimi.UserURI) {
	seen := map[mimi.UserURI]bool{}
	for _, d := range r.members {
		if !seen[d.user] {
			seen[d.user] = true
			users = append(users, d.user)
		}
	}
	return users
}

// extensions are those of the GroupContext: who takes part, and the hub among the external senders.
func (r *simulated) extensions() mls.Extensions {
	var list mimi.ParticipantListData
	for _, u := range r.users() {
		list.Participants = append(list.Participants, mimi.UserRolePair{User: u, Role: 1})
	}
	dictionary := mls.AppDataDictionary{}.With(mimi.ComponentParticipantList, list.Marshal())
	sender := mls.ExternalSender{
		SignatureKey: r.hub.cluster.key.Public(), Credential: mls.BasicCredential{Identity: []byte("mimi://" + r.hub.domain.String())},
	}
	return mls.Extensions{}.With(mls.ExtensionExternalSenders, mls.ExternalSenders{sender}.Marshal()).
		With(mls.ExtensionAppDataDictionary, dictionary.Marshal())
}

// create opens the room. Its members are known to it as if they had been claimed.
func (r *simulated) create() {
	t := r.t
	t.Helper()
	var routes []fsm.KeyPackageRoute
	for _, d := range r.members {
		routes = append(routes, fsm.KeyPackageRoute{
			Ref: mls.KeyPackageRef("of " + d.uri.String()), Provider: d.user.Provider(), User: d.user, Client: d.uri, NotAfter: mlstest.Now + 1000,
		})
	}
	record, err := judge.NewRecordRoutes(r.uri, routes)
	want[fsm.Done](t, r.hub.hub, record, err)
	info := r.group.GroupInfo()
	request, err := judge.NewCreateRoom(r.uri, r.members[0].user, info.Marshal(), r.group.Tree())
	want[fsm.Accepted](t, r.hub.hub, request, err)
}

// commit makes a Commit of the room's epoch.
func (r *simulated) commit(p mlstest.Plan) *mlstest.Step {
	r.t.Helper()
	step, err := r.group.Commit(p)
	if err != nil {
		r.t.Fatal(err)
	}
	return step
}

// bundleOf is what the committer hands in with a Commit.
func bundleOf(step *mlstest.Step) mimi.CommitBundle {
	return mimi.CommitBundle{
		Commit: mls.MLSMessage{Body: step.Message}, Welcome: step.Welcome,
		GroupInfo: mimi.FullGroupInfo{GroupInfo: step.GroupInfo}, Tree: mimi.FullTree{Encoded: step.After.Tree()},
	}
}

// addUser is the Proposal by which a user becomes a participant.
func addUser(user mimi.UserURI) mls.Proposal {
	update := mimi.ParticipantListUpdate{Added: []mimi.UserRolePair{{User: user, Role: 1}}}
	return mls.AppDataUpdate{Component: mimi.ComponentParticipantList, Operation: mls.ComponentUpdate{Update: update.Marshal()}}
}
