package server

import (
	"errors"
	"slices"
	"testing"

	"parley/httpapi"
	"parley/ops/plan"
)

func TestGoalOf(t *testing.T) {
	c := plan.Cluster{
		Nodes: []plan.Node{
			{Name: "n1", Serves: true}, {Name: "n2", Serves: true}, {Name: "n3", Serves: true}, {Name: "n4", Serves: true}, {Name: "n5"},
		},
		Shards: []plan.Shard{{ID: 1, Replicas: []string{"n1", "n2", "n4"}}, {ID: 2, Replicas: []string{"n2", "n3", "n4"}}},
	}
	for name, test := range map[string]struct {
		request httpapi.PlanRequest
		leave   []string
		refused bool
	}{
		"as it is":                 {httpapi.PlanRequest{}, nil, false},
		"all":                      {httpapi.PlanRequest{Nodes: 4}, nil, false},
		"those with least leave":   {httpapi.PlanRequest{Nodes: 2}, []string{"n1", "n3"}, false},
		"those that are named":     {httpapi.PlanRequest{Leave: []string{"n2"}}, []string{"n2"}, false},
		"named, and more":          {httpapi.PlanRequest{Nodes: 2, Leave: []string{"n2"}}, []string{"n2", "n3"}, false},
		"a drained node is no one": {httpapi.PlanRequest{Nodes: 5}, nil, true},
		"too many shards":          {httpapi.PlanRequest{Shards: 5000}, nil, true},
	} {
		goal, err := goalOf(c, test.request)
		var refused *httpapi.RefusedError
		if errors.As(err, &refused) != test.refused {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if test.refused && (refused.Blocker == "" || refused.See == "" || refused.Clear == "") {
			t.Errorf("%s: the refusal is %+v", name, refused)
		}
		if !test.refused && !slices.Equal(goal.Leave, test.leave) {
			t.Errorf("%s: %v leave", name, goal.Leave)
		}
	}
}
