package cluster

import (
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
)

// Without a quorum of the meta group the shards go on, and the node that is left takes no new peers. Shard 1 is on n1 alone, the meta
// group on all three.
func TestWithoutMetaQuorum(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	n1 := c.add("n1")
	if n1.TakesPeers() {
		t.Error("a node of no cluster takes peers")
	}
	if err := n1.Init(c.context(), InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	c.awaitActive(1)
	for _, id := range []string{"n2", "n3"} {
		c.join(c.add(id), n1.ClusterAddr())
	}
	c.awaitVoters()
	for id, n := range c.nodes {
		eventually(t, id+" takes peers", n.TakesPeers)
	}
	c.stop("n2")
	c.stop("n3")
	eventually(t, "n1 takes no new peers", func() bool { return !n1.TakesPeers() })
	if silence := n1.MetaSilence(); silence < metaSilenceMax || silence > metaSilenceMax+patience {
		t.Errorf("it gave up after %s", silence)
	}
	if _, _, err := n1.ProposeTo(c.context(), 1, fsm.Fence{}); err != nil {
		t.Errorf("the shard does not go on: %v", err)
	}
	if err := n1.Change(shortly(t), meta.RevokeToken{ID: "t1"}); err == nil {
		t.Error("the map was changed without a quorum")
	}
	restarted := time.Now()
	c.start("n2")
	eventually(t, "n1 takes peers again", n1.TakesPeers)
	eventually(t, "n2 takes peers again", c.nodes["n2"].TakesPeers)
	t.Logf("peers again %s after the quorum came back", time.Since(restarted).Round(time.Millisecond))
}
