package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
)

// A slot is moved from outside, by whoever carries the job out that wants it: he looks at what the source, the target and the map know, and
// does what comes next. He remembers nothing that matters, so that anybody can go on from where he has stopped, and two who do so at once only
// make each other look again. What the steps promise is in fsm/slotmove.go.
//
//	source: export ─ pages ─ tail, until it is small ─ freeze ─ the last of the tail ─ digests of both are equal ─ target: activate ─ source: release ─ map
//
// Nobody waits on a frozen slot for long: if what comes between freeze and activate takes more than frozenMost, the move is called off, at the target first
// (from then on it can never be activated) and then at the source, which serves the slot again.

const (
	frozenMost    = 2 * time.Second
	moveCallMost  = 5 * time.Second // for one look or command
	tailRoundsMax = 50              // then the slot is frozen however fast its tail grows
)

var (
	// errSuperseded: a shard has heard of a later move of the slot; who drives an earlier one is late.
	errSuperseded = errors.New("a later move of the slot is under way")
	// errMoveAgain: the shards stand otherwise than was thought; they are looked at again.
	errMoveAgain = errors.New("the move has gone on otherwise")
	// errDigests: what has come is not what was sent. The move is called off.
	errDigests = errors.New("the slot's data at the target is not that of the source")
)

func (n *Node) frozenMost() time.Duration { return cmp.Or(n.config.frozenMost, frozenMost) }

// slotDrive is one move on its way. It belongs to one goroutine.
type slotDrive struct {
	node    *Node
	move    meta.SlotMove
	carried *atomic.Uint64 // bytes of pages that were taken

	callOff bool      // the move is to be called off
	why     error     // it is, where it is called off for good
	frozen  time.Time // since when the slot has been known to be frozen; zero: it is not
}

// run takes a move to its end: carried out, or called off. The error is why it could not, for the time being, or errSuperseded, or where it was
// called off for good what was wrong. A slot that is frozen is not left so where the context ends: what there is to do for it is done first.
func (d *slotDrive) run(ctx context.Context) (meta.SlotMoved, error) {
	ended := meta.SlotMoved{Slot: d.move.Slot, Move: d.move.Move}
	var pause backoff
	for {
		within, done := d.within(ctx)
		generation, over, err := d.advance(within)
		switch {
		case over:
			done()
			ended.Generation = generation
			return ended, d.why
		case errors.Is(err, errSuperseded):
			done()
			return ended, err
		case errors.Is(err, errDigests):
			d.node.log.Error("ALARM: a slot's copy differs from it; the move is called off", "slot", d.move.Slot, "from", d.move.From, "to", d.move.To)
			d.callOff, d.why = true, err
		case err == nil:
			pause = backoff{}
		}
		if !d.frozen.IsZero() && time.Since(d.frozen) > d.node.frozenMost() {
			d.callOff = true
		}
		if err != nil && pause.wait(within) != nil {
			done()
			return ended, fmt.Errorf("slot %d from shard %d to %d: %w", d.move.Slot, d.move.From, d.move.To, err)
		}
		done()
	}
}

// within is the time for the next look: that of the context, but for a slot that is frozen.
func (d *slotDrive) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if d.frozen.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(d.node.life, d.frozen.Add(d.node.frozenMost()+2*moveCallMost))
}

// advance looks where the move stands, and does what comes next. over says that the move has ended: generation is that under which
// the target serves the slot, 0 where it was called off.
func (d *slotDrive) advance(ctx context.Context) (generation uint64, over bool, err error) {
	source, target, err := d.look(ctx, false)
	if err != nil {
		return 0, false, err
	}
	at, late := source.stage(d.move.Move)
	there, later := target.stage(d.move.Move)
	if late || later {
		return 0, false, errSuperseded
	}
	switch {
	case there == fsm.SlotActivated:
		if at != fsm.SlotReleased {
			d.node.reached("move.release")
			err = d.done(ctx, d.move.From, fsm.ReleaseSlot{At: d.move.Slot, Move: d.move.Move, To: d.move.To, Generation: target.owned.Generation})
		}
		return target.owned.Generation, err == nil, err
	case there == fsm.SlotDropped:
		if at != fsm.SlotThawed {
			d.node.reached("move.thaw")
			err = d.done(ctx, d.move.From, fsm.ThawSlot{At: d.move.Slot, Move: d.move.Move})
		}
		d.frozen = time.Time{}
		return 0, err == nil, err
	case at == fsm.SlotThawed, at == fsm.SlotReleased:
		return 0, false, fmt.Errorf("slot %d is %s at the source, and %s at the target", d.move.Slot, at, there)
	case d.callOff:
		d.node.reached("move.drop")
		return 0, false, d.done(ctx, d.move.To, fsm.DropSlotImport{At: d.move.Slot, Move: d.move.Move})
	case at == fsm.SlotFrozen:
		return 0, false, d.complete(target.came, source.owned.Generation)
	default:
		return 0, false, d.export(ctx, at, source, target)
	}
}

// export carries what there is until little is left, and freezes the slot.
func (d *slotDrive) export(ctx context.Context, at fsm.SlotStage, source, target slotStanding) error {
	if target.settings < source.settings {
		return fmt.Errorf("shard %d has settings of version %d, and waits for version %d", d.move.To, target.settings, source.settings)
	}
	if at == 0 {
		d.node.reached("move.begin")
		if err := d.done(ctx, d.move.From, fsm.BeginSlotExport{At: d.move.Slot, Move: d.move.Move, To: d.move.To}); err != nil {
			return err
		}
	}
	came, more, err := target.came, true, error(nil)
	for rounds := 0; more && rounds < tailRoundsMax; {
		d.node.reached("move.page")
		whole := came.Whole
		if came, more, err = d.carry(ctx, came); err != nil {
			return err
		}
		if whole {
			rounds++
		}
	}
	d.node.reached("move.freeze")
	d.frozen = time.Now()
	if err := d.done(ctx, d.move.From, fsm.FreezeSlot{At: d.move.Slot, Move: d.move.Move}); err != nil {
		return err
	}
	return d.complete(came, source.owned.Generation)
}

