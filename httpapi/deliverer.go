package httpapi

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"parley/fsm"
	"parley/mimi"
)

// Deliverer sends what waits in the outbox to the other providers: to one that takes many bodies in a request such requests, to any
// other one body in each. Each room is in one request at a time, and its next items go only after the acknowledgement of those before
// is recorded: so order holds, and nothing is sent twice unless the fate of the first sending is unknown (the answer was lost, this node
// stopped, or another leads now). Nothing is ever dropped here.
//
// Destinations have nothing in common but a bound on the bytes under way, beyond which each may go with one request, and that one which
// catches up with what has waited for long has a part of its requests only while others get what is new. What waits stays in the outbox: a
// page of it is read where it can be sent at once.
//
// One goroutine, Run's, owns all of the state; sending and recording are done by others that report back to it.
type Deliverer struct {
	cfg     DeliveryConfig
	outbox  Outbox
	notify  Notifier
	pulse   *Pulse
	acks    *acknowledger
	metrics *DeliveryMetrics
	board   *deliveryBoard
	log     *slog.Logger

	lanes   map[mimi.Provider]*deliveryLane // Run's
	fresh   map[mimi.Provider]time.Time     // who got what is new, and when last; Run's
	bytes   int                             // of the items in all requests under way; Run's
	results chan delivery
	sending sync.WaitGroup
}

// NewDeliverer makes a deliverer; Run runs it. The pulse must beat when something new waits and when this node begins to lead.
func NewDeliverer(cfg DeliveryConfig, outbox Outbox, hub Hub, notifier Notifier, pulse *Pulse, metrics *DeliveryMetrics, log *slog.Logger) *Deliverer {
	cfg = cfg.withDefaults()
	d := &Deliverer{
		cfg:     cfg,
		outbox:  outbox,
		notify:  notifier,
		pulse:   pulse,
		metrics: metrics,
		board:   newDeliveryBoard(),
		log:     log,
		lanes:   map[mimi.Provider]*deliveryLane{},
		fresh:   map[mimi.Provider]time.Time{},
		results: make(chan delivery, 256),
	}
	d.acks = newAcknowledger(hub, cfg.Config, cfg.Acknowledgment, log, func(items []fsm.OutboxItem, err error) {
		d.results <- recorded{items: items, err: err}
	})
	return d
}

// Run delivers until the context ends. Bodies on their way then have StopGrace to arrive and to be recorded.
func (d *Deliverer) Run(ctx context.Context) {
	// What is under way outlives ctx by the grace.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		beat := d.pulse.Next()
		d.scan(ctx, work)
		timer.Reset(d.untilDue(time.Now()))
		select {
		case <-ctx.Done():
			d.stop(work, cut)
			return
		case <-beat:
			d.lookAll()
		case <-timer.C:
			d.lookAll()
		case result := <-d.results:
			result.settle(d, work)
			d.settleMore(work)
		}
	}
}

// settleMore takes what else has come back, so that one scan serves all of it.
func (d *Deliverer) settleMore(work context.Context) {
	for {
		select {
		case result := <-d.results:
			result.settle(d, work)
		default:
			return
		}
	}
}

// lookAll has every destination's outbox looked at: something may have come into any of them.
func (d *Deliverer) lookAll() {
	for _, lane := range d.lanes {
		lane.look = true
	}
}

// scan starts what may start now.
func (d *Deliverer) scan(ctx, work context.Context) {
	waiting := map[mimi.Provider]bool{}
	for _, destination := range d.outbox.Waiting() {
		waiting[destination] = true
		if d.lanes[destination] == nil {
			d.lanes[destination] = newDeliveryLane(destination)
		}
		d.lanes[destination].heed(d.outbox.Replays(destination))
	}
	now := time.Now()
	for destination, lane := range d.lanes {
		if ctx.Err() != nil {
			return
		}
		switch {
		case waiting[destination]:
			if lane.look {
				d.fill(ctx, work, lane, now)
			}
		case lane.idle():
			// Nothing waits, or another node leads now: what was learnt of the destination here is of no more use, but how it takes bodies.
			fresh := newDeliveryLane(destination)
			fresh.standardUntil, fresh.replays = lane.standardUntil, lane.replays
			*lane = *fresh
			if lane.inBulk(now) {
				delete(d.lanes, destination)
			}
			d.measure(lane, now)
			d.board.forget(destination)
			continue
		}
		d.measure(lane, now)
	}
}

