package cluster

import (
	"errors"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
)

// secondThoughts is a request that is judged under settings which have changed, and then refused.
type secondThoughts struct {
	judge.Request
	command fsm.Command
	judged  int
}

func (s *secondThoughts) Slot() fsm.SlotID { return s.command.Slot() }

func (s *secondThoughts) Judge(replica fsm.Reader) (judge.Verdict, error) {
	s.judged++
	if s.judged > 1 {
		return judge.Refuse{Outcome: fsm.NotAllowed{Reason: "revoked"}}, nil
	}
	_, version, err := fsm.ReadSettings(replica)
	return judge.Propose{Command: fsm.Judged{Settings: version - 1, Command: s.command}}, err
}

// A request whose settings have changed is judged anew. If that ends in a refusal, and an earlier attempt may have been accepted, the
// outcome is unknown, not a no.
func TestChangedSettingsAreNoRefusal(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	n := c.add("n1")
	options := InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}
	if err := n.Init(c.context(), options); err != nil {
		t.Fatal(err)
	}
	c.awaitActive(1)
	c.awaitSettings()
	shard, _ := n.Map().Shard(1)
	attempt := func(open bool) (fsm.Outcome, error) {
		request := &secondThoughts{command: fsm.TakeLease{Room: room(t, "changed"), Requester: user(t, "alice")}}
		q := &query{tries: tries{node: n, open: open}, request: request}
		outcome, _, err := q.judge(c.context(), n.replica(1), shard, patience)
		if request.judged != 2 {
			t.Errorf("it was judged %d times", request.judged)
		}
		return outcome, err
	}
	if outcome, err := attempt(false); outcome != (fsm.NotAllowed{Reason: "revoked"}) || err != nil {
		t.Errorf("a first attempt got %+v, %v", outcome, err)
	}
	elsewhere := &query{tries: tries{node: n, open: true}, unsettled: true}
	if outcome, err := elsewhere.elsewhere(fsm.NotAllowed{}); !errors.Is(err, fsm.ErrUnknownOutcome) {
		t.Errorf("a refusal of another node's came to %+v, %v", outcome, err)
	}
	if outcome, err := elsewhere.elsewhere(fsm.Done{}); outcome != (fsm.Done{}) || err != nil {
		t.Errorf("a success at another node came to %+v, %v", outcome, err)
	}
	if outcome, err := attempt(true); !errors.Is(err, fsm.ErrUnknownOutcome) {
		t.Errorf("after an attempt that may have been accepted it got %+v, %v", outcome, err)
	}
}
