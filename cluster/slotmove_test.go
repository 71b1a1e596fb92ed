package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
)

// moved takes slots to a shard, driven from one node.
func (c *testCluster) moved(at string, to fsm.ShardID, slots ...fsm.SlotID) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("slots %v are in shard %d", slots, to), func() bool {
		there, _, err := c.nodes[at].moveWave(c.context(), slots, to)
		if err != nil {
			c.t.Log(err)
		}
		return there == len(slots)
	})
}

// other is the shard of the two that a slot is not in.
func (c *testCluster) other(slot fsm.SlotID) fsm.ShardID {
	c.t.Helper()
	home, _ := c.newestMap().ShardOfSlot(slot)
	return 3 - home.ID
}

// slotAt is what a replica's state has of a slot.
func (c *testCluster) slotAt(node string, shard fsm.ShardID, slot fsm.SlotID) slotStanding {
	c.t.Helper()
	standings, err := c.nodes[node].replica(shard).standings([]fsm.SlotID{slot}, true)
	if err != nil {
		c.t.Fatal(err)
	}
	return standings[0]
}

// What a slot holds goes with it, and every node finds it where it is.
func TestSlotMovesToAndFro(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "traveller")
	slot := fsm.SlotOfRoom(r.URI)
	alice := user(t, "alice")
	want := 0
	for round := range 4 {
		nodes := []string{"n1", "n2", "n3"}
		commit := r.Commit(fsmtest.Next{Label: fmt.Sprint("before ", round)})
		won, _ := propose(t, c, nodes[round%3], commit)
		if _, ok := won.(fsm.Accepted); !ok {
			t.Fatalf("round %d: the Commit got %#v", round, won)
		}
		r.Advance(commit)
		c.say(nodes[(round+1)%3], r, 3, 100)
		want += 4
		from, _ := c.nodes["n1"].Map().ShardOfSlot(slot)
		to := c.other(slot)
		before := c.slotAt(c.upToDate(from.ID), from.ID, slot)
		c.moved(nodes[(round+2)%3], to, slot)
		after := c.slotAt(c.upToDate(to), to, slot)
		if after.digest != before.digest || !after.owned.Here || after.owned.Generation != uint64(round+2) {
			t.Fatalf("round %d: %+v became %+v", round, before, after)
		}
		for id := range c.nodes {
			eventually(t, "the map says so at "+id, func() bool {
				place, _ := c.nodes[id].Map().PlaceOfSlot(slot)
				return place == meta.SlotPlace{Slot: slot, Shard: to, Generation: uint64(round + 2)}
			})
			eventually(t, "the source has nothing of it any more at "+id, func() bool {
				left := c.slotAt(id, from.ID, slot)
				return !left.owned.Here && left.digest == sha256.Sum256(nil)
			})
			if again, _ := propose(t, c, id, commit); again != won {
				t.Errorf("round %d: the retry at %s got %#v, not %#v", round, id, again, won)
			}
		}
		r.Settings = c.settingsIn(to)
		if outcome, _ := propose(t, c, "n2", r.Message(fmt.Sprint("there ", round), r.Epoch, alice)); outcome.(fsm.Accepted).Epoch != r.Epoch {
			t.Errorf("a message got %#v", outcome)
		}
		want++
		items := slices.DeleteFunc(c.wholeInbox("n3"), func(item fsm.OutboxItem) bool { return item.Room != r.URI })
		if len(items) != want {
			t.Fatalf("round %d: the inbox has %d items, not %d", round, len(items), want)
		}
		for i, item := range items {
			if i > 0 && item.Sequence != items[i-1].Sequence+1 {
				t.Errorf("round %d: item %d behind %d", round, item.Sequence, items[i-1].Sequence)
			}
		}
	}
	c.digests("n1")
}

// gate holds whoever drives a move at a point, until it is let go.
type gate struct {
	point string
	holds func() bool   // whether it is to be held there now; nil: always
	came  chan struct{} // closed when somebody is there
	open  chan struct{}
	once  sync.Once
}

func newGate(point string) *gate {
	return &gate{point: point, came: make(chan struct{}), open: make(chan struct{})}
}

// reached implements Config.Reached.
func (g *gate) reached(point string) {
	if point != g.point || g.holds != nil && !g.holds() {
		return
	}
	g.once.Do(func() {
		close(g.came)
		<-g.open
	})
}

