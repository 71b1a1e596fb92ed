package httpapi

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls/mlstest"
)

// memoryHub is a hub of one shard in memory: requests go over the wire between nodes, are judged and decided by the real code, and
// their effects on other slots happen at once. It is Hub, Outbox and Inbox.
type memoryHub struct {
	t testing.TB

	mu        sync.Mutex
	store     *fsmtest.Store
	index     uint64
	now       uint64 // hub time; it moves by a millisecond with each entry
	rules     fsm.Settings
	version   uint64 // of the settings
	self      mimi.Provider
	touched   map[fsm.OutboxRef]bool
	leading   func(fsm.SlotID) error    // why a slot's shard decides nothing; nil: it does
	failing   func(judge.Request) error // why the cluster does not decide a request; nil: it does
	woken     chan struct{}             // something new waits in an outbox
	told      []noticeTo                // in the order in which they were put into outboxes
	queues    map[mimi.Provider]map[fsm.SlotID]bool
	inherited map[mimi.Receipt]bool // by another courier, see Inherited

	journal  []judge.HeldSubmission
	holdsMax int
}

func newMemoryHub(t testing.TB, change func(*fsm.Settings), domains ...mimi.Provider) *memoryHub {
	t.Helper()
	h := &memoryHub{t: t, store: fsmtest.NewStore(), now: mlstest.Now * 1000, self: domains[0], touched: map[fsm.OutboxRef]bool{}, woken: make(chan struct{}, 1)}
	settings := fsm.DefaultSettings(domains...)
	settings.Claims = fsm.ClaimRules{ConsentDefault: fsm.ConsentAllow} // and no quotas
	h.rules = settings
	h.mu.Lock()
	h.apply(fsm.OwnSlots{Shard: 1, Generation: 1, First: 0, Last: fsm.SlotCount - 1})
	h.mu.Unlock()
	h.change(change)
	return h
}

// change gives the hub other settings.
func (h *memoryHub) change(change func(*fsm.Settings)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.rules)
	h.version++
	h.apply(fsm.EnterSettings{Version: h.version, Settings: h.rules})
}

// apply decides one command; under mu.
func (h *memoryHub) apply(c fsm.Command) fsm.Outcome {
	h.index++
	h.now++
	result, err := fsm.Apply(h.store, h.index, fsm.EncodeEntry(fsm.Entry{StampMillis: h.now, Commands: []fsm.Command{c}}))
	if err != nil {
		panic(fmt.Sprintf("apply %T: %v", c, err))
	}
	for _, ref := range result.Touched {
		h.touched[ref] = true
		h.noteNotices(ref)
		select {
		case h.woken <- struct{}{}:
		default:
		}
	}
	for _, from := range result.Posted {
		h.carry(from)
	}
	h.noteQueues(result.Queues)
	return result.Outcomes[0]
}

// noticeTo is a notice on its way to a provider.
type noticeTo struct {
	destination mimi.Provider
	notice      mimi.Notice
}

// noteNotices remembers the notices of an outbox's last item, which may be delivered before a test sees it.
func (h *memoryHub) noteNotices(ref fsm.OutboxRef) {
	p, err := fsm.ReadOutboxPosition(h.store, ref.Slot, ref.Destination)
	h.must(err)
	h.must(fsm.ReadOutbox(h.store, ref.Slot, ref.Destination, p.Next-1, func(item fsm.OutboxItem) (bool, error) {
		for _, n := range item.Notes {
			if noticed, yes := n.(fsm.Noticed); yes {
				h.told = append(h.told, noticeTo{ref.Destination, noticed.Notice})
			}
		}
		return true, nil
	}))
}

// verdictsTo counts the verdicts that a provider was told, by receipt.
func (h *memoryHub) verdictsTo(destination mimi.Provider) map[[32]byte]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := map[[32]byte]int{}
	for _, told := range h.told {
		if verdict, yes := told.notice.(mimi.Verdict); yes && told.destination == destination {
			counts[verdict.Receipt]++
		}
	}
	return counts
}

// carry brings what a slot has posted to the slots that it is for.
func (h *memoryHub) carry(from fsm.SlotID) {
	var queues []fsm.InternalQueue
	h.must(fsm.InternalQueues(h.store, from, func(q fsm.InternalQueue) (bool, error) {
		queues = append(queues, q)
		return true, nil
	}))
	for _, q := range queues {
		var first uint64
		var effects []fsm.Effect
		h.must(fsm.ReadInternal(h.store, from, q.To, func(item fsm.InternalItem) (bool, error) {
			if first == 0 {
				first = item.Sequence
			}
			effects = append(effects, item.Effect)
			return true, nil
		}))
		if len(effects) == 0 {
			continue
		}
		h.apply(fsm.ReceiveInternal{At: q.To, From: from, First: first, Effects: effects})
		h.apply(fsm.DropInternal{At: from, To: q.To, Next: first + uint64(len(effects))})
	}
}

