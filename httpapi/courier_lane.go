package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"parley/fsm"
	"parley/mimi"
)

// courierLane is the way to one hub. It is owned by its goroutine, and what it knows of submissions is lost with it: they stand in the queue.
type courierLane struct {
	*Courier
	to     mimi.Provider
	waits  map[mimi.RoomURI]parking
	items  map[queuedName]*itemHistory
	failed int // attempts on the hub in a row
}

type queuedName struct {
	slot   fsm.SlotID
	number uint64
}

// itemHistory is what became of attempts to bring a submission.
type itemHistory struct {
	held     bool // the hub has it: it is asked for by its receipt
	maybe    bool // an attempt may have reached the hub, and nothing is known of it
	refusals int  // answers of class 400 in a row
	doubts   int  // refusals that an attempt before may be the reason of
}

// How often an answer is not taken for a verdict yet.
const (
	refusalsMax = 5 // that may be about us and not about the submission
	doubtsMax   = 3 // see courierLane.settle
)

func newCourierLane(c *Courier, to mimi.Provider) *courierLane {
	return &courierLane{
		Courier: c, to: to,
		waits: map[mimi.RoomURI]parking{}, items: map[queuedName]*itemHistory{},
	}
}

// run works until nothing waits for the hub any more.
func (l *courierLane) run(ctx context.Context) {
	defer l.metrics.rest(l.to)
	for ctx.Err() == nil {
		beat := l.pulse.Next()
		now := time.Now()
		page := fsm.OutboxPage{Rooms: l.cfg.PerRequest, PerRoom: l.cfg.PerRequest, Bytes: l.cfg.RequestBytes}
		heads, err := l.queue.QueueHeads(ctx, l.to, func(room mimi.RoomURI) bool { return now.Before(l.waits[room].until) }, page)
		if err != nil && ctx.Err() == nil {
			l.log.Warn("the queue to a hub is not readable; looking again soon", "hub", l.to, "error", err)
		}
		if len(heads) > 0 {
			l.metrics.oldest.WithLabelValues(l.to.String()).Set(float64(heads[0].Millis))
			wait := l.bring(ctx, heads[:min(len(heads), l.cfg.PerRequest)])
			if wait == 0 {
				continue
			}
			l.pause(ctx, nil, wait) // what is new does not change that the hub cannot be reached
			continue
		}
		if !l.anythingWaits() {
			return
		}
		l.pause(ctx, beat, l.untilDue(now))
	}
}

func (l *courierLane) anythingWaits() bool {
	for _, hub := range l.queue.QueuedHubs() {
		if hub == l.to {
			return true
		}
	}
	return false
}

func (l *courierLane) pause(ctx context.Context, beat <-chan struct{}, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-beat:
	case <-timer.C:
	}
}

// untilDue is how long until a room may be tried again, at most until the next look.
func (l *courierLane) untilDue(now time.Time) time.Duration {
	due := l.cfg.Rescan
	for _, p := range l.waits {
		if now.Before(p.until) {
			due = min(due, p.until.Sub(now))
		}
	}
	return due
}

// bring makes one attempt on submissions that are in order per room, and records what came of it. A wait above 0 is one for the whole hub.
func (l *courierLane) bring(ctx context.Context, items []fsm.QueuedSubmission) (wait time.Duration) {
	for _, q := range items {
		h := l.history(q)
		h.maybe = h.maybe || l.queue.Inherited(q) // also of what was tried here before: others may have led meanwhile
	}
	round := &courierRound{lane: l, settled: map[fsm.SlotID][]fsm.SettledSubmission{}, stopped: map[mimi.RoomURI]bool{}}
	round.oneByOne(ctx, round.inBulk(ctx, items))
	l.record(ctx, l.to, round.settled)
	for room := range round.stopped {
		l.park(room, round.asked[room])
	}
	if round.failure == nil {
		l.failed = 0
		return 0
	}
	l.failed++
	wait = max(l.cfg.Failing.after(l.failed), min(retryAfterOf(round.failure), l.cfg.RetryAfterMax))
	l.metrics.attempts.WithLabelValues(l.to.String(), "failed").Inc()
	l.log.Warn("a hub takes no submissions", "hub", l.to, "wait", wait, "error", round.failure)
	return wait
}

