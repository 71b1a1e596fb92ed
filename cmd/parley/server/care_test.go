package server

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/cluster"
	"parley/fsm"
)

// fakeNode is a node that looks as the test says.
type fakeNode struct {
	view cluster.NodeView
	free uint64
}

func (f fakeNode) View() cluster.NodeView { return f.view }
func (f fakeNode) DiskFree() (uint64, error) {
	if f.free == 0 {
		return 0, errors.New("not known")
	}
	return f.free, nil
}
func (f fakeNode) MetaSilence() time.Duration { return 1500 * time.Millisecond }
func (f fakeNode) CertificateEnds() time.Time { return time.Unix(5000, 0) }

func TestCareMetrics(t *testing.T) {
	offset := int64(-250)
	node := fakeNode{free: 77, view: cluster.NodeView{
		Knows: 6, Cleared: 3, DiskLow: true, ClockOffsetMillis: &offset,
		Meta: cluster.ReplicaStatus{Node: "n1", Running: true, Leader: "n2", Term: 4, Applied: 9, Commit: 9},
		Replicas: []cluster.ReplicaStatus{
			{Shard: 1, Node: "n1", Running: true, Leader: "n1", Voter: true, Term: 7, Applied: 90, Commit: 95},
			{Shard: 2, Node: "n1", Quarantined: "damaged"},
		},
	}}
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCareMetrics(node, "v1", map[string]*certificates{"peer": {certFile: "/nonexistent"}}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	figures := make(map[string]float64)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			figures[name] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	want := map[string]float64{
		"parley_build_info 6 v1": 1, "parley_replica_running 0": 1, "parley_replica_running 1": 1, "parley_replica_running 2": 0,
		"parley_replica_leads 0": 0, "parley_replica_leads 1": 1, "parley_replica_has_leader 0": 1, "parley_replica_has_leader 1": 1,
		"parley_replica_applied_index 0": 9, "parley_replica_applied_index 1": 90, "parley_replica_behind_entries 0": 0, "parley_replica_behind_entries 1": 5,
		"parley_replica_term 0": 4, "parley_replica_term 1": 7, "parley_replica_votes 0": 0, "parley_replica_votes 1": 1,
		"parley_clock_offset_seconds": -0.25, "parley_disk_free_bytes": 77, "parley_disk_reserve_touched": 1, "parley_replicas_cleared_total": 3,
		"parley_meta_silence_seconds": 1.5, "parley_certificate_end_seconds cluster": 5000,
	}
	for name, value := range want {
		if got, there := figures[name]; !there || got != value {
			t.Errorf("%s is %v, %v, not %v", name, got, there, value)
		}
	}
	if len(figures) != len(want) {
		t.Errorf("%v", figures)
	}
}

// The format can be raised when every node answers and knows a newer one, to the newest that all know.
func TestUpgradeOf(t *testing.T) {
	node := func(id string, knows fsm.Format, fault string) cluster.NodeStatus {
		return cluster.NodeStatus{ID: id, Error: fault, View: cluster.NodeView{Version: "v", Knows: knows}}
	}
	newest := fsm.FormatNewest
	for name, test := range map[string]struct {
		nodes    []cluster.NodeStatus
		possible fsm.Format
		blocker  string // none where empty
	}{
		"all new":             {[]cluster.NodeStatus{node("n1", newest, ""), node("n2", newest, "")}, newest, ""},
		"one knows more":      {[]cluster.NodeStatus{node("n1", newest, ""), node("n2", newest+1, "")}, newest, ""},
		"one is older":        {[]cluster.NodeStatus{node("n1", newest, ""), node("n2", newest-1, "")}, newest - 1, "node n2 knows formats up to"},
		"one does not say":    {[]cluster.NodeStatus{node("n1", newest, ""), node("n2", 0, "")}, 0, "node n2 runs a program that does not say"},
		"one does not answer": {[]cluster.NodeStatus{node("n1", newest, "refused"), node("n2", newest, "")}, 0, "node n1 does not answer: refused"},
	} {
		status := upgradeOf(newest-1, test.nodes)
		blocked := slices.ContainsFunc(status.Blockers, func(b string) bool { return test.blocker != "" && strings.Contains(b, test.blocker) })
		if status.Possible != uint32(test.possible) || blocked != (test.blocker != "") || len(status.Blockers) > 0 && !blocked {
			t.Errorf("%s: %+v", name, status)
		}
	}
}
