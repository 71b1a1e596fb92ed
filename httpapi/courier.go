package httpapi

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// OutboundQueue is what local clients submitted for rooms of other providers, on the shards that this node leads.
type OutboundQueue interface {
	// QueuedHubs lists the providers for whose rooms something waits.
	QueuedHubs() []mimi.Provider
	// QueueHeads returns the first waiting submissions of rooms that are not busy, in order per room, as many as the page allows.
	QueueHeads(ctx context.Context, hub mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) ([]fsm.QueuedSubmission, error)
	// Inherited reports whether one of those may have been brought to its hub before this node led its shard, by another courier.
	Inherited(fsm.QueuedSubmission) bool
}

// CourierConfig are the limits of what is brought to one hub. The zero value of a field means its default.
type CourierConfig struct {
	PerRequest    int           // submissions in one bulk request; default 500
	RequestBytes  int           // of their bodies; default 2 MiB
	RoomsAtOnce   int           // single submissions on their way at a time, each of another room; default 16
	Failing       Backoff       // of a hub that cannot be reached; default 100 ms to 30 s
	Waiting       Backoff       // of a room for which the hub gives no verdict yet; default 500 ms to 1 min
	RetryAfterMax time.Duration // longest Retry-After that is followed; default 2 min
	Doubt         time.Duration // before a refusal that an attempt before may be the reason of is asked for again; default 10 s
	Rescan        time.Duration // looking again although nothing woke us; default 1 s
	Recording     Backoff       // of verdicts in our own log; default 50 ms to 2 s
}

func (c CourierConfig) withDefaults() CourierConfig {
	if c.PerRequest == 0 {
		c.PerRequest = 500
	}
	if c.RequestBytes == 0 {
		c.RequestBytes = 2 << 20
	}
	if c.RoomsAtOnce == 0 {
		c.RoomsAtOnce = 16
	}
	if c.Failing == (Backoff{}) {
		c.Failing = Backoff{100 * time.Millisecond, 30 * time.Second}
	}
	if c.Waiting == (Backoff{}) {
		c.Waiting = Backoff{500 * time.Millisecond, time.Minute}
	}
	if c.RetryAfterMax == 0 {
		c.RetryAfterMax = 2 * time.Minute
	}
	if c.Doubt == 0 {
		c.Doubt = 10 * time.Second
	}
	if c.Rescan == 0 {
		c.Rescan = time.Second
	}
	if c.Recording == (Backoff{}) {
		c.Recording = Backoff{50 * time.Millisecond, 2 * time.Second}
	}
	return c
}

// Courier brings what local clients submitted for other providers' rooms to the hubs, each hub by itself, in order per room, and records
// the hubs' verdicts, which takes a submission out of its queue. Where an answer is lost, or says nothing of the outcome, the submission is
// brought again: a hub recognises it. Nothing is given up here; the queue has a time for that.
type Courier struct {
	cfg     CourierConfig
	queue   OutboundQueue
	hub     Hub
	post    Poster
	pulse   *Pulse
	metrics *CourierMetrics
	log     *slog.Logger

	lanes sync.WaitGroup
	mu    sync.Mutex
	open  map[mimi.Provider]bool // hubs whose lane runs; under mu
}

// NewCourier makes a courier; Run runs it. The pulse must beat when something new waits and when this node begins to lead.
func NewCourier(cfg CourierConfig, queue OutboundQueue, hub Hub, post Poster, pulse *Pulse, metrics *CourierMetrics, log *slog.Logger) *Courier {
	return &Courier{
		cfg: cfg.withDefaults(), queue: queue, hub: hub, post: post, pulse: pulse, metrics: metrics, log: log, open: map[mimi.Provider]bool{},
	}
}

// Run works until the context ends. A submission that is on its way then stays in its queue, and is brought again by whoever leads next.
func (c *Courier) Run(ctx context.Context) {
	defer c.lanes.Wait()
	for {
		beat := c.pulse.Next()
		for _, hub := range c.queue.QueuedHubs() {
			c.begin(ctx, hub)
		}
		select {
		case <-ctx.Done():
			return
		case <-beat:
		case <-time.After(c.cfg.Rescan):
		}
	}
}

// begin starts a hub's lane if it does not run.
func (c *Courier) begin(ctx context.Context, hub mimi.Provider) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[hub] {
		return
	}
	c.open[hub] = true
	c.lanes.Go(func() {
		newCourierLane(c, hub).run(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, hub)
	})
}

// record brings verdicts into our own log, until that has succeeded: one that is lost would send a submission twice.
func (c *Courier) record(ctx context.Context, hub mimi.Provider, settled map[fsm.SlotID][]fsm.SettledSubmission) {
	var work sync.WaitGroup
	for slot, some := range settled {
		work.Go(func() { c.recordSlot(ctx, slot, hub, some) })
	}
	work.Wait()
}

func (c *Courier) recordSlot(ctx context.Context, slot fsm.SlotID, hub mimi.Provider, settled []fsm.SettledSubmission) {
	request, err := judge.NewSettleQueue(slot, hub, settled)
	if err != nil {
		c.log.Error("verdicts cannot be recorded", "hub", hub, "slot", slot, "error", err)
		return
	}
	for failures := 1; ctx.Err() == nil; failures++ {
		outcome, err := c.hub.Do(ctx, request)
		if _, done := outcome.(fsm.Done); err == nil && done {
			for _, s := range settled {
				c.metrics.verdicts.WithLabelValues(hub.String(), s.Verdict.Code.String()).Inc()
			}
			return
		}
		wait := c.cfg.Recording.after(failures)
		c.log.Warn("verdicts of a hub are not recorded yet", "hub", hub, "slot", slot, "verdicts", len(settled), "wait", wait, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
