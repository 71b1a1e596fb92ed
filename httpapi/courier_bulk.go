package httpapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"parley/fsm"
	"parley/mimi"
)

// inBulk brings submissions in one request. It returns those that are to be brought one by one, since the hub takes none in bulk, or not these.
func (r *courierRound) inBulk(ctx context.Context, items []fsm.QueuedSubmission) (left []fsm.QueuedSubmission) {
	items = r.askHeld(ctx, items)
	if len(items) == 0 || r.failure != nil {
		return nil
	}
	request := mimi.BulkSubmitRequest{Submissions: make([]mimi.Submission, len(items))}
	for i, q := range items {
		request.Submissions[i] = mimi.Submission{Room: q.Room.String(), Kind: q.Kind, Body: q.Body}
	}
	reply, err := r.lane.post.Post(ctx, r.lane.to, BulkSubmitTarget(), request.Marshal(), "")
	if errors.Is(err, errNotOffered) || err == nil && reply.Status < 500 && !reply.OK() && concernsRoom(reply.Status) {
		return items // where it refuses the whole, one by one shows which it means
	}
	answers, maybe, err := bulkAnswers(r.lane.to, reply, err, receiptsOf(items))
	if err != nil {
		for _, q := range items {
			h := r.lane.history(q)
			h.maybe = h.maybe || maybe
		}
		r.failure = err
		return nil
	}
	for i, q := range items {
		r.takeAnswer(q, answers[i])
	}
	return nil
}

// askHeld asks what became of submissions that the hub has, in rooms where there are some, and returns those that are to be brought.
func (r *courierRound) askHeld(ctx context.Context, items []fsm.QueuedSubmission) (rest []fsm.QueuedSubmission) {
	held := map[mimi.RoomURI][]fsm.QueuedSubmission{}
	for _, q := range items {
		if r.lane.history(q).held {
			held[q.Room] = append(held[q.Room], q)
		}
	}
	for room, some := range held {
		if r.failure == nil {
			r.ask(ctx, room, some)
		}
	}
	for _, q := range items {
		if held[q.Room] == nil { // what stands behind one that is held waits for the next round
			rest = append(rest, q)
		}
	}
	return rest
}

func (r *courierRound) ask(ctx context.Context, room mimi.RoomURI, held []fsm.QueuedSubmission) {
	receipts := receiptsOf(held)
	reply, err := r.lane.post.Post(ctx, r.lane.to, SubmissionsTarget(), mimi.SubmissionsRequest{Room: room, Receipts: receipts}.Marshal(), "")
	if errors.Is(err, errNotOffered) {
		for _, q := range held { // it is recognised when it comes again
			r.lane.history(q).held = false
		}
		return
	}
	answers, _, err := bulkAnswers(r.lane.to, reply, err, receipts)
	if err != nil {
		r.failure = err
		return
	}
	for i, q := range held {
		if answers[i].State == mimi.SubmissionUnknown { // not decided yet, or lost with a disk
			r.lane.history(q).held = false
			r.stop(room, 0)
			continue
		}
		r.takeAnswer(q, answers[i])
	}
}

// takeAnswer draws the consequences of what the hub says of one submission.
func (r *courierRound) takeAnswer(q fsm.QueuedSubmission, a mimi.SubmissionAnswer) {
	h := r.lane.history(q)
	r.lane.metrics.attempts.WithLabelValues(r.lane.to.String(), a.State.String()).Inc()
	switch a.State {
	case mimi.SubmissionAccepted, mimi.SubmissionRejected:
		r.settle(q, a.Verdict)
	case mimi.SubmissionHeld, mimi.SubmissionQueued:
		h.held = true
		r.stop(q.Room, 0)
	default:
		h.maybe = h.maybe || a.State == mimi.SubmissionUndecided
		r.stop(q.Room, time.Duration(a.RetryAfterSeconds)*time.Second)
	}
}

// bulkAnswers reads an answer of the extension's. maybe says that, where it is an error, the hub may have acted on the request.
func bulkAnswers(from mimi.Provider, reply *Reply, err error, receipts []mimi.Receipt) (answers []mimi.SubmissionAnswer, maybe bool, _ error) {
	if err != nil {
		var send *SendError
		return nil, !errors.As(err, &send) || send.MaybeSent, err
	}
	if !reply.OK() {
		return nil, reply.Status >= 500, reply.StatusError(from)
	}
	response, err := mimi.ParseBulkSubmitResponse(reply.Body)
	if err == nil && len(response.Answers) != len(receipts) {
		err = fmt.Errorf("%d answers to %d submissions", len(response.Answers), len(receipts))
	}
	if err != nil {
		return nil, true, fmt.Errorf("the answer of %s cannot be used: %w", from, err)
	}
	for i, a := range response.Answers {
		if a.Receipt() != receipts[i] {
			return nil, true, fmt.Errorf("%s answers for another submission than the one at its place", from)
		}
	}
	return response.Answers, false, nil
}

func receiptsOf(items []fsm.QueuedSubmission) []mimi.Receipt {
	receipts := make([]mimi.Receipt, len(items))
	for i, q := range items {
		receipts[i] = q.Receipt
	}
	return receipts
}
