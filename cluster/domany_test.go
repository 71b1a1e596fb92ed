package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// batchFor is a request with messages of the room's epoch.
func batchFor(t testing.TB, r *fsmtest.Room, labels ...string) judge.Request {
	t.Helper()
	alice := user(t, "alice")
	var messages []mimi.SubmittedMessage
	for _, label := range labels {
		private, err := mls.ParseMLSMessage(r.Message(label, r.Epoch, alice).Message)
		if err != nil {
			t.Fatal(err)
		}
		body := mimi.SubmitMessageRequest{Sender: alice, Message: private.Body.(*mls.PrivateMessage)}.Marshal()
		m, err := mimi.ParseSubmittedMessage(r.URI, body)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	request, err := judge.NewSubmitBatch(alice.Provider(), r.URI, messages, false)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// streamOf are the labels of the messages that wait for a destination, in their order, and how many notices go with them.
func (c *testCluster) streamOf(r mimi.RoomURI, destination mimi.Provider) (labels []string, notices int) {
	c.t.Helper()
	slot := fsm.SlotOfRoom(r)
	shard, _ := c.newestMap().ShardOfSlot(slot)
	view, err := c.nodes[c.upToDate(shard.ID)].replica(shard.ID).view()
	if err != nil {
		c.t.Fatal(err)
	}
	err = fsm.ReadOutbox(view, slot, destination, 0, func(item fsm.OutboxItem) (bool, error) {
		if item.Room != r {
			return true, nil
		}
		notices += len(item.Notes)
		messages, err := mimi.ParseFanout(item.Body)
		for _, m := range messages {
			labels = append(labels, string(m.Event.(mimi.FanoutApplication).Message.Ciphertext))
		}
		return true, err
	})
	if err := errors.Join(err, view.Close()); err != nil {
		c.t.Fatal(err)
	}
	return labels, notices
}

// newestMap is the map of the node that is furthest: another's may not say yet where a slot has gone.
func (c *testCluster) newestMap() *meta.Map {
	c.t.Helper()
	newest := c.anyNode().Map()
	for _, n := range c.nodes {
		if current := n.Map(); current.Version() > newest.Version() {
			newest = current
		}
	}
	return newest
}

func (c *testCluster) anyNode() *Node {
	for _, n := range c.nodes {
		return n
	}
	c.t.Fatal("no node runs")
	return nil
}

// Many requests are decided each by itself, wherever they are asked, and those of one room in order.
func TestDoMany(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	var rooms []*fsmtest.Room
	for i := range 5 {
		rooms = append(rooms, c.openRoom("n1", fmt.Sprint("many", i)))
	}
	nowhere := fsmtest.NewRoom(room(t, "notmade"), 0, []mimi.UserURI{user(t, "alice")}, nil)
	var want []string
	for round, id := range []string{"n1", "n2", "n3"} {
		var requests []judge.Request
		for part := range 3 {
			labels := []string{fmt.Sprint(round, part, "a"), fmt.Sprint(round, part, "b")}
			want = append(want, labels...)
			for _, r := range rooms {
				requests = append(requests, batchFor(t, r, labels...))
			}
		}
		describe, err := judge.NewDescribeRoom(rooms[0].URI)
		if err != nil {
			t.Fatal(err)
		}
		requests = append(requests, batchFor(t, nowhere, "lost"), describe)
		decided := c.nodes[id].DoMany(c.context(), requests)
		for i, d := range decided[:len(decided)-2] {
			batch, ok := d.Outcome.(fsm.BatchDecided)
			if d.Err != nil || !ok || len(batch.Verdicts) != 2 || batch.Verdicts[1].Code != mimi.VerdictAccepted {
				t.Fatalf("%s, request %d: %+v", id, i, d)
			}
		}
		if lost, ok := decided[len(decided)-2].Outcome.(fsm.BatchDecided); !ok || lost.Verdicts[0].Code != mimi.VerdictNoSuchRoom {
			t.Errorf("%s: for a room that is not there: %+v", id, decided[len(decided)-2])
		}
		if described, ok := decided[len(decided)-1].Outcome.(fsm.RoomDescribed); !ok || described.Room != rooms[0].URI {
			t.Errorf("%s: what is no command: %+v", id, decided[len(decided)-1])
		}
	}
	for _, r := range rooms {
		if got, notices := c.streamOf(r.URI, provider(t, "b.example")); !slices.Equal(got, want) || notices > 0 {
			t.Errorf("%s: %v and %d notices", r.URI, got, notices)
		}
	}
}

// Leaders stop while nodes submit in bulk. Nothing that was accepted is lost or doubled, what was answered otherwise was accepted in the
// end when it was submitted again, and nothing is ever called rejected.
func TestBulkOutlivesLeaders(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	var rooms []*fsmtest.Room
	for i := range 4 {
		rooms = append(rooms, c.openRoom("n1", fmt.Sprint("lasting", i)))
	}
	var running sync.Map // node ID → *Node
	for id, n := range c.nodes {
		running.Store(id, n)
	}
	done := make(chan struct{})
	var writers sync.WaitGroup
	var open atomic.Int64 // answers that decided nothing
	accepted := make([][]string, 3)
	for w := range accepted {
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				labels := []string{fmt.Sprint(w, "-", n, "a"), fmt.Sprint(w, "-", n, "b"), fmt.Sprint(w, "-", n, "c")}
				if !submitUntilAccepted(t, &running, w, rooms, labels, &open) {
					return
				}
				accepted[w] = append(accepted[w], labels...)
			}
		})
	}
	for round := range 3 {
		shard := c.anyNode().Map().Shards()[round%2].ID
		leader := c.leaderNode(shard)
		c.stop(leader)
		running.Store(leader, c.start(leader))
		eventually(t, "the node is back", func() bool { return c.nodes[leader].replica(shard) != nil && c.leaderNode(shard) != "" })
	}
	close(done)
	writers.Wait()
	total := 0
	for _, r := range rooms {
		got, notices := c.streamOf(r.URI, provider(t, "b.example"))
		if notices > 0 {
			t.Errorf("%s: %d verdicts were told", r.URI, notices)
		}
		for w, want := range accepted {
			var of []string
			for _, label := range got {
				if label[0] == byte('0'+w) {
					of = append(of, label)
				}
			}
			if !slices.Equal(of, want) {
				t.Errorf("%s: of writer %d %d messages stand in the stream, in this order: %v; accepted were %d", r.URI, w, len(of), of, len(want))
			}
			total += len(of)
		}
	}
	c.digests(c.anyNode().ID())
	t.Logf("%d messages, %d answers that decided nothing", total, open.Load())
	if total == 0 {
		t.Error("nothing was submitted")
	}
}