// complete carries the last of a frozen slot, compares both sides, and lets the target have it.
func (d *slotDrive) complete(came fsm.SlotImport, generation uint64) error {
	if d.frozen.IsZero() {
		d.frozen = time.Now()
	}
	ctx, cancel := context.WithDeadline(d.node.life, d.frozen.Add(d.node.frozenMost()))
	defer cancel()
	d.node.reached("move.tail")
	for more := true; more; {
		var err error
		if came, more, err = d.carry(ctx, came); err != nil {
			return err
		}
	}
	d.node.reached("move.compare")
	source, target, err := d.look(ctx, true)
	switch stage, _ := source.stage(d.move.Move); {
	case err != nil:
		return err
	case stage != fsm.SlotFrozen || !target.came.Whole || target.came.Move != d.move.Move || target.came.Sequence != came.Sequence:
		return errMoveAgain
	case source.digest != target.digest:
		return fmt.Errorf("%w: %x and %x", errDigests, source.digest, target.digest)
	}
	d.node.reached("move.activate")
	export := source.export
	if err := d.done(ctx, d.move.To, fsm.ActivateSlot{
		At: d.move.Slot, Move: d.move.Move, Sequence: came.Sequence, Generation: generation + 1,
		Clock: export.Clock, IndexBase: export.IndexBase, Settings: export.Settings,
	}); err != nil {
		return err
	}
	d.frozen = time.Time{}
	return nil
}

// carry brings the next page over, and tells what has come then. more says that there may be more to carry.
func (d *slotDrive) carry(ctx context.Context, came fsm.SlotImport) (_ fsm.SlotImport, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, moveCallMost)
	defer cancel()
	from, to, err := d.shards()
	if err != nil {
		return came, false, err
	}
	next, err := d.node.slotPageFrom(ctx, from, d.move.Slot, came)
	if err != nil || next.empty {
		return came, false, err
	}
	size := len(fsm.EncodeCommand(next.page))
	if err := d.node.statePace.WaitN(ctx, min(size, paceStep)); err != nil {
		return came, false, err
	}
	outcome, _, err := d.node.proposeToShard(ctx, to.ID, next.page)
	if err != nil {
		return came, false, err
	}
	if taken, is := outcome.(fsm.PageTaken); !is || taken.Sequence != next.page.Sequence {
		return came, false, fmt.Errorf("page %d of slot %d: %w: %+v", next.page.Sequence, d.move.Slot, errMoveAgain, outcome)
	}
	d.carried.Add(uint64(size))
	if next.marks != nil {
		if err := d.done(ctx, d.move.From, *next.marks); err != nil {
			return came, false, err
		}
	}
	came, err = d.behind(ctx, came, next.page)
	return came, next.more, err
}

// behind is what has come behind a page that was taken. Of a value that comes in parts only the target knows it.
func (d *slotDrive) behind(ctx context.Context, came fsm.SlotImport, page fsm.ImportSlotPage) (fsm.SlotImport, error) {
	for _, record := range page.Records {
		if _, part := record.(fsm.SlotPart); part {
			_, target, err := d.look(ctx, false)
			return target.came, err
		}
	}
	return fsm.SlotImport{
		Move: page.Move, From: page.From, Sequence: page.Sequence, Index: page.Index, Format: page.Format, Through: page.Through, Whole: page.Whole,
		Complete: page.Complete,
	}, nil
}

// done brings a command into a shard's log that has to come to Done, if there is time left.
func (d *slotDrive) done(ctx context.Context, shard fsm.ShardID, command fsm.Command) error {
	ctx, cancel := context.WithTimeout(ctx, moveCallMost)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%T: %w", command, err)
	}
	outcome, _, err := d.node.proposeToShard(ctx, shard, command)
	if err != nil {
		return fmt.Errorf("%T: %w", command, err)
	}
	if outcome != (fsm.Done{}) {
		return fmt.Errorf("%T at shard %d: %w: %+v", command, shard, errMoveAgain, outcome)
	}
	return nil
}

// look asks both shards, at the same time.
func (d *slotDrive) look(ctx context.Context, digests bool) (source, target slotStanding, err error) {
	ctx, cancel := context.WithTimeout(ctx, moveCallMost)
	defer cancel()
	from, to, err := d.shards()
	if err != nil {
		return source, target, err
	}
	var seen [2][]slotStanding
	var failed [2]error
	var wait sync.WaitGroup
	for i, shard := range []meta.Shard{from, to} {
		wait.Go(func() { seen[i], failed[i] = d.node.lookAtSlots(ctx, shard, []fsm.SlotID{d.move.Slot}, digests) })
	}
	wait.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		return source, target, err
	}
	return seen[0][0], seen[1][0], nil
}

// shards are the source and the target, as the map has them now.
func (d *slotDrive) shards() (from, to meta.Shard, err error) {
	current := d.node.Map()
	from, found := current.Shard(d.move.From)
	to, also := current.Shard(d.move.To)
	if !found || !also || from.State != meta.ShardActive || to.State != meta.ShardActive {
		return from, to, fmt.Errorf("shard %d or %d does not serve", d.move.From, d.move.To)
	}
	return from, to, nil
}
