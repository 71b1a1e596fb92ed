package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"parley/fsm"
	"parley/fsm/meta"
)

func (a *fakeAdmin) Jobs(context.Context) ([]JobEntry, error) {
	return []JobEntry{{ID: 7, Kind: "rebalance", State: "running"}}, a.err
}
func (a *fakeAdmin) Job(_ context.Context, id uint64) (JobEntry, error) {
	return JobEntry{ID: id, Kind: "rebalance", State: "running"}, a.err
}
func (a *fakeAdmin) SteerJob(_ context.Context, id uint64, wish JobWish) (JobEntry, error) {
	return JobEntry{ID: id, State: "cancelling"}, a.note(id, wish)
}
func (a *fakeAdmin) Audit(_ context.Context, before uint64, most int) ([]AuditEntry, error) {
	return []AuditEntry{{Sequence: 9, By: "alice", Verb: "peer add", What: "b.example", Done: true}}, a.note(before, most)
}
func (a *fakeAdmin) RecordAction(ctx context.Context, failed string) error {
	a.recorded = append(a.recorded, recordOf(ctx, failed))
	return nil
}
func (a *fakeAdmin) MakePlan(_ context.Context, r PlanRequest) (PlanEntry, error) {
	return PlanEntry{ID: 8, Kind: r.Kind, Steps: []PlanStep{}}, a.note(r)
}
func (a *fakeAdmin) Plan(_ context.Context, id uint64) (PlanEntry, error) {
	return PlanEntry{ID: id}, a.err
}
func (a *fakeAdmin) ApplyPlan(_ context.Context, id uint64) (JobEntry, error) {
	return JobEntry{ID: id, State: "running"}, a.note(id)
}

// recordOf is what the audit log would get.
func recordOf(ctx context.Context, failed string) meta.Audited {
	audited := meta.OperatorOf(ctx).Audited(nil, failed)
	audited.Key = [16]byte{}
	return audited
}

func TestJobEndpoints(t *testing.T) {
	admin, call := openAdminDoor(t)
	for _, test := range []struct {
		method, path, body string
		status             int
		holds              string
		asked              []any
	}{
		{"GET", "/v1/jobs", "", 200, `"id":7`, nil},
		{"GET", "/v1/jobs/7", "", 200, `"kind":"rebalance"`, nil},
		{"GET", "/v1/jobs/seven", "", 400, `"field":"id"`, nil},
		{"POST", "/v1/jobs/7/cancel", "", 200, `"cancelling"`, []any{uint64(7), JobCancel}},
		{"POST", "/v1/jobs/7/pause", "", 200, ``, []any{uint64(7), JobPause}},
		{"POST", "/v1/jobs/7/resume", "", 200, ``, []any{uint64(7), JobResume}},
		{"POST", "/v1/jobs/x/resume", "", 400, ``, nil},
		{"GET", "/v1/audit", "", 200, `"verb":"peer add"`, []any{uint64(0), 100}},
		{"GET", "/v1/audit?before=12&limit=3", "", 200, ``, []any{uint64(12), 3}},
		{"GET", "/v1/audit?limit=0", "", 400, `"field":"limit"`, nil},
		{"GET", "/v1/audit?limit=1001", "", 400, ``, nil},
		{"GET", "/v1/audit?before=x", "", 400, `"field":"before"`, nil},
		{"POST", "/v1/plans", `{"kind":"resize","nodes":5,"leave":["n1"],"shards":12,"replicas":3}`, 200, `"id":8`,
			[]any{PlanRequest{Kind: "resize", Nodes: 5, Leave: []string{"n1"}, Shards: 12, Replicas: 3}}},
		{"POST", "/v1/plans", `{"nodes":-1}`, 400, `negative`, nil},
		{"POST", "/v1/plans", `{"kind":"shuffle"}`, 400, `"field":"kind"`, nil},
		{"GET", "/v1/plans/8", "", 200, `"id":8`, nil},
		{"POST", "/v1/plans/8/apply", "", 200, `"running"`, []any{uint64(8)}},
		{"POST", "/v1/plans/8a/apply", "", 400, ``, nil},
	} {
		admin.asked = nil
		a := call(test.method, test.path, test.body)
		if a.status != test.status || !strings.Contains(string(a.body), test.holds) || !cmp.Equal(admin.asked, test.asked) {
			t.Errorf("%s %s: %d %s, asked %v", test.method, test.path, a.status, a.body, admin.asked)
		}
	}
}

// Every request that may change something is an operator's; what came to no change of the map is recorded when it is over.
func TestRequestsAreAudited(t *testing.T) {
	admin := &fakeAdmin{}
	metrics, err := NewRequestMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, NewAdminServer(AdminConfig{}, admin, prometheus.NewRegistry(), metrics, quiet()))
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	call := func(method, path, body string, headers ...string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	call("GET", "/v1/peers", "", ByHeader, "alice")
	call("POST", "/v1/shards/3/transfer-leadership", `{"node":"n2"}`, ByHeader, "alice", VerbHeader, "shard transfer-leader")
	admin.err = fsm.ErrNotProposed
	call("POST", "/v1/peers/b.example/replay", "")
	admin.err = errors.New("a secret of the machine")
	call("DELETE", "/v1/tokens/t1", "", ByHeader, strings.Repeat("b", 300))
	want := []meta.Audited{
		{By: "alice", Verb: "shard transfer-leader", What: "the lead of shard 3 to n2"},
		{Verb: "POST /v1/peers/:domain/replay", What: "/v1/peers/b.example/replay", Failed: fsm.ErrNotProposed.Error()},
		{By: strings.Repeat("b", 256), Verb: "DELETE /v1/tokens/:id", What: "/v1/tokens/t1", Failed: "a secret of the machine"},
	}
	if diff := cmp.Diff(want, admin.recorded, cmpopts.EquateComparable()); diff != "" {
		t.Error(diff)
	}
}
