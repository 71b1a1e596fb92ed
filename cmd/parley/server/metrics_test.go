package server

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/cluster"
	"parley/fsm"
	"parley/httpapi"
	"parley/mimi"
)

// fakeDeliveries is a node whose outboxes are as the test says.
type fakeDeliveries struct {
	backlog map[mimi.Provider]fsm.OutboxBacklog
	err     error
	paused  map[mimi.Provider]bool
}

func (f fakeDeliveries) Backlog(context.Context) (map[mimi.Provider]fsm.OutboxBacklog, error) {
	return f.backlog, f.err
}
func (f fakeDeliveries) Appointed() cluster.Appointed {
	return cluster.Appointed{LeaderLots: 64, FollowerLots: 96, Takeovers: 2}
}
func (f fakeDeliveries) Held() cluster.HeldStatus {
	return cluster.HeldStatus{Items: 4, Bytes: 900, OldestMillis: 11_000, Damaged: 1, Expired: 6}
}
func (f fakeDeliveries) QueueLoads() map[mimi.Provider]cluster.QueueLoad {
	loads := make(map[mimi.Provider]cluster.QueueLoad)
	for peer := range f.backlog {
		loads[peer] = cluster.QueueLoad{Items: 8, Bytes: 1600}
	}
	return loads
}
func (f fakeDeliveries) PausedPeers() map[mimi.Provider]bool { return f.paused }

func TestNodeMetrics(t *testing.T) {
	b, err := mimi.ParseProvider("b.example")
	if err != nil {
		t.Fatal(err)
	}
	c, err := mimi.ParseProvider("c.example")
	if err != nil {
		t.Fatal(err)
	}
	node := fakeDeliveries{
		backlog: map[mimi.Provider]fsm.OutboxBacklog{b: {Items: 5, Bytes: 700, Rooms: 2, OldestMillis: 10_000, Dropped: 3}},
		paused:  map[mimi.Provider]bool{b: true, c: false},
	}
	var said bytes.Buffer
	figures := figuresOf(t, node, &said)
	for name, want := range map[string]float64{
		`parley_outbox_items b.example`: 5, `parley_outbox_items c.example`: 0, `parley_outbox_bytes b.example`: 700, `parley_outbox_rooms b.example`: 2,
		`parley_outbox_oldest_age_seconds b.example`: 2.5, `parley_outbox_oldest_age_seconds c.example`: 0,
		`parley_outbox_dropped_items_total b.example`: 3, `parley_peer_paused b.example`: 1, `parley_peer_paused c.example`: 0,
		`parley_delivery_lots follower`: 96, `parley_delivery_lots leader`: 64, `parley_delivery_takeovers_total`: 2,
		`parley_held_items`: 4, `parley_held_bytes`: 900, `parley_held_oldest_age_seconds`: 1.5, `parley_held_damaged`: 1, `parley_held_expired_total`: 6,
		`parley_queue_items b.example`: 8, `parley_queue_items c.example`: 0, `parley_queue_bytes b.example`: 1600, `parley_queue_bytes c.example`: 0,
	} {
		if got, there := figures[name]; !there || got != want {
			t.Errorf("%s is %v, %v, not %v", name, got, there, want)
		}
	}
	node.err = errors.New("closing")
	if _, there := figuresOf(t, node, &said)["parley_outbox_items b.example"]; there || !strings.Contains(said.String(), "closing") {
		t.Errorf("what could not be read has a figure, or the log, which is %q, does not say why there is none", said.String())
	}
}

// figuresOf is what a scrape 12.5 s after 1970 brings, by name and label.
func figuresOf(t *testing.T, node deliveries, log *bytes.Buffer) map[string]float64 {
	t.Helper()
	m := newNodeMetrics(node, slog.New(slog.NewTextHandler(log, nil)))
	m.now = func() time.Time { return time.UnixMilli(12_500) }
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	figures := make(map[string]float64)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			figures[name] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return figures
}

var metricName = regexp.MustCompile(`\bparley_[a-z_]+\b`)

// docs/metrics.md has every metric that the registry gets and that any package names, and no other.
func TestEveryMetricIsDescribed(t *testing.T) {
	text, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	described := make(map[string]bool)
	for _, row := range strings.Split(string(text), "\n") {
		if cells := strings.Split(row, "|"); len(cells) > 2 {
			for _, name := range metricName.FindAllString(cells[1], -1) {
				described[name] = true
			}
		}
	}
	named := registered(t)
	for _, folder := range []string{"../../../httpapi", "../../../cluster", ".."} {
		maps.Copy(named, namedIn(t, folder))
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if !described[name] {
			t.Errorf("docs/metrics.md lacks %s", name)
		}
	}
	for name := range described {
		if !named[name] {
			t.Errorf("docs/metrics.md has %s, which is no metric", name)
		}
	}
}

// registered are the names of what the composition registers.
func registered(t *testing.T) map[string]bool {
	t.Helper()
	registry := prometheus.NewRegistry()
	if _, err := httpapi.NewRequestMetrics(registry); err != nil {
		t.Fatal(err)
	}
	if _, err := httpapi.NewDeliveryMetrics(registry); err != nil {
		t.Fatal(err)
	}
	if _, err := httpapi.NewCourierMetrics(registry); err != nil {
		t.Fatal(err)
	}
	registry.MustRegister(newNodeMetrics(fakeDeliveries{}, slog.New(slog.DiscardHandler)), newPlacementMetrics(fakePlaced{}), newCareMetrics(fakeNode{}, "v1", nil), newGenerationMetrics(fakeGenerations{}, slog.New(slog.DiscardHandler)))
	descs := make(chan *prometheus.Desc, 1000)
	registry.Describe(descs)
	close(descs)
	names := make(map[string]bool)
	for d := range descs {
		names[metricName.FindString(d.String())] = true
	}
	return names
}

// namedIn are the names that the sources of a folder give to metrics.
func namedIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	quoted := regexp.MustCompile(`(?:Name:\s*|desc\(|NewDesc\()"(parley_[a-z_]+)"`)
	names := make(map[string]bool)
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, found := range quoted.FindAllStringSubmatch(string(source), -1) {
			names[found[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
