package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

const (
	// receivingRoomsMax is how many rooms of one request are decided side by side.
	receivingRoomsMax = 64
	// receivingBytesMax is about what of one room is decided in one command: what a log entry gathers.
	receivingBytesMax = 240 << 10
)

// arrival is what became of one item that another hub has delivered. Its error is nil where the item was taken, and durable; else one
// that problemOf knows, or a fault of this node.
type arrival struct {
	read judge.Delivered
	err  error
}

// errBehind is the fate of an item behind one of the same room that was not taken.
var errBehind = newProblem(http.StatusServiceUnavailable, problemOutOfOrder, "", "An item of the room before it was not taken.").after(retrySoon)

// receive takes items that a hub has delivered, rooms side by side, each room's in order. Items that come again are taken once.
func (d *Desk) receive(ctx context.Context, from caller, items []mimi.NotifyItem) []arrival {
	arrivals := make([]arrival, len(items))
	rooms := map[mimi.RoomURI][]int{} // indices of items
	var order []mimi.RoomURI
	for i, item := range items {
		if rooms[item.Room] == nil {
			order = append(order, item.Room)
		}
		rooms[item.Room] = append(rooms[item.Room], i)
		arrivals[i].read, arrivals[i].err = d.readItem(from, item)
	}
	var work sync.WaitGroup
	turn := make(chan struct{}, receivingRoomsMax)
	for _, room := range order {
		turn <- struct{}{}
		work.Go(func() {
			defer func() { <-turn }()
			d.receiveRoom(ctx, from, room, arrivals, rooms[room])
		})
	}
	work.Wait()
	return arrivals
}

// readItem reads an item, and refuses what the sender may not tell.
func (d *Desk) readItem(from caller, item mimi.NotifyItem) (judge.Delivered, error) {
	if !item.Room.IsZero() && !from.speaksFor(item.Room.Provider()) {
		return judge.Delivered{}, newProblem(http.StatusForbidden, problemNotYours, "roomId", "Only the room's own provider may notify of it.")
	}
	if !item.Room.IsZero() && d.isOurs(item.Room.Provider()) {
		return judge.Delivered{}, newProblem(http.StatusForbidden, problemNotYours, mimi.HeaderFrom, "The room is hosted here.")
	}
	read, err := judge.ReadDelivered(item.Body, item.Notices)
	if err != nil {
		return judge.Delivered{}, err
	}
	if item.Room.IsZero() && len(item.Body) > 0 {
		return judge.Delivered{}, &mls.MalformedError{Field: "roomId", Reason: "a body is of a room"}
	}
	for i, notice := range read.Notices() {
		if err := mayTell(from, item.Room, notice); err != nil {
			return judge.Delivered{}, fmt.Errorf("notices[%d]: %w", i, err)
		}
	}
	return read, nil
}

// mayTell refuses a notice that is not the sender's to tell. What kind of notice this program does not know is kept.
func mayTell(from caller, room mimi.RoomURI, notice mimi.Notice) error {
	switch n := notice.(type) {
	case mimi.UserDeleted:
		if !from.speaksFor(n.User.Provider()) {
			return newProblem(http.StatusForbidden, problemNotYours, "user", "Only the user's own provider may tell that it is deleted.")
		}
	case mimi.UnknownNotice:
	default:
		if room.IsZero() {
			return &mls.MalformedError{Field: "roomId", Reason: fmt.Sprintf("a notice of kind %d is of a room", notice.NoticeKind())}
		}
	}
	return nil
}

// receiveRoom decides the items of one room, by their indices, up to the first that is not taken.
func (d *Desk) receiveRoom(ctx context.Context, from caller, room mimi.RoomURI, arrivals []arrival, items []int) {
	hub := from.domain
	if !room.IsZero() {
		hub = room.Provider()
	}
	for len(items) > 0 {
		some := receivedTogether(arrivals, items)
		taken, err := 0, arrivals[items[0]].err
		if len(some) > 0 {
			if err = d.departDeleted(ctx, some); err == nil {
				taken, err = d.receiveSome(ctx, hub, room, some)
			}
		}
		items = items[taken:]
		if err == nil {
			continue
		}
		arrivals[items[0]].err = err
		for _, i := range items[1:] {
			if arrivals[i].err == nil {
				arrivals[i].err = errBehind
			}
		}
		return
	}
}

// receivedTogether are the first items that could be read and go into one command.
func receivedTogether(arrivals []arrival, items []int) (some []judge.Delivered) {
	bytes := 0
	for _, i := range items {
		read := arrivals[i].read
		if arrivals[i].err != nil || len(some) > 0 && bytes+read.Bytes() > receivingBytesMax {
			break
		}
		bytes += read.Bytes()
		some = append(some, read)
	}
	return some
}

// receiveSome decides items of one room, in one command where nothing has to be looked up. Where not all were taken, the error is that of
// the first which was not.
func (d *Desk) receiveSome(ctx context.Context, hub mimi.Provider, room mimi.RoomURI, items []judge.Delivered) (taken int, err error) {
	r := receiving{desk: d, hub: hub, room: room, items: items}
	for len(r.items) > 0 {
		if err := r.step(ctx); err != nil {
			return r.taken, err
		}
	}
	if r.foreign {
		return r.taken, errWrongGroup
	}
	return r.taken, nil
}

// receiving is items of one room on their way into the log.
type receiving struct {
	desk  *Desk
	hub   mimi.Provider
	room  mimi.RoomURI
	items []judge.Delivered // that are not taken
	taken int

	lookedUp []mls.GroupID // that are the room's
	foreign  bool          // behind the items stands one of another room's group
}

