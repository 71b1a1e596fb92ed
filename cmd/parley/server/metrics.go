package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/cluster"
	"parley/fsm"
	"parley/mimi"
)

// scrapeMax bounds what a scrape waits for the node.
const scrapeMax = 5 * time.Second

// deliveries is what a node tells of itself in a metrics collector: the outboxes of the shards that it leads, and what it is appointed to
// deliver, its journal, and the queues to other hubs.
type deliveries interface {
	Backlog(ctx context.Context) (map[mimi.Provider]fsm.OutboxBacklog, error)
	Appointed() cluster.Appointed
	PausedPeers() map[mimi.Provider]bool
	Held() cluster.HeldStatus
	QueueLoads() map[mimi.Provider]cluster.QueueLoad
}

// nodeMetrics reads the node at each scrape. The series are as many as there are destinations.
type nodeMetrics struct {
	node deliveries
	now  func() time.Time
	log  *slog.Logger

	items, bytes, rooms, age, dropped *prometheus.Desc
	lots, takeovers, paused           *prometheus.Desc

	held, heldBytes, heldAge, heldDamaged, heldExpired *prometheus.Desc
	queued, queuedBytes                                *prometheus.Desc
}

func newNodeMetrics(node deliveries, log *slog.Logger) *nodeMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &nodeMetrics{
		node: node, now: time.Now, log: log,
		items:     desc("parley_outbox_items", "Items that wait, on the shards that this node leads.", "destination"),
		bytes:     desc("parley_outbox_bytes", "Bytes of the items that wait, on the shards that this node leads.", "destination"),
		rooms:     desc("parley_outbox_rooms", "Rooms of which items wait, on the shards that this node leads.", "destination"),
		age:       desc("parley_outbox_oldest_age_seconds", "How long ago the oldest item that waits was accepted, on the shards that this node leads.", "destination"),
		dropped:   desc("parley_outbox_dropped_items_total", "ALARM: items given up because nobody took them in time, on the shards that this node leads.", "destination"),
		lots:      desc("parley_delivery_lots", "Lots of destinations, 64 a shard, that this node is appointed to deliver, as their shard's leader or as a follower.", "role"),
		takeovers: desc("parley_delivery_takeovers_total", "Times that this node, as a leader, gave to another what a deliverer had not let go of: it had died, or did not answer."),
		paused:    desc("parley_peer_paused", "1 where an operator has paused the peer, 0 where not.", "peer"),

		held:        desc("parley_held_items", "Bulk submissions in this node's journal, whose shards have no leader."),
		heldBytes:   desc("parley_held_bytes", "Their bytes."),
		heldAge:     desc("parley_held_oldest_age_seconds", "How long ago the oldest of them was taken."),
		heldDamaged: desc("parley_held_damaged", "ALARM: parts of the journal that could not be read, and are kept aside."),
		heldExpired: desc("parley_held_expired_total", "ALARM: bulk submissions of the journal that were given up, as their shards could not decide for a day."),
		queued:      desc("parley_queue_items", "Submissions that wait for another provider's hub, on the shards that this node leads.", "hub"),
		queuedBytes: desc("parley_queue_bytes", "Their bytes.", "hub"),
	}
}

// Describe implements prometheus.Collector.
func (m *nodeMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.items, m.bytes, m.rooms, m.age, m.dropped, m.lots, m.takeovers, m.paused,
		m.held, m.heldBytes, m.heldAge, m.heldDamaged, m.heldExpired, m.queued, m.queuedBytes} {
		descs <- d
	}
}

// Collect implements prometheus.Collector. What cannot be read is left out, and said in the log.
func (m *nodeMetrics) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
	}
	appointed := m.node.Appointed()
	gauge(m.lots, float64(appointed.LeaderLots), "leader")
	gauge(m.lots, float64(appointed.FollowerLots), "follower")
	counter(m.takeovers, float64(appointed.Takeovers))
	held := m.node.Held()
	gauge(m.held, float64(held.Items))
	gauge(m.heldBytes, float64(held.Bytes))
	gauge(m.heldAge, m.oldestAge(held.OldestMillis))
	gauge(m.heldDamaged, float64(held.Damaged))
	counter(m.heldExpired, float64(held.Expired))
	queues := m.node.QueueLoads()
	waits := make(map[mimi.Provider]fsm.OutboxBacklog)
	for peer, paused := range m.node.PausedPeers() {
		waits[peer] = fsm.OutboxBacklog{} // none is a figure too
		if _, some := queues[peer]; !some {
			queues[peer] = cluster.QueueLoad{}
		}
		value := 0.0
		if paused {
			value = 1
		}
		gauge(m.paused, value, peer.String())
	}
	for hub, load := range queues {
		gauge(m.queued, float64(load.Items), hub.String())
		gauge(m.queuedBytes, float64(load.Bytes), hub.String())
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeMax)
	defer cancel()
	backlog, err := m.node.Backlog(ctx)
	if err != nil {
		m.log.Warn("what waits in the outboxes is missing from the metrics", "error", err)
		return
	}
	for destination, sum := range backlog {
		waits[destination] = sum
	}
	for destination, sum := range waits {
		name := destination.String()
		gauge(m.items, float64(sum.Items), name)
		gauge(m.bytes, float64(sum.Bytes), name)
		gauge(m.rooms, float64(sum.Rooms), name)
		gauge(m.age, m.oldestAge(sum.OldestMillis), name)
		counter(m.dropped, float64(sum.Dropped), name)
	}
}

// oldestAge is how long ago a moment of hub time is; 0 where nothing waits.
func (m *nodeMetrics) oldestAge(millis uint64) float64 {
	if millis == 0 {
		return 0
	}
	return max(m.now().Sub(time.UnixMilli(int64(millis))).Seconds(), 0)
}
