package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// usherTimeout bounds what is proposed for one room.
const usherTimeout = 5 * time.Second

// usher sees those out of a shard's rooms who have to leave them: while this node leads the shard it proposes their removal in the hub's
// name, in each epoch anew until a Commit has done it. Who has to leave which room is in the state, and what there is to propose follows
// from the state alone; so nothing rests on what an earlier leader has done, and what is proposed twice is recognised. What the usher
// remembers is only where to look.
type usher struct {
	replica *replica
	woken   chan struct{} // capacity 1
	stopped chan struct{}

	mu    sync.Mutex
	rooms map[mimi.RoomURI]bool // to look at; guarded by mu

	// Of run's goroutine:
	led  bool   // rooms holds all that the state had when this node came to lead
	told string // the last complaint, so that the log does not fill with it
}

func newUsher(r *replica) *usher {
	return &usher{replica: r, woken: make(chan struct{}, 1), stopped: make(chan struct{}), rooms: make(map[mimi.RoomURI]bool)}
}

// noted takes note of rooms in which there may be something new to do.
func (u *usher) noted(rooms []mimi.RoomURI) {
	if len(rooms) == 0 {
		return
	}
	u.mu.Lock()
	for _, room := range rooms {
		u.rooms[room] = true
	}
	u.mu.Unlock()
	u.wake()
}

// forgetSlots forgets rooms of slots which the replica does not have any more.
func (u *usher) forgetSlots(gone map[fsm.SlotID]bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.rooms, func(room mimi.RoomURI, _ bool) bool { return gone[fsm.SlotOfRoom(room)] })
}

// wake makes the usher look.
func (u *usher) wake() {
	select {
	case u.woken <- struct{}{}:
	default: // it will look anyway
	}
}

// run looks after the rooms while this node leads the shard.
func (u *usher) run(ctx context.Context) {
	defer close(u.stopped)
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.woken:
		}
		if !u.replica.leads() {
			u.led = false
			u.take() // the next leader finds them in the state
			continue
		}
		if err := u.look(ctx); err != nil && ctx.Err() == nil && err.Error() != u.told {
			u.told = err.Error()
			u.replica.node.log.Info("those who have to leave rooms are not all seen out", "shard", u.replica.shard, "error", err)
		}
	}
}

// take empties the list.
func (u *usher) take() []mimi.RoomURI {
	u.mu.Lock()
	defer u.mu.Unlock()
	rooms := slices.Collect(maps.Keys(u.rooms))
	clear(u.rooms)
	return rooms
}

// look goes through the rooms once. Those of which something is left to do stay for the next time.
func (u *usher) look(ctx context.Context) error {
	if !u.led {
		if err := u.recall(); err != nil {
			return err
		}
		u.led = true
	}
	var failed error
	for _, room := range u.take() {
		err := u.seeOut(ctx, room)
		if err == nil || errors.Is(err, judge.ErrNoVoice) { // only a Commit can change that, and it brings the room back
			failed = errors.Join(failed, err)
			continue
		}
		failed = errors.Join(failed, err)
		u.mu.Lock()
		u.rooms[room] = true
		u.mu.Unlock()
	}
	return failed
}

// recall finds the rooms in the state.
func (u *usher) recall() (err error) {
	view, err := u.replica.view()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	owned, err := ownedSlots(view)
	if err != nil {
		return err
	}
	return u.recallSlots(view, owned)
}

// recallSlots finds the rooms of some slots in the state.
func (u *usher) recallSlots(view fsm.Reader, owned []fsm.SlotID) error {
	for _, slot := range owned {
		rooms, err := fsm.DepartingRooms(view, slot)
		if err != nil {
			return err
		}
		u.noted(rooms)
	}
	return nil
}

// seeOut proposes what there is to propose in a room.
func (u *usher) seeOut(ctx context.Context, room mimi.RoomURI) error {
	commands, err := u.due(room)
	if err != nil && !errors.Is(err, judge.ErrNoVoice) {
		return fmt.Errorf("%s: %w", room, err)
	}
	ctx, cancel := context.WithTimeout(ctx, usherTimeout)
	defer cancel()
	for _, command := range commands {
		reply := u.replica.node.proposeHere(ctx, u.replica.shard, command)
		if reply.code != answerOutcome {
			return fmt.Errorf("%s: %T: answer %d", room, command, reply.code)
		}
		switch outcome := reply.outcome.(type) {
		case fsm.Accepted, fsm.Done:
		default:
			return fmt.Errorf("%s: %T: %#v", room, command, outcome)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", room, err)
	}
	return nil
}

func (u *usher) due(room mimi.RoomURI) (commands []fsm.Command, err error) {
	view, err := u.replica.view()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if serves, err := u.replica.servedBy(view).has(fsm.SlotOfRoom(room)); err != nil || !serves {
		return nil, errors.Join(err, errElsewhere) // the room stays on the list until its slot is served again, or gone
	}
	node := u.replica.node
	return judge.Departures(judge.Remembering{Reader: view, Groups: node.known, Signers: node}, room)
}
