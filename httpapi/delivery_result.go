package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// delivery is what became of items, reported to the deliverer's goroutine, which draws the consequences.
type delivery interface {
	settle(d *Deliverer, work context.Context)
}

// sentOne is a request of one body.
type sentOne struct {
	item fsm.OutboxItem
	err  error // nil: taken
	took time.Duration
}

// sentMany is a request of many items.
type sentMany struct {
	items  []fsm.OutboxItem
	answer mimi.BulkNotifyResponse
	err    error // nil: answered
	took   time.Duration
}

// recorded are items whose acknowledgement is recorded, or was given up, when stopping.
type recorded struct {
	items []fsm.OutboxItem
	err   error
}

func (d *Deliverer) sendOne(ctx context.Context, item fsm.OutboxItem) {
	defer d.sending.Done()
	begun := time.Now()
	var err error
	if len(item.Body) > 0 { // notices alone have no place in a notify body
		err = d.notify.Notify(ctx, item.Destination, item.Room, item.Body)
	}
	d.results <- sentOne{item: item, err: err, took: time.Since(begun)}
}

func (d *Deliverer) sendMany(ctx context.Context, items []fsm.OutboxItem) {
	defer d.sending.Done()
	begun := time.Now()
	encoded := make([]mimi.NotifyItem, len(items))
	for i, item := range items {
		encoded[i] = notifyItem(item)
	}
	answer, err := d.notify.NotifyMany(ctx, items[0].Destination, encoded)
	d.results <- sentMany{items: items, answer: answer, err: err, took: time.Since(begun)}
}

// notifyItem is an item as it travels, the same each time.
func notifyItem(item fsm.OutboxItem) mimi.NotifyItem {
	var notices []mimi.Notice
	for _, note := range item.Notes {
		if noticed, yes := note.(fsm.Noticed); yes {
			notices = append(notices, noticed.Notice)
		}
	}
	return mimi.NewNotifyItem(item.Room, item.Body, notices)
}

func (r sentOne) settle(d *Deliverer, work context.Context) {
	lane := d.returned([]fsm.OutboxItem{r.item})
	name := lane.destination.String()
	d.metrics.duration.WithLabelValues(name).Observe(r.took.Seconds())
	if r.err == nil {
		d.arrived(lane, []fsm.OutboxItem{r.item}, nil)
		if len(r.item.Notes) > 0 {
			d.metrics.untold.WithLabelValues(name).Inc()
		}
		d.taken(work, lane, []fsm.OutboxItem{r.item})
		return
	}
	lane.settled(r.item.Room, 1)
	if refused := refusal(r.err); refused != nil {
		d.refused(lane, r.item.Room, http.StatusText(refused.Status), refused.Error(), d.followed(refused))
		return
	}
	d.failed(lane, 1, r.err)
}

// refusal is the answer that concerns the one body of a request; nil where the error is anything else.
func refusal(err error) *StatusError {
	var refused *StatusError
	if errors.As(err, &refused) && concernsRoom(refused.Status) {
		return refused
	}
	return nil
}

func (r sentMany) settle(d *Deliverer, work context.Context) {
	lane, now := d.returned(r.items), time.Now()
	d.metrics.duration.WithLabelValues(lane.destination.String()).Observe(r.took.Seconds())
	if r.err != nil {
		for _, item := range r.items {
			lane.settled(item.Room, 1)
		}
		d.failedMany(lane, r, now)
		return
	}
	a := r.sort(d, lane, now)
	d.arrived(lane, a.taken, a.delayed)
	if len(a.taken) == 0 && len(a.delayed) == a.passing {
		// It took nothing, and nothing of this is a room's fault.
		wait := lane.fail(d.cfg.Failing, a.asked, now)
		d.board.failed(lane.destination, errTakesNothing, now)
		d.log.Warn("a destination takes nothing for now", "destination", lane.destination, "rooms", a.passing, "wait", wait)
		return
	}
	if len(a.delayed) == 0 && int(r.answer.Taken) == len(r.items) {
		lane.grow(len(r.items), bytesOf(r.items), d.cfg.BulkInFlight)
	}
	d.taken(work, lane, a.taken)
}

// sentAnswer is what an answer makes of its request.
type sentAnswer struct {
	taken   []fsm.OutboxItem
	delayed map[mimi.RoomURI]bool // rooms that are held back
	passing int                   // of these, for what passes by itself
	asked   time.Duration         // the longest wait that the answer names for them
}

// sort goes through the items as they were answered: a room is held back at its first item that was looked at and not taken, and from there
// on nothing of it counts as taken.
func (r sentMany) sort(d *Deliverer, lane *deliveryLane, now time.Time) sentAnswer {
	a := sentAnswer{delayed: map[mimi.RoomURI]bool{}}
	for i, v := range verdictsOf(len(r.items), r.answer) {
		item := r.items[i]
		if v.taken && !a.delayed[item.Room] {
			a.taken = append(a.taken, item)
			continue
		}
		lane.settled(item.Room, 1)
		if a.delayed[item.Room] || !v.lookedAt {
			continue
		}
		a.delayed[item.Room] = true
		wait := d.followedWait(time.Duration(v.exception.RetryAfterSeconds) * time.Second)
		if !v.exception.Code.Passing() {
			d.refused(lane, item.Room, v.exception.Code.String(), v.exception.Reason, wait)
			continue
		}
		a.passing, a.asked = a.passing+1, max(a.asked, wait)
		d.metrics.sent.WithLabelValues(lane.destination.String(), "delayed").Inc()
		lane.park(item.Room, false, d.cfg.Delayed, wait, now)
	}
	return a
}

