package cluster

import (
	"testing"
	"time"

	"parley/mimi"
)

// table is a dealing of shard 1 by a, with the followers b and c, and what they have said last.
type table struct {
	*dealing
	now       time.Duration
	standings map[string]standing
}

func newTable() *table {
	t := &table{dealing: newDealing(1, "a", 7, 40, appointmentLasts+appointmentMargin), standings: make(map[string]standing)}
	t.note(0, 40)
	return t
}

// pass lets time go by in which the log grows to an index and followers say how far they have applied it.
func (t *table) pass(d time.Duration, index uint64, applied map[string]uint64) {
	t.now += d
	t.note(t.now, index)
	for node, at := range applied {
		t.standings[node] = standing{known: true, at: t.now, applied: at}
	}
}

// round deals out, and everybody who is asked lets go of what is not dealt to it.
func (t *table) round(answers ...string) map[string]lots {
	dealt := t.deal(t.now, []string{"b", "c"}, t.standings)
	for _, node := range []string{"a", "b", "c"} {
		t.grant(t.now, node, dealt[node])
	}
	for _, node := range answers {
		t.kept(node, dealt[node])
	}
	return dealt
}

func (t *table) wants(test *testing.T, when string, dealt map[string]lots, a, b, c int) {
	test.Helper()
	if got := [3]int{dealt["a"].count(), dealt["b"].count(), dealt["c"].count()}; got != [3]int{a, b, c} {
		test.Errorf("%s a, b and c have %v lots, not %d, %d and %d", when, got, a, b, c)
	}
	if dealt["a"]&dealt["b"]|dealt["b"]&dealt["c"]|dealt["a"]&dealt["c"] != 0 {
		test.Errorf("%s a lot is dealt out twice: %x", when, dealt)
	}
}

// A new leader waits; then its followers share the lots, each keeps its own while nothing changes, and the leader has none.
func TestLotsAreShared(t *testing.T) {
	d := newTable()
	both := map[string]uint64{"b": 40, "c": 40}
	d.pass(appointmentLasts, 40, both)
	d.wants(t, "before it is due", d.round("b", "c"), 0, 0, 0)
	d.pass(appointmentRound, 40, both)
	first := d.round("b", "c")
	d.wants(t, "then", first, 0, 32, 32)
	d.pass(appointmentRound, 50, both)
	if again := d.round("b", "c"); again["b"] != first["b"] || again["c"] != first["c"] {
		t.Errorf("the lots have wandered: %x, %x", first, again)
	}
	if d.floors["b"] != 40 {
		t.Errorf("b has to have applied %d, not 40", d.floors["b"])
	}
}

// What a follower had that has fallen silent is dealt out when it has certainly stopped, and not before; it is a takeover, and who gets it
// has to have applied all that was acknowledged until then. When the follower is back its lots come back, when the other has let go.
func TestLotsOfTheSilent(t *testing.T) {
	d := newTable()
	both := map[string]uint64{"b": 40, "c": 40}
	d.pass(2*appointmentLasts, 40, both)
	d.round("b", "c")
	silent, sent := map[string]uint64{"b": 60}, d.now
	for d.now < sent+appointmentLasts+appointmentMargin-appointmentRound {
		d.pass(appointmentRound, 60, silent)
		d.deal(d.now, []string{"b", "c"}, d.standings)
		dealt := d.deal(d.now, []string{"b", "c"}, d.standings)
		d.grant(d.now, "b", dealt["b"]) // no call of c is made
		if dealt["b"].count() != 32 {
			t.Errorf("%v after c's last appointment b has %d lots", d.now-sent, dealt["b"].count())
		}
	}
	d.pass(appointmentRound, 60, silent)
	d.wants(t, "after it is over", d.round("b"), 0, 64, 0)
	if d.takeovers != 1 || d.floors["b"] != 60 {
		t.Errorf("%d takeovers, and b has to have applied %d", d.takeovers, d.floors["b"])
	}
	d.pass(appointmentRound, 60, map[string]uint64{"b": 60, "c": 60})
	d.wants(t, "while b is being told", d.round("b"), 0, 32, 0)
	d.pass(appointmentRound, 60, map[string]uint64{"b": 60, "c": 60})
	d.wants(t, "when b has let go", d.round("b", "c"), 0, 32, 32)
	if d.takeovers != 1 {
		t.Errorf("%d takeovers: what was let go of was not taken", d.takeovers)
	}
}

// A dead process has stopped at once.
func TestLotsOfTheDead(t *testing.T) {
	d := newTable()
	d.pass(2*appointmentLasts, 40, map[string]uint64{"b": 40, "c": 40})
	d.round("b", "c")
	d.gone(d.now, "c")
	delete(d.standings, "c")
	d.wants(t, "at once", d.round("b"), 0, 64, 0)
	if d.takeovers != 1 {
		t.Errorf("%d takeovers", d.takeovers)
	}
}

// A follower that lags gets nothing, keeps what it has a while longer, and the leader delivers where nobody keeps up.
func TestLotsOfTheLate(t *testing.T) {
	d := newTable()
	d.pass(2*appointmentLasts, 40, map[string]uint64{"b": 40, "c": 0})
	d.pass(2*appointmentLasts, 80, map[string]uint64{"b": 40, "c": 30})
	d.wants(t, "with c behind", d.round("b"), 0, 64, 0)
	for from := d.now; d.now < from+appointmentLate; {
		d.pass(appointmentRound, 90, map[string]uint64{"b": 85, "c": 30})
		d.wants(t, "with b a little late", d.round("b"), 0, 64, 0)
	}
	d.pass(appointmentRound, 90, map[string]uint64{"b": 85, "c": 30})
	d.wants(t, "with b late, while it is told", d.round("b"), 0, 0, 0)
	d.wants(t, "with b late", d.round("b"), 64, 0, 0)
	d.pass(appointmentRound, 99, map[string]uint64{"b": 99, "c": 99})
	d.wants(t, "when both have caught up", d.round("b", "c"), 0, 32, 32)
	if d.takeovers != 0 {
		t.Errorf("%d takeovers", d.takeovers)
	}
}

// Whoever says that an earlier leader's appointment of it lasts goes on, and nobody else begins.
func TestLotsAreAdopted(t *testing.T) {
	d := newTable()
	d.pass(appointmentRound, 41, map[string]uint64{"b": 10, "c": 41})
	if !d.adopt(d.now, "b", 0xff) || d.adopt(d.now, "c", 0x80) {
		t.Error("b was not believed, or c was")
	}
	dealt := d.round("b", "c")
	d.wants(t, "before it is due", dealt, 0, 8, 0)
	if dealt["b"] != 0xff || d.floors["b"] != 40 {
		t.Errorf("b has %x from index %d on", dealt["b"], d.floors["b"])
	}
	d.pass(appointmentLasts, 41, map[string]uint64{"b": 41, "c": 41})
	d.round("b", "c")
	d.wants(t, "then", d.round("b", "c"), 0, 32, 32)
}

// Nodes have to agree on a destination's lot for ever, whatever program they run.
func TestLotOfDestination(t *testing.T) {
	for domain, want := range map[string]int{"b.example": 40, "c.example": 62} {
		p, err := mimi.ParseProvider(domain)
		if err != nil {
			t.Fatal(err)
		}
		if got := lotOf(p); got != want {
			t.Errorf("%s is in lot %d, not %d", domain, got, want)
		}
	}
}
