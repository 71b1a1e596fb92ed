package server

import (
	"context"
	"log/slog"
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"parley/cluster"
	"parley/fsm/meta"
)

type fakeGenerations struct{}

func (fakeGenerations) Map() *meta.Map { return &meta.Map{} }

func (fakeGenerations) StaleRooms(context.Context) (cluster.StaleRooms, error) {
	return cluster.StaleRooms{Rooms: 7, Unsought: 2}, nil
}

func TestGenerationMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newGenerationMetrics(fakeGenerations{}, slog.New(slog.DiscardHandler)))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	figures := make(map[string]float64)
	for _, family := range families {
		figures[family.GetName()] = family.GetMetric()[0].GetGauge().GetValue()
	}
	want := map[string]float64{"parley_cluster_generation": 1, "parley_stale_rooms": 7, "parley_stale_slots_unsought": 2}
	if !maps.Equal(figures, want) {
		t.Errorf("the metrics are %v", figures)
	}
}
