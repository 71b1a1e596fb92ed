package httpapi

import (
	"time"

	"parley/fsm"
	"parley/mimi"
)

const (
	bulkFirst     = 2         // requests at once in the beginning
	probeBytesMax = 256 << 10 // what a destination is asked to take that did not take the last
	perRoomFirst  = 10        // items of one room in a request, before it is known how many rooms wait
	perRoomMax    = 100       // and at most, so that a room with much leaves something to the others

	freshFor = time.Second // that one got what is new, others leave room to it
)

// deliveryLane is what the deliverer knows of one destination. It is owned by the deliverer's goroutine.
type deliveryLane struct {
	destination  mimi.Provider
	inFlight     map[mimi.RoomURI]int     // items on their way, or whose acknowledgement is being recorded
	parked       map[mimi.RoomURI]parking // rooms whose next item was not taken
	requests     int                      // on their way
	bytes        int                      // of the items in those
	failures     int                      // of the destination, in a row
	until        time.Time                // nothing is sent before
	replays      uint64                   // how often it had been asked for to forget what is learnt, when that was heeded last
	oldestMillis uint64                   // hub time of the oldest head seen by the last look
	look         bool                     // something may have changed since the last look

	behind bool      // most of what was sent last had waited for long: the destination catches up
	begun  time.Time // when something was sent while nothing was under way: a round
	ended  time.Time // when all of a round was recorded

	// How much at once, to a destination that takes many bodies in a request:
	standardUntil time.Time // until then it is taken for one that does not
	window        int       // requests at once: one more after each full one that was taken, half as many after a failure
	perRoom       int       // items of one room in a request
	itemsMax      int       // items of a request: halved while a request is refused as a whole, to find out for whose sake
}

type parking struct {
	failures int
	until    time.Time
	refused  bool // for good, as the item stands; else for now
}

func newDeliveryLane(destination mimi.Provider) *deliveryLane {
	return &deliveryLane{
		destination: destination, inFlight: map[mimi.RoomURI]int{}, parked: map[mimi.RoomURI]parking{}, look: true,
		window: bulkFirst, perRoom: perRoomFirst, itemsMax: mimi.NotifyItemsMax,
	}
}

// heed forgets what holds the destination and its rooms back, where that was asked for since: everything is tried at once. What is on its
// way goes on.
func (l *deliveryLane) heed(replays uint64) {
	if replays == l.replays {
		return
	}
	l.replays, l.look = replays, true
	l.failures, l.until, l.standardUntil = 0, time.Time{}, time.Time{}
	clear(l.parked)
}

// idle reports whether nothing is under way.
func (l *deliveryLane) idle() bool { return len(l.inFlight) == 0 && l.requests == 0 }

// inBulk reports whether the destination is taken for one that takes many bodies in a request.
func (l *deliveryLane) inBulk(now time.Time) bool { return !now.Before(l.standardUntil) }

// free is how many more requests may be sent. After a failure one request probes whether the destination is back. One that yields to
// others sends a part of what it may otherwise, and rests behind that.
func (l *deliveryLane) free(cfg DeliveryConfig, yields bool, now time.Time) int {
	limit, under := cfg.RoomsInFlight, len(l.inFlight)
	if l.inBulk(now) {
		limit, under = min(l.window, cfg.BulkInFlight), l.requests
	}
	switch {
	case now.Before(l.until):
		return 0
	case l.failures > 0:
		limit, under = 1, l.requests
	case yields && (!l.idle() || now.Before(l.rested())):
		return 0
	case yields:
		limit = max(limit/cfg.BulkInFlight, 1)
	}
	return max(limit-under, 0)
}

// rested is until when one that yields rests: for as long as its last round took, whatever it was that took so long.
func (l *deliveryLane) rested() time.Time { return l.ended.Add(l.ended.Sub(l.begun)) }

// sends notes what goes out now: whether most of it has waited for longer than an age, by octets, and whether it begins a round.
func (l *deliveryLane) sends(items []fsm.OutboxItem, age time.Duration, now time.Time) {
	old, since := 0, now.Add(-age)
	for _, item := range items {
		if time.UnixMilli(int64(item.Millis)).Before(since) {
			old += len(item.Body)
		}
	}
	l.behind = 2*old > bytesOf(items)
	if l.idle() {
		l.begun = now
	}
}