// submitUntilAccepted submits the same messages for each room, at a node or where that is gone at another, until all are accepted.
func submitUntilAccepted(t *testing.T, running *sync.Map, at int, rooms []*fsmtest.Room, labels []string, open *atomic.Int64) bool {
	left := slices.Clone(rooms)
	deadline := time.After(2 * patience)
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for try := 0; len(left) > 0; try++ {
		if try > 0 {
			select {
			case <-pause.C:
			case <-deadline:
				t.Errorf("%v are not accepted", labels)
				return false
			}
		}
		n, _ := running.Load(fmt.Sprint("n", (at+try)%3+1))
		var requests []judge.Request
		for _, r := range left {
			requests = append(requests, batchFor(t, r, labels...))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		decided := n.(*Node).DoMany(ctx, requests)
		cancel()
		var again []*fsmtest.Room
		for i, d := range decided {
			batch, ok := d.Outcome.(fsm.BatchDecided)
			switch {
			case d.Err != nil && (errors.Is(d.Err, fsm.ErrNotProposed) || errors.Is(d.Err, fsm.ErrUnknownOutcome) || errors.Is(d.Err, fsm.ErrOverloaded)):
				open.Add(1)
				again = append(again, left[i])
			case d.Err != nil || !ok:
				t.Errorf("%+v", d)
				return false
			default:
				for _, v := range batch.Verdicts {
					if v.Code != mimi.VerdictAccepted || v.Undecided {
						t.Errorf("%+v", v)
						return false
					}
				}
			}
		}
		left = again
	}
	return true
}

// A request that is made again, after an attempt of which nothing is known, does not say that a message is rejected which may have been accepted
// and has left the window since: nothing is recorded of it. Nor does it end as if nothing were written. Made anew, it gets its verdict, which is told.
func TestRepeatedRequestStaysOpen(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	r := c.openRoom("n1", "repeated")
	old := batchFor(t, r, "late")
	for i := range 3 {
		commit := r.Commit(fsmtest.Next{Label: fmt.Sprint("on", i)})
		propose(t, c, "n1", commit)
		r.Advance(commit)
	}
	other, err := judge.NewRecordRoutes(r.URI, nil)
	if err != nil {
		t.Fatal(err)
	}
	for id, n := range c.nodes {
		for _, many := range []bool{false, true} {
			outcome, err := decideOne(c.context(), n, judge.Repeated(old), many)
			batch, ok := outcome.(fsm.BatchDecided)
			if err != nil || !ok || !batch.Verdicts[0].Undecided {
				t.Errorf("%s, of many %v: %+v, %v", id, many, outcome, err)
			}
			over, cancel := context.WithCancel(c.context())
			cancel()
			for _, again := range []judge.Request{judge.Repeated(old), judge.Repeated(judge.Repeated(other))} {
				if outcome, err := decideOne(over, n, again, many); !errors.Is(err, fsm.ErrUnknownOutcome) {
					t.Errorf("%s, of many %v, without time: %+v, %v", id, many, outcome, err)
				}
			}
		}
	}
	outcome, err := decideOne(c.context(), c.nodes["n2"], old, true)
	batch, ok := outcome.(fsm.BatchDecided)
	if err != nil || !ok || batch.Verdicts[0].Undecided || batch.Verdicts[0].Code != mimi.VerdictEpochTooOld {
		t.Errorf("made anew: %+v, %v", outcome, err)
	}
}

func decideOne(ctx context.Context, n *Node, request judge.Request, many bool) (fsm.Outcome, error) {
	if !many {
		return n.Do(ctx, request)
	}
	d := n.DoMany(ctx, []judge.Request{request})[0]
	return d.Outcome, d.Err
}

// What an earlier attempt may have got accepted is open, message by message, where it now looks too old.
func TestForgottenMessagesAreOpen(t *testing.T) {
	outcome := fsm.BatchDecided{Verdicts: []fsm.BatchVerdict{
		{Verdict: mimi.Verdict{Code: mimi.VerdictAccepted}}, {Verdict: mimi.Verdict{Code: mimi.VerdictEpochTooOld}},
		{Verdict: mimi.Verdict{Code: mimi.VerdictNotParticipant}},
	}}
	q := &query{}
	for _, open := range []bool{false, true} {
		q.open = open
		got, err := q.known(outcome)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got.(fsm.BatchDecided).Verdicts {
			if v.Undecided != (open && i == 1) {
				t.Errorf("open %v: verdict %d is %+v", open, i, v)
			}
		}
	}
	if outcome.Verdicts[1].Undecided {
		t.Error("the outcome itself was changed")
	}
}
