package cluster

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"parley/fsm"
	"parley/mimi"
)

// queued is a message of a sender for a room, of about so many bytes.
func queued(t testing.TB, sender, toRoom string, label, bytes int) *proposal {
	command := fsm.SubmitMessage{Room: room(t, toRoom), Sender: mustUser("mimi://" + sender + "/u/somebody"), Epoch: 0}
	command.Hash[0], command.Hash[1] = byte(label>>8), byte(label)
	return &proposal{command: command, bytes: bytes, share: bytes, decided: make(chan decision, 1)}
}

func labelOf(p *proposal) int {
	hash := p.command.(fsm.SubmitMessage).Hash
	return int(hash[0])<<8 | int(hash[1])
}

func mustPush(t testing.TB, l *lane, p *proposal) {
	t.Helper()
	if err := l.push(p); err != nil {
		t.Fatal(err)
	}
}

// An origin that comes to a lane which another has filled gets the half of the next entries, whatever stands in front of it.
func TestLaneIsFairBetweenOrigins(t *testing.T) {
	l := newLane(true)
	for i := range 3000 {
		mustPush(t, l, queued(t, "greedy.example", fmt.Sprint("r", i%50), i, 4<<10))
	}
	for i := range 40 {
		mustPush(t, l, queued(t, "modest.example", "quiet", i, 4<<10))
	}
	counts := map[string]int{}
	for range 4 {
		taken, _ := l.take(nil, gatherBytesMax)
		for _, p := range taken {
			counts[originOf(p.command)]++
		}
	}
	if total := 4 * gatherBytesMax / (4 << 10); counts["modest.example"] != 40 || counts["greedy.example"] < total-48 {
		t.Errorf("of the first %d: %v", total, counts)
	}
}

// Of one origin one room does not hold up the others.
func TestLaneIsFairBetweenRooms(t *testing.T) {
	l := newLane(true)
	for i := range 1000 {
		mustPush(t, l, queued(t, "a.example", "loud", i, 2<<10))
	}
	mustPush(t, l, queued(t, "a.example", "quiet", 0, 2<<10))
	taken, _ := l.take(nil, 64<<10)
	found := false
	for _, p := range taken {
		found = found || p.command.Slot() == fsm.SlotOfRoom(room(t, "quiet"))
	}
	if !found {
		t.Error("the quiet room waits behind the loud one")
	}
}

// One origin cannot fill the lane, and two that have filled it do not shut a third one out.
func TestLaneShares(t *testing.T) {
	l := newLane(true)
	const size = 256 << 10
	fill := func(origin string) (n int) {
		for ; ; n++ {
			if err := l.push(queued(t, origin, "club", n, size)); err != nil {
				if !errors.Is(err, fsm.ErrOverloaded) {
					t.Fatal(err)
				}
				return n
			}
		}
	}
	if first, second := fill("first.example"), fill("second.example"); first != laneBytesMax/originShare/size || second != first {
		t.Fatalf("they hold %d and %d", first, second)
	}
	if third := fill("third.example"); third != laneBytesMax/smallShare/size {
		t.Errorf("a third holds %d", third)
	}
	if more := fill("first.example"); more != 0 {
		t.Errorf("the first got %d more", more)
	}
	own := &proposal{command: fsm.Sweep{}, bytes: 8, share: 8}
	if err := l.push(own); err != nil {
		t.Errorf("the shard's own: %v", err)
	}
	for n := range 100 { // there is an end to it
		if left := fill(fmt.Sprint("other", n, ".example")); left == 0 {
			return
		}
	}
	t.Error("the lane has no bound")
}

// Whatever is pushed is taken once, and what one origin has for one room in its order.
func TestLaneKeepsOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLane(true)
		next, seen := map[string]int{}, map[string]int{}
		pushed, taken := 0, 0
		name := func(p *proposal) string { return fmt.Sprint(originOf(p.command), p.command.Slot()) }
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "push") {
				origin := rapid.SampledFrom([]string{"a.example", "b.example", "c.example"}).Draw(rt, "origin")
				to := rapid.SampledFrom([]string{"one", "two", "three"}).Draw(rt, "room")
				p := queued(t, origin, to, 0, rapid.IntRange(1, 100<<10).Draw(rt, "bytes"))
				c := p.command.(fsm.SubmitMessage)
				c.Hash[0], c.Hash[1] = byte(next[name(p)]>>8), byte(next[name(p)])
				p.command = c
				if err := l.push(p); err != nil {
					rt.Fatal(err)
				}
				next[name(p)]++
				pushed++
				continue
			}
			batch, _ := l.take(nil, rapid.IntRange(1, 256<<10).Draw(rt, "room left"))
			if pushed > taken && len(batch) == 0 {
				rt.Fatal("something waits and nothing is taken")
			}
			for _, p := range batch {
				if labelOf(p) != seen[name(p)] {
					rt.Fatalf("%s: %d comes before %d", name(p), labelOf(p), seen[name(p)])
				}
				seen[name(p)]++
				taken++
			}
		}
		taken += len(l.close())
		if taken != pushed || l.commands != 0 || l.bytes != 0 || l.waiting() {
			rt.Fatalf("%d were pushed and %d taken; %d and %d bytes are left", pushed, taken, l.commands, l.bytes)
		}
	})
}

// Whose a command is shows in it.
func TestOrigins(t *testing.T) {
	sender := mustUser("mimi://b.example/u/bob")
	for name, test := range map[string]struct {
		command fsm.Command
		origin  string
	}{
		"a message": {fsm.SubmitMessage{Sender: sender}, "b.example"},
		"a batch":   {fsm.SubmitBatch{Messages: []fsm.BatchMessage{{Sender: sender}}}, "b.example"},
		"Proposals": {fsm.Judged{Command: fsm.SubmitProposals{Sender: sender}}, "b.example"},
		"a notify":  {fsm.ReceiveFanout{Hub: mimi.Provider{}}, ""},
		"a sweep":   {fsm.Sweep{}, ""},
		"no batch":  {fsm.SubmitBatch{}, ""},
	} {
		if got := originOf(test.command); got != test.origin {
			t.Errorf("%s is of %q", name, got)
		}
	}
}