func (h *memoryHub) must(err error) {
	if err != nil {
		panic(err)
	}
}

// Do judges a request, which has come from another node, and decides it.
func (h *memoryHub) Do(_ context.Context, r judge.Request) (fsm.Outcome, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failing != nil {
		if err := h.failing(r); err != nil {
			if _, may := judge.MayBeDecided(r); may {
				return nil, fmt.Errorf("%w: %v", fsm.ErrUnknownOutcome, err)
			}
			return nil, err
		}
	}
	if h.leading != nil {
		if err := h.leading(r.Slot()); err != nil {
			return nil, err
		}
	}
	carried, err := judge.DecodeRequest(judge.EncodeRequest(r))
	if err != nil {
		return nil, fmt.Errorf("carried between nodes: %v", err)
	}
	for {
		verdict, err := judge.On(h.store, carried)
		if err != nil {
			return nil, err
		}
		var outcome fsm.Outcome
		switch v := verdict.(type) {
		case judge.Propose:
			outcome = h.apply(v.Command)
		case judge.Answer:
			outcome = v.Outcome
		case judge.Refuse:
			outcome = v.Outcome
		}
		if _, changed := outcome.(fsm.ReadSetChanged); changed {
			continue
		}
		return carried.Complete(h.store, outcome)
	}
}

// Holds and Hold are a journal in memory, of which nothing is brought on.
func (h *memoryHub) Holds(room mimi.RoomURI) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.journal, func(s judge.HeldSubmission) bool { return s.Submission.Room == room.String() })
}

func (h *memoryHub) Hold(_ context.Context, submissions []judge.HeldSubmission) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.journal)+len(submissions) > h.holdsMax {
		return fsm.ErrOverloaded
	}
	h.journal = append(h.journal, submissions...)
	return nil
}

func (h *memoryHub) DoMany(ctx context.Context, requests []judge.Request) []judge.Decided {
	return oneByOne(ctx, h, requests)
}

// want decides a request of the test's own.
func want[T fsm.Outcome](t testing.TB, h *memoryHub, r judge.Request, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := h.Do(context.Background(), r)
	got, ok := outcome.(T)
	if err != nil || !ok {
		t.Fatalf("outcome %T %+v, %v", outcome, outcome, err)
	}
	return got
}

// lead says for which slots the hub decides; nil for all.
func (h *memoryHub) lead(leading func(fsm.SlotID) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leading = leading
}

// fail says which requests the hub does not decide, and why; nil for none.
func (h *memoryHub) fail(failing func(judge.Request) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failing = failing
}

// pass moves the hub's clock.
func (h *memoryHub) pass(millis uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now += millis
	h.apply(fsm.Fence{})
}

// elapse moves the hub's clock and removes what has expired, as a leader does from time to time.
func (h *memoryHub) elapse(millis uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now += millis
	h.apply(fsm.Sweep{Max: 500})
}

// entries counts what was decided so far.
func (h *memoryHub) entries() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.index
}

func (h *memoryHub) items(destination mimi.Provider) (items []fsm.OutboxItem) {
	for ref := range h.touched {
		if ref.Destination == destination {
			h.must(fsm.ReadOutbox(h.store, ref.Slot, destination, 0, func(item fsm.OutboxItem) (bool, error) {
				items = append(items, item)
				return true, nil
			}))
		}
	}
	slices.SortFunc(items, func(a, b fsm.OutboxItem) int { return int(a.Sequence) - int(b.Sequence) })
	return items
}

func (h *memoryHub) Heads(_ context.Context, destination mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) (heads []fsm.OutboxItem, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen, rooms := map[mimi.RoomURI]int{}, 0
	for _, item := range h.items(destination) {
		n := seen[item.Room]
		if n == page.PerRoom || busy(item.Room) || n == 0 && rooms == page.Rooms {
			continue
		}
		if n == 0 {
			rooms++
		}
		seen[item.Room]++
		heads = append(heads, item)
	}
	return heads, nil
}

func (h *memoryHub) Waiting() (destinations []mimi.Provider) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ref := range h.touched {
		if ref.Destination != h.self && !slices.Contains(destinations, ref.Destination) && len(h.items(ref.Destination)) > 0 {
			destinations = append(destinations, ref.Destination)
		}
	}
	return destinations
}

func (h *memoryHub) ReadInbox(_ context.Context, query fsm.InboxQuery) (fsm.InboxPage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fitting(h.items(h.self), query)
}

// ReadEvents finds nothing: the providers of these tests have no inboxes for clients.
func (h *memoryHub) ReadEvents(context.Context, fsm.EventQuery) (fsm.EventPage, error) {
	return fsm.EventPage{Whole: true}, nil
}
