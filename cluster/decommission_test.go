package cluster

import (
	"errors"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
)

// mapHistory applies commands to a map that begins with nothing, one after the other, and returns the map behind each.
func mapHistory(t *testing.T) (do func(meta.Command) *meta.Map) {
	store := fsmtest.NewStore()
	var index uint64
	return func(c meta.Command) *meta.Map {
		t.Helper()
		index++
		outcome, err := meta.Apply(store, index, meta.EncodeCommand(c))
		if _, done := outcome.(meta.Done); err != nil || !done {
			t.Fatalf("%+v: %+v, %v", c, outcome, err)
		}
		m, err := meta.ReadMap(store)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

// TestDecommissionWaitsForAllThatANodeHas: a node is dismissed only when nothing is on it any more, and what it waits for is said.
func TestDecommissionWaitsForAllThatANodeHas(t *testing.T) {
	do := mapHistory(t)
	do(meta.InitCluster{ClusterID: "c", Settings: fsm.DefaultSettings(provider(t, "a.example")), ReplicationFactor: 1, Shards: 1})
	for _, id := range []string{"n1", "n2"} {
		do(meta.AddNode{Node: meta.Node{ID: id, Incarnation: id, ClusterAddr: id + ":1", State: meta.NodeActive}})
	}
	do(meta.PlaceShards{Shards: meta.EvenShards(1, []string{"n1"}, 1)})
	has := do(meta.ActivateShard{ID: 1})
	do(meta.ChangeReplicas{Shard: 1, Was: []string{"n1"}, Replicas: []string{"n1", "n2"}, Leaves: "n1"})
	empty := do(meta.ChangeReplicas{Shard: 1, Was: []string{"n1", "n2"}, Replicas: []string{"n2"}})
	paused := do(meta.ChangePlacement{Rules: meta.PlacementRules{Paused: true, ReplicationFactor: 1}})

	full := &placer{}
	full.unplaced.Store(1)
	for name, test := range map[string]struct {
		current *meta.Map
		placer  *placer
		lost    bool
		view    NodeView
		answer  error
		lags    uint64 // versions of the map that the node does not have
		waits   string // what is said of it; empty where nothing is in the way
	}{
		"a replica":                  {current: has, waits: "1 replicas are on node n1"},
		"no place":                   {current: has, placer: full, waits: "no node can take"},
		"a pause has nothing to do":  {current: paused},
		"silence":                    {current: empty, answer: errors.New("timeout"), waits: "parley node forget n1"},
		"silence for good":           {current: empty, answer: errors.New("timeout"), lost: true},
		"data that is being cleared": {current: empty, view: NodeView{Replicas: []ReplicaStatus{{Shard: 1, Departing: true}}}, waits: "clearing"},
		"a vote on the map":          {current: empty, view: NodeView{Meta: ReplicaStatus{Voter: true}}, waits: "votes on the map"},
		"the lead of the map":        {current: empty, view: NodeView{Meta: ReplicaStatus{Role: "Leader"}}, waits: "votes on the map"},
		"a journal":                  {current: empty, view: NodeView{Held: HeldStatus{Items: 3}}, waits: "holds 3 submissions"},
		"a damaged journal":          {current: empty, view: NodeView{Held: HeldStatus{Damaged: 1}}, waits: "could not be read"},
		"a map that is behind":       {current: empty, lags: 1, waits: "has not heard yet that it leaves"},
		"nothing":                    {current: empty},
	} {
		at := test.placer
		if at == nil {
			at = &placer{}
		}
		test.view.MapVersion = test.current.Version() - test.lags
		said := decommission{&Node{placer: at}}.waitsFor(test.current, DecommissionSpec{Node: "n1", Lost: test.lost}, test.view, test.answer)
		if (said == "") != (test.waits == "") || !strings.Contains(said, test.waits) {
			t.Errorf("%s: %q, want %q", name, said, test.waits)
		}
	}
}