// page is what to read next: of many rooms a little, of few rooms more.
func (l *deliveryLane) page(free int, now time.Time) fsm.OutboxPage {
	if !l.inBulk(now) {
		return fsm.OutboxPage{Rooms: free, PerRoom: 1}
	}
	if l.failures > 0 {
		return fsm.OutboxPage{Rooms: 1, PerRoom: 1, Bytes: probeBytesMax}
	}
	perRoom := min(l.perRoom, l.itemsMax)
	return fsm.OutboxPage{Rooms: max(l.itemsMax/perRoom, 1), PerRoom: perRoom, Bytes: mimi.NotifyBytesMax}
}

// read adapts the next page to what the last one brought, and reports whether it may have left anything over.
func (l *deliveryLane) read(page fsm.OutboxPage, items []fsm.OutboxItem, now time.Time) (more bool) {
	rooms, most := map[mimi.RoomURI]int{}, 0
	for _, item := range items {
		rooms[item.Room]++
		most = max(most, rooms[item.Room])
	}
	more = len(rooms) >= page.Rooms || page.Bytes > 0 && bytesOf(items) >= page.Bytes
	switch {
	case !l.inBulk(now) || l.failures > 0:
	case len(rooms) >= page.Rooms && len(items) < l.itemsMax:
		l.perRoom = max(l.perRoom/2, 1)
	case len(rooms) < page.Rooms && most >= page.PerRoom:
		l.perRoom = min(l.perRoom*2, perRoomMax)
	}
	return more
}

// busy reports whether a room's next item must not be sent now.
func (l *deliveryLane) busy(room mimi.RoomURI, now time.Time) bool {
	return l.inFlight[room] > 0 || now.Before(l.parked[room].until)
}

// settled takes n items of a room out of what is under way.
func (l *deliveryLane) settled(room mimi.RoomURI, n int) {
	if l.inFlight[room] -= n; l.inFlight[room] <= 0 {
		delete(l.inFlight, room)
	}
}

// answered ends the failures of the destination: it has decided on something.
func (l *deliveryLane) answered() { l.failures, l.until = 0, time.Time{} }

// succeeded ends the failures of a room.
func (l *deliveryLane) succeeded(room mimi.RoomURI) { delete(l.parked, room) }

// grow follows a request of so many items that was taken whole: where it was full, one more may be on its way.
func (l *deliveryLane) grow(items, bytes, most int) {
	if items >= l.itemsMax || bytes >= mimi.NotifyBytesMax/2 {
		l.window = min(l.window+1, most)
	}
	l.itemsMax = min(2*l.itemsMax, mimi.NotifyItemsMax)
}

// fail holds the destination back, at least for what it asked. Requests that were on their way together count as one failure.
func (l *deliveryLane) fail(backoff Backoff, asked time.Duration, now time.Time) (wait time.Duration) {
	if !now.Before(l.until) {
		l.failures++
		l.window = max(l.window/2, 1)
		l.until = now.Add(backoff.after(l.failures))
	}
	if asked := now.Add(asked); asked.After(l.until) {
		l.until = asked
	}
	return l.until.Sub(now)
}

// park holds one room back.
func (l *deliveryLane) park(room mimi.RoomURI, refused bool, backoff Backoff, asked time.Duration, now time.Time) (wait time.Duration) {
	p := l.parked[room]
	p.failures++
	wait = max(backoff.after(p.failures), asked)
	p.until, p.refused = now.Add(wait), refused
	l.parked[room] = p
	return wait
}

// refusedRooms counts the rooms whose next item is refused as it stands.
func (l *deliveryLane) refusedRooms() (n int) {
	for _, p := range l.parked {
		if p.refused {
			n++
		}
	}
	return n
}

// untilDue is how long until a wait in this lane is over.
func (l *deliveryLane) untilDue(now time.Time) time.Duration {
	due := time.Duration(1<<63 - 1)
	if now.Before(l.until) {
		return l.until.Sub(now)
	}
	if rested := l.rested(); l.behind && l.idle() && now.Before(rested) {
		due = rested.Sub(now)
	}
	for _, p := range l.parked {
		if now.Before(p.until) {
			due = min(due, p.until.Sub(now))
		}
	}
	return due
}
