package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"parley/fsm"
	"parley/mimi"
)

// Notifier delivers one notify body; *Client is the real one. nil means that the destination has taken it.
type Notifier interface {
	Notify(ctx context.Context, destination mimi.Provider, room mimi.RoomURI, body []byte) error
}

// DeliveryConfig are the limits of delivery. The zero value of a field means its default.
type DeliveryConfig struct {
	RoomsInFlight  int           // bodies on their way to one destination, each of another room; default 32
	Failing        Backoff       // of a destination that cannot be reached; default 100 ms to 30 s
	Parked         Backoff       // of a room whose body is refused; default 5 s to 10 min
	RetryAfterMax  time.Duration // longest Retry-After that is followed; default 2 min
	Rescan         time.Duration // looking again although nothing woke us; default 1 s
	StopGrace      time.Duration // finishing bodies on their way when stopping; default 2 s
	Acknowledgment Backoff       // of recording acknowledgements; default 50 ms to 2 s
}

func (c DeliveryConfig) withDefaults() DeliveryConfig {
	if c.RoomsInFlight == 0 {
		c.RoomsInFlight = 32
	}
	if c.Failing == (Backoff{}) {
		c.Failing = Backoff{100 * time.Millisecond, 30 * time.Second}
	}
	if c.Parked == (Backoff{}) {
		c.Parked = Backoff{5 * time.Second, 10 * time.Minute}
	}
	if c.RetryAfterMax == 0 {
		c.RetryAfterMax = 2 * time.Minute
	}
	if c.Rescan == 0 {
		c.Rescan = time.Second
	}
	if c.StopGrace == 0 {
		c.StopGrace = 2 * time.Second
	}
	if c.Acknowledgment == (Backoff{}) {
		c.Acknowledgment = Backoff{50 * time.Millisecond, 2 * time.Second}
	}
	return c
}

// Deliverer sends what waits in the outbox to the other providers. Of each room one body at a time is on its way, and the next
// only after the acknowledgement of the one before is recorded: so order holds, and nothing is sent twice unless the fate of
// the first sending is unknown (the answer was lost, this node stopped, or another leads now). Nothing is ever dropped here.
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
	results chan delivery
	sending sync.WaitGroup
}

// delivery is what became of an item. It comes twice for one that was taken: once sent, once with its acknowledgement.
type delivery struct {
	item         fsm.OutboxItem
	acknowledged bool  // err is that of recording the acknowledgement, which is given up only when stopping
	err          error // nil: taken by the destination, or recorded
	took         time.Duration
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
		results: make(chan delivery, 256),
	}
	d.acks = newAcknowledger(hub, cfg.Acknowledgment, log, func(item fsm.OutboxItem, err error) {
		d.results <- delivery{item: item, acknowledged: true, err: err}
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
		case <-timer.C:
		case result := <-d.results:
			d.settle(work, result)
			d.settleMore(work)
		}
	}
}

// settleMore takes what else has come back, so that one scan serves all of it.
func (d *Deliverer) settleMore(work context.Context) {
	for {
		select {
		case result := <-d.results:
			d.settle(work, result)
		default:
			return
		}
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
		if waiting[destination] {
			d.fill(ctx, work, lane, now)
		} else if len(lane.inFlight) == 0 {
			// Nothing waits, or another node leads now: what was learnt of the destination here is of no more use.
			*lane = *newDeliveryLane(destination)
			delete(d.lanes, destination)
			d.board.forget(destination)
			continue
		}
		d.measure(lane, now)
	}
}

// fill sends the heads of rooms for which there is room in the lane.
func (d *Deliverer) fill(ctx, work context.Context, lane *deliveryLane, now time.Time) {
	free := lane.free(d.cfg.RoomsInFlight, now)
	lane.oldestMillis = 0
	if free == 0 {
		return
	}
	heads, err := d.outbox.Heads(ctx, lane.destination, func(room mimi.RoomURI) bool { return lane.busy(room, now) }, fsm.OutboxPage{Rooms: free, PerRoom: 1})
	if err != nil {
		if ctx.Err() == nil {
			d.log.Warn("outbox not readable; looking again soon", "destination", lane.destination, "error", err)
		}
		return
	}
	for _, item := range heads {
		if len(lane.inFlight) >= d.cfg.RoomsInFlight || lane.busy(item.Room, now) {
			continue
		}
		if lane.oldestMillis == 0 || item.Millis < lane.oldestMillis {
			lane.oldestMillis = item.Millis
		}
		lane.inFlight[item.Room] = struct{}{}
		d.sending.Add(1)
		go d.send(work, item)
	}
}