// gated is three nodes, a room that is open, and a move of its slot that is held at a point until release is called, which returns when the slot has moved.
func gated(t *testing.T, point string) (c *testCluster, r *fsmtest.Room, to fsm.ShardID, release func()) {
	t.Helper()
	g := newGate(point)
	c = threeNodes(t, func(config *Config) { config.Reached = g.reached })
	c.awaitSettings()
	r = c.openRoom("n1", "held")
	c.tell("n1", r, "before the move")
	slot := fsm.SlotOfRoom(r.URI)
	to = c.other(slot)
	if point == "move.end" { // which a move comes to as well that was called off, as it may be on a slow machine
		g.holds = func() bool { return c.slotAt(c.upToDate(to), to, slot).owned.Here }
	}
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		c.moved("n1", to, slot)
	}()
	<-g.came
	return c, r, to, func() {
		close(g.open)
		<-moved
	}
}

// stranger is a room that does not exist, in the slot of another.
func stranger(t *testing.T, r *fsmtest.Room) mimi.RoomURI {
	t.Helper()
	for i := range 100 * fsm.SlotCount {
		if uri := room(t, fmt.Sprint("stranger", i)); fsm.SlotOfRoom(uri) == fsm.SlotOfRoom(r.URI) {
			return uri
		}
	}
	t.Fatal("no room falls into the slot")
	return mimi.RoomURI{}
}

// described asks a node for a room.
func (c *testCluster) described(ctx context.Context, at string, uri mimi.RoomURI) (fsm.Outcome, error) {
	c.t.Helper()
	request, err := judge.NewDescribeRoom(uri)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.nodes[at].Do(ctx, request)
}

// While a slot is frozen nobody says no, and nobody shows what may be old; when it has come, everybody answers, within the same request.
func TestFrozenSlotAnswersNothing(t *testing.T) {
	t.Parallel()
	c, r, to, release := gated(t, "move.compare")
	nobody := stranger(t, r)
	for id, n := range c.nodes {
		for _, uri := range []mimi.RoomURI{nobody, r.URI} {
			if outcome, err := c.described(shortly(t), id, uri); !errors.Is(err, fsm.ErrNotProposed) {
				t.Errorf("%s says of %s: %#v, %v", id, uri, outcome, err)
			}
		}
		eventually(t, "what is not frozen of the inbox is read at "+id, func() bool {
			page, err := n.ReadInbox(c.context(), fsm.InboxQuery{Items: 10})
			if page.Whole || len(page.Items) > 0 {
				t.Fatalf("%s shows the inbox of the frozen slot: %+v, %v", id, page, err)
			}
			return err == nil
		})
	}
	type answer struct {
		outcome fsm.Outcome
		err     error
	}
	waiting := make(map[string]chan answer)
	for id := range c.nodes {
		waiting[id] = make(chan answer, 1)
		go func() {
			outcome, err := c.described(c.context(), id, r.URI)
			waiting[id] <- answer{outcome, err}
		}()
	}
	release()
	for id, came := range waiting {
		got := <-came
		if described, yes := got.outcome.(fsm.RoomDescribed); !yes || got.err != nil {
			t.Errorf("%s said in the end %#v, %v", id, described, got.err)
		}
		if outcome, err := c.described(c.context(), id, nobody); outcome != (fsm.NoSuchRoom{}) || err != nil {
			t.Errorf("%s says of a room that does not exist %#v, %v", id, outcome, err)
		}
	}
	if shard, _ := c.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(r.URI)); shard.ID != to {
		t.Errorf("the slot is in shard %d", shard.ID)
	}
}

// A shard that has lost a slot says where it is, and the nodes go by that before the map does. What it has answered about itself, however late
// it is asked, is neither a no nor a reading.
func TestMovedSlotIsFoundBeforeTheMap(t *testing.T) {
	t.Parallel()
	c, r, to, release := gated(t, "move.end")
	slot, nobody := fsm.SlotOfRoom(r.URI), stranger(t, r)
	for id, n := range c.nodes {
		mapped, _ := n.Map().ShardOfSlot(slot)
		if mapped.ID == to {
			t.Fatalf("the map of %s says so already", id)
		}
		if outcome, err := c.described(c.context(), id, r.URI); err != nil {
			t.Errorf("%s: %#v, %v", id, outcome, err)
		}
		if outcome, err := c.described(c.context(), id, nobody); outcome != (fsm.NoSuchRoom{}) || err != nil {
			t.Errorf("%s says of a room that does not exist %#v, %v", id, outcome, err)
		}
		request, err := judge.NewDescribeRoom(nobody)
		if err != nil {
			t.Fatal(err)
		}
		_, index, err := n.ProposeTo(c.context(), mapped.ID, fsm.Fence{})
		if err != nil {
			t.Fatal(err)
		}
		reply := n.doHere(c.context(), mapped.ID, request, index, vouchedAlways)
		if moved, yes := reply.outcome.(fsm.MovedTo); reply.code != answerOutcome && reply.code != answerNotProposed || reply.code == answerOutcome && (!yes || moved.Shard != to) {
			t.Errorf("%s judges for the source behind a fence: %+v", id, reply)
		}
	}
	c.say("n2", r, 3, 10)
	release()
}

