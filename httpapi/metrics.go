package httpapi

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// RequestMetrics counts and times requests by listener, endpoint and status. The endpoint is the route's pattern, so the
// number of series is bounded by the routes; what matches none is counted as "none".
type RequestMetrics struct {
	count    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	intake   *prometheus.CounterVec
}

// NewRequestMetrics registers the metrics. It fails where they are registered already.
func NewRequestMetrics(registry prometheus.Registerer) (*RequestMetrics, error) {
	labels := []string{"listener", "method", "endpoint", "code"}
	m := &RequestMetrics{
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_http_requests_total", Help: "Requests answered, by listener, route and HTTP status.",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "parley_http_request_seconds", Help: "Time from a request's header to the end of its answer.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30},
		}, labels),
		intake: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "parley_submissions_total",
			Help: "Messages and Proposals that were submitted, by origin (a peer's domain, or local), endpoint and what they were answered.",
		}, []string{"origin", "endpoint", "result"}),
	}
	if err := errors.Join(registry.Register(m.count), registry.Register(m.duration), registry.Register(m.intake)); err != nil {
		return nil, fmt.Errorf("register request metrics: %w", err)
	}
	return m, nil
}

// submitted counts the answers to a bulk submission. Origins are bounded by the peers of the allow-list.
func (m *RequestMetrics) submitted(origin string, answers []mimi.SubmissionAnswer) {
	for _, a := range answers {
		result := a.State.String()
		if a.State == mimi.SubmissionRejected {
			result = a.Verdict.Code.String()
		}
		m.intake.WithLabelValues(origin, "bulk", result).Inc()
	}
}

// submittedAlone counts a message that came by itself.
func (m *RequestMetrics) submittedAlone(origin string, outcome fsm.Outcome, err error) {
	result := "refused"
	switch verdict, decided := judge.VerdictOf(mimi.Receipt{}, outcome); {
	case errors.Is(err, fsm.ErrUnknownOutcome):
		result = mimi.SubmissionUndecided.String()
	case err != nil && isUnavailable(err):
		result = mimi.SubmissionNotTaken.String()
	case err == nil && decided:
		result = verdict.Code.String()
	}
	m.intake.WithLabelValues(origin, "single", result).Inc()
}

// observe is the outermost middleware of a listener. It makes echo write the error's answer, so that its status is known.
func (m *RequestMetrics) observe(listener string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			begun := time.Now()
			if err := next(c); err != nil {
				c.Error(err)
			}
			endpoint := c.Path()
			if endpoint == "" {
				endpoint = "none"
			}
			code := strconv.Itoa(c.Response().Status)
			m.count.WithLabelValues(listener, methodLabel(c.Request().Method), endpoint, code).Inc()
			m.duration.WithLabelValues(listener, methodLabel(c.Request().Method), endpoint, code).Observe(time.Since(begun).Seconds())
			return nil
		}
	}
}

// methodLabel keeps a made-up method from making a series of its own.
func methodLabel(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE":
		return method
	default:
		return "other"
	}
}

// DeliveryMetrics tells how the delivery of the outbox goes, by destination.
type DeliveryMetrics struct {
	sent     *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	acked    *prometheus.CounterVec
	inFlight *prometheus.GaugeVec
	parked   *prometheus.GaugeVec
	refused  *prometheus.CounterVec
	age      *prometheus.GaugeVec
	backoff  *prometheus.GaugeVec
	untold   *prometheus.CounterVec
}

// NewDeliveryMetrics registers the metrics. It fails where they are registered already.
func NewDeliveryMetrics(registry prometheus.Registerer) (*DeliveryMetrics, error) {
	destination := []string{"destination"}
	m := &DeliveryMetrics{
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_delivery_attempts_total",
			Help: "Notify bodies sent, by destination and result."}, []string{"destination", "result"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_delivery_bytes_total",
			Help: "Bytes of notify bodies that were taken."}, destination),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "parley_delivery_seconds",
			Help:    "Time of one attempt to deliver a notify body.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}}, destination),
		acked: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_delivery_acknowledged_total",
			Help: "Outbox items recorded as delivered."}, destination),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "parley_delivery_rooms_in_flight",
			Help: "Rooms with a body on its way or waiting for its acknowledgement to be recorded."}, destination),
		parked: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "parley_delivery_rooms_parked",
			Help: "Rooms whose next body the destination refuses. Retried slowly, never dropped; more than 0 needs a look."}, destination),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_delivery_refused_total",
			Help: "ALARM: answers of class 400 to a body that the destination must take."}, []string{"destination", "code"}),
		age: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "parley_delivery_oldest_head_millis",
			Help: "Hub time at which the oldest body known to wait here was accepted; 0 when none waits."}, destination),
		backoff: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "parley_delivery_backoff_seconds",
			Help: "How long nothing is sent to the destination after its last failure; 0 when it answers."}, destination),
		untold: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "parley_delivery_untold_total",
			Help: "Outbox items whose notices were not told, because the destination takes bodies one by one, which have no place for them."}, destination),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.sent, m.bytes, m.duration, m.acked, m.inFlight, m.parked, m.refused, m.age, m.backoff, m.untold} {
		errs = append(errs, registry.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register delivery metrics: %w", err)
	}
	return m, nil
}
