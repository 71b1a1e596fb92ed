package cluster

import (
	"testing"
	"time"

	"parley/cluster/pki"
)

// TestCAIsReplaced: a CA that is kept outside of the cluster is followed by another in three rounds, node by node, and the cluster decides
// all the while. At the end the old one is nothing any more.
func TestCAIsReplaced(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := threeNodes(t, nil)
	next, err := pki.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	d := &damagedNode{t: t, cluster: c}
	ids := []string{"n1", "n2", "n3"}
	for round, issue := range []struct {
		by, trusts pki.CA
		both       bool
	}{{c.ca, next, true}, {next, c.ca, true}, {by: next}} {
		for i, id := range ids {
			credentials, err := pki.IssueNode(issue.by, id, nil, time.Hour)
			if err == nil && issue.both {
				credentials, err = credentials.Trusting(issue.trusts.CertificatePEM())
			}
			if err != nil {
				t.Fatal(err)
			}
			config := c.configs[id]
			config.Credentials = credentials
			c.configs[id] = config
			c.stop(id)
			d.fillFrom(c.nodes[ids[(i+1)%3]], "round"+string(rune('a'+round))+id) // the two that stay decide together
			c.start(id)
			d.id = id
			d.awaitWhole(nil)
		}
	}
	old, err := pki.IssueNode(c.ca, "n4", nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c.configs["n4"] = c.config("n4", old)
	if err := c.start("n4").Join(shortly(t), c.nodes["n1"].ClusterAddr()); err == nil {
		t.Error("a node of the old CA is let in")
	}
}
