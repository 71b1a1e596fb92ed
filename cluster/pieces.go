package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

// piecesAtOnce is how many pieces of one command are on their way into the log, so that they fill entries without filling the lane.
const piecesAtOnce = 4

// propose brings a command into the log of a shard, as it is or, where no entry can hold it, in pieces.
func (t *tries) propose(ctx context.Context, shard meta.Shard, command fsm.Command) (decision, error) {
	if commandBytes(command) <= commandLimit(command) {
		return t.bring(ctx, shard, command)
	}
	pieces, named, err := fsm.Cut(command)
	if err != nil {
		return decision{}, err
	}
	return t.bringInPieces(ctx, shard, pieces, named)
}

func commandBytes(command fsm.Command) int { return len(fsm.EncodeCommand(command)) }

// bringInPieces puts the pieces and then names them, as often as pieces turn out to be missing: they may have expired, or the naming
// that was decided and whose answer was lost has used them up. In that case the command is applied anew, and recognised.
func (t *tries) bringInPieces(ctx context.Context, shard meta.Shard, pieces []fsm.PutPiece, named fsm.ApplyPieces) (decision, error) {
	missing := pieces
	var pause backoff
	for {
		d, err := t.put(ctx, shard, missing)
		if err == nil && d.outcome == (fsm.Done{}) {
			d, err = t.bring(ctx, shard, named)
		}
		if err != nil {
			return decision{}, err
		}
		switch o := d.outcome.(type) {
		case fsm.FormatNotReached:
			return decision{}, tooLarge(int(named.Bytes), commandBytesMax)
		case fsm.SlotFull:
			if !t.open {
				return decision{}, fsm.ErrOverloaded
			}
		case fsm.MissingPieces:
			if missing, err = those(pieces, o.Indexes); err != nil {
				return decision{}, err
			}
		default:
			return d, nil
		}
		if err := pause.wait(ctx); err != nil {
			return decision{}, t.unavailable(err)
		}
	}
}

// those picks the pieces of the given indexes.
func those(pieces []fsm.PutPiece, indexes []uint16) (picked []fsm.PutPiece, err error) {
	for _, index := range indexes {
		if int(index) >= len(pieces) {
			return nil, fmt.Errorf("piece %d is missed of an object of %d pieces", index, len(pieces))
		}
		picked = append(picked, pieces[index])
	}
	return picked, nil
}

// put brings pieces into the log. The decision is Done where all are in, or what one of them met instead. Pieces decide nothing, so that
// it is not known what became of one leaves nothing open.
func (t *tries) put(ctx context.Context, shard meta.Shard, pieces []fsm.PutPiece) (decision, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wait sync.WaitGroup
	turns := make(chan struct{}, piecesAtOnce)
	results := make([]decision, len(pieces))
	for i, piece := range pieces {
		turns <- struct{}{}
		wait.Go(func() {
			defer func() { <-turns }()
			single := &tries{node: t.node, at: t.at}
			results[i], results[i].err = single.bring(ctx, shard, piece)
			if results[i].err != nil || results[i].outcome != (fsm.Done{}) {
				cancel() // the others are in vain
			}
		})
	}
	wait.Wait()
	return t.together(results)
}

// together sums up what became of pieces. What one met that ended the others goes before what their end looks like.
func (t *tries) together(results []decision) (decision, error) {
	var failed error
	for _, d := range results {
		switch {
		case d.err == nil && d.outcome != (fsm.Done{}):
			return d, nil
		case d.err != nil && (failed == nil || errors.Is(d.err, fsm.ErrOverloaded)):
			failed = d.err
		}
	}
	switch {
	case failed == nil:
		return decision{outcome: fsm.Done{}}, nil
	case errors.Is(failed, fsm.ErrOverloaded) && !t.open:
		return decision{}, failed
	default:
		return decision{}, t.unavailable(failed)
	}
}

// tooLarge refuses a command that the log does not take.
func tooLarge(size, limit int) error {
	return &mls.MalformedError{Field: "body", Reason: fmt.Sprintf("it makes a log record of %d bytes, more than %d", size, limit)}
}
