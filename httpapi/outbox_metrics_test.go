package httpapi

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"parley/fsm"
	"parley/mimi"
)

type fixedBacklog struct {
	backlog map[mimi.Provider]fsm.OutboxBacklog
	err     error
}

func (f *fixedBacklog) Backlog(context.Context) (map[mimi.Provider]fsm.OutboxBacklog, error) {
	return f.backlog, f.err
}

// The metrics say what the backlog says, and that it cannot be read where it cannot.
func TestOutboxMetrics(t *testing.T) {
	registry, source := prometheus.NewRegistry(), &fixedBacklog{backlog: map[mimi.Provider]fsm.OutboxBacklog{
		hubDomain: {Items: 1, Bytes: 2, Rooms: 3, Handshakes: 4, OldestMillis: 5, Dropped: 6},
	}}
	if err := RegisterOutboxMetrics(registry, source); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.Metric {
			got[family.GetName()+" "+metric.Label[0].GetValue()] = metric.Gauge.GetValue()
		}
	}
	for name, want := range map[string]float64{"items": 1, "bytes": 2, "rooms": 3, "handshake_items": 4, "oldest_millis": 5, "dropped_items_total": 6} {
		if value := got["parley_outbox_"+name+" "+hubDomain.String()]; value != want {
			t.Errorf("%s is %v", name, value)
		}
	}
	source.err = errors.New("closing")
	if _, err := registry.Gather(); err == nil {
		t.Error("a backlog that cannot be read is taken for an empty one")
	}
}