// errTakesNothing is what a destination's board shows where its answer took no item.
var errTakesNothing = errors.New("it answers, and takes nothing for now")

// arrived ends the failures of a destination that has taken items, and of their rooms but those that are held back for what came after.
func (d *Deliverer) arrived(lane *deliveryLane, items []fsm.OutboxItem, heldBack map[mimi.RoomURI]bool) {
	if len(items) == 0 {
		return
	}
	lane.answered()
	d.board.answered(lane.destination)
	for _, item := range items {
		if !heldBack[item.Room] {
			lane.succeeded(item.Room)
			d.board.unpark(lane.destination, item.Room)
		}
	}
}

// itemVerdict is what an answer says of one item.
type itemVerdict struct {
	lookedAt  bool
	taken     bool
	exception mimi.NotifyException // where it was looked at and not taken
}

func verdictsOf(items int, answer mimi.BulkNotifyResponse) []itemVerdict {
	verdicts := make([]itemVerdict, items)
	for i := range min(items, int(answer.Taken)) {
		verdicts[i] = itemVerdict{lookedAt: true, taken: true}
	}
	for _, e := range answer.Exceptions {
		if int(e.Index) < items {
			verdicts[e.Index] = itemVerdict{lookedAt: true, exception: e}
		}
	}
	return verdicts
}

// taken has the acknowledgement of items recorded; they stay in flight until it is.
func (d *Deliverer) taken(work context.Context, lane *deliveryLane, items []fsm.OutboxItem) {
	if len(items) == 0 {
		return
	}
	name := lane.destination.String()
	d.metrics.sent.WithLabelValues(name, "taken").Add(float64(len(items)))
	d.metrics.bytes.WithLabelValues(name).Add(float64(bytesOf(items)))
	d.acks.add(work, items)
}

// refused parks a room whose item is refused as it stands.
func (d *Deliverer) refused(lane *deliveryLane, room mimi.RoomURI, code, reason string, asked time.Duration) {
	name := lane.destination.String()
	d.metrics.sent.WithLabelValues(name, "refused").Inc()
	d.metrics.refused.WithLabelValues(name, code).Inc()
	now := time.Now()
	wait := lane.park(room, true, d.cfg.Parked, asked, now)
	lane.answered()
	d.board.answered(lane.destination)
	d.board.park(lane.destination, room, strings.TrimSpace(code+" "+reason), now, now.Add(wait))
	d.log.Error("a destination refuses a body; the room is parked and will be tried again",
		"destination", name, "room", room, "code", code, "reason", reason, "wait", wait)
}

// failedMany draws the consequences of a request that was not answered as such.
func (d *Deliverer) failedMany(lane *deliveryLane, r sentMany, now time.Time) {
	var status *StatusError
	errors.As(r.err, &status)
	switch {
	case errors.Is(r.err, errNotOffered):
		lane.standardUntil = now.Add(d.cfg.BulkRetry)
		d.log.Info("a destination takes no bulk deliveries; it gets its bodies one by one", "destination", lane.destination, "for", d.cfg.BulkRetry)
	case status == nil || !concernsRoom(status.Status):
		d.failed(lane, len(r.items), r.err)
	case len(r.items) > 1:
		lane.itemsMax = max(len(r.items)/2, 1)
		d.log.Warn("a destination refuses a delivery whole; it gets a smaller one", "destination", lane.destination, "items", len(r.items), "status", status.Status)
	default:
		d.refused(lane, r.items[0].Room, http.StatusText(status.Status), status.Error(), d.followed(status))
		lane.grow(0, 0, d.cfg.BulkInFlight)
	}
}

// failed holds the destination back.
func (d *Deliverer) failed(lane *deliveryLane, items int, err error) {
	name, kind := lane.destination.String(), "unsent"
	var status *StatusError
	var send *SendError
	var malformed *mls.MalformedError
	switch {
	case errors.As(err, &status):
		kind = "status"
	case errors.As(err, &malformed), !errors.As(err, &send), send.MaybeSent:
		kind = "unknown"
	}
	d.metrics.sent.WithLabelValues(name, kind).Add(float64(items))
	now := time.Now()
	wait := lane.fail(d.cfg.Failing, d.followed(status), now)
	d.board.failed(lane.destination, err, now)
	d.log.Warn("a destination does not take bodies", "destination", name, "items", items, "result", kind, "wait", wait, "error", err)
}

func (r recorded) settle(d *Deliverer, _ context.Context) {
	lane := d.lanes[r.items[0].Destination] // there, since the items are in flight in it
	for _, item := range r.items {
		lane.settled(item.Room, 1)
	}
	if lane.look = true; lane.idle() {
		lane.ended = time.Now()
	}
	if r.err == nil {
		d.metrics.acked.WithLabelValues(lane.destination.String()).Add(float64(len(r.items)))
	}
}

// followed is the part of a Retry-After that is followed.
func (d *Deliverer) followed(refused *StatusError) time.Duration {
	if refused == nil {
		return 0
	}
	return d.followedWait(refused.RetryAfter)
}

func (d *Deliverer) followedWait(asked time.Duration) time.Duration {
	return min(asked, d.cfg.RetryAfterMax)
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
