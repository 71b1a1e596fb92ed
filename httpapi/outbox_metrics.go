package httpapi

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/fsm"
	"parley/mimi"
)

// Backlogs tells what waits for each destination, the local provider too, on the shards that this node leads. It may be called by many
// goroutines.
type Backlogs interface {
	Backlog(ctx context.Context) (map[mimi.Provider]fsm.OutboxBacklog, error)
}

// backlogTimeout is how long a scrape waits for the backlog.
const backlogTimeout = 5 * time.Second

// outboxMetrics read the backlog from the state whenever they are collected, so that they are right after a restart and a change of
// leaders. Summed over the nodes they are the cluster's, but for the oldest item, of which the least is.
type outboxMetrics struct {
	backlogs Backlogs
	gauges   []outboxGauge
	failed   *prometheus.Desc
}

type outboxGauge struct {
	desc  *prometheus.Desc
	value func(fsm.OutboxBacklog) uint64
}

// RegisterOutboxMetrics registers them. It fails where they are registered already.
func RegisterOutboxMetrics(registry prometheus.Registerer, backlogs Backlogs) error {
	gauge := func(name, help string, value func(fsm.OutboxBacklog) uint64) outboxGauge {
		return outboxGauge{prometheus.NewDesc("parley_outbox_"+name, help, []string{"destination"}, nil), value}
	}
	m := &outboxMetrics{backlogs: backlogs, failed: prometheus.NewDesc("parley_outbox_unreadable", "The backlog could not be read.", nil, nil), gauges: []outboxGauge{
		gauge("items", "Items that wait for a destination, on the shards that this node leads.", func(b fsm.OutboxBacklog) uint64 { return b.Items }),
		gauge("bytes", "Bytes of those items, as they are stored.", func(b fsm.OutboxBacklog) uint64 { return b.Bytes }),
		gauge("rooms", "Rooms that those items are of.", func(b fsm.OutboxBacklog) uint64 { return b.Rooms }),
		gauge("handshake_items", "Of those items, those with a Commit, Proposals or a Welcome.", func(b fsm.OutboxBacklog) uint64 { return b.Handshakes }),
		gauge("oldest_millis", "Hub time of the oldest of those items; 0 when none waits.", func(b fsm.OutboxBacklog) uint64 { return b.OldestMillis }),
		gauge("dropped_items_total", "ALARM: items that were given up, ever, because the destination did not take them in time.",
			func(b fsm.OutboxBacklog) uint64 { return b.Dropped }),
	}}
	if err := registry.Register(m); err != nil {
		return fmt.Errorf("register outbox metrics: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (m *outboxMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, g := range m.gauges {
		out <- g.desc
	}
	out <- m.failed
}

// Collect implements prometheus.Collector.
func (m *outboxMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), backlogTimeout)
	defer cancel()
	backlog, err := m.backlogs.Backlog(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(m.failed, err)
		return
	}
	for destination, b := range backlog {
		for _, g := range m.gauges {
			out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(g.value(b)), destination.String())
		}
	}
}
