package server

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"parley/cluster"
	"parley/fsm/meta"
)

// generations is what a node tells of the cluster's generation and of rooms that are of an older one.
type generations interface {
	Map() *meta.Map
	StaleRooms(ctx context.Context) (cluster.StaleRooms, error)
}

// generationMetrics reads the node at each scrape.
type generationMetrics struct {
	node generations
	log  *slog.Logger

	generation, stale, sought *prometheus.Desc
}

func newGenerationMetrics(node generations, log *slog.Logger) *generationMetrics {
	return &generationMetrics{
		node: node, log: log,
		generation: prometheus.NewDesc("parley_cluster_generation", "The cluster's generation: 1, and one more each time that a part of its history was lost for good.", nil, nil),
		stale:      prometheus.NewDesc("parley_stale_rooms", "ALARM: rooms that take nothing before they are brought forward, on the shards that this node leads.", nil, nil),
		sought:     prometheus.NewDesc("parley_stale_slots_unsought", "Slots of these shards whose rooms have not all been looked at since the generation began.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *generationMetrics) Describe(descs chan<- *prometheus.Desc) {
	descs <- m.generation
	descs <- m.stale
	descs <- m.sought
}

// Collect implements prometheus.Collector. What cannot be read is left out, and said in the log.
func (m *generationMetrics) Collect(metrics chan<- prometheus.Metric) {
	metrics <- prometheus.MustNewConstMetric(m.generation, prometheus.GaugeValue, float64(m.node.Map().Generation()))
	ctx, cancel := context.WithTimeout(context.Background(), scrapeMax)
	defer cancel()
	found, err := m.node.StaleRooms(ctx)
	if err != nil {
		m.log.Warn("stale rooms are missing from the metrics", "error", err)
		return
	}
	metrics <- prometheus.MustNewConstMetric(m.stale, prometheus.GaugeValue, float64(found.Rooms))
	metrics <- prometheus.MustNewConstMetric(m.sought, prometheus.GaugeValue, float64(found.Unsought))
}
