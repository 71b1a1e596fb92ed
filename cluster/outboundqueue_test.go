package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
)

// queueWorld is the queues of a shard's state without a cluster around it, and a replica that looks at them.
type queueWorld struct {
	t       *testing.T
	store   *fsmtest.Store
	replica *replica
	hub     mimi.Provider
	index   uint64
}

func newQueueWorld(t *testing.T) *queueWorld {
	w := &queueWorld{t: t, store: fsmtest.NewStore(), replica: &replica{queues: newQueueIndex(), node: &Node{meta: &metaReplica{current: &meta.Map{}}}}, hub: provider(t, "b.example")}
	w.apply(fsm.OwnSlots{Shard: 1, Generation: 1, First: 0, Last: fsm.SlotCount - 1},
		fsm.EnterSettings{Version: 1, Settings: fsm.DefaultSettings(provider(t, "a.example"))})
	return w
}

func (w *queueWorld) apply(commands ...fsm.Command) {
	w.t.Helper()
	w.index++
	result, err := fsm.Apply(w.store, w.index, fsm.EncodeEntry(fsm.Entry{StampMillis: 1000 * w.index, Commands: commands}))
	if err != nil {
		w.t.Fatal(err)
	}
	w.replica.queues.note(result.Queues)
}

func theirs(t *testing.T, name string) mimi.RoomURI {
	t.Helper()
	uri, err := mimi.ParseRoomURI("mimi://b.example/r/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return uri
}

// queue has so many submissions of some size wait in a room.
func (w *queueWorld) queue(name string, count, size int) {
	w.t.Helper()
	c := fsm.QueueSubmissions{Room: theirs(w.t, name)}
	for i := range count {
		receipt := mimi.Receipt{byte(w.index), byte(i)}
		copy(receipt[2:], name)
		body := fmt.Appendf(nil, "%s %d ", name, i)
		c.Submissions = append(c.Submissions, fsm.OutboundSubmission{
			Receipt: receipt, Kind: mimi.SubmissionMessage, Body: append(body, bytes.Repeat([]byte{'.'}, max(0, size-len(body)))...),
		})
	}
	w.apply(c)
}

// look is QueueHeads of this replica alone.
func (w *queueWorld) look(page fsm.OutboxPage, busy ...string) (labels []string) {
	w.t.Helper()
	heads := newQueueHeads(w.hub, func(r mimi.RoomURI) bool {
		return slices.ContainsFunc(busy, func(name string) bool { return theirs(w.t, name) == r })
	}, page)
	if err := w.replica.queueHeadsIn(w.store, heads); err != nil {
		w.t.Fatal(err)
	}
	for _, q := range heads.items {
		label, _, _ := bytes.Cut(q.Body, []byte(" ."))
		labels = append(labels, string(bytes.TrimSpace(label)))
	}
	return labels
}

// A page has so many of each room, of so many rooms, of so many octets, in order, and nothing of a room that is busy.
func TestQueueHeadsFitThePage(t *testing.T) {
	t.Parallel()
	w := newQueueWorld(t)
	if got := w.look(fsm.OutboxPage{Rooms: 5, PerRoom: 3}); len(got) > 0 {
		t.Errorf("of a hub for which nothing waits: %q", got)
	}
	w.queue("a", 4, 100)
	if got := w.look(fsm.OutboxPage{Rooms: 1, PerRoom: 4}); len(got) != 4 {
		t.Errorf("of one room: %q", got)
	}
	if got := w.look(fsm.OutboxPage{Rooms: 5, PerRoom: 3}); !slices.Equal(got, []string{"a 0", "a 1", "a 2"}) {
		t.Errorf("three of a room: %q", got)
	}
	if got := w.look(fsm.OutboxPage{Rooms: 5, PerRoom: 4, Bytes: 250}); !slices.Equal(got, []string{"a 0", "a 1"}) {
		t.Errorf("250 octets: %q", got)
	}
	if got := w.look(fsm.OutboxPage{Rooms: 5, PerRoom: 4, Bytes: 50}); !slices.Equal(got, []string{"a 0"}) {
		t.Errorf("one that alone is larger: %q", got)
	}
	if got := w.look(fsm.OutboxPage{Rooms: 5, PerRoom: 4}, "a"); len(got) > 0 {
		t.Errorf("of a busy room: %q", got)
	}
	w.queue("b", 2, 100)
	if got := w.look(fsm.OutboxPage{Rooms: 5, PerRoom: 4}, "a"); !slices.Equal(got, []string{"b 0", "b 1"}) {
		t.Errorf("beside a busy room: %q", got)
	}
	if got := w.look(fsm.OutboxPage{Rooms: 1, PerRoom: 1}); len(got) != 1 {
		t.Errorf("of one room: %q", got)
	}
	w.queue("large", 9, 1<<20)
	if got := w.look(fsm.OutboxPage{Rooms: 5, PerRoom: 100, Bytes: 1 << 30}, "a", "b"); len(got) != 8 {
		t.Errorf("%d MiB come at once", len(got))
	}
}

// What has no room in a page ends it: nothing of its room comes before it in the next one.
func TestQueueHeadsKeepTheOrder(t *testing.T) {
	t.Parallel()
	w := newQueueWorld(t)
	w.queue("a", 1, 10)
	w.queue("a", 1, 200)
	w.queue("a", 1, 20)
	if got := w.look(fsm.OutboxPage{Rooms: 5, PerRoom: 3, Bytes: 100}); len(got) != 1 {
		t.Errorf("the third goes past the second: %q", got)
	}
}

// Slots take turns to be first, so that none waits for another to have nothing left.
func TestQueueHeadsTakeTurns(t *testing.T) {
	t.Parallel()
	w := newQueueWorld(t)
	const rooms = 4
	for i := range rooms {
		w.queue(fmt.Sprint("r", i), 2, 10)
	}
	first := make(map[string]bool)
	for range rooms {
		first[w.look(fsm.OutboxPage{Rooms: 1, PerRoom: 1})[0]] = true
	}
	if len(first) != rooms {
		t.Errorf("%d looks began with %v", rooms, first)
	}
}

// oneNode is a cluster of one node and one shard.
func oneNode(t *testing.T) (*testCluster, *Node) {
	t.Helper()
	c := newTestCluster(t, nil)
	n := c.add("n1")
	if err := n.Init(c.context(), InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	c.awaitActive(1)
	c.awaitSettings()
	return c, n
}

// A shard takes so much for one hub, over all slots; others are not concerned, and what is taken out makes room.
func TestQueueOfAShardIsBounded(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t)
	r := c.openRoom("n1", "ours")
	queue := func(to string) error {
		uri, err := mimi.ParseRoomURI(to)
		if err != nil {
			t.Fatal(err)
		}
		request, err := judge.NewQueue(uri, []mimi.Submission{heldMessageFor(t, r, uri)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.Do(c.context(), request)
		return err
	}
	full := fsm.QueuePosition{Slot: 7, Hub: provider(t, "b.example"), Items: 1, Bytes: queueBytesMax}
	n.replica(1).queues.note([]fsm.QueuePosition{full})
	if err := queue("mimi://b.example/r/theirs"); !errors.Is(err, fsm.ErrOverloaded) {
		t.Errorf("a full queue answers %v", err)
	}
	if err := queue("mimi://c.example/r/theirs"); err != nil {
		t.Errorf("another hub's: %v", err)
	}
	full.Items, full.Bytes = 0, 0
	n.replica(1).queues.note([]fsm.QueuePosition{full})
	if err := queue("mimi://b.example/r/theirs"); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// A node that starts finds what waits for other hubs, and what has gone does not count any more.
func TestQueueOutlivesARestart(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t)
	r := c.openRoom("n1", "ours")
	for _, name := range []string{"stays", "goes"} {
		uri := theirs(t, name)
		if name == "goes" {
			var err error
			if uri, err = mimi.ParseRoomURI("mimi://c.example/r/goes"); err != nil {
				t.Fatal(err)
			}
		}
		s := heldMessageFor(t, r, uri)
		read, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		request, err := judge.NewQueue(uri, []mimi.Submission{s})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Do(c.context(), request); err != nil {
			t.Fatal(err)
		}
		if name == "goes" {
			verdict := mimi.Verdict{Receipt: read.Receipt(), Code: mimi.VerdictAccepted}
			propose(t, c, "n1", fsm.SettleSubmissions{At: fsm.SlotOfRoom(uri), Hub: uri.Provider(), Settled: []fsm.SettledSubmission{{Number: 1, Verdict: verdict}}})
		}
	}
	c.stop("n1")
	n = c.start("n1")
	eventually(t, "it is known what waits", func() bool {
		loads := n.QueueLoads()
		return len(loads) == 1 && loads[provider(t, "b.example")].Items == 1 && loads[provider(t, "b.example")].Bytes > 0 &&
			!slices.ContainsFunc(n.led(), func(r *replica) bool { return !r.queues.settled() })
	})

	// What waited then may have been brought by the process before, what comes now cannot have been.
	request, err := judge.NewQueue(theirs(t, "new"), []mimi.Submission{heldMessageFor(t, r, theirs(t, "new"))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Do(c.context(), request); err != nil {
		t.Fatal(err)
	}
	items, err := n.QueueHeads(c.context(), provider(t, "b.example"), func(mimi.RoomURI) bool { return false }, fsm.OutboxPage{Rooms: 5, PerRoom: 5})
	if err != nil || len(items) != 2 {
		t.Fatalf("%d items wait, %v", len(items), err)
	}
	for _, q := range items {
		if before := q.Room == theirs(t, "stays"); n.Inherited(q) != before {
			t.Errorf("what was queued before the restart: %v, is inherited: %v", before, n.Inherited(q))
		}
	}
}

// settled reports whether it is known what was queued before.
func (x *queueIndex) settled() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.known
}

// Inherited is what was queued before the log's end as it was when the term was seen first, until that is applied everything; and what was read
// from the state.
func TestWhatIsInherited(t *testing.T) {
	t.Parallel()
	hub, x := provider(t, "b.example"), newQueueIndex()
	queued := func(slot fsm.SlotID, next uint64) fsm.QueuePosition {
		return fsm.QueuePosition{Slot: slot, Hub: hub, Next: next, Items: 1}
	}
	const everything = 1 << 40                                   // no number is as high
	expect := func(when string, slot fsm.SlotID, first uint64) { // the first that is not
		t.Helper()
		for number := max(first-1, 1); number <= min(first, everything-1); number++ {
			if yes, here := x.inherited(hub, slot, number); yes != (number < first) || !here {
				t.Errorf("%s: number %d of slot %d is inherited: %v, waits here: %v", when, number, slot, yes, here)
			}
		}
	}
	x.note([]fsm.QueuePosition{queued(7, 3)})
	expect("before it leads", 7, everything)
	x.tenure(5, 10, 9)
	expect("before it has applied what was there", 7, everything)
	x.note([]fsm.QueuePosition{queued(7, 5)})
	x.tenure(5, 12, 10)
	expect("once it has", 7, 5)
	x.note([]fsm.QueuePosition{queued(7, 6)})
	x.tenure(5, 20, 20)
	expect("later in the term", 7, 5)
	x.tenure(6, 30, 29)
	expect("in another term", 7, everything)
	x.tenure(6, 31, 30)
	expect("in another term, once that is applied", 7, 6)

	x.recalled([]fsm.QueuePosition{queued(8, 4)})
	expect("of a slot that has come", 8, 4)
	if _, here := x.inherited(hub, 9, 1); here {
		t.Error("something waits in slot 9")
	}
	x.forgetSlots(map[fsm.SlotID]bool{8: true})
	x.note([]fsm.QueuePosition{queued(8, 2)})
	expect("of a slot that has gone and is begun anew", 8, 1)
}