// A slot that stays frozen for too long is served again where it was, and moves later, in another move.
func TestMoveIsCalledOff(t *testing.T) {
	t.Parallel()
	c, r, to, release := gated(t, "move.activate")
	slot := fsm.SlotOfRoom(r.URI)
	first, _ := c.nodes["n1"].Map().MoveOf(slot)
	time.Sleep(c.nodes["n1"].frozenMost() + 100*time.Millisecond) // what is tested is that it was too long
	release()
	var stages []fsm.SlotMove
	for id := range c.nodes {
		eventually(t, "the slot has come to "+id, func() bool {
			stages = append(stages, c.slotAt(id, to, slot).last)
			return c.slotAt(id, to, slot).last.Stage == fsm.SlotActivated
		})
		if last := c.slotAt(id, to, slot).last; last.Move <= first.Move {
			t.Errorf("it came in move %d, and move %d was called off; seen: %+v", last.Move, first.Move, stages)
		}
	}
	c.tell("n3", r, "when it has come")
}

// A slot whose copy is not what was sent does not move, and the job that wanted it fails.
func TestMoveOfADifferentCopyIsCalledOff(t *testing.T) {
	t.Parallel()
	c, r, to, release := gated(t, "move.compare")
	slot := fsm.SlotOfRoom(r.URI)
	lower, _ := slotBounds(slot)
	first, _ := c.nodes["n1"].Map().MoveOf(slot)
	for _, n := range c.nodes {
		state := n.replica(to).machine.state
		batch := state.NewBatch()
		if err := errors.Join(batch.Set(append(slices.Clone(lower), 0x7f, 1), []byte{1}), batch.Commit(), batch.Close()); err != nil {
			t.Fatal(err)
		}
	}
	release() // the next move begins with nothing
	if last := c.slotAt(c.upToDate(to), to, slot).last; last.Stage != fsm.SlotActivated || last.Move <= first.Move {
		t.Errorf("the copy was not dropped: %+v, and the move with another copy was %d", last, first.Move)
	}
	c.say("n1", r, 2, 10)
	c.digests("n1")
}

// What waits in an outbox is delivered from where the slot is, by whoever delivers there, and from nowhere else; so is what waits for other hubs, and for other slots.
func TestOutboxFollowsItsSlot(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	peer := provider(t, "b.example")
	r := c.openRoom("n1", "waiting")
	c.say("n1", r, 5, 10)
	slot := fsm.SlotOfRoom(r.URI)
	heads := func() (bodies [][]byte) {
		eventually(t, "the deliverer, whoever that is, has all", func() bool {
			items, err := c.deliverer(slot, peer).Heads(c.context(), peer, func(mimi.RoomURI) bool { return false }, fsm.OutboxPage{Rooms: 10, PerRoom: 10})
			if err != nil {
				t.Fatal(err)
			}
			bodies = nil
			for _, item := range items {
				bodies = append(bodies, item.Body)
			}
			return len(bodies) == 5
		})
		return bodies
	}
	before := heads()
	from, _ := c.nodes["n1"].Map().ShardOfSlot(slot)
	c.moved("n2", c.other(slot), slot)
	after := heads()
	if !slices.EqualFunc(before, after, bytes.Equal) {
		t.Errorf("before the move waited %d bodies, after it others", len(before))
	}
	for id, n := range c.nodes {
		eventually(t, "nothing is known of the slot at the source at "+id, func() bool {
			return len(n.replica(from.ID).outbox.destinations()) == 0
		})
	}
	eventually(t, "five items wait, as those say who lead", func() bool {
		sum := 0
		for _, n := range c.nodes {
			backlog, err := n.Backlog(c.context())
			if err != nil {
				t.Fatal(err)
			}
			sum += int(backlog[peer].Items)
		}
		return sum == 5
	})
}

