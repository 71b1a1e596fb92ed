package cluster

import (
	"context"
	"errors"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/fsm/meta"
)

// meanwhile is a request in the middle of whose first verdict something happens.
type meanwhile struct {
	judge.Request
	command fsm.Command
	happens func()
	judged  int
}

func (m *meanwhile) Slot() fsm.SlotID { return m.command.Slot() }

func (m *meanwhile) Judge(replica fsm.Reader) (judge.Verdict, error) {
	_, version, err := fsm.ReadSettings(replica)
	if m.judged++; m.judged == 1 {
		m.happens()
	}
	return judge.Propose{Command: fsm.Judged{Settings: version, Command: m.command}}, err
}

func (m *meanwhile) Complete(_ fsm.Reader, outcome fsm.Outcome) (fsm.Outcome, error) {
	return outcome, nil
}

// What was judged for a peer or a bearer who is shut out before it is decided is not decided, neither under the settings that it was
// judged with nor under the next.
func TestShutOutWhileJudged(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	n := c.add("n1")
	options := InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}
	if err := n.Init(c.context(), options); err != nil {
		t.Fatal(err)
	}
	c.awaitActive(1)
	peer := meta.Peer{Domain: provider(t, "b.example")}
	peer.Domains = append(peer.Domains, peer.Domain)
	token := meta.Token{ID: "t", SecretHash: [32]byte{1}, Scopes: []meta.Scope{1}}
	shard, _ := n.Map().Shard(1)
	lease := fsm.TakeLease{Room: room(t, "none"), Requester: user(t, "alice")}
	for name, caller := range map[string]struct {
		meta.Caller
		letIn, shutOut func() error
	}{
		"peer": {
			meta.Caller{Peer: peer.Domain},
			func() error { return n.PutPeer(c.context(), peer) },
			func() error { return n.RemovePeer(c.context(), peer.Domain) },
		},
		"bearer": {
			meta.Caller{TokenHash: token.SecretHash},
			func() error { return n.PutToken(c.context(), token) },
			func() error { return n.RevokeToken(c.context(), token.ID) },
		},
	} {
		if err := caller.letIn(); err != nil {
			t.Fatal(err)
		}
		c.awaitSettings()
		ctx := meta.WithCaller(c.context(), caller.Caller)
		attempt := func(ctx context.Context, q *query, happens func()) (fsm.Outcome, error) {
			q.node, q.request = n, &meanwhile{command: lease, happens: happens}
			q.takeCaller(ctx)
			outcome, _, err := q.judge(ctx, n.replica(1), shard, patience)
			return outcome, err
		}
		if outcome, err := attempt(ctx, &query{}, func() {}); outcome != (fsm.NoSuchRoom{}) || err != nil {
			t.Fatalf("a known %s got %+v, %v", name, outcome, err)
		}
		_, judged := n.Map().Settings()
		shut := func() {
			if err := caller.shutOut(); err != nil {
				t.Error(err)
			}
		}
		outcome, err := attempt(ctx, &query{}, shut)
		if _, refused := outcome.(fsm.NotAllowed); !refused || err != nil {
			t.Errorf("a %s that was shut out meanwhile got %+v, %v", name, outcome, err)
		}
		if outcome, err := attempt(ctx, &query{tries: tries{open: true}}, func() {}); !errors.Is(err, fsm.ErrUnknownOutcome) {
			t.Errorf("after an attempt that may have been accepted the %s got %+v, %v", name, outcome, err)
		}
		c.awaitSettings()
		decided, _, err := n.Propose(c.context(), fsm.Judged{Settings: judged, Command: lease})
		if _, refused := decided.(fsm.ReadSetChanged); !refused || err != nil {
			t.Errorf("what was judged before the %s was shut out came to %+v, %v", name, decided, err)
		}
		// Another node that took the request, and does not know yet, cannot have it decided here either.
		if outcome, err := attempt(c.context(), &query{vouched: vouched(judged)}, func() {}); !errors.Is(err, errElsewhere) {
			t.Errorf("a %s vouched for under earlier settings got %+v, %v", name, outcome, err)
		}
		if outcome, err := attempt(c.context(), &query{}, func() {}); outcome != (fsm.NoSuchRoom{}) || err != nil {
			t.Errorf("the node itself got %+v, %v", outcome, err)
		}
	}
}
