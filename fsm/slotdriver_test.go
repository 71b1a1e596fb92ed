package fsm_test

import (
	"errors"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

// slotStep is a command of a move on its way to a shard. then tells what its driver does with the outcome.
type slotStep struct {
	shard   int
	command fsm.Command
	then    func(fsm.Outcome)
}

// slotSight is what a driver sees: the states of both shards as they were once.
type slotSight struct {
	source, target *fsmtest.Store
	sourceIndex    uint64
	fresh          bool
}

// sight is what there is to be seen now, until something changes.
func (w *slotsWorld) sight(m slotMoving) slotSight {
	source, target := w.shards[m.from], w.shards[m.to]
	return slotSight{source: source.store, target: target.store, sourceIndex: source.index, fresh: true}
}

// kept is what a driver remembers of it.
func (s slotSight) kept() slotSight {
	return slotSight{source: s.source.Clone(), target: s.target.Clone(), sourceIndex: s.sourceIndex}
}

// begin begins a move of a slot that stays.
func (w *slotsWorld) begin(slot fsm.SlotID, to int) *slotMoving {
	h := w.place(slot)
	w.moves++
	h.move = &slotMoving{number: w.moves, slot: slot, from: h.shard, to: to, generation: h.generation + 1}
	return h.move
}

// end takes it into the map that a move is over.
func (w *slotsWorld) end(m slotMoving, moved bool) {
	h := w.place(m.slot)
	if h.move == nil || h.move.number != m.number {
		return
	}
	h.move = nil
	if moved {
		h.shard, h.generation = m.to, m.generation
	}
}

// drive decides what comes next in a move from what a driver sees of it, and nothing else. send takes the command; freeze says whether
// the source is to be frozen as soon as one page would do.
func (w *slotsWorld) drive(m slotMoving, seen slotSight, freeze bool, send func(slotStep)) {
	w.t.Helper()
	here, _, err := fsm.ReadSlotMove(seen.source, m.slot)
	w.check(err)
	there, _, err := fsm.ReadSlotMove(seen.target, m.slot)
	w.check(err)
	at := func(stage fsm.SlotStage) fsm.SlotMove { return fsm.SlotMove{Move: m.number, Stage: stage} }
	switch {
	case there == at(fsm.SlotActivated) && here == at(fsm.SlotReleased):
		w.end(m, true)
	case there == at(fsm.SlotActivated):
		send(slotStep{shard: m.from, command: fsm.ReleaseSlot{At: m.slot, Move: m.number, To: w.shards[m.to].id, Generation: m.generation}})
	case there == at(fsm.SlotDropped) && here == at(fsm.SlotThawed):
		w.end(m, false)
	case there == at(fsm.SlotDropped):
		send(slotStep{shard: m.from, command: fsm.ThawSlot{At: m.slot, Move: m.number}})
	case m.cancelled:
		send(slotStep{shard: m.to, command: fsm.DropSlotImport{At: m.slot, Move: m.number}})
	case here.Move < m.number:
		send(slotStep{shard: m.from, command: fsm.BeginSlotExport{At: m.slot, Move: m.number, To: w.shards[m.to].id}})
	case here == at(fsm.SlotExporting) || here == at(fsm.SlotFrozen):
		w.carry(m, seen, freeze, send)
	}
}

// carry sends the next page of a move, or what comes when there is none.
func (w *slotsWorld) carry(m slotMoving, seen slotSight, freeze bool, send func(slotStep)) {
	came, importing, err := fsm.ReadSlotImport(seen.target, m.slot)
	w.check(err)
	if importing && came.Move > m.number {
		return
	}
	p, err := fsm.NextSlotPage(seen.source, seen.sourceIndex, m.slot, came, w.pageBytes)
	if errors.Is(err, fsm.ErrSlotViewOld) {
		return
	}
	w.check(err)
	export, _, err := fsm.ReadSlotExport(seen.source, m.slot)
	w.check(err)
	if export.Frozen && p.Empty() {
		if !came.Complete {
			w.t.Fatalf("all of slot %d was carried, and it is not complete", m.slot)
		}
		w.activate(m, seen, export, came, send)
		return
	}
	if !export.Frozen && !p.More && freeze {
		send(slotStep{shard: m.from, command: fsm.FreezeSlot{At: m.slot, Move: m.number}})
		return
	}
	send(slotStep{shard: m.to, command: p.Page, then: func(o fsm.Outcome) {
		if taken, in := o.(fsm.PageTaken); in && taken.Sequence == p.Page.Sequence && p.Carried {
			send(slotStep{shard: m.from, command: p.Marks})
		}
	}})
}

// activate compares what came with what was to come. Of states that were seen at one moment they are the same.
func (w *slotsWorld) activate(m slotMoving, seen slotSight, export fsm.SlotExport, came fsm.SlotImport, send func(slotStep)) {
	was, err := fsm.SlotDigest(seen.source, m.slot)
	w.check(err)
	is, err := fsm.SlotDigest(seen.target, m.slot)
	w.check(err)
	if was != is {
		if seen.fresh {
			w.t.Fatalf("all of slot %d was carried by move %d, and it is not the same", m.slot, m.number)
		}
		return
	}
	send(slotStep{shard: m.to, command: fsm.ActivateSlot{
		At: m.slot, Move: m.number, Sequence: came.Sequence, Generation: m.generation,
		Clock: export.Clock, IndexBase: export.IndexBase, Settings: export.Settings,
	}})
}

// deliver applies a command of a move, with commands of clients around it in the same entry where there are any.
func (w *slotsWorld) deliver(step slotStep) {
	o := w.apply(w.shards[step.shard], step.command)[0]
	if step.then != nil {
		step.then(o)
	}
}

// finish drives a move to its end, one command at a time.
func (w *slotsWorld) finish(slot fsm.SlotID) {
	w.t.Helper()
	for steps := 0; w.place(slot).move != nil; steps++ {
		if steps == 10_000 {
			w.t.Fatalf("the move of slot %d does not come to an end", slot)
		}
		var next []slotStep
		m := *w.place(slot).move
		w.drive(m, w.sight(m), true, func(s slotStep) { next = append(next, s) })
		for len(next) > 0 {
			step := next[0]
			next = next[1:]
			w.deliver(step)
		}
	}
}