// Messages in bulk go on while their room moves to and fro: each is decided once, and those of a request stand in its order.
func TestBulkGoesOnWhileASlotMoves(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "busy")
	slot := fsm.SlotOfRoom(r.URI)
	var sent []string
	stop := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			labels := []string{fmt.Sprintf("%04d a", i), fmt.Sprintf("%04d b", i), fmt.Sprintf("%04d c", i)}
			var requests []judge.Request
			for _, label := range labels {
				requests = append(requests, batchFor(t, r, label))
			}
			node := c.nodes[[]string{"n1", "n2", "n3"}[i%3]]
			for j, decided := range node.DoMany(c.context(), requests) {
				batch, yes := decided.Outcome.(fsm.BatchDecided)
				if !yes || decided.Err != nil || batch.Verdicts[0].Code != mimi.VerdictAccepted {
					t.Errorf("%s came to %+v, %v", labels[j], decided.Outcome, decided.Err)
				}
			}
			sent = append(sent, labels...)
		}
	})
	for range 6 {
		c.moved("n1", c.other(slot), slot)
	}
	close(stop)
	sending.Wait()
	came, _ := c.streamOf(r.URI, provider(t, "b.example"))
	if !slices.Equal(came, sent) {
		t.Errorf("%d were sent, %d came: %v", len(sent), len(came), whereTheyDiffer(sent, came))
	}
}

func whereTheyDiffer(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%q and %q at %d", a[i], b[i], i)
		}
	}
	return "one is longer"
}

// tell has a room take messages.
func (c *testCluster) tell(at string, r *fsmtest.Room, labels ...string) {
	c.t.Helper()
	for _, label := range labels {
		outcome, _ := propose(c.t, c, at, r.Message(label, r.Epoch, user(c.t, "alice")))
		if _, ok := outcome.(fsm.Accepted); !ok {
			c.t.Fatalf("%s: %#v", label, outcome)
		}
	}
}

// finished begins a job, once a shard that it is about has a leader, and waits for its end, and until every node has heard of that.
func (c *testCluster) finished(begin func(ctx context.Context) (meta.Job, error)) (job meta.Job) {
	c.t.Helper()
	eventually(c.t, "the job is begun", func() bool {
		var err error
		if job, err = begin(c.context()); err != nil && !errors.Is(err, fsm.ErrNotProposed) {
			c.t.Fatal(err)
		}
		return err == nil
	})
	eventuallyWithin(c.t, 4*patience, fmt.Sprintf("job %d ends", job.ID), func() bool {
		for _, n := range c.nodes {
			known, found, err := n.Job(job.ID)
			if err != nil || !found || !known.State.Ended() {
				return false
			}
			job = known
		}
		return true
	})
	return job
}

// A shard is split, and merged again: its slots have gone to and fro, nothing is left of the other one but its number.
func TestSplitAndMerge(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := threeNodes(t, nil)
	c.awaitSettings()
	var rooms []*fsmtest.Room
	for i := range 8 {
		r := c.openRoom("n1", fmt.Sprint("split", i))
		c.say("n1", r, 2, 10)
		rooms = append(rooms, r)
	}
	job := c.finished(func(ctx context.Context) (meta.Job, error) {
		return c.nodes["n2"].SplitShard(ctx, SplitRequest{Shard: 1, By: "a test"})
	})
	if job.State != meta.JobDone || job.UnitsDone != 2 {
		t.Fatalf("the split came to %+v", job)
	}
	counts := c.nodes["n2"].Map().SlotCounts()
	if counts[1] != 1024 || counts[2] != 2048 || counts[3] != 1024 {
		t.Errorf("the shards have %v", counts)
	}
	for _, r := range rooms {
		c.tell("n3", r, "after the split", "and once more")
	}
	if refused := (*RefusedError)(nil); !errors.As(c.nodes["n1"].Change(c.context(), meta.RetireShard{ID: 3}), &refused) {
		t.Error("a shard that has slots was retired")
	}
	job = c.finished(func(ctx context.Context) (meta.Job, error) {
		return c.nodes["n3"].MergeShard(ctx, MergeRequest{Shard: 3, Into: []fsm.ShardID{1}, By: "a test"})
	})
	if job.State != meta.JobDone {
		t.Fatalf("the merge came to %+v", job)
	}
	for id, n := range c.nodes {
		eventually(t, "the shard is gone at "+id, func() bool {
			shard, _ := n.Map().Shard(3)
			_, err := os.Stat(n.stores.dir.GroupPath(3))
			return shard.State == meta.ShardRetired && n.replica(3) == nil && errors.Is(err, fs.ErrNotExist)
		})
	}
	c.stop("n1")
	c.start("n1")
	for _, r := range rooms {
		c.tell("n1", r, "after the merge")
	}
	if items := c.wholeInbox("n1"); len(items) != 8*5 {
		t.Errorf("the inbox has %d items", len(items))
	}
	eventually(t, "n1 has the map again", func() bool { return c.nodes["n1"].Map().Version() == c.newestMap().Version() })
	if same, err := c.nodes["n1"].MergeShard(c.context(), MergeRequest{Shard: 3, Into: []fsm.ShardID{1}}); err != nil || same.ID != job.ID {
		t.Errorf("the same again is job %d, not %d: %v", same.ID, job.ID, err)
	}
	if other, err := c.nodes["n1"].MergeShard(c.context(), MergeRequest{Shard: 3, Into: []fsm.ShardID{2}}); err == nil {
		t.Errorf("a retired shard was merged by job %d", other.ID)
	}
	again := c.finished(func(ctx context.Context) (meta.Job, error) {
		return c.nodes["n1"].SplitShard(ctx, SplitRequest{Shard: 2, By: "a test"})
	})
	if shard, found := c.nodes["n1"].Map().Shard(4); again.State != meta.JobDone || !found || shard.State != meta.ShardActive {
		t.Errorf("another split came to %+v", again)
	}
	for _, shard := range c.nodes["n1"].Map().ActiveShards() {
		if _, err := c.nodes["n1"].Digest(c.context(), shard.ID); err != nil {
			t.Error(err)
		}
	}
}

