package server

import (
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"parley/cluster"
	"parley/fsm/meta"
)

type fakePlaced struct{}

func (fakePlaced) PlacementCounts() cluster.PlacementCounts {
	return cluster.PlacementCounts{
		Paused: true, Moves: 2, Unplaced: 1, Joins: 5, Leaves: 4, Duties: map[string]meta.DutyKind{"n1": meta.Serving, "n2": meta.Leaving},
		Running: 3, Departing: 6, FetchedBytes: 99,
	}
}

func TestPlacementMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newPlacementMetrics(fakePlaced{}))
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
			if value := metric.GetGauge().GetValue() + metric.GetCounter().GetValue(); value != 0 {
				figures[name] = value
			}
		}
	}
	want := map[string]float64{
		"parley_placement_paused": 1, "parley_placement_moves": 2, "parley_placement_unplaced": 1,
		"parley_placement_changes_total come": 5, "parley_placement_changes_total go": 4,
		"parley_node_duty serving n1": 1, "parley_node_duty leaving n2": 1,
		"parley_replicas running": 3, "parley_replicas departing": 6, "parley_replica_fetched_bytes": 99,
	}
	if !maps.Equal(figures, want) {
		t.Errorf("%v, want %v", figures, want)
	}
}
