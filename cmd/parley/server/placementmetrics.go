package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"parley/cluster"
	"parley/fsm/meta"
)

// placed is what a node tells of how replicas are placed.
type placed interface {
	PlacementCounts() cluster.PlacementCounts
}

// placementMetrics reads the node at each scrape. The series are as many as there are nodes.
type placementMetrics struct {
	node placed

	paused, moves, unplaced, changes *prometheus.Desc
	duty, replicas, fetched          *prometheus.Desc
}

func newPlacementMetrics(node placed) *placementMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &placementMetrics{
		node:     node,
		paused:   desc("parley_placement_paused", "1 where an operator has paused placement, 0 where not."),
		moves:    desc("parley_placement_moves", "Replicas that are on their way from one node to another."),
		unplaced: desc("parley_placement_unplaced", "ALARM: replicas that should be on another node, and no node can take them; on the node that leads the map."),
		changes:  desc("parley_placement_changes_total", "Replicas that this node, while it led the map, has had come to a node or go from one.", "change"),
		duty:     desc("parley_node_duty", "1 for what each node is wanted for.", "node", "duty"),
		replicas: desc("parley_replicas", "Replicas on this node, by how they are.", "state"),
		fetched:  desc("parley_replica_fetched_bytes", "Bytes that have come of the states that are being fetched to this node."),
	}
}

// Describe implements prometheus.Collector.
func (m *placementMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.paused, m.moves, m.unplaced, m.changes, m.duty, m.replicas, m.fetched} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (m *placementMetrics) Collect(metrics chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	c := m.node.PlacementCounts()
	send(m.paused, prometheus.GaugeValue, oneIf(c.Paused))
	send(m.moves, prometheus.GaugeValue, float64(c.Moves))
	send(m.unplaced, prometheus.GaugeValue, float64(c.Unplaced))
	send(m.changes, prometheus.CounterValue, float64(c.Joins), "come")
	send(m.changes, prometheus.CounterValue, float64(c.Leaves), "go")
	for node, is := range c.Duties {
		for _, duty := range []meta.DutyKind{meta.Serving, meta.Draining, meta.Leaving} {
			send(m.duty, prometheus.GaugeValue, oneIf(is == duty), node, duty.String())
		}
	}
	for state, count := range map[string]int{"running": c.Running, "rebuilding": c.Rebuilding, "held": c.Held, "departing": c.Departing} {
		send(m.replicas, prometheus.GaugeValue, float64(count), state)
	}
	send(m.fetched, prometheus.GaugeValue, float64(c.FetchedBytes))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
