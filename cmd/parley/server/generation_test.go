package server

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

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
	want := `
		# HELP parley_cluster_generation The cluster's generation: 1, and one more each time that a part of its history was lost for good.
		# TYPE parley_cluster_generation gauge
		parley_cluster_generation 1
		# HELP parley_stale_rooms ALARM: rooms that take nothing before they are brought forward, on the shards that this node leads.
		# TYPE parley_stale_rooms gauge
		parley_stale_rooms 7
		# HELP parley_stale_slots_unsought Slots of these shards whose rooms have not all been looked at since the generation began.
		# TYPE parley_stale_slots_unsought gauge
		parley_stale_slots_unsought 2
	`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
