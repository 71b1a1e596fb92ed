package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
)

// Many slots move together, each on its own: what they propose at the same time goes into the same entries, and what the map has to hear of
// them into the same commands.

const (
	slotsAWave  = 256              // that are begun at once
	slotsDriven = 64               // of them, at a time
	waveMost    = 20 * time.Second // then those that are under way are looked at anew
)

// slotWave is slots that are moved to one shard.
type slotWave struct {
	node    *Node
	carried atomic.Uint64 // bytes
	endings endings
}

// moveWave takes some of the slots on, and returns how many of all are at the shard then, and how many bytes it has carried. It is to be called
// until that is all of them. An error says what kept slots from moving; others may have moved.
func (n *Node) moveWave(ctx context.Context, slots []fsm.SlotID, to fsm.ShardID) (there int, bytes uint64, err error) {
	wave := &slotWave{node: n, endings: endings{node: n}}
	if due := notAt(n.Map(), slots, to); len(due) > 0 {
		err = wave.move(ctx, due[:min(len(due), slotsAWave)], to)
	}
	return len(slots) - len(notAt(n.Map(), slots, to)), wave.carried.Load(), err
}

// notAt are those of some slots that are not at a shard, or are on their way.
func notAt(current *meta.Map, slots []fsm.SlotID, to fsm.ShardID) (due []fsm.SlotID) {
	for _, slot := range slots {
		place, placed := current.PlaceOfSlot(slot)
		if _, moving := current.MoveOf(slot); placed && (moving || place.Shard != to) {
			due = append(due, slot)
		}
	}
	return due
}

func (w *slotWave) move(ctx context.Context, slots []fsm.SlotID, to fsm.ShardID) error {
	n := w.node
	n.reached("move.map")
	asked, cancel := context.WithTimeout(ctx, moveCallMost)
	defer cancel()
	if err := n.change(asked, meta.BeginMoves{Slots: slices.Sorted(slices.Values(slots)), To: to}); err != nil {
		return err
	}
	return w.drive(ctx, movesOf(n.Map(), slots, to), false)
}

// drive takes moves to their ends.
func (w *slotWave) drive(ctx context.Context, moves []meta.SlotMove, callOff bool) error {
	ctx, cancel := context.WithTimeout(ctx, waveMost)
	defer cancel()
	turns := make(chan struct{}, slotsDriven)
	failed := make([]error, len(moves))
	var wait sync.WaitGroup
	for i, move := range moves {
		turns <- struct{}{}
		wait.Go(func() {
			defer func() { <-turns }()
			if failed[i] = ctx.Err(); failed[i] == nil {
				failed[i] = w.driveOne(ctx, move, callOff)
			}
		})
	}
	wait.Wait()
	for _, err := range failed { // one of them says enough
		if errors.Is(err, errDigests) {
			return fmt.Errorf("%w: %w", errJobFailed, err)
		}
	}
	return cmp.Or(failed...)
}

func (w *slotWave) driveOne(ctx context.Context, move meta.SlotMove, callOff bool) error {
	d := &slotDrive{node: w.node, move: move, carried: &w.carried, callOff: callOff}
	ended, err := d.run(ctx)
	if err != nil && !errors.Is(err, errDigests) {
		return err
	}
	w.node.reached("move.end")
	if err := w.endings.tell(ctx, ended); err != nil {
		return err
	}
	if err == nil && ended.Generation == 0 && !callOff {
		return fmt.Errorf("the move of slot %d was called off, and is to be begun anew", move.Slot)
	}
	return err
}

// callOffMoves calls off what is on its way to a shard of some slots. done says that nothing is any more; a slot that had come by then stays.
func (n *Node) callOffMoves(ctx context.Context, slots []fsm.SlotID, to fsm.ShardID) (done bool, err error) {
	moves := movesOf(n.Map(), slots, to)
	if len(moves) == 0 {
		return true, nil
	}
	wave := &slotWave{node: n, endings: endings{node: n}}
	return false, wave.drive(ctx, moves, true)
}

// endings tells the map what became of moves: those that end while it is being told go together with the next command.
type endings struct {
	node *Node

	mu      sync.Mutex
	waiting []*ending
	telling bool
}

type ending struct {
	moved meta.SlotMoved
	told  chan error // capacity 1
}

// tell returns once this node's map knows of the move's end.
func (e *endings) tell(ctx context.Context, moved meta.SlotMoved) error {
	own := &ending{moved: moved, told: make(chan error, 1)}
	e.mu.Lock()
	e.waiting = append(e.waiting, own)
	first := !e.telling
	e.telling = true
	e.mu.Unlock()
	if first {
		e.tellAll(ctx)
	}
	select {
	case err := <-own.told:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tellAll tells of whatever waits, until nothing does.
func (e *endings) tellAll(ctx context.Context) {
	for {
		e.mu.Lock()
		all := e.waiting
		e.waiting = nil
		e.telling = len(all) > 0
		e.mu.Unlock()
		if len(all) == 0 {
			return
		}
		err := e.change(ctx, all)
		var refused *RefusedError
		for _, one := range all {
			own := err
			if len(all) > 1 && errors.As(err, &refused) { // for one of them, and not for the others
				own = e.change(ctx, []*ending{one})
			}
			one.told <- own
		}
	}
}

func (e *endings) change(ctx context.Context, all []*ending) error {
	ctx, cancel := context.WithTimeout(ctx, moveCallMost)
	defer cancel()
	var command meta.EndMoves
	for _, one := range all {
		command.Moves = append(command.Moves, one.moved)
	}
	slices.SortFunc(command.Moves, func(a, b meta.SlotMoved) int { return cmp.Compare(a.Slot, b.Slot) })
	return e.node.change(ctx, command)
}
