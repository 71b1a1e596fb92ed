package dev

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"parley/cluster/pki"
	"parley/mimi"
)

// Where no log tells what was decided, the answers and what was delivered are held to one another.
func TestAnswersAreJudgedWithoutALog(t *testing.T) {
	for name, test := range map[string]struct {
		spoil  func(*contested)
		broken promise // promises for none
		want   string
	}{
		"all is well":                           {func(*contested) {}, promises, "5 KeyPackages in answers to 3 claims"},
		"two were told that they have an epoch": {func(c *contested) { c.told(1, 3, 3, 3500) }, promiseEpoch, "took epoch 1"},
		"accepted at two times":                 {func(c *contested) { c.told(1, 2, 2, 3001) }, promiseEpoch, "was taken at 3001"},
		"an epoch that nobody was told of":      {func(c *contested) { c.told(3, 5, 5, 5000) }, promiseEpoch, "is in epoch 4"},
		"one KeyPackage in two answers":         {func(c *contested) { c.given("three", "c") }, promiseKeyPackage, "is in an answer"},
		"two leases at a time":                  {func(c *contested) { c.lent("carl", 2, 15*time.Second) }, promiseLease, "later"},
		"another GroupInfo was lent":            {func(c *contested) { c.arena.lent[2] = [32]byte{99} }, promiseLease, "something else"},
		"a Commit does not arrive": {func(c *contested) {
			c.inbox.commits[c.arena.room] = c.inbox.commits[c.arena.room][:1]
		}, promiseDelivery, "the Commit of epoch 1 was not delivered"},
		"another Commit arrives": {func(c *contested) {
			c.inbox.commits[c.arena.room][1].hash = [32]byte{7}
		}, promiseDelivery, "was delivered"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContested(t)
			c.given("four", "d", "e")
			test.spoil(c)
			v := judgeAnswers(c.answers, []*arena{c.arena}, c.inbox)
			for p := range promises {
				// What a loser was told of another winner breaks what is delivered as well.
				if (len(v.broken[p]) > 0) != (p == test.broken) && !(test.broken == promiseEpoch && p == promiseDelivery) {
					t.Errorf("%q: %q", p, v.broken[p])
				}
			}
			var out bytes.Buffer
			if err := v.print(&out); (err != nil) != (test.broken != promises) || !strings.Contains(out.String(), test.want) {
				t.Errorf("error %v, want %q in:\n%s", err, test.want, out.String())
			}
		})
	}
}

// What took long counts in each stage that it had a part of.
func TestStages(t *testing.T) {
	s := &stages{}
	room := &arena{room: arenaRoom(1)}
	s.begin("first")
	s.begin("second")
	first, second := s.all[0], s.all[1]
	first.began, first.ended, second.began = begun, begun.Add(10*time.Second), begun.Add(10*time.Second)
	s.decided(room, begun.Add(time.Second), begun.Add(2*time.Second))
	s.decided(room, begun.Add(9*time.Second), begun.Add(12*time.Second))
	s.decided(room, begun.Add(13*time.Second), begun.Add(14*time.Second))
	got := s.seen()
	if got[0].probes != 2 || got[0].longest != 3*time.Second || got[0].longestAgo != 9*time.Second {
		t.Errorf("first: %+v", got[0].figures())
	}
	if got[1].probes != 2 || got[1].longest != 3*time.Second || got[1].longestAgo != -time.Second || got[1].longestIn != room.room.String() {
		t.Errorf("second: %+v", got[1].figures())
	}
}

// The probers' rooms are in all parts of the slots.
func TestProbersAreSpread(t *testing.T) {
	parts := make(map[int]bool)
	for number := probeNumbers; number < probeNumbers+1000; number++ {
		parts[slotsPart(number)] = true
	}
	if len(parts) != probedRooms {
		t.Errorf("%d parts of %d", len(parts), probedRooms)
	}
}

// What a node held that is gone for good is submitted again; what another holds waits for its verdict there.
func TestLaneSubmitsAgainWhatIsLost(t *testing.T) {
	here, gone := &node{ID: "n1"}, &node{ID: "n2"}
	p := &provider{domain: "a.example", nodes: []*node{here, gone}}
	web, err := pki.NewWebCA("test")
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBackend(p, web.CertificatePEM())
	if err != nil {
		t.Fatal(err)
	}
	s := &side{provider: p, backend: b}
	f := &forum{hub: s, far: s}
	x := &exchange{book: newBook()}
	l := &lane{exchange: x, origin: s, forums: []*forum{f}, gate: bulkGate{home{side: s}}, keeper: gone}
	for i := range 3 {
		hash := [32]byte{byte(i)}
		x.book.enter(hash, letter{forum: f, gate: l.gate})
		x.book.keeps(hash, receiptHeld)
		l.held = append(l.held, submission{forum: f, hash: hash, kind: mimi.SubmissionMessage})
	}
	if again := l.orphans(); len(again) > 0 || l.way() != (bulkGate{home{s, gone}}) {
		t.Errorf("a node that is there holds them, and %d are submitted again, by %+v", len(again), l.way())
	}
	x.book.accepted([32]byte{1})
	b.talksTo(here)
	again := l.orphans()
	if len(again) != 2 || again[0].hash != [32]byte{0} || again[1].hash != [32]byte{2} || len(l.held) > 0 {
		t.Errorf("%d are submitted again, %d held", len(again), len(l.held))
	}
	if l.way() != l.gate {
		t.Error("the next letters go to the node that is gone")
	}
}
