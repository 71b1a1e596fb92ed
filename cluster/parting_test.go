package cluster

import (
	"slices"
	"testing"
	"time"
)

// A node that is about to stop leads nothing any more, and the shards have leaders.
func TestHandOverAll(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	n := c.nodes["n1"]
	for _, g := range n.groups() {
		eventually(t, "n1 leads", func() bool {
			if !g.leads() {
				for _, other := range c.nodes {
					if led := other.groupOf(g.id); led.leads() {
						_ = led.handOver("n1")
					}
				}
			}
			return g.leads()
		})
	}
	eventually(t, "others lead", func() bool {
		n.HandOverAll(c.context()) // again where one did not succeed in time, or n1 was elected again
		return !slices.ContainsFunc(n.groups(), func(g *group) bool { return g.leads() || g.leader() == "" || g.leader() == "n1" })
	})
	began := time.Now()
	c.stop("n2")
	c.stop("n3")
	n.HandOverAll(shortly(t)) // nobody is there to take anything
	if took := time.Since(began); took > patience {
		t.Errorf("it took %s", took)
	}
}