// fill sends what there is room for in the lane, until nothing more is found.
func (d *Deliverer) fill(ctx, work context.Context, lane *deliveryLane, now time.Time) {
	lane.look, lane.oldestMillis = false, 0
	more := true
	for free := lane.free(d.cfg, d.yields(lane, now), now); free > 0 && more; free = lane.free(d.cfg, d.yields(lane, now), now) {
		if lane.requests > 0 && d.bytes >= d.cfg.BytesInFlight {
			lane.look = true // there is room again when anything comes back
			return
		}
		page := lane.page(free, now)
		items, err := d.outbox.Heads(ctx, lane.destination, func(room mimi.RoomURI) bool { return lane.busy(room, now) }, page)
		if err != nil {
			if ctx.Err() == nil {
				d.log.Warn("outbox not readable; looking again soon", "destination", lane.destination, "error", err)
			}
			return
		}
		items = ofIdleRooms(lane, items, now)
		if len(items) == 0 {
			return
		}
		more = lane.read(page, items, now)
		if !lane.inBulk(now) {
			for _, item := range items[:min(free, len(items))] {
				d.start(lane, []fsm.OutboxItem{item}, now)
				go d.sendOne(work, item)
			}
			continue
		}
		fits := oneRequest(items, lane.itemsMax)
		more, items = more || len(fits) < len(items), fits
		d.start(lane, items, now)
		go d.sendMany(work, items)
	}
}

// ofIdleRooms leaves out the items of rooms that are under way, whatever the outbox says.
func ofIdleRooms(lane *deliveryLane, items []fsm.OutboxItem, now time.Time) []fsm.OutboxItem {
	return slices.DeleteFunc(items, func(item fsm.OutboxItem) bool { return lane.busy(item.Room, now) })
}

// oneRequest are the first items, as many as go into one request; at least one.
func oneRequest(items []fsm.OutboxItem, most int) []fsm.OutboxItem {
	bytes := 0
	for i, item := range items {
		if bytes += notifyItem(item).Bytes(); i == most || i > 0 && bytes > mimi.NotifyBytesMax {
			return items[:i]
		}
	}
	return items
}

// yields reports whether a destination that catches up has to leave room to others, since one of them gets what is new: it has hours to
// make good, and they have not.
func (d *Deliverer) yields(lane *deliveryLane, now time.Time) bool {
	if !lane.behind {
		return false
	}
	for other, at := range d.fresh {
		if now.Sub(at) >= freshFor {
			delete(d.fresh, other)
		} else if other != lane.destination {
			return true
		}
	}
	return false
}

// start counts items as under way.
func (d *Deliverer) start(lane *deliveryLane, items []fsm.OutboxItem, now time.Time) {
	if lane.sends(items, d.cfg.CatchUpAge, now); !lane.behind {
		d.fresh[lane.destination] = now
	}
	for _, item := range items {
		if lane.oldestMillis == 0 || item.Millis < lane.oldestMillis {
			lane.oldestMillis = item.Millis
		}
		lane.inFlight[item.Room]++
	}
	lane.requests++
	lane.bytes += bytesOf(items)
	d.bytes += bytesOf(items)
	d.sending.Add(1)
}

// returned counts a request that is not under way any more.
func (d *Deliverer) returned(items []fsm.OutboxItem) *deliveryLane {
	lane := d.lanes[items[0].Destination] // there, since the request was under way in it
	lane.requests--
	lane.bytes -= bytesOf(items)
	d.bytes -= bytesOf(items)
	lane.look = true
	return lane
}

func bytesOf(items []fsm.OutboxItem) (n int) {
	for _, item := range items {
		n += len(item.Body)
	}
	return n
}

// untilDue is how long nothing can be started unless something happens.
func (d *Deliverer) untilDue(now time.Time) time.Duration {
	wait := d.cfg.Rescan
	for _, lane := range d.lanes {
		wait = min(wait, lane.untilDue(now))
	}
	return max(wait, 0)
}

func (d *Deliverer) measure(lane *deliveryLane, now time.Time) {
	name := lane.destination.String()
	d.board.measure(lane.destination, len(lane.inFlight), lane.until)
	d.metrics.inFlight.WithLabelValues(name).Set(float64(len(lane.inFlight)))
	d.metrics.parked.WithLabelValues(name).Set(float64(lane.refusedRooms()))
	d.metrics.age.WithLabelValues(name).Set(float64(lane.oldestMillis))
	d.metrics.backoff.WithLabelValues(name).Set(max(lane.until.Sub(now), 0).Seconds())
}

// stop waits for what is under way, cuts it after the grace, and leaves no goroutine behind. What was not recorded is sent
// again by whoever leads next.
func (d *Deliverer) stop(work context.Context, cut context.CancelFunc) {
	grace := time.AfterFunc(d.cfg.StopGrace, cut)
	defer grace.Stop()
	for d.underWay() > 0 {
		result := <-d.results
		result.settle(d, work)
	}
	d.sending.Wait()
	d.acks.wait()
}

func (d *Deliverer) underWay() int {
	n := 0
	for _, lane := range d.lanes {
		n += len(lane.inFlight) + lane.requests
	}
	return n
}
