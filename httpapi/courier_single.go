package httpapi

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"parley/fsm"
	"parley/mimi"
)

// oneByOne brings submissions as any hub takes them: those of one room one after the other, several rooms at a time.
func (r *courierRound) oneByOne(ctx context.Context, items []fsm.QueuedSubmission) {
	var rooms []mimi.RoomURI
	byRoom := map[mimi.RoomURI][]fsm.QueuedSubmission{}
	for _, q := range items {
		if byRoom[q.Room] == nil {
			rooms = append(rooms, q.Room)
		}
		byRoom[q.Room] = append(byRoom[q.Room], q)
	}
	var mu sync.Mutex // guards the round
	var work sync.WaitGroup
	turns := make(chan struct{}, r.lane.cfg.RoomsAtOnce)
	for _, room := range rooms {
		turns <- struct{}{}
		work.Go(func() {
			defer func() { <-turns }()
			for _, q := range byRoom[room] {
				mu.Lock()
				away := r.away
				mu.Unlock()
				if away {
					return
				}
				reply, err := r.lane.post.Post(ctx, r.lane.to, singleTarget(q), q.Body, "")
				mu.Lock()
				r.takeSingle(q, reply, err)
				done := r.stopped[room] || r.failure != nil
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	work.Wait()
}

func singleTarget(q fsm.QueuedSubmission) Target {
	if q.Kind == mimi.SubmissionProposals {
		return UpdateTarget(q.Room)
	}
	return SubmitMessageTarget(q.Room)
}

// takeSingle draws the consequences of one answer.
func (r *courierRound) takeSingle(q fsm.QueuedSubmission, reply *Reply, err error) {
	h := r.lane.history(q)
	attempt := func(result string) { r.lane.metrics.attempts.WithLabelValues(r.lane.to.String(), result).Inc() }
	if err != nil {
		var send *SendError
		h.maybe = h.maybe || !errors.As(err, &send) || send.MaybeSent
		r.failure, r.away = errors.Join(r.failure, err), true
		return
	}
	if !reply.OK() {
		refused := reply.StatusError(r.lane.to)
		switch {
		case !concernsRoom(reply.Status):
			// Nobody could decide, or not for us now. Where a hub answers so after it has decided, it recognises the next attempt.
			h.maybe = h.maybe || reply.Status >= http.StatusInternalServerError
			r.failure = errors.Join(r.failure, refused)
		case reply.Status >= http.StatusInternalServerError:
			attempt("undecided")
			h.maybe = true
			r.stop(q.Room, refused.RetryAfter)
		default:
			attempt("refused")
			if verdict, final := r.refusedAs(q, reply.Status); final {
				r.settle(q, verdict)
			} else {
				r.stop(q.Room, refused.RetryAfter)
			}
		}
		return
	}
	h.refusals = 0
	verdict, err := singleVerdict(q.Kind, reply.Body)
	if err != nil {
		attempt("unreadable")
		r.lane.log.Error("a hub's answer to a submission cannot be read; it is brought again", "hub", r.lane.to, "room", q.Room, "error", err)
		h.maybe = true
		r.stop(q.Room, 0)
		return
	}
	attempt("answered")
	r.settle(q, verdict)
}

// singleVerdict reads the draft's answers.
func singleVerdict(kind mimi.SubmissionKind, body []byte) (v mimi.Verdict, err error) {
	if kind == mimi.SubmissionProposals {
		response, err := mimi.ParseUpdateRoomResponse(body)
		if err != nil {
			return v, err
		}
		v.Reason = response.Description
		switch result := response.Result.(type) {
		case mimi.UpdateSuccess:
			v.Code, v.AcceptedMillis = mimi.VerdictAccepted, result.AcceptedMillis
		case mimi.UpdateWrongEpoch:
			v.Code, v.Current = mimi.VerdictWrongEpoch, result.Current
		case mimi.UpdateInvalidProposal:
			v.Code = mimi.VerdictInvalid
		default:
			v.Code = mimi.VerdictNotAllowed
		}
		return v, nil
	}
	response, err := mimi.ParseSubmitMessageResponse(body)
	if err != nil {
		return v, err
	}
	switch response := response.(type) {
	case mimi.SubmitAccepted:
		v.Code, v.AcceptedMillis = mimi.VerdictAccepted, response.AcceptedMillis
	case mimi.SubmitEpochTooOld:
		v.Code, v.Current = mimi.VerdictEpochTooOld, response.Current
	default:
		v.Code, v.Reason = mimi.VerdictNotAllowed, "its hub does not allow it"
	}
	return v, nil
}
