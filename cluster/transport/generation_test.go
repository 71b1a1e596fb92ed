package transport

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
)

// Nodes of different generations do not talk, whoever calls whom, and the older one hears that it is over. One without a history is heard.
func TestCallsAreOfOneGeneration(t *testing.T) {
	c := newCluster(t, "c1")
	var told atomic.Int32
	port := func(node string, generation uint64) *Port {
		p := c.portWith(node, c.credentials(node), Options{
			Generation: func() uint64 { return generation }, OpenMethods: []string{"say"},
			Superseded: func(string, uint64) {
				if generation != 1 {
					t.Errorf("node %s of generation %d was told that it is over", node, generation)
				}
				told.Add(1)
			},
		})
		p.Handle("tell", func(context.Context, string, []byte) ([]byte, error) { return []byte("told"), nil })
		p.Handle("say", func(context.Context, string, []byte) ([]byte, error) { return []byte("heard"), nil })
		return p
	}
	fresh, old, current := port("fresh", 0), port("old", 1), port("current", 2)
	if _, err := fresh.Call(t.Context(), "old", old.Addr().String(), "tell", nil); !errors.Is(err, ErrNotSent) {
		t.Errorf("one without a history is told: %v", err)
	}
	for _, test := range []struct {
		from, to *Port
		heard    bool
		told     int32 // so far
	}{{old, old, true, 0}, {current, current, true, 0}, {fresh, current, true, 0}, {current, fresh, true, 0}, {fresh, old, true, 0}, {old, current, false, 1}, {current, old, false, 2}} {
		t.Run(fmt.Sprint(test.from.NodeID(), " calls ", test.to.NodeID()), func(t *testing.T) {
			answer, err := test.from.Call(t.Context(), test.to.NodeID(), test.to.Addr().String(), "say", nil)
			remote := (*RemoteError)(nil)
			switch {
			case test.heard && (err != nil || string(answer) != "heard"):
				t.Errorf("it got %q, %v", answer, err)
			case !test.heard && (!errors.As(err, &remote) || remote.Code != CodeGeneration || !errors.Is(err, ErrNotSent)):
				t.Errorf("it got %q, %v", answer, err)
			}
			if got := told.Load(); got != test.told {
				t.Errorf("the old node was told %d times so far, not %d", got, test.told)
			}
		})
	}
}
