package httpapi

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/httpapi/openapi"
)

func (a *fakeAdmin) Nodes(context.Context) ([]NodeEntry, error) {
	return []NodeEntry{{ID: "n1", Duty: "serving"}}, a.err
}
func (a *fakeAdmin) AssignNode(_ context.Context, node string, duty meta.DutyKind, r NodeRequest) (NodeEntry, error) {
	return NodeEntry{ID: node, Duty: duty.String()}, a.note(node, duty, r)
}
func (a *fakeAdmin) Decommission(_ context.Context, node string, r NodeRequest) (JobEntry, error) {
	return JobEntry{ID: 9}, a.note(node, r)
}
func (a *fakeAdmin) ReplaceNode(_ context.Context, node string, r ReplaceRequest) (JobEntry, error) {
	return JobEntry{ID: 9}, a.note(node, r)
}
func (a *fakeAdmin) ForgetNode(_ context.Context, node string) error { return a.note(node) }
func (a *fakeAdmin) MoveReplica(_ context.Context, shard fsm.ShardID, r ReplicaMoveRequest) (JobEntry, error) {
	return JobEntry{ID: 9}, a.note(shard, r)
}
func (a *fakeAdmin) Placement(context.Context) (PlacementEntry, error) {
	return PlacementEntry{Replicas: 3, Moves: []ReplicaMove{}}, a.err
}
func (a *fakeAdmin) ChangePlacement(_ context.Context, c PlacementChange) (PlacementEntry, error) {
	return PlacementEntry{Replicas: 3, Moves: []ReplicaMove{}}, a.note(c)
}

func TestNodeEndpoints(t *testing.T) {
	admin, call := openAdminDoor(t)
	yes, five := true, uint32(5)
	for _, test := range []struct {
		method, path, body string
		status             int
		holds              string
		asked              []any
	}{
		{"GET", "/v1/nodes", "", 200, `"duty":"serving"`, nil},
		{"POST", "/v1/nodes/n2/drain", `{"why":"kernel"}`, 200, `"draining"`, []any{"n2", meta.Draining, NodeRequest{Why: "kernel"}}},
		{"POST", "/v1/nodes/n2/recommission", `{}`, 200, `"serving"`, []any{"n2", meta.Serving, NodeRequest{}}},
		{"POST", "/v1/nodes/n2/drain", `{"who":1}`, 400, ``, nil},
		{"POST", "/v1/nodes/n2/decommission", `{}`, 200, `"id":9`, []any{"n2", NodeRequest{}}},
		{"POST", "/v1/nodes/n2/replace", `{"with":"n5","lost":true}`, 200, `"id":9`, []any{"n2", ReplaceRequest{With: "n5", Lost: true}}},
		{"POST", "/v1/nodes/n2/replace", `{}`, 400, `"field":"with"`, nil},
		{"POST", "/v1/nodes/n2/forget", "", 204, ``, []any{"n2"}},
		{"POST", "/v1/shards/3/move", `{"from":"n1","to":"n4"}`, 200, `"id":9`, []any{fsm.ShardID(3), ReplicaMoveRequest{From: "n1", To: "n4"}}},
		{"POST", "/v1/shards/3/move", `{"to":"n4"}`, 400, `"field":"from"`, nil},
		{"POST", "/v1/shards/3/move", `{"from":"n4"}`, 400, `"field":"to"`, nil},
		{"POST", "/v1/shards/x/move", `{"from":"n1","to":"n4"}`, 400, `"field":"shard"`, nil},
		{"GET", "/v1/cluster/placement", "", 200, `"replicas":3`, nil},
		{"PATCH", "/v1/cluster/placement", `{"paused":true,"replicas":5}`, 200, `"replicas":3`, []any{PlacementChange{Paused: &yes, Replicas: &five}}},
	} {
		admin.asked = nil
		a := call(test.method, test.path, test.body)
		if a.status != test.status || !strings.Contains(string(a.body), test.holds) {
			t.Errorf("%s %s: %d %s", test.method, test.path, a.status, string(a.body))
		}
		if !reflect.DeepEqual(admin.asked, test.asked) {
			t.Errorf("%s %s: asked %v, want %v", test.method, test.path, admin.asked, test.asked)
		}
	}
	for schema, value := range map[string]any{
		"NodeList": nodeList{}, "Node": NodeEntry{Successor: "s", By: "b", Why: "w", Since: time.Unix(1, 0), Error: "e"}, "NodeRequest": NodeRequest{Why: "w"},
		"ReplaceRequest": ReplaceRequest{Why: "w", Lost: true}, "ReplicaMoveRequest": ReplicaMoveRequest{}, "ReplicaMove": ReplicaMove{},
		"Placement":       PlacementEntry{By: "b", Why: "w", Since: time.Unix(1, 0)},
		"PlacementChange": PlacementChange{new(bool), new(uint64), new(uint64), new(uint32), "w"},
	} {
		checkSchema(t, openapi.Admin, schema, value)
	}
}