// The heavy slots of a shard are not all moved, or all kept, when it is split.
func TestHeavierHalf(t *testing.T) {
	var weights []SlotWeight
	for i := range 100 {
		weights = append(weights, SlotWeight{Slot: fsm.SlotID(i), Bytes: uint64(i%10) << 20})
	}
	weights[7].Bytes = 400 << 20
	var goes, all uint64
	half := heavierHalf(weights)
	for _, weight := range weights {
		all += weight.Bytes
		if slices.Contains(half, weight.Slot) {
			goes += weight.Bytes
		}
	}
	if goes < all*45/100 || goes > all*55/100 || !slices.IsSorted(half) {
		t.Errorf("%d of %d go", goes, all)
	}
	if half := heavierHalf(make([]SlotWeight, 2048)); len(half) != 1024 {
		t.Errorf("of 2048 empty ones %d go", len(half))
	}
}

// What a shard says of a slot counts where it is later than what the node knows, and until the map is as late.
func TestWhereaboutsGoByTheGeneration(t *testing.T) {
	var w whereabouts
	at := func(shard fsm.ShardID, generation uint64) meta.SlotPlace {
		return meta.SlotPlace{Slot: 9, Shard: shard, Generation: generation}
	}
	told := w.watch()
	for _, old := range []fsm.MovedTo{{}, {Shard: 2, Generation: 3}, {Shard: 2, Generation: 2}} {
		if w.note(at(1, 3), old) {
			t.Errorf("%+v is no news in generation 3", old)
		}
	}
	if !w.note(at(1, 3), fsm.MovedTo{Shard: 2, Generation: 4}) || w.of(at(1, 3)) != at(2, 4) {
		t.Error("what is later does not count")
	}
	select {
	case <-told:
	default:
		t.Error("nobody was told")
	}
	if w.note(at(1, 3), fsm.MovedTo{Shard: 2, Generation: 4}) || w.note(at(1, 3), fsm.MovedTo{Shard: 5, Generation: 3}) {
		t.Error("the same is no news")
	}
	if w.of(at(3, 5)) != at(3, 5) || w.of(at(1, 3)) != at(1, 3) {
		t.Error("the map has caught up, and what was told before still counts")
	}
}

// BenchmarkSplit moves 2,048 slots that have next to nothing. Run it with -benchtime 1x.
func BenchmarkSplit(b *testing.B) {
	c := newTestCluster(b, nil)
	first := c.add("n1")
	options := InitOptions{Settings: fsm.DefaultSettings(provider(b, "a.example")), Shards: 1, Replication: 3}
	if err := first.Init(c.context(), options); err != nil {
		b.Fatal(err)
	}
	for _, id := range []string{"n2", "n3"} {
		c.join(c.add(id), first.ClusterAddr())
	}
	c.awaitActive(1)
	c.awaitSettings()
	for b.Loop() {
		job := c.finished(func(ctx context.Context) (meta.Job, error) {
			return first.SplitShard(ctx, SplitRequest{Shard: 1, By: "a benchmark"})
		})
		if job.State != meta.JobDone {
			b.Fatalf("%+v", job)
		}
	}
	b.ReportMetric(float64(first.Map().SlotCounts()[2]), "slots") // of the first; each further one has half as many
}
