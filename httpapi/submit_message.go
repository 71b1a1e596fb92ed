package httpapi

import (
	"context"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// submitMessage is POST /v1/submitMessage/{roomId} of the peer listener (mimi-protocol-06 §5.4).
func (s *PeerServer) submitMessage(c echo.Context) error {
	from, room, body, err := s.roomRequest(c)
	if err != nil {
		return err
	}
	request, err := mimi.ParseSubmitMessageRequest(body)
	if err != nil {
		return err
	}
	if err := s.limits.admit(from.domain, 1, len(body)); err != nil {
		return err
	}
	count := func(o fsm.Outcome, err error) { s.metrics.submittedAlone(from.domain.String(), o, err) }
	a, err := s.desk.submit(c.Request().Context(), from.inNameOf(request.Sender.Provider()), room, body, count)
	if err != nil {
		return err
	}
	return a.send(c)
}

// submit decides an application message for a room hosted here, and has counted what became of it.
func (d *Desk) submit(ctx context.Context, from mimi.Provider, room mimi.RoomURI, body []byte, count func(fsm.Outcome, error)) (answer, error) {
	if err := d.checkHosted(room); err != nil {
		return answer{}, err
	}
	request, err := judge.NewSubmit(from, room, body)
	if err != nil {
		return answer{}, err
	}
	outcome, err := d.hub.Do(ctx, request)
	count(outcome, err)
	if err != nil {
		return answer{}, err
	}
	switch o := outcome.(type) {
	case fsm.Accepted:
		return coded(mimi.SubmitAccepted{AcceptedMillis: o.Millis}), nil
	case fsm.EpochTooOld:
		return coded(mimi.SubmitEpochTooOld{Current: o.Current}), nil
	case fsm.StaleRoom:
		return answer{}, staleProblem(o)
	case fsm.RoomEnded:
		if o.Status == fsm.RoomDestroyed {
			return answer{}, gone(o)
		}
		return coded(mimi.SubmitNotAllowed{}), nil
	case fsm.NotAllowed, fsm.NoSuchRoom, fsm.WrongEpoch: // WrongEpoch: one that has not begun
		return coded(mimi.SubmitNotAllowed{}), nil
	default:
		return answer{}, unexpected("a message", outcome)
	}
}
