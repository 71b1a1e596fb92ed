package transport

import (
	"context"
	"fmt"
	"testing"
)

// A barred node hears what stands about it, by its own certificate, and may do nothing else; one that the asker bars is not heard, and a node of
// another cluster is not told.
func TestStandingIsToldToBarredNodes(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	list := &blacklist{}
	removed, member := c.credentials("n1"), c.credentials("n2")
	p1 := c.portWith("n1", removed, Options{Barred: list.check})
	p2 := c.portWith("n2", member, Options{Barred: list.check})
	p2.Handle("echo", func(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil })
	if answer, err := p1.AskStanding(within(t), "n2", p2.Addr().String()); err == nil {
		t.Errorf("who answers nobody answered %q", answer)
	}
	p2.HandleStanding(func(node string, serial []byte) []byte { return fmt.Appendf(nil, "%s %x", node, serial) })
	ask := func() error {
		answer, err := p1.AskStanding(within(t), "n2", p2.Addr().String())
		if want := fmt.Sprintf("n1 %x", removed.Serial()); err == nil && string(answer) != want {
			t.Errorf("the answer is %q, want %q", answer, want)
		}
		return err
	}
	if err := ask(); err != nil {
		t.Errorf("a member: %v", err)
	}
	list.add(removed.Serial())
	p2.Review()
	if err := ask(); err != nil {
		t.Errorf("a barred node: %v", err)
	}
	if _, err := p1.Call(within(t), "n2", p2.Addr().String(), "echo", nil); err == nil {
		t.Error("a barred node is let in")
	}
	list.add(member.Serial())
	if err := ask(); err == nil {
		t.Error("a barred node is believed")
	}
	other := newCluster(t, "c1")
	stranger := other.portWith("n1", other.credentials("n1"), Options{})
	if answer, err := stranger.AskStanding(within(t), "n2", p2.Addr().String()); err == nil {
		t.Errorf("a node of another CA was told %q", answer)
	}
}