func (l *courierLane) park(room mimi.RoomURI, asked time.Duration) {
	p := l.waits[room]
	p.failures++
	p.until = time.Now().Add(max(l.cfg.Waiting.after(p.failures), min(asked, l.cfg.RetryAfterMax)))
	l.waits[room] = p
}

func (l *courierLane) history(q fsm.QueuedSubmission) *itemHistory {
	name := queuedName{q.Slot, q.Number}
	h := l.items[name]
	if h == nil {
		h = &itemHistory{}
		l.items[name] = h
	}
	return h
}

func retryAfterOf(err error) time.Duration {
	if refused := (*StatusError)(nil); errors.As(err, &refused) {
		return refused.RetryAfter
	}
	return 0
}

// courierRound is one attempt on some submissions. It is used by one goroutine at a time, single submissions take turns.
type courierRound struct {
	lane    *courierLane
	settled map[fsm.SlotID][]fsm.SettledSubmission
	stopped map[mimi.RoomURI]bool          // rooms for which no more is done in this round
	asked   map[mimi.RoomURI]time.Duration // waits that the hub named for them
	failure error                          // of the hub as a whole
	away    bool                           // it gave no answer: it is not tried for each of the other rooms
}

// stop leaves a room for later.
func (r *courierRound) stop(room mimi.RoomURI, asked time.Duration) {
	r.stopped[room] = true
	if asked > 0 {
		if r.asked == nil {
			r.asked = map[mimi.RoomURI]time.Duration{}
		}
		r.asked[room] = max(r.asked[room], asked)
	}
}

// settle takes a verdict. A refusal that may only mean that an earlier attempt was accepted, whose answer was lost, is no verdict yet: if the hub
// has accepted it, that comes with the room's events, and settles the submission before we ask for the last time.
func (r *courierRound) settle(q fsm.QueuedSubmission, verdict mimi.Verdict) {
	h := r.lane.history(q)
	if h.maybe && doubtful(verdict.Code) {
		if h.doubts++; h.doubts < doubtsMax {
			r.stop(q.Room, r.lane.cfg.Doubt)
			return
		}
		verdict.Reason += " (an answer to an earlier attempt was lost)"
	}
	verdict.Receipt = q.Receipt
	r.settled[q.Slot] = append(r.settled[q.Slot], fsm.SettledSubmission{Number: q.Number, Verdict: verdict})
	delete(r.lane.items, queuedName{q.Slot, q.Number})
	delete(r.lane.waits, q.Room)
}

// doubtful lists what a hub may say of something that it has accepted and no longer knows.
func doubtful(code mimi.VerdictCode) bool {
	switch code {
	case mimi.VerdictEpochTooOld, mimi.VerdictWrongEpoch, mimi.VerdictNotAllowed, mimi.VerdictInvalid, mimi.VerdictNoSuchRoom, mimi.VerdictRoomEnded:
		return true
	default:
		return false
	}
}

// refusedAs is what an answer of class 400 says of a submission. What may be about us, and not about the submission, is final only after some attempts.
func (r *courierRound) refusedAs(q fsm.QueuedSubmission, status int) (verdict mimi.Verdict, final bool) {
	h := r.lane.history(q)
	h.refusals++
	verdict.Reason = "its hub answers " + http.StatusText(status)
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType:
		verdict.Code, final = mimi.VerdictMalformed, true
	case http.StatusGone:
		verdict.Code, final = mimi.VerdictRoomEnded, true
	case http.StatusRequestEntityTooLarge:
		verdict.Code, final = mimi.VerdictTooLarge, true
	case http.StatusNotFound:
		verdict.Code = mimi.VerdictNoSuchRoom
	default:
		verdict.Code = mimi.VerdictNotAllowed
	}
	return verdict, final || h.refusals >= refusalsMax
}
