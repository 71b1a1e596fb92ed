package judge

import (
	"testing"

	"parley/fsm"
)

// A request that was judged before the settings changed is not decided on; judged again, it is. Before its format nothing is bound.
func TestVerdictsRestOnTheirSettings(t *testing.T) {
	m := openMaker(t)
	settings, version, err := fsm.ReadSettings(m.store)
	m.ok(err)
	lease := func() fsm.Command {
		r, err := m.groupInfoRequest("alice1", "a.example")
		m.ok(err)
		verdict, err := On(m.store, r)
		m.ok(err)
		return verdict.(Propose).Command
	}
	before := lease()
	if bound, yes := before.(fsm.Judged); !yes || bound.Settings != version {
		t.Fatalf("the lease is bound as %+v", before)
	}
	m.apply(fsm.EnterSettings{Version: version + 1, Settings: settings})
	want[fsm.ReadSetChanged](t, m.apply(before))
	want[fsm.LeaseGranted](t, m.apply(lease()))
}

func TestNothingIsBoundInTheFirstFormat(t *testing.T) {
	h := newHubOf(t, fsm.FormatFirst)
	h.recordBob()
	want[fsm.Accepted](t, h.create())
}
