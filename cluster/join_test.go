package cluster

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
)

// What cannot pass is said at once, not after the deadline.
func TestJoinInVainIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	c, other := newTestCluster(t, nil), newTestCluster(t, nil)
	n := c.add("n1")
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := web.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	defer func() { _ = web.Close(); <-done }()
	for address, want := range map[string]string{
		c.add("n2").ClusterAddr():     "belongs to no cluster yet",
		other.add("n9").ClusterAddr(): "none that this one can join",
		web.Addr().String():           "none that this one can join",
	} {
		start := time.Now()
		err := n.Join(c.context(), address)
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.Contains(refused.Reason, want) {
			t.Errorf("%s: %v, want a refusal with %q", address, err, want)
		}
		if took := time.Since(start); took > enrolPatience {
			t.Errorf("it took %s", took)
		}
	}
}

func TestChangeBeforeInitIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	if err := c.add("n1").Change(c.context(), meta.RevokeToken{ID: "t1"}); !errors.Is(err, ErrNotInitialised) {
		t.Errorf("%v", err)
	}
}

func TestLeadIsHandedOverFromAnyNode(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	for _, to := range []string{"n2", "n3", "n1"} {
		for asked, n := range c.nodes {
			eventually(t, "the lead of shard 1 goes to "+to+", asked at "+asked, func() bool {
				return n.TransferLeadership(c.context(), 1, to) == nil && c.nodes[to].replica(1).leads()
			})
		}
	}
	var refused *RefusedError
	for _, test := range []struct {
		shard fsm.ShardID
		to    string
	}{{9, "n1"}, {1, "n9"}} {
		if err := c.nodes["n1"].TransferLeadership(c.context(), test.shard, test.to); !errors.As(err, &refused) {
			t.Errorf("shard %d to %s: %v", test.shard, test.to, err)
		}
	}
}
