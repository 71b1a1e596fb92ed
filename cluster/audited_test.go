package cluster

import (
	"context"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/meta"
)

// What an operator asks for is in the audit log with what came of it, wherever he asks; what the cluster does by itself is not.
func TestOperatorsChangesAreAudited(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	as := func(by, verb string) context.Context {
		return meta.WithOperator(c.context(), &meta.Operator{By: by, Verb: verb, Key: [32]byte{byte(len(by)), byte(len(verb))}})
	}
	peer := meta.Peer{Domain: provider(t, "b.example")}
	peer.Domains = append(peer.Domains, peer.Domain)
	if err := c.nodes["n2"].PutPeer(as("alice", "peer add"), peer); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes["n3"].HoldPeer(as("bob", "peer pause"), meta.Hold{Domain: provider(t, "c.example"), Paused: true}); !isRefusal(err, "no peer c.example") {
		t.Fatal(err)
	}
	if _, _, err := c.nodes["n1"].ChangeSettings(as("alice", "cluster settings set"), func(in fsm.Settings, _ uint64) (fsm.Settings, error) {
		in.EpochWindow = 3
		return in, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes["n1"].RecordAction(as("bob", "shard transfer-leader"), "nobody could take it"); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes["n1"].RotateHubKeys(as("alice", "keys rotate")); err != nil {
		t.Fatal(err)
	}
	entries, err := c.nodes["n1"].Audit(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		by, verb, what, came string
	}{
		{"alice", "peer add", "peer b.example", ""},
		{"bob", "peer pause", "peer c.example", "there is no peer c.example"},
		{"alice", "cluster settings set", "", ""},
		{"bob", "shard transfer-leader", "", "nobody could take it"},
	}
	for i, w := range want {
		e := entries[len(entries)-1-i]
		if e.By != w.by || e.Verb != w.verb || !strings.HasPrefix(e.What, w.what) || e.Came != w.came || e.Done != (w.came == "") || e.Millis == 0 {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
	if rotated := entries[:len(entries)-len(want)]; len(rotated) < 2 || rotated[0].Verb != "keys rotate" || rotated[0].Sequence == rotated[1].Sequence {
		t.Errorf("a request that comes to several changes: %+v", rotated)
	}
}

// A cluster whose programs may be older gets the bare change, and no log.
func TestOlderClustersAreNotAudited(t *testing.T) {
	t.Parallel()
	c := threeNodesOf(t, func(s *fsm.Settings) { s.Format = fsm.FormatBulk })
	ctx := meta.WithOperator(c.context(), &meta.Operator{By: "alice", Verb: "token revoke", Key: [32]byte{1}})
	if err := c.nodes["n1"].RevokeToken(ctx, "t1"); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes["n1"].RecordAction(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if entries, err := c.nodes["n1"].Audit(0, 10); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := c.nodes["n1"].StartJob(ctx, JobRequest{Kind: JobRebalance}); !isRefusal(err, "jobs are of format") {
		t.Error(err)
	}
}
