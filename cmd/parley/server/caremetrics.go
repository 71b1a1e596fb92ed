package server

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/cluster"
)

// watched is what a node tells of its replicas and of itself in a metrics collector.
type watched interface {
	View() cluster.NodeView
	DiskFree() (uint64, error)
	MetaSilence() time.Duration
	CertificateEnds() time.Time
}

// careMetrics reads the node's replicas at each scrape. The series are as many as the node has replicas.
type careMetrics struct {
	node         watched
	version      string
	certificates map[string]*certificates

	build, leads, hasLeader, running, applied, behind, term, voter *prometheus.Desc
	clock, diskFree, diskLow, cleared, silence, certificateEnds    *prometheus.Desc
}

func newCareMetrics(node watched, version string, held map[string]*certificates) *careMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &careMetrics{
		node: node, version: version, certificates: held,
		build:     desc("parley_build_info", "1, with the program's version and the newest format that it knows.", "version", "format"),
		leads:     desc("parley_replica_leads", "1 where this node leads the shard, 0 where not; shard 0 is the meta group.", "shard"),
		hasLeader: desc("parley_replica_has_leader", "1 where this node's replica knows a leader of its group.", "shard"),
		running:   desc("parley_replica_running", "0 where this node's replica must not run: it is held back for damage.", "shard"),
		applied:   desc("parley_replica_applied_index", "Index of the last log entry that is in the state; its rate is that of decisions in entries.", "shard"),
		behind:    desc("parley_replica_behind_entries", "Entries that this replica knows to be decided and has not applied.", "shard"),
		term:      desc("parley_replica_term", "The replica's Raft term; each election raises it.", "shard"),
		voter:     desc("parley_replica_votes", "1 where the replica has a vote; 0 while it is being added or rebuilt.", "shard"),

		clock:           desc("parley_clock_offset_seconds", "How far the node's clock is ahead of the median of those it votes with; absent where that is not known."),
		diskFree:        desc("parley_disk_free_bytes", "What is free on the disk of the data directory; absent where the file system does not tell."),
		diskLow:         desc("parley_disk_reserve_touched", "1 where the disk's reserve is touched: the node takes nothing new for what it leads."),
		cleared:         desc("parley_replicas_cleared_total", "ALARM: replicas that this node has cleared for damage since it started, to be rebuilt."),
		silence:         desc("parley_meta_silence_seconds", "How long ago the node heard of the meta group's leader; from 10 s on it takes no new connections of peers."),
		certificateEnds: desc("parley_certificate_end_seconds", "When a certificate of the node ends, in seconds since 1970.", "listener"),
	}
}

// Describe implements prometheus.Collector.
func (m *careMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.build, m.leads, m.hasLeader, m.running, m.applied, m.behind, m.term, m.voter,
		m.clock, m.diskFree, m.diskLow, m.cleared, m.silence, m.certificateEnds} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (m *careMetrics) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	view := m.node.View()
	gauge(m.build, 1, m.version, strconv.Itoa(int(view.Knows)))
	for _, r := range append(view.Replicas, view.Meta) {
		if r.Departing {
			continue // it is none of the shard's any more
		}
		shard := strconv.FormatUint(uint64(r.Shard), 10)
		gauge(m.running, oneIf(r.Running), shard)
		if !r.Running {
			continue
		}
		gauge(m.leads, oneIf(r.Leader == r.Node), shard)
		gauge(m.hasLeader, oneIf(r.Leader != ""), shard)
		gauge(m.applied, float64(r.Applied), shard)
		gauge(m.behind, float64(r.Commit-min(r.Commit, r.Applied)), shard)
		gauge(m.term, float64(r.Term), shard)
		gauge(m.voter, oneIf(r.Voter), shard)
	}
	if offset := view.ClockOffsetMillis; offset != nil {
		gauge(m.clock, float64(*offset)/1000)
	}
	if free, err := m.node.DiskFree(); err == nil {
		gauge(m.diskFree, float64(free))
	}
	gauge(m.diskLow, oneIf(view.DiskLow))
	metrics <- prometheus.MustNewConstMetric(m.cleared, prometheus.CounterValue, float64(view.Cleared))
	gauge(m.silence, m.node.MetaSilence().Seconds())
	gauge(m.certificateEnds, float64(m.node.CertificateEnds().Unix()), "cluster")
	for listener, held := range m.certificates {
		if ends, err := held.ends(); err == nil {
			gauge(m.certificateEnds, float64(ends.Unix()), listener)
		}
	}
}
