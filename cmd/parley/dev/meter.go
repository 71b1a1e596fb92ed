package dev

import (
	"context"
	"maps"
	"slices"
	"time"
)

// meter measures what the nodes use of the processors from the first letter until nothing is under way.
type meter struct {
	before [2]map[string]time.Duration // by side and node
	nodes  [2][]consumption
}

// consumption is what a node has used.
type consumption struct {
	Node    string        `json:"node"`
	Leads   int           `json:"leads"` // shards, at the end
	Spent   time.Duration `json:"-"`
	Seconds float64       `json:"processorSeconds"`
	Share   float64       `json:"share"` // of its cluster's
}

func (m *meter) begin(sides [2]*side) (err error) {
	for i, s := range sides {
		if m.before[i], err = s.nodes.spent(); err != nil {
			return err
		}
	}
	return nil
}

func (m *meter) end(ctx context.Context, sides [2]*side) error {
	for i, s := range sides {
		after, err := s.nodes.spent()
		if err != nil {
			return err
		}
		status, err := s.nodes.status(ctx)
		if err != nil {
			return err
		}
		leads := make(map[string]int)
		for _, shard := range status.Shards {
			leads[shard.Leader]++
		}
		var all time.Duration
		for _, name := range slices.Sorted(maps.Keys(after)) {
			spent := after[name] - m.before[i][name]
			m.nodes[i] = append(m.nodes[i], consumption{Node: name, Leads: leads[name], Spent: spent})
			all += spent
		}
		for n := range m.nodes[i] {
			c := &m.nodes[i][n]
			c.Seconds, c.Share = c.Spent.Seconds(), float64(c.Spent)/float64(max(all, 1))
		}
	}
	return nil
}