func (d *Deliverer) send(ctx context.Context, item fsm.OutboxItem) {
	defer d.sending.Done()
	begun := time.Now()
	var err error
	if len(item.Body) > 0 { // notices alone have no place in a notify body
		err = d.notify.Notify(ctx, item.Destination, item.Room, item.Body)
	}
	d.results <- delivery{item: item, err: err, took: time.Since(begun)}
}

// settle draws the consequences of one result.
func (d *Deliverer) settle(work context.Context, result delivery) {
	lane := d.lanes[result.item.Destination] // there, since the room is in flight in it
	room, name := result.item.Room, result.item.Destination.String()
	if result.acknowledged {
		delete(lane.inFlight, room)
		if result.err == nil {
			d.metrics.acked.WithLabelValues(name).Inc()
		}
		return
	}
	d.metrics.duration.WithLabelValues(name).Observe(result.took.Seconds())
	if result.err == nil {
		lane.succeeded(room)
		d.board.answered(lane.destination)
		d.board.unpark(lane.destination, room)
		d.metrics.sent.WithLabelValues(name, "taken").Inc()
		d.metrics.bytes.WithLabelValues(name).Add(float64(len(result.item.Body)))
		d.acks.add(work, result.item) // the room stays in flight until it is recorded
		return
	}
	delete(lane.inFlight, room)
	d.failed(lane, result)
}

// failed holds back the room or the whole destination, by whom the failure concerns.
func (d *Deliverer) failed(lane *deliveryLane, result delivery) {
	name, now := lane.destination.String(), time.Now()
	var refused *StatusError
	if errors.As(result.err, &refused) && concernsRoom(refused.Status) {
		d.metrics.sent.WithLabelValues(name, "refused").Inc()
		d.metrics.refused.WithLabelValues(name, http.StatusText(refused.Status)).Inc()
		wait := lane.park(result.item.Room, d.cfg.Parked, d.followed(refused), now)
		d.log.Error("a destination refuses a body; the room is parked and will be tried again",
			"destination", name, "room", result.item.Room, "status", refused.Status, "wait", wait)
		d.board.answered(lane.destination)
		d.board.park(lane.destination, result.item.Room, refused.Error(), now, now.Add(wait))
		return
	}
	kind := "unsent"
	var send *SendError
	switch {
	case refused != nil:
		kind = "status"
	case !errors.As(result.err, &send) || send.MaybeSent:
		kind = "unknown"
	}
	d.metrics.sent.WithLabelValues(name, kind).Inc()
	wait := lane.fail(d.cfg.Failing, d.followed(refused), now)
	d.board.failed(lane.destination, result.err, now)
	d.log.Warn("a destination does not take bodies", "destination", name, "result", kind, "wait", wait, "error", result.err)
}

// followed is the part of a Retry-After that is followed.
func (d *Deliverer) followed(refused *StatusError) time.Duration {
	if refused == nil {
		return 0
	}
	return min(refused.RetryAfter, d.cfg.RetryAfterMax)
}

// concernsRoom tells an answer to this body from one that would meet any other body too.
func concernsRoom(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooEarly,
		http.StatusTooManyRequests, http.StatusMisdirectedRequest, http.StatusUpgradeRequired:
		return false
	case http.StatusInternalServerError, http.StatusNotImplemented, http.StatusLoopDetected:
		return true
	}
	return status >= 400 && status <= 499
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
	d.metrics.parked.WithLabelValues(name).Set(float64(len(lane.parked)))
	d.metrics.age.WithLabelValues(name).Set(float64(lane.oldestMillis))
	d.metrics.backoff.WithLabelValues(name).Set(max(lane.until.Sub(now), 0).Seconds())
}

// stop waits for what is under way, cuts it after the grace, and leaves no goroutine behind. What was not recorded is sent
// again by whoever leads next.
func (d *Deliverer) stop(work context.Context, cut context.CancelFunc) {
	grace := time.AfterFunc(d.cfg.StopGrace, cut)
	defer grace.Stop()
	for d.underWay() > 0 {
		d.settle(work, <-d.results)
	}
	d.sending.Wait()
	d.acks.wait()
}

func (d *Deliverer) underWay() int {
	n := 0
	for _, lane := range d.lanes {
		n += len(lane.inFlight)
	}
	return n
}
