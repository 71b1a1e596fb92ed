package httpapi

import (
	"time"

	"parley/mimi"
)

// deliveryLane is what the deliverer knows of one destination. It is owned by the deliverer's goroutine.
type deliveryLane struct {
	destination  mimi.Provider
	inFlight     map[mimi.RoomURI]struct{} // a body is on its way, or its acknowledgement is being recorded
	parked       map[mimi.RoomURI]parking  // rooms whose next body is refused
	failures     int                       // of the destination, in a row
	until        time.Time                 // nothing is sent before
	replays      uint64                    // how often it had been asked for to forget what is learnt, when that was heeded last
	oldestMillis uint64                    // hub time of the oldest head seen by the last look
}

type parking struct {
	failures int
	until    time.Time
}

func newDeliveryLane(destination mimi.Provider) *deliveryLane {
	return &deliveryLane{destination: destination, inFlight: map[mimi.RoomURI]struct{}{}, parked: map[mimi.RoomURI]parking{}}
}

// heed forgets what holds the destination and its rooms back, where that was asked for since: everything is tried at once. What is on its
// way goes on.
func (l *deliveryLane) heed(replays uint64) {
	if replays == l.replays {
		return
	}
	l.replays = replays
	l.failures, l.until = 0, time.Time{}
	clear(l.parked)
}

// free is how many more bodies may be sent. After a failure one body probes whether the destination is back.
func (l *deliveryLane) free(limit int, now time.Time) int {
	switch {
	case now.Before(l.until):
		return 0
	case l.failures > 0:
		limit = 1
	}
	return max(limit-len(l.inFlight), 0)
}

// busy reports whether a room's next body must not be sent now.
func (l *deliveryLane) busy(room mimi.RoomURI, now time.Time) bool {
	if _, sending := l.inFlight[room]; sending {
		return true
	}
	return now.Before(l.parked[room].until)
}

func (l *deliveryLane) succeeded(room mimi.RoomURI) {
	l.failures, l.until = 0, time.Time{}
	delete(l.parked, room)
}

// fail holds the destination back, at least for what it asked. Bodies that were on their way together count as one failure.
func (l *deliveryLane) fail(backoff Backoff, asked time.Duration, now time.Time) (wait time.Duration) {
	if !now.Before(l.until) {
		l.failures++
		l.until = now.Add(backoff.after(l.failures))
	}
	if asked := now.Add(asked); asked.After(l.until) {
		l.until = asked
	}
	return l.until.Sub(now)
}

// park holds one room back. The destination has answered, so that it is no failure of the destination.
func (l *deliveryLane) park(room mimi.RoomURI, backoff Backoff, asked time.Duration, now time.Time) (wait time.Duration) {
	l.failures, l.until = 0, time.Time{}
	p := l.parked[room]
	p.failures++
	wait = max(backoff.after(p.failures), asked)
	p.until = now.Add(wait)
	l.parked[room] = p
	return wait
}

// untilDue is how long until a wait in this lane is over.
func (l *deliveryLane) untilDue(now time.Time) time.Duration {
	due := time.Duration(1<<63 - 1)
	if now.Before(l.until) {
		return l.until.Sub(now)
	}
	for _, p := range l.parked {
		if now.Before(p.until) {
			due = min(due, p.until.Sub(now))
		}
	}
	return due
}
