package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/mls"
)

// fakeLog stands in for Raft: it keeps entries until the test lets them land.
type fakeLog struct {
	mu      sync.Mutex // guards what follows
	entries []fsm.Entry
	futures []*fakeFuture
}

type fakeFuture struct {
	landed   chan struct{}
	err      error
	response any
	index    uint64
}

func (f *fakeFuture) Error() error  { <-f.landed; return f.err }
func (f *fakeFuture) Response() any { return f.response }
func (f *fakeFuture) Index() uint64 { return f.index }

func (l *fakeLog) Apply(entry []byte, _ time.Duration) raft.ApplyFuture {
	decoded, err := fsm.DecodeEntry(entry)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, decoded)
	future := &fakeFuture{landed: make(chan struct{}), index: uint64(len(l.entries))}
	outcomes := make([]fsm.Outcome, len(decoded.Commands))
	for i := range outcomes {
		outcomes[i] = fsm.Done{}
	}
	future.response = applyResult{index: future.index, outcomes: outcomes}
	l.futures = append(l.futures, future)
	return future
}

// sent are the entries so far.
func (l *fakeLog) sent() []fsm.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

func (l *fakeLog) land(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.futures[i].landed)
}

func fakeClock() Clock {
	start := time.Now()
	return Clock{Wall: time.Now, Monotonic: func() time.Duration { return time.Since(start) }}
}

func mustPropose(t *testing.T, p *proposer, c fsm.Command) <-chan decision {
	t.Helper()
	decided, err := p.propose(c)
	if err != nil {
		t.Fatal(err)
	}
	return decided
}

func TestProposerGathersWhileAnEntryIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		p := newProposer(log, newHubTime(fakeClock()))
		first := mustPropose(t, p, fsm.Fence{})
		synctest.Wait()
		if len(log.sent()) != 1 || len(log.sent()[0].Commands) != 1 {
			t.Fatalf("with nothing in flight a command goes at once; entries: %v", log.sent())
		}
		var rest []<-chan decision
		for range 5 {
			rest = append(rest, mustPropose(t, p, fsm.OwnSlots{}))
		}
		synctest.Wait()
		if len(log.sent()) != 1 {
			t.Fatalf("the window was not used: %d entries", len(log.sent()))
		}
		time.Sleep(gatherWindow)
		synctest.Wait()
		if len(log.sent()) != 2 || len(log.sent()[1].Commands) != 5 {
			t.Fatalf("want one entry with 5 commands after the window, have %v", log.sent())
		}
		if log.sent()[1].StampMillis < log.sent()[0].StampMillis {
			t.Error("hub time went back")
		}
		log.land(1)
		log.land(0)
		if d := <-first; d.err != nil || d.index != 1 {
			t.Errorf("first: %+v", d)
		}
		for _, decided := range rest {
			if d := <-decided; d.err != nil || d.index != 2 || d.outcome != (fsm.Done{}) {
				t.Errorf("rest: %+v", d)
			}
		}
		p.close()
	})
}

func TestProposerLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		p := newProposer(log, newHubTime(fakeClock()))
		for range bulkFlights + 2 {
			mustPropose(t, p, fsm.Sweep{Max: 1})
			time.Sleep(2 * gatherWindow)
			synctest.Wait()
		}
		if len(log.sent()) != bulkFlights {
			t.Fatalf("%d bulk entries in flight, want %d", len(log.sent()), bulkFlights)
		}
		mustPropose(t, p, fsm.Fence{})
		synctest.Wait()
		last := log.sent()[len(log.sent())-1]
		if _, exclusive := last.Commands[0].(fsm.Fence); !exclusive || len(log.sent()) != bulkFlights+1 {
			t.Fatalf("an exclusive command waited behind bulk: %v", log.sent())
		}
		log.land(0)
		synctest.Wait()
		last = log.sent()[len(log.sent())-1]
		if len(log.sent()) != bulkFlights+2 || len(last.Commands) != 2 {
			t.Fatalf("the held-back bulk commands did not go together: %v", log.sent())
		}
		for i := range log.sent()[1:] {
			log.land(i + 1)
		}
		p.close()
	})
}

func TestProposerBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{}
		p := newProposer(log, newHubTime(fakeClock()))
		large := fsm.SubmitMessage{Room: room(t, "large"), Sender: user(t, "alice"), Message: make([]byte, 400<<10)}
		var malformed *mls.MalformedError
		if _, err := p.propose(fsm.SubmitMessage{Message: make([]byte, entryBytesMax)}); !errors.As(err, &malformed) {
			t.Errorf("a command over the limit: %v", err)
		}
		// A follower's command carries the same message with longer names, so it may be larger than the hub's.
		between := make([]byte, (commandBytesMax+entryBytesMax)/2)
		if _, err := p.propose(fsm.SubmitMessage{Message: between}); !errors.As(err, &malformed) {
			t.Errorf("a command over its own limit: %v", err)
		}
		fanout := fsm.ReceiveFanout{Room: room(t, "large"), Hub: provider(t, "a.example"), Messages: []fsm.FanoutItem{{Bytes: between}}}
		if _, err := p.propose(fanout); err != nil {
			t.Errorf("a fanout that fits an entry: %v", err)
		}
		var overloaded int
		for range 2 * laneBytesMax / (400 << 10) {
			if _, err := p.propose(large); errors.Is(err, fsm.ErrOverloaded) {
				overloaded++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if overloaded == 0 {
			t.Error("the lane has no bound")
		}
		synctest.Wait()
		for i, e := range log.sent() {
			if len(e.Commands) != 1 {
				t.Errorf("entry %d has %d large commands", i, len(e.Commands))
			}
		}
		for i := 0; i < len(log.sent()); i++ {
			log.land(i)
			synctest.Wait() // more may follow
		}
		p.close()
	})
}

func TestEntryResultSortsErrors(t *testing.T) {
	landed := make(chan struct{})
	close(landed)
	for _, c := range []struct {
		future *fakeFuture
		want   error
	}{
		{&fakeFuture{landed: landed, err: raft.ErrNotLeader}, fsm.ErrNotProposed},
		{&fakeFuture{landed: landed, err: raft.ErrEnqueueTimeout}, fsm.ErrNotProposed},
		{&fakeFuture{landed: landed, err: raft.ErrLeadershipTransferInProgress}, fsm.ErrNotProposed},
		{&fakeFuture{landed: landed, err: raft.ErrLeadershipLost}, fsm.ErrUnknownOutcome},
		{&fakeFuture{landed: landed, err: raft.ErrRaftShutdown}, fsm.ErrUnknownOutcome},
		{&fakeFuture{landed: landed, err: raft.ErrAbortedByRestore}, fsm.ErrUnknownOutcome},
		{&fakeFuture{landed: landed, response: errors.New("disk")}, fsm.ErrUnknownOutcome},
		{&fakeFuture{landed: landed}, fsm.ErrUnknownOutcome},
	} {
		if _, err := entryResult(c.future); !errors.Is(err, c.want) {
			t.Errorf("%v, %v: %v, want %v", c.future.err, c.future.response, err, c.want)
		}
	}
}

func TestAppliedIndexWakesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a appliedIndex
		done := make(chan error, 1)
		go func() { done <- a.wait(t.Context(), 5) }()
		a.advance(4)
		a.advance(3)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("woken at 4: %v", err)
		default:
		}
		a.advance(7)
		if err := <-done; err != nil || a.current() != 7 {
			t.Errorf("%v at %d", err, a.current())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.wait(ctx, 8); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a wait without an end: %v", err)
		}
	})
}

// However many readers wait for a fence, the log gets one for an entry, and each command still gets its own outcome.
func TestFencesOfAnEntryAreOne(t *testing.T) {
	sweep := fsm.Acknowledge{At: 1}
	var batch []*proposal
	for _, command := range []fsm.Command{fsm.Fence{}, sweep, fsm.Fence{}, fsm.Fence{}, sweep} {
		batch = append(batch, &proposal{command: command, decided: make(chan decision, 1)})
	}
	commands := together(batch)
	if len(commands) != 3 {
		t.Fatalf("%d commands, want a fence and two others: %+v", len(commands), commands)
	}
	landed := make(chan struct{})
	close(landed)
	outcomes := []fsm.Outcome{fsm.Done{}, fsm.NoSuchRoom{}, fsm.EpochTooOld{}}
	settle(batch, len(commands), &fakeFuture{landed: landed, response: applyResult{index: 9, outcomes: outcomes}})
	for i, want := range []fsm.Outcome{fsm.Done{}, fsm.NoSuchRoom{}, fsm.Done{}, fsm.Done{}, fsm.EpochTooOld{}} {
		if d := <-batch[i].decided; d.err != nil || d.outcome != want || d.index != 9 {
			t.Errorf("proposal %d: %+v, want %T", i, d, want)
		}
	}
}
