package cluster

import (
	"context"
	"errors"
	"fmt"

	"parley/fsm"
	"parley/fsm/meta"
)

// The steps of plans that change which shard has which slots: a shard is opened without any, slots move, and a shard that has none left is
// retired. A split is the first two, a merge the last two.

// stepOpenShard brings a shard without slots into being. Its generation is the number of the job: a shard of another one is somebody else's.
func (n *Node) stepOpenShard(ctx context.Context, job meta.Job, s PlanStep) (stepProgress, error) {
	shard, found := n.Map().Shard(s.Shard)
	switch {
	case !found:
		n.reached("shard.open")
		opened := meta.EmptyShard(s.Shard, job.ID, s.Replicas)
		return stepProgress{text: "it is placed"}, failedIfRefused(n.change(ctx, meta.PlaceShards{Shards: []meta.Shard{opened}}))
	case shard.Generation != job.ID || shard.State == meta.ShardRetired:
		return stepProgress{}, fmt.Errorf("%w: shard %d is another one", errJobFailed, s.Shard)
	case shard.State != meta.ShardActive:
		return stepProgress{text: "its replicas are being opened"}, nil
	default:
		return stepProgress{done: true}, nil
	}
}

// stepSlotMove moves some of the slots on. While the rules of placement say so, nothing new is begun.
func (n *Node) stepSlotMove(ctx context.Context, _ meta.Job, s PlanStep) (p stepProgress, err error) {
	current := n.Map()
	if to, found := current.Shard(s.To); !found || to.State == meta.ShardRetired {
		return p, fmt.Errorf("%w: there is no shard %d to move slots to", errJobFailed, s.To)
	}
	due := notAt(current, s.Slots, s.To)
	before := len(s.Slots) - len(due)
	p = s.progress(before)
	if rules, _ := current.Placement(); rules.Paused && len(movesOf(current, due, s.To)) == 0 && !p.done {
		p.text = "placement is paused"
		return p, nil
	}
	if p.done {
		return p, nil
	}
	there, bytes, err := n.moveWave(ctx, s.Slots, s.To)
	p = s.progress(there)
	switch {
	case errors.Is(err, errJobFailed):
		// What else is under way comes to its end first: nobody would go on with it.
		off, wrong := n.callOffMoves(ctx, s.Slots, s.To)
		if wrong != nil || !off {
			return p, fmt.Errorf("%v: %w", err, errors.Join(wrong, errMoveAgain))
		}
	case err != nil && (bytes > 0 || there > before) && ctx.Err() == nil:
		n.log.Info("slots that have not moved yet are looked at anew", "to", s.To, "error", err)
		err = nil
	}
	return p, err
}

// progress is how far a step is with so many slots at their shard.
func (s PlanStep) progress(there int) stepProgress {
	return stepProgress{
		done: there == len(s.Slots), text: fmt.Sprintf("%d have moved", there), bytes: s.Bytes * uint64(there) / uint64(max(len(s.Slots), 1)),
	}
}

// cancelSlotMove calls off what is on its way. Slots that have moved stay where they are, and so does a shard that was opened for them.
func (n *Node) cancelSlotMove(ctx context.Context, _ meta.Job, s PlanStep) (done bool, err error) {
	return n.callOffMoves(ctx, s.Slots, s.To)
}

// stepRetireShard ends a shard that has no slots any more. It asks the shard too, for the map may be late.
func (n *Node) stepRetireShard(ctx context.Context, _ meta.Job, s PlanStep) (stepProgress, error) {
	shard, found := n.Map().Shard(s.Shard)
	switch {
	case !found:
		return stepProgress{}, fmt.Errorf("%w: there is no shard %d", errJobFailed, s.Shard)
	case shard.State == meta.ShardRetired:
		return stepProgress{done: true}, nil
	}
	owned, err := n.slotWeights(ctx, shard)
	if err != nil {
		return stepProgress{}, err
	}
	if len(owned) > 0 {
		return stepProgress{}, fmt.Errorf("shard %d serves %d slots still", s.Shard, len(owned))
	}
	n.reached("shard.retire")
	return stepProgress{done: true}, failedIfRefused(n.change(ctx, meta.RetireShard{ID: s.Shard}))
}

// movesOf are the moves of some slots to a shard.
func movesOf(current *meta.Map, slots []fsm.SlotID, to fsm.ShardID) (moves []meta.SlotMove) {
	for _, slot := range slots {
		if move, moving := current.MoveOf(slot); moving && move.To == to {
			moves = append(moves, move)
		}
	}
	return moves
}
