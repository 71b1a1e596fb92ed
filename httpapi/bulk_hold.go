package httpapi

import (
	"context"
	"errors"
	"slices"
	"time"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// holdPatience is how long a bulk submission waits for a shard to have a leader before what is for its rooms is held in the journal.
const holdPatience = time.Second

// askOrHold asks the hub. What certainly is in no log after holdPatience, for a shard that could not be reached, goes into this node's
// journal; what may be in a log is asked for again until the context ends, for only its log can tell. A room of which something is held already
// gets everything else there too, so that it stays in order.
func (in *bulkIntake) askOrHold(ctx context.Context, parts []*part, requests []judge.Request) []judge.Decided {
	results := make([]judge.Decided, len(requests))
	var open []int
	behind := map[mimi.RoomURI]bool{}
	full := map[mimi.RoomURI]error{} // rooms of which the journal took a part no more; a smaller one may have had room, and would go past it
	for i, p := range parts {
		if p.came != nil && (behind[p.room] || in.desk.bulk.Holds(p.room)) {
			behind[p.room] = true
			if full[p.room] == nil {
				full[p.room] = in.hold(ctx, p) // where the journal is full nothing of the room is taken: it would go past what is there
			}
			results[i].Err = full[p.room]
			continue
		}
		open = append(open, i)
	}
	first, cancel := context.WithTimeout(ctx, holdPatience)
	in.ask(first, requests, open, results)
	cancel()
	var again []int
	for _, i := range open {
		switch err := results[i].Err; {
		case errors.Is(err, fsm.ErrUnknownOutcome):
			again = append(again, i)
			requests[i] = judge.Repeated(requests[i])
			behind[parts[i].room] = true
		case errors.Is(err, fsm.ErrNotProposed) && parts[i].came != nil && ctx.Err() == nil:
			if behind[parts[i].room] {
				continue // what stands before it may be in the log yet, or not
			}
			if full[parts[i].room] == nil {
				full[parts[i].room] = in.hold(ctx, parts[i])
			}
			if full[parts[i].room] != nil {
				again = append(again, i) // no room: a leader may still come in time
			}
		case errors.Is(err, fsm.ErrNotProposed):
			again = append(again, i)
		}
	}
	in.ask(ctx, requests, again, results)
	return results
}

// ask has some of the requests decided.
func (in *bulkIntake) ask(ctx context.Context, requests []judge.Request, which []int, results []judge.Decided) {
	if len(which) == 0 {
		return
	}
	some := make([]judge.Request, len(which))
	for n, i := range which {
		some[n] = requests[i]
	}
	for n, d := range in.desk.bulk.DoMany(ctx, some) {
		results[which[n]] = d
	}
}

// hold puts a part into the journal.
func (in *bulkIntake) hold(ctx context.Context, p *part) error {
	held := make([]judge.HeldSubmission, len(p.came))
	for i, s := range p.came {
		held[i] = judge.HeldSubmission{From: in.from.domain, Submission: s}
		if p.messages != nil {
			held[i].From = p.messages[i].Request.Sender.Provider()
		}
	}
	err := in.desk.bulk.Hold(ctx, held)
	p.held = err == nil
	return err
}

// receiptAt is what the submission at a place of the answer is known by.
func (in *bulkIntake) receiptAt(p *part, place int) mimi.Receipt {
	return in.receipt(p, slices.Index(p.places, place))
}
