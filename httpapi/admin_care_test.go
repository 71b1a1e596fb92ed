package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"parley/fsm"
)

func (a *fakeAdmin) Check(_ context.Context, shard fsm.ShardID) (ShardCheck, error) {
	return ShardCheck{Shard: shard, Equal: true, Replicas: []ReplicaCheck{}}, a.note("check", shard)
}
func (a *fakeAdmin) Repair(_ context.Context, shard fsm.ShardID, node string) error {
	return a.note("repair", shard, node)
}
func (a *fakeAdmin) Examine(context.Context) (Diagnosis, error) {
	return Diagnosis{Findings: []Finding{}}, a.note("examine")
}
func (a *fakeAdmin) Upgrade(context.Context) (UpgradeStatus, error) {
	return UpgradeStatus{Format: 5}, a.note("upgrade")
}
func (a *fakeAdmin) Finalize(context.Context) (UpgradeStatus, error) {
	return UpgradeStatus{Format: 6}, a.note("finalize")
}
func (a *fakeAdmin) Configuration(context.Context) (map[string]any, error) {
	return map[string]any{"domain": "a.example"}, a.note("configuration")
}
func (a *fakeAdmin) RecentLogs(context.Context) ([]byte, error) {
	return []byte("a line\n"), a.note("logs")
}

func TestCareEndpoints(t *testing.T) {
	admin, call := openAdminDoor(t)
	for _, test := range []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"POST", "/v1/shards/0/check", "", 200, `"shard":0,"index":0,"equal":true`},
		{"POST", "/v1/shards/x/check", "", 400, `"field":"shard"`},
		{"POST", "/v1/shards/2/repair", `{"node":"n3"}`, 202, ""},
		{"POST", "/v1/shards/2/repair", `{}`, 400, `"field":"node"`},
		{"GET", "/v1/doctor", "", 200, `"findings":[]`},
		{"GET", "/v1/upgrade", "", 200, `"format":5`},
		{"POST", "/v1/upgrade/finalize", "", 200, `"format":6`},
		{"GET", "/v1/node/config", "", 200, `"domain":"a.example"`},
		{"GET", "/v1/node/logs", "", 200, "a line"},
	} {
		if a := call(test.method, test.path, test.body); a.status != test.status || !strings.Contains(string(a.body), test.contains) {
			t.Errorf("%s %s %s: %d %s", test.method, test.path, test.body, a.status, a.body)
		}
	}
	admin.err = &RefusedError{Reason: "a node is away"}
	for _, path := range []string{"/v1/shards/1/repair", "/v1/upgrade/finalize"} {
		if a := call(http.MethodPost, path, `{"node":"n1"}`); a.status != http.StatusConflict {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