// step has as many of the first items taken as one command takes, and looks up what keeps it from the next.
func (r *receiving) step(ctx context.Context) error {
	request, err := judge.NewReceiveBodies(r.hub, r.room, r.items, r.lookedUp)
	if err != nil {
		return err
	}
	outcome, err := r.desk.hub.Do(ctx, request)
	if err != nil {
		return err
	}
	received, err := bodiesReceived(outcome, len(r.items))
	if err != nil {
		return err
	}
	r.taken, r.items = r.taken+int(received.Taken), r.items[received.Taken:]
	switch received.Stop {
	case fsm.StopFull:
		return newProblem(http.StatusServiceUnavailable, problemOutOfOrder, "",
			"As much of the room as may wait for what comes before it waits already. Send what comes before it, and then this again.").after(retrySoon)
	case fsm.StopGroups:
		return r.lookUp(ctx, received.Groups)
	default:
		return nil
	}
}

// lookUp looks groups up. What stands before an item of another room's group is still to be taken, and nothing from there on.
func (r *receiving) lookUp(ctx context.Context, groups []mls.GroupID) error {
	found, refused, err := r.desk.lookUpGroups(ctx, r.hub, r.room, groups)
	if err != nil {
		return err
	}
	r.lookedUp = append(r.lookedUp, found...)
	for i, item := range r.items {
		if item.Names(refused) {
			r.items, r.foreign = r.items[:i], true
			break
		}
	}
	return nil
}

// errWrongGroup refuses what would come in under another room's name.
var errWrongGroup = newProblem(http.StatusForbidden, problemWrongGroup, "group_id", "The group is that of another room of this hub.")

// bodiesReceived reads the outcome for a number of items.
func bodiesReceived(outcome fsm.Outcome, items int) (fsm.BodiesReceived, error) {
	switch o := outcome.(type) {
	case fsm.BodiesReceived:
		if int(o.Taken) > items || o.Stop == fsm.StopNone && int(o.Taken) < items || o.Stop == fsm.StopGroups && len(o.Groups) == 0 {
			return o, fmt.Errorf("of %d items: %w", items, unexpected("a delivery", outcome))
		}
		return o, nil
	case fsm.Accepted, fsm.Done: // of a shard that is about to be raised, which takes one item at a time
		return fsm.BodiesReceived{Taken: uint32(items)}, nil
	case fsm.FormatNotReached:
		return fsm.BodiesReceived{}, fmt.Errorf("the shard is about to be raised to format %d: %w", o.Needs, fsm.ErrNotProposed)
	case fsm.NotAllowed:
		return fsm.BodiesReceived{}, newProblem(http.StatusForbidden, problemNotYours, "roomId", o.Reason)
	default:
		return fsm.BodiesReceived{}, unexpected("a delivery", outcome)
	}
}

// lookUpGroups makes groups a room's, and tells those that are another's.
func (d *Desk) lookUpGroups(ctx context.Context, hub mimi.Provider, room mimi.RoomURI, groups []mls.GroupID) (found, foreign []mls.GroupID, err error) {
	for _, group := range groups {
		request, err := judge.NewFollowGroup(hub, group, room)
		if err != nil {
			return nil, nil, err
		}
		outcome, err := d.hub.Do(ctx, request)
		if err != nil {
			return nil, nil, err
		}
		switch o := outcome.(type) {
		case fsm.Done:
			found = append(found, group)
		case fsm.NotAllowed:
			foreign = append(foreign, group)
		case fsm.FormatNotReached:
			return nil, nil, fmt.Errorf("the shard is about to be raised to format %d: %w", o.Needs, fsm.ErrNotProposed)
		default:
			return nil, nil, unexpected("looking up a group", outcome)
		}
	}
	return found, foreign, nil
}

// exceptionOf is an item's fate as a bulk delivery is answered. A fault of this node leaves it open, and is the second result.
func exceptionOf(index int, err error) (mimi.NotifyException, error) {
	problem, hidden := problemOf(err)
	e := mimi.NotifyException{Index: uint32(index), Reason: reasonOf(problem), RetryAfterSeconds: seconds(problem.retryAfter)}
	switch {
	case hidden:
		e.Code, e.Reason, e.RetryAfterSeconds = mimi.NotifyUndecided, "", seconds(retrySoon)
		return e, err
	case err == errBehind:
		e.Code = mimi.NotifyBehind
	case errors.Is(err, fsm.ErrUnknownOutcome):
		e.Code = mimi.NotifyUndecided
	case errors.Is(err, fsm.ErrNotProposed):
		e.Code = mimi.NotifyUnavailable
	case errors.Is(err, fsm.ErrOverloaded):
		e.Code = mimi.NotifyOverloaded
	default:
		e.Code = notifyCodeOf(problem)
	}
	return e, nil
}

func notifyCodeOf(problem *Problem) mimi.NotifyCode {
	switch problem.Type {
	case problemType(problemOutOfOrder):
		return mimi.NotifyOutOfOrder
	case problemType(problemWrongGroup):
		return mimi.NotifyWrongGroup
	case problemType(problemNotYours):
		return mimi.NotifyNotYours
	case problemType(problemBodyTooLarge):
		return mimi.NotifyTooLarge
	default:
		return mimi.NotifyMalformed
	}
}

// reasonOf is what a problem says, with the field first.
func reasonOf(problem *Problem) string {
	if problem.Field == "" {
		return problem.Detail
	}
	return problem.Field + ": " + problem.Detail
}

// receivingPatience is how long a delivery's rooms are waited for. What is not decided by then is told as such, beside what is.
const receivingPatience = 8 * time.Second
