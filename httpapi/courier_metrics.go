package httpapi

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"parley/mimi"
)

// CourierMetrics tells how the bringing of submissions to other hubs goes, by hub.
type CourierMetrics struct {
	attempts *prometheus.CounterVec
	verdicts *prometheus.CounterVec
	oldest   *prometheus.GaugeVec
}

// NewCourierMetrics registers the metrics. It fails where they are registered already.
func NewCourierMetrics(registry prometheus.Registerer) (*CourierMetrics, error) {
	m := &CourierMetrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_outbound_attempts_total",
			Help: "Answers to submissions that were brought to another hub, by hub and result."}, []string{"hub", "result"}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_outbound_verdicts_total",
			Help: "Verdicts of other hubs that were recorded, by hub and code."}, []string{"hub", "code"}),
		oldest: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "parley_outbound_oldest_millis",
			Help: "Hub time at which the first submission that waits for the hub here was queued; 0 when none waits."}, []string{"hub"}),
	}
	if err := errors.Join(registry.Register(m.attempts), registry.Register(m.verdicts), registry.Register(m.oldest)); err != nil {
		return nil, fmt.Errorf("register outbound metrics: %w", err)
	}
	return m, nil
}

// rest says that nothing waits for a hub any more.
func (m *CourierMetrics) rest(hub mimi.Provider) { m.oldest.WithLabelValues(hub.String()).Set(0) }
